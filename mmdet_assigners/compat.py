"""The only place that knows about versions of torch, mmengine and mmdet.

Each function mends one thing and says for whom; :func:`apply` runs them once,
when the package registers.
"""

import importlib.metadata
import os.path as osp
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import mmengine.config.config as mmengine_config
import mmengine.hub.hub as mmengine_hub
import numpy as np
import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer

PACKAGE = 'mmdet_assigners'


def apply() -> None:
    """Apply all mends; each is safe to apply twice."""
    allow_config_base()
    find_editable_packages()
    allow_checkpoint_globals()
    warn_untested_versions()


def allow_config_base() -> None:
    """Make ``_base_ = 'mmdet_assigners::...'`` legal.

    mmengine accepts only the packages of a fixed table.
    """
    MODULE2PACKAGE.setdefault(PACKAGE, PACKAGE)


def find_editable_packages() -> None:
    """Let ``pkg::config`` find packages that pip installed as editable.

    mmengine 0.10.7 joins the folder of the dist-info with the package name,
    which does not exist for a PEP 660 editable install. Where it does not,
    ask the import system instead.
    """

    def wrap(original: Callable[[str], str]) -> Callable[[str], str]:
        def get_installed_path(package: str) -> str:
            path = original(package)
            if not osp.exists(path):
                spec = find_spec(MODULE2PACKAGE.get(package, package))
                if spec is not None and spec.origin is not None:
                    return osp.dirname(spec.origin)
            return path

        get_installed_path.mends_editable = True  # type: ignore[attr-defined]
        return get_installed_path

    for module in (mmengine_config, mmengine_hub):
        original = module.get_installed_path
        if not hasattr(original, 'mends_editable'):
            module.get_installed_path = wrap(original)


def _history_buffer_getattr(owner: Any, name: str) -> Any:
    """``getattr`` for checkpoints: only the statistics of HistoryBuffer."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise ValueError(
            f'checkpoint asks for attribute {name!r} of {owner!r}; only the '
            'statistics of mmengine.logging.HistoryBuffer are allowed'
        )
    return getattr(owner, name)


def allow_checkpoint_globals() -> None:
    """Let torch >= 2.6 load the checkpoints that mmengine <= 0.10.7 writes.

    They hold log histories (numpy arrays in a HistoryBuffer), which
    ``torch.load(weights_only=True)`` refuses, so resume, ``DetInferencer``
    and ``init_detector`` fail. The list stays narrow: data types of numpy,
    the HistoryBuffer and a ``getattr`` that reaches nothing else.
    """
    allow = getattr(torch.serialization, 'add_safe_globals', None)
    if allow is None or torch.__version__ < (2, 6):
        return  # before 2.6 torch.load reads everything
    core = np._core if hasattr(np, '_core') else np.core
    dtypes = {type(np.dtype(code)) for code in np.typecodes['All']}
    allow(
        [
            HistoryBuffer,
            (_history_buffer_getattr, 'builtins.getattr'),
            slice,
            np.ndarray,
            np.dtype,
            *dtypes,
            (
                core.multiarray._reconstruct,
                'numpy.core.multiarray._reconstruct',
            ),
            (
                core.multiarray._reconstruct,
                'numpy._core.multiarray._reconstruct',
            ),
            (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
            (core.multiarray.scalar, 'numpy._core.multiarray.scalar'),
        ]
    )


def installed_version(*distributions: str) -> str | None:
    """Version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def warn_untested_versions() -> None:
    """Warn, never refuse, where the installed mmdet is outside 3.3 to 3.x."""
    version = installed_version('mmdet', 'onedl-mmdetection')
    if version is not None and not version.startswith('3.'):
        warnings.warn(
            f'mmdet_assigners is tested with mmdet 3.3 and onedl-mmdetection '
            f'3.5; found {version}',
            stacklevel=2,
        )
