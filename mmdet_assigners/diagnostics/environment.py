"""The installed stack: what is there, whether it fits, what mends it.

Reads only the records of the installer, so it answers where torch or mmdet
are missing or broken.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# Needs torch and a C++ compiler, takes ten minutes. Without torch in sight
# (build isolation) mmcv silently builds no ops.
MMCV_LINE = (
    "pip install 'setuptools<80' wheel ninja psutil && MMCV_WITH_OPS=1 pip "
    'install --no-build-isolation --no-cache-dir --force-reinstall --no-deps '
    '--no-binary mmcv mmcv==2.1.0'
)
_PACKAGES = (
    'torch',
    'numpy',
    'opencv-python',
    'opencv-python-headless',
    'pycocotools',
    'setuptools',
    'mmcv',
    'mmcv-lite',
    'mmcv-full',
    'onedl-mmcv',
    'mmengine',
    'mmengine-lite',
    'onedl-mmengine',
    'mmdet',
    'onedl-mmdetection',
    'mmdet_assigners',
)
# Distributions that write into the same import folder.
_RIVALS = (
    ('mmdet', 'onedl-mmdetection'),
    ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
)


class Problem(NamedTuple):
    """One thing that is wrong, and the command or option that mends it."""

    what: str
    mend: str

    def __str__(self) -> str:
        return f'{self.what}; {self.mend}'


def installed_versions() -> dict[str, str]:
    """Versions of the packages of the stack that are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = distribution(name).version
        except PackageNotFoundError:
            continue
    return found


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version: ``'2.13.0+cpu'`` is ``(2, 13, 0)``."""
    match = re.match(r'\d+(\.\d+)*', version)
    return tuple(int(n) for n in match[0].split('.')) if match else ()


def has_mmcv_ops() -> bool:
    """Whether the installed mmcv has its compiled ops (``mmcv._ext``)."""
    spec = find_spec('mmcv')
    folders = (spec.submodule_search_locations if spec else None) or ()
    return any(any(Path(folder).glob('_ext.*')) for folder in folders)


def stack_problems(
    versions: dict[str, str],
    mmcv_ops: bool,
    modules: Iterable[str],
    python: tuple[int, ...] = sys.version_info[:3],
) -> list[Problem]:
    """What is wrong with a stack.

    Args:
        versions: As from `installed_versions`.
        mmcv_ops: As from `has_mmcv_ops`.
        modules: Those of ``cv2`` and ``pkg_resources`` that can be imported.
        python: Version of the interpreter.

    Returns:
        Problems in the order in which they should be mended.
    """
    onedl = 'onedl-mmdetection' in versions
    found = []
    if python < (3, 10):
        found.append(
            Problem(
                f'Python {".".join(map(str, python))} is older than 3.10',
                'make a new environment: PYTHON=python3.11 make env',
            )
        )
    for name, least, line in (
        ('torch', (2, 4), "pip install 'torch>=2.4'"),
        ('numpy', (1, 21), 'pip install numpy'),
        ('pycocotools', (2, 0), 'pip install pycocotools'),
    ):
        if name not in versions:
            found.append(Problem(f'{name} is not installed', line))
        elif release(versions[name]) < least:
            found.append(
                Problem(
                    f'{name} {versions[name]} is too old',
                    line.replace('install', 'install --upgrade'),
                )
            )
    if 'cv2' not in modules:
        found.append(
            Problem('cv2 is not installed', 'pip install opencv-python')
        )
    found += _rivals(versions)
    found += _mm_packages(versions, onedl)
    found += _mmcv(versions, mmcv_ops, onedl)
    found += _setuptools(versions, modules, python)
    return found


def _rivals(versions: dict[str, str]) -> list[Problem]:
    """Two distributions in one folder: whichever came last has won."""
    found = []
    for group in _RIVALS:
        both = [name for name in group if name in versions]
        if len(both) > 1:
            keep = both[0]
            line = f'pip uninstall -y {" ".join(both)} && '
            if keep == 'mmcv':
                line += MMCV_LINE
            else:
                line += f'pip install {keep}=={versions[keep]}'
            found.append(
                Problem(
                    f'{" and ".join(both)} are both installed and share one '
                    'folder',
                    f'keep one: {line}',
                )
            )
    return found


def _mm_packages(versions: dict[str, str], onedl: bool) -> list[Problem]:
    found = []
    for name, fork, least in (
        ('mmengine', 'onedl-mmengine', (0, 10)),
        ('mmdet', 'onedl-mmdetection', (3, 3)),
    ):
        version = versions.get(name) or versions.get(fork)
        if version is None:
            wanted = fork if onedl else f"'{name}>={_dotted(least)}'"
            found.append(
                Problem(f'{name} is not installed', f'pip install {wanted}')
            )
        elif release(version) < least:
            found.append(
                Problem(
                    f'{name} {version} is too old',
                    f"pip install --upgrade '{name}>={_dotted(least)}'",
                )
            )
    return found


def _mmcv(versions: dict[str, str], ops: bool, onedl: bool) -> list[Problem]:
    name = next((n for n in _RIVALS[2] if n in versions), None)
    if name is None:
        return [Problem('mmcv is not installed', MMCV_LINE)]
    version = versions[name]
    if not ops:
        line = MMCV_LINE
        if name != 'mmcv':
            line = f'pip uninstall -y {name} && {line}'
        return [Problem(f'{name} {version} has no compiled ops', line)]
    # mmdet 3.3 refuses mmcv >= 2.2 at import; the fork does not
    if release(version) < (2, 0) or (not onedl and release(version) >= (2, 2)):
        return [Problem(f'mmdet 3.3 does not take mmcv {version}', MMCV_LINE)]
    return []


def _setuptools(
    versions: dict[str, str], modules: Iterable[str], python: tuple[int, ...]
) -> list[Problem]:
    """Find no pkg_resources, which mmengine 0.10 imports (gone in 82)."""
    if 'mmengine' not in versions:
        return []
    version = versions.get('setuptools')
    line = "pip install 'setuptools>=66.1,<82'"
    if version is None or 'pkg_resources' not in modules:
        what = f'setuptools {version or "(not installed)"}'
        return [
            Problem(
                f'{what} has no pkg_resources, which mmengine imports', line
            )
        ]
    if python >= (3, 12) and release(version) < (66, 1):
        return [Problem(f'setuptools {version} fails on Python >= 3.12', line)]
    return []


def stack_notes(versions: dict[str, str]) -> list[str]:
    """What is unusual but needs nothing from the user."""
    notes = []
    torch = release(versions.get('torch', '0'))
    if torch >= (2, 6) and 'mmengine' in versions:
        notes.append(
            'torch >= 2.6 refuses the checkpoints of mmengine 0.10: '
            'handled, importing mmdet_assigners allows them'
        )
    mmdet = versions.get('mmdet') or versions.get('onedl-mmdetection')
    if mmdet and release(mmdet) >= (4,):
        notes.append(f'mmdet {mmdet} is newer than what we test (3.3 to 3.5)')
    return notes


def _dotted(version: tuple[int, ...]) -> str:
    return '.'.join(map(str, version))


def run_mmdet_tool(name: str) -> None:
    """Run a script of mmdet's ``tools`` folder in this process.

    Args:
        name: File name, e.g. ``train.py``; it reads ``sys.argv``.

    Raises:
        FileNotFoundError: The installed mmdet has no such script.
    """
    spec = find_spec('mmdet')
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            'mmdet is not installed; run `python -m mmdet_assigners check`'
        )
    package = Path(spec.origin).parent
    for folder in (package / '.mim' / 'tools', package.parent / 'tools'):
        if (folder / name).is_file():
            runpy.run_path(str(folder / name), run_name='__main__')
            return
    raise FileNotFoundError(
        f'mmdet at {package} has no tools/{name}; reinstall mmdet'
    )
