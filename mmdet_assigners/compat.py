"""The only place that knows about versions of torch, mmengine and mmdet.

It also knows which hosts serve pretrained weights. Each function fixes one
incompatibility; :func:`apply` calls them, when the package registers.
"""

import difflib
import os
import os.path as osp
import warnings
from collections.abc import Callable
from http.client import HTTPException
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import mmengine.config.config as mmengine_config
import mmengine.fileio as mmengine_fileio
import mmengine.hub.hub as mmengine_hub
import mmengine.runner.checkpoint as mmengine_checkpoint
import numpy as np
import torch
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.logging import HistoryBuffer

from .versions import installed_versions

PACKAGE = 'mmdet_assigners'

# Environment variable: a folder of weight files under their usual names.
WEIGHTS_FOLDER = 'MMDET_ASSIGNERS_WEIGHTS'

# Host of weights -> the address that serves the same paths. Since June 2026
# users report the first as unreachable (mmdetection issues 12445 to 12447).
# The second is what onedl-mmengine 0.10.12 (mmengine/hub/*.json) and the
# configs of onedl-mmdetection 3.5.1 name.
WEIGHTS_MIRRORS = {'download.openmmlab.com': 'https://mmassets.onedl.ai'}

_HTTP = ('http://', 'https://')
_OPENMMLAB = ('open-mmlab://', 'openmmlab://')
_TORCHVISION = ('torchvision://', 'modelzoo://')
_LOAD_ERRORS = (
    OSError,
    HTTPException,
    UnpicklingError,
    EOFError,
    RuntimeError,
)
WEIGHTS_SCHEMES = _HTTP + _OPENMMLAB + _TORCHVISION


def apply() -> None:
    """Apply all fixes; each may be applied twice."""
    allow_config_base()
    find_editable_packages()
    allow_checkpoint_globals()
    use_weights_mirrors()
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


class WeightsError(ValueError):
    """Weights cannot be loaded.

    Args:
        what: The weights and the reason, one line.
        fix: What to do about it.
    """

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(f'{what}; {fix}')


class WeightsSource(NamedTuple):
    """Where weights come from.

    Attributes:
        name: As a config names them.
        location: A file, or the URL that it is downloaded from.
        instead_of: The host that ``WEIGHTS_MIRRORS`` replaced, if any.
    """

    name: str
    location: str
    instead_of: str = ''

    @property
    def file_name(self) -> str:
        """Name of the file, without folder or host."""
        return Path(urlsplit(self.location).path).name

    @property
    def file(self) -> Path | None:
        """The file, or what torch has already downloaded of the URL."""
        if not self.location.startswith(_HTTP):
            return Path(self.location)
        path = Path(torch.hub.get_dir(), 'checkpoints', self.file_name)
        return path if path.is_file() else None

    def unavailable(self, error: Exception) -> WeightsError:
        """The error that names the choices."""
        reason = ' '.join(str(error).split()) or type(error).__name__
        if self.location.startswith(_HTTP):
            place = f'into a folder and set {WEIGHTS_FOLDER} to it'
        else:
            place = 'there'
        return WeightsError(
            f'{self.name}: {self.location} cannot be loaded ({reason})',
            f'put {self.file_name} {place}, or use mmdet-assigners with '
            f'--weights {self.name}=FILE or --no-pretrained',
        )


def find_weights(name: str) -> WeightsSource:
    """Find the weights that a config names.

    A file in the folder ``$MMDET_ASSIGNERS_WEIGHTS`` comes before the URL,
    whose host is replaced as ``WEIGHTS_MIRRORS`` says.

    Args:
        name: A path, a URL, or a name such as ``torchvision://resnet50`` or
            ``open-mmlab://detectron2/resnet50_caffe``.

    Raises:
        WeightsError: No model list has this name.
    """
    url = _weights_url(name)
    if not url.startswith(_HTTP):
        return WeightsSource(name, osp.expanduser(url))
    source = WeightsSource(name, url)
    parts = urlsplit(url)
    mirror = WEIGHTS_MIRRORS.get(parts.netloc)
    if mirror:
        source = WeightsSource(name, mirror + parts.path, parts.netloc)
    folder = os.environ.get(WEIGHTS_FOLDER)
    if folder:
        path = Path(folder).expanduser() / source.file_name
        if path.is_file():
            return WeightsSource(name, str(path))
    return source


def load_from_weights(
    filename: str, map_location: Any = None
) -> dict[str, Any]:
    """Load weights of a URL or a model name, for mmengine.

    Raises:
        WeightsError: The weights can't be loaded; one line with the choices.
    """
    source = find_weights(filename)
    load = (
        mmengine_checkpoint.load_from_http  # knows torch's downloads
        if source.location.startswith(_HTTP)
        else mmengine_checkpoint.load_from_local
    )
    try:
        return load(source.location, map_location)
    except _LOAD_ERRORS as error:
        raise source.unavailable(error) from error


def use_weights_mirrors() -> None:
    """Make mmengine load weights by :func:`load_from_weights`."""
    mmengine_checkpoint.CheckpointLoader.register_scheme(
        WEIGHTS_SCHEMES, load_from_weights, force=True
    )


def _weights_url(name: str) -> str:
    """URL or path of weights."""
    scheme, _, key = name.partition('://')
    if name.startswith(_OPENMMLAB):
        key = mmengine_checkpoint.get_deprecated_model_names().get(key, key)
        models = mmengine_checkpoint.get_external_models()
    elif name.startswith(_TORCHVISION):
        models = _torchvision_models(key)
    else:
        return name
    if key not in models:
        near = difflib.get_close_matches(key, models)
        raise WeightsError(
            f'{name}: {scheme} has no model {key!r}',
            f'the nearest names are {", ".join(near)}'
            if near
            else 'give the path or URL of a file',
        )
    if models[key].startswith(_HTTP):
        return models[key]
    # the user's own list in mmengine's folder may name files beside it
    return osp.join(mmengine_checkpoint._get_mmengine_home(), models[key])


def _torchvision_models(key: str) -> dict[str, str]:
    """URLs by name; those of mmengine's own list don't need torchvision."""
    hub = Path(mmengine_hub.__file__).parent
    models = mmengine_fileio.load(hub / 'torchvision_0.12.json')
    if key in models:
        return models
    if find_spec('torchvision') is None:
        raise WeightsError(
            f'torchvision://{key}: this name needs torchvision',
            'pip install torchvision',
        )
    return mmengine_checkpoint.get_torchvision_models()


def warn_untested_versions() -> None:
    """Warn if the installed mmdet is not of version 3."""
    for version in installed_versions(('mmdet', 'onedl-mmdetection')).values():
        if not version.startswith('3.'):
            warnings.warn(
                'mmdet_assigners is tested with mmdet 3.3 and '
                f'onedl-mmdetection 3.5; found {version}',
                stacklevel=2,
            )
