# The stack that needs no compiler, docs/install.md: "A GPU and no compiler".
FROM python:3.12.12-slim-bookworm

# OpenCV's libraries, and a C compiler for the launchers of Triton's kernels
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        gcc libc6-dev libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 user \
    && install --directory --owner=user /workspace

USER 1000
WORKDIR /workspace
ENV PATH=/workspace/detection/bin:$PATH \
    PIP_NO_CACHE_DIR=1

# hadolint ignore=DL3013
RUN python3.12 -m venv detection \
    && pip install torch==2.8.0 torchvision==0.23.0 onedl-mim \
    && mim install onedl-mmcv --only-binary=onedl-mmcv
COPY --chown=1000 . mmdet_assigners
RUN pip install './mmdet_assigners[onedl]'

CMD ["mmdet-assigners", "check"]
