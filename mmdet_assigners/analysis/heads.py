"""What dense heads assign to a batch, as tensors, in one common format."""

from typing import Any

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import nn

from ..ops.anchor_match import IGNORED
from .adapters import HeadRun, find_adapter

FIELDS = ('priors', 'level', 'stride', 'assigned_gt', 'weight')


def dense_head(model: nn.Module) -> nn.Module:
    """The dense head of a detector: its ``bbox_head`` or ``rpn_head``.

    Raises:
        TypeError: The detector has neither.
    """
    for name in ('bbox_head', 'rpn_head'):
        head = getattr(model, name, None)
        if isinstance(head, nn.Module):
            return head
    raise TypeError(
        f'{type(model).__name__} has no dense head (bbox_head or rpn_head), '
        'so there are no priors to assign'
    )


@torch.no_grad()
def run_head(
    model: nn.Module, data: dict[str, Any]
) -> tuple[nn.Module, HeadRun]:
    """One forward pass of a detector up to the outputs of its dense head.

    Args:
        model: Detector with a dense head. Its mode (train or eval) is kept.
        data: ``inputs``, a list of B images (3, H, W), and ``data_samples``,
            a list of B :class:`DetDataSample` with ``gt_instances``.

    Returns:
        tuple: The head and what it returned.

    Raises:
        TypeError: The detector has no dense head, or the head no adapter.
    """
    head = dense_head(model)
    find_adapter(head)  # fail before the network runs
    return head, forward_head(model, data)


@torch.no_grad()
def forward_head(model: nn.Module, data: dict[str, Any]) -> HeadRun:
    """What the dense head of a detector returns, see :func:`run_head`.

    Args:
        model: Detector with a dense head.
        data: ``inputs``, a list of B images (3, H, W), and ``data_samples``.
    """
    head = dense_head(model)
    batch = model.data_preprocessor(data, training=False)
    gts, ignored, metas = unpack_gt_instances(batch['data_samples'])
    feats = model.extract_feat(batch['inputs'])
    return HeadRun(head(feats), gts, metas, ignored, feats)


@torch.no_grad()
def read_assignment(head: nn.Module, run: HeadRun) -> InstanceList:
    """What a dense head assigns, given its outputs.

    Args:
        head: A dense head.
        run: Its forward pass on B images.

    Returns:
        For each image an ``InstanceData`` with, for its P priors:

        - ``priors`` (P, 2) points or (P, 4) boxes in px of the network input;
        - ``level`` (P,) int64, from 0;
        - ``stride`` (P,) of the level in px;
        - ``assigned_gt`` (P,) int64: index of the ground truth, -1 negative,
          -2 ignored (excluded from the classification loss of some class);
        - ``weight`` (P,) float: factor of the prior in the loss: in the box
          loss (centerness, soft weight) if positive, in the classification
          loss otherwise, 0 if ignored.

    Raises:
        TypeError: The head has no adapter.
        ValueError: The head returned wrong fields.
    """
    results = find_adapter(head).read(head, run)
    for result, gt in zip(results, run.gts, strict=True):
        _check(result, len(gt), type(head).__name__)
    return results


def collect_assignment(model: nn.Module, data: dict[str, Any]) -> InstanceList:
    """:func:`run_head` and :func:`read_assignment` in one call."""
    return read_assignment(*run_head(model, data))


def _check(result: InstanceData, num_gts: int, head: str) -> None:
    missing = [name for name in FIELDS if name not in result]
    if missing:
        raise ValueError(f'{head}: assignment lacks {", ".join(missing)}')
    num_priors = len(result.priors)
    for name in FIELDS[1:]:
        shape = tuple(result.get(name).shape)
        if shape != (num_priors,):
            raise ValueError(
                f'{head}: {name} has shape {shape}, expected ({num_priors},)'
            )
    gt = result.assigned_gt
    if num_priors and not (IGNORED <= gt.min() and gt.max() < num_gts):
        raise ValueError(
            f'{head}: assigned_gt is in [{gt.min()}, {gt.max()}], expected '
            f'-2 (ignored), -1 (negative) or 0 to {num_gts - 1}'
        )
