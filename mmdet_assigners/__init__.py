"""mmdet_assigners: detection research as config diffs for MMDetection 3.x.

``import mmdet_assigners`` registers every module with mmdet's registries,
allows ``mmdet_assigners::<config>`` as a config base and fixes what newer
torch versions break in mmengine (:mod:`mmdet_assigners.compat`).
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

__version__ = '0.1.0'

_FUNCTIONS = ('config_path', 'config_root', 'get_config')


def _is_command_line() -> bool:
    """Whether the process is the command ``mmdet-assigners``.

    The command line runs ``list`` and ``check`` without torch and calls
    :func:`register_all_modules` when a command needs it.
    """
    return ('-m', __name__) in pairwise(sys.orig_argv) or Path(
        sys.argv[0]
    ).stem == 'mmdet-assigners'


def __getattr__(name: str) -> Any:
    """Export every class of the package (``type='mmdet_assigners.SEPC'``)."""
    # Only these: the import system also asks here for missing submodules.
    if name in _FUNCTIONS or name[:1].isupper():
        from . import utils

        if name in _FUNCTIONS:
            return getattr(utils, name)
        if name in utils.registered_names():
            return utils.registered_names()[name]
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    from . import utils

    return sorted({*globals(), *_FUNCTIONS, *utils.registered_names()})


if not _is_command_line():
    from .utils import register_all_modules

    register_all_modules()
