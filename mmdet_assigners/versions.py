"""Versions of installed packages, from the records of the installer."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

_MEASURED = (
    'mmdet_assigners',
    'torch',
    'mmcv',
    'mmengine',
    'mmdet',
    'numpy',
    'onedl-mmdetection',
)


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of these packages, without those that aren't installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def measured_versions() -> dict[str, str]:
    """Versions of Python and of what a measured number depends on."""
    python = {'python': platform.python_version()}
    return python | installed_versions(_MEASURED)
