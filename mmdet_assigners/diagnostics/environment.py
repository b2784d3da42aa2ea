"""The installed packages: versions, whether they fit, what fixes them.

Reads the records of the installer before it imports anything, so it answers
where torch or mmdet are missing or broken.
"""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ..versions import installed_versions
from .problem import Problem, one_line

# As in docs/install.md. Needs torch and a C++ compiler, takes ten minutes.
# With build isolation mmcv doesn't see torch and silently builds no ops; such
# a wheel may also lie in pip's cache.
MMCV_COMMAND = (
    "pip install 'setuptools>=66.1,<82' wheel ninja psutil && "
    'MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir '
    '--no-deps --force-reinstall mmcv==2.1.0'
)
PACKAGES = (
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
# Distributions that install into the same folder.
_RIVALS = (
    ('mmdet', 'onedl-mmdetection'),
    ('mmengine', 'mmengine-lite', 'onedl-mmengine'),
    ('mmcv', 'mmcv-lite', 'mmcv-full', 'onedl-mmcv'),
)


class Stack(NamedTuple):
    """The installed packages and what is wrong with them.

    Attributes:
        versions: Package -> version of those that are installed.
        notes: What is unusual but needs no action.
        problems: In the order in which to fix them.
    """

    versions: dict[str, str]
    notes: list[str]
    problems: list[Problem]


def check_stack() -> Stack:
    """Check this environment: versions first, then, if they fit, imports."""
    versions = installed_versions(PACKAGES)
    notes = stack_notes(versions)
    modules = [m for m in ('cv2', 'pkg_resources') if find_spec(m)]
    problems = stack_problems(versions, has_mmcv_ops(), modules)
    if not problems:
        problems = import_problems()
    if not problems:
        import torch

        cuda = torch.version.cuda
        if cuda and not torch.cuda.is_available():
            notes.append(f'torch is built for CUDA {cuda} but sees no GPU')
    return Stack(versions, notes, problems)


def import_problems() -> list[Problem]:
    """What only an import shows: ops of another torch, a broken file."""
    try:
        import torch  # noqa: F401  the libraries that the ops need
        from mmcv import _ext  # noqa: F401
    except Exception as error:
        what = f'mmcv {one_line(error)}: compiled for another torch?'
        return [Problem(what, MMCV_COMMAND)]
    from ..utils import register_all_modules

    try:
        register_all_modules()
    except Exception as error:
        return [
            Problem(
                f'mmdet cannot be imported: {one_line(error)}',
                "python -c 'import mmdet.models' shows where",
            )
        ]
    return []


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
    """What is wrong with these versions.

    Args:
        versions: Package -> version, of those that are installed.
        mmcv_ops: See `has_mmcv_ops`.
        modules: Those of ``cv2`` and ``pkg_resources`` that can be imported.
        python: Version of the interpreter.

    Returns:
        Problems, in the order in which to fix them.
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
    for name, minimum, line in (
        ('torch', (2, 4), "pip install 'torch>=2.4'"),
        ('numpy', (1, 21), 'pip install numpy'),
        ('pycocotools', (2, 0), 'pip install pycocotools'),
    ):
        if name not in versions:
            found.append(Problem(f'{name} is not installed', line))
        elif release(versions[name]) < minimum:
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
    """Find two distributions in one folder: the last one overwrote it."""
    found = []
    for group in _RIVALS:
        both = [name for name in group if name in versions]
        if len(both) > 1:
            keep = both[0]
            line = f'pip uninstall -y {" ".join(both)} && '
            if keep == 'mmcv':
                line += MMCV_COMMAND
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
    for name, fork, minimum in (
        ('mmengine', 'onedl-mmengine', (0, 10)),
        ('mmdet', 'onedl-mmdetection', (3, 3)),
    ):
        version = versions.get(name) or versions.get(fork)
        if version is None:
            wanted = fork if onedl else f"'{name}>={_dotted(minimum)}'"
            found.append(
                Problem(f'{name} is not installed', f'pip install {wanted}')
            )
        elif release(version) < minimum:
            found.append(
                Problem(
                    f'{name} {version} is too old',
                    f"pip install --upgrade '{name}>={_dotted(minimum)}'",
                )
            )
    return found


def _mmcv(versions: dict[str, str], ops: bool, onedl: bool) -> list[Problem]:
    name = next((n for n in _RIVALS[2] if n in versions), None)
    if name is None:
        return [Problem('mmcv is not installed', MMCV_COMMAND)]
    version = versions[name]
    if not ops:
        line = MMCV_COMMAND
        if name != 'mmcv':
            line = f'pip uninstall -y {name} && {line}'
        return [Problem(f'{name} {version} has no compiled ops', line)]
    # mmdet 3.3 refuses to import with mmcv >= 2.2; the fork doesn't
    if release(version) < (2, 0) or (not onedl and release(version) >= (2, 2)):
        what = f'mmdet 3.3 does not accept mmcv {version}'
        return [Problem(what, MMCV_COMMAND)]
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
    """What is unusual about these versions but needs no action."""
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
