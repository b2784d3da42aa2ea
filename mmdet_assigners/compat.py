"""The only place that knows about versions of torch, mmengine and mmdet.

Each function fixes one incompatibility; :func:`apply` calls them, when the
package registers.
"""

import os.path as osp
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

import mmengine.config.config as mmengine_config
import mmengine.hub.hub as mmengine_hub
import numpy as np
import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer

from .versions import installed_versions

PACKAGE = 'mmdet_assigners'


def apply() -> None:
    """Apply all fixes; each may be applied twice."""
    allow_config_base()
    find_editable_packages()
    allow_checkpoint_globals()
    name_var_voting()
    warn_untested_versions()


def allow_config_base() -> None:
    """Allow ``_base_ = 'mmdet_assigners::...'``.

    mmengine only accepts the packages of a fixed table.
    """
    MODULE2PACKAGE.setdefault(PACKAGE, PACKAGE)


def find_editable_packages() -> None:
    """Let ``pkg::config`` find packages that pip installed as editable.

    mmengine 0.10.7 joins the folder of the dist-info with the package name,
    which doesn't exist for a PEP 660 editable install. In that case ask the
    import system instead.
    """

    def wrap(original: Callable[[str], str]) -> Callable[[str], str]:
        def get_installed_path(package: str) -> str:
            path = original(package)
            if not osp.exists(path):
                spec = find_spec(MODULE2PACKAGE.get(package, package))
                if spec is not None and spec.origin is not None:
                    return osp.dirname(spec.origin)
            return path

        get_installed_path.finds_editable = True  # type: ignore[attr-defined]
        return get_installed_path

    for module in (mmengine_config, mmengine_hub):
        original = module.get_installed_path
        if not hasattr(original, 'finds_editable'):
            module.get_installed_path = wrap(original)


def _history_buffer_getattr(owner: Any, name: str) -> Any:
    """``getattr`` for checkpoints, limited to HistoryBuffer's statistics."""
    if owner is not HistoryBuffer or name.startswith('_'):
        raise ValueError(
            f'checkpoint asks for attribute {name!r} of {owner!r}; only the '
            'statistics of mmengine.logging.HistoryBuffer are allowed'
        )
    return getattr(owner, name)


def allow_checkpoint_globals() -> None:
    """Let torch >= 2.6 load the checkpoints that mmengine <= 0.10.7 writes.

    They contain log histories (numpy arrays in a HistoryBuffer), which
    ``torch.load(weights_only=True)`` refuses, so resume, ``DetInferencer``
    and ``init_detector`` fail. Allowed are only: data types of numpy, the
    HistoryBuffer and a ``getattr`` that reaches nothing else.
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


def name_var_voting() -> None:
    """Let mmcv say which heads know ``nms=dict(type='var_voting')``.

    mmcv evaluates the type in its module, and a head without sigmas would end
    in a NameError at the first validation.
    """

    def var_voting(*args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            'nms of type var_voting needs a head that predicts box_sigmas, '
            'such as KLRetinaHead, KLBBoxHead, GFLAblationHead or '
            'GaussianYOLOV3Head'
        )

    # the name mmcv.ops.nms is the function
    vars(import_module('mmcv.ops.nms'))['var_voting'] = var_voting


def warn_untested_versions() -> None:
    """Warn if the installed mmdet is not of version 3."""
    for version in installed_versions(('mmdet', 'onedl-mmdetection')).values():
        if not version.startswith('3.'):
            warnings.warn(
                'mmdet_assigners is tested with mmdet 3.3 and '
                f'onedl-mmdetection 3.5; found {version}',
                stacklevel=2,
            )
