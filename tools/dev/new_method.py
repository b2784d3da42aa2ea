"""Writes all files of a new method, as stubs whose tests fail.

``python tools/dev/new_method.py soft_anchor --category assigner``

The files are those of ``template/method`` and of ``template/<category>``,
with ``$names`` filled in by :class:`string.Template`. What is left to write
is marked, and ``check_repo.py`` reports it. ``--unpublished`` leaves out what
only a paper or released weights need; ``--undo`` removes the files again.
"""

import argparse
import importlib.util
import keyword
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from facts import PACKAGE, ROOT, catalog
from readme_blocks import BLOCK

TEMPLATE = Path(__file__).parent / 'template'
SUFFIX = '.tmpl'
# Folder of the template -> folder of the method.
FOLDERS = {
    'package': f'{PACKAGE}/methods/$slug',
    'configs': 'configs/$slug',
    'tests': 'tests/methods/$slug',
}
CATEGORIES = sorted(p.name for p in TEMPLATE.iterdir() if p.name != 'method')
# Ends lines of templates that work without a paper doesn't need.
PUBLISHED = '$published'
MARK = 'TODO' + '(new-method)'  # in two parts: this file is no stub
_SLUG = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')
_MAX_NAME = 23  # longer names break the 79 columns of generated lines


@dataclass(frozen=True)
class Base:
    """An mmdet config to start from.

    Attributes:
        config: Its path in mmdet's configs.
        detector: The class of the model.
        head: The class of its last head.
        without: Categories whose piece the detector has no place for.
        two_stage: Whether pieces belong into its second stage.
    """

    config: str
    detector: str
    head: str
    without: tuple[str, ...]
    two_stage: bool = False


BASES = {
    'retinanet': Base(
        'retinanet/retinanet_r50_fpn_1x_coco.py',
        'RetinaNet',
        'RetinaHead',
        ('roi_head', 'sampler'),
    ),
    'atss': Base(
        'atss/atss_r50_fpn_1x_coco.py',
        'ATSS',
        'ATSSHead',
        ('roi_head', 'sampler'),
    ),
    'fcos': Base(
        'fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py',
        'FCOS',
        'FCOSHead',
        ('assigner', 'coder', 'roi_head', 'sampler'),
    ),
    'faster-rcnn': Base(
        'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
        'FasterRCNN',
        'StandardRoIHead',
        ('head',),
        two_stage=True,
    ),
}


def find_base(category: str, base: str | None) -> str:
    """The base of a category: the named one, or the first that fits.

    Raises:
        ValueError: There is no such base, or it doesn't fit.
    """
    fits = [name for name in BASES if category not in BASES[name].without]
    if base is None:
        return fits[0]
    if base not in BASES:
        raise ValueError(
            f'--base {base!r}: {catalog.closest(base, tuple(BASES))}'
        )
    if base not in fits:
        raise ValueError(
            f'--base {base!r} has no place for --category {category}; '
            f'expected {" or ".join(fits)}'
        )
    return base


def _check_names(slug: str, category: str, title: str) -> None:
    """Refuse names that make no module, class or folder."""
    if not _SLUG.fullmatch(slug) or keyword.iskeyword(slug):
        raise ValueError(
            f'NAME {slug!r}: expected snake case such as soft_anchor'
        )
    if len(slug) > _MAX_NAME:
        raise ValueError(
            f'NAME {slug!r}: expected at most {_MAX_NAME} characters'
        )
    if category not in CATEGORIES:
        raise ValueError(
            f'--category {category!r}: {catalog.closest(category, CATEGORIES)}'
        )
    if not re.fullmatch(rf'[A-Z][A-Za-z0-9]{{0,{_MAX_NAME - 1}}}', title):
        raise ValueError(
            f'--title {title!r}: expected a class name such as SAPD of at '
            f'most {_MAX_NAME} characters'
        )


def _read(*candidates: str) -> str:
    """The first of these templates that there is."""
    paths = [TEMPLATE / (name + SUFFIX) for name in candidates]
    path = next(path for path in paths if path.is_file())
    return path.read_text(encoding='utf-8').rstrip('\n')


def _templates(category: str, published: bool) -> Iterator[tuple[str, str]]:
    """Path, with ``$names``, and text of each template of a category."""
    for part in ('method', category):
        for folder, target in FOLDERS.items():
            for path in sorted((TEMPLATE / part / folder).glob('*' + SUFFIX)):
                name = path.name.removesuffix(SUFFIX)
                if name.endswith('convert.py') and not published:
                    continue  # nobody released weights
                lines = path.read_text(encoding='utf-8').splitlines(True)
                text = ''.join(
                    line.replace(PUBLISHED, '')
                    for line in lines
                    if published or PUBLISHED not in line
                )
                yield f'{target}/{name}', text


def plan(
    root: Path,
    slug: str,
    category: str,
    base: str | None = None,
    title: str | None = None,
    published: bool = True,
    undo: bool = False,
) -> dict[Path, str]:
    """The contents of all files of a new method, nothing written.

    Args:
        root: The source tree.
        slug: Name in snake case.
        category: One of :data:`CATEGORIES`.
        base: A key of :data:`BASES`; the first that fits by default.
        title: Start of the class name; made from the slug by default.
        published: Whether there are a paper and released weights.
        undo: Whether the files are there already.

    Raises:
        ValueError: A wrong argument, or the class name is taken.
        FileExistsError: One of the method's folders exists.
    """
    if title is None:
        words = slug.removesuffix(f'_{category}').split('_')
        title = ''.join(word.capitalize() for word in words)
    _check_names(slug, category, title)
    base = find_base(category, base)
    start = BASES[base]
    names = {
        'base_config': start.config,
        'category': category,
        'config': f'{slug.replace("_", "-")}_{base}_r50_fpn_1x_coco',
        'detector': start.detector,
        'head': start.head,
        'mark': MARK,
        'slug': slug,
        'title': title,
        'venue': f'{MARK} conference and year' if published else 'unpublished',
    }

    def fill(text: str) -> str:
        return Template(text).substitute(names)

    piece = _read(f'{category}/package/{category}.py')
    names['cls'] = fill(re.search(r'^class (\S+)\(', piece, re.M)[1])
    names['paper'] = fill(
        _read('method/paper' if published else 'method/unpublished')
    )
    diffs = (f'{category}/diff_two_stage.py', f'{category}/diff.py')
    names['diff'] = fill(_read(*diffs[not start.two_stage :]))
    if not undo:
        folders = [fill(folder) for folder in FOLDERS.values()]
        _refuse_collisions(root, folders, names['cls'])
    return {
        root / fill(target): fill(text)
        for target, text in _templates(category, published)
    }


def _refuse_collisions(root: Path, folders: list[str], cls: str) -> None:
    taken = [folder for folder in folders if (root / folder).exists()]
    if taken:
        raise FileExistsError(
            f'nothing written, there is already {", ".join(taken)}'
        )
    packages = [root / PACKAGE]
    mmdet = importlib.util.find_spec('mmdet')
    if mmdet is not None and mmdet.submodule_search_locations:
        packages.append(Path(mmdet.submodule_search_locations[0]))
    for package in packages:
        file = catalog.find_classes(package).get(cls)
        if file is not None:
            raise ValueError(
                f'nothing written, {file} has a class {cls}; expected an '
                'unused NAME'
            )


def write(files: dict[Path, str]) -> None:
    """Write the files into new folders, or, if one fails, none."""
    folders = {path.parent for path in files}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding='utf-8')
        if importlib.util.find_spec('ruff'):  # breaks lines with long names
            command = [
                sys.executable,
                '-m',
                'ruff',
                'format',
                '--no-cache',
                '-q',
            ]
            subprocess.run([*command, *folders], check=True)
    except (OSError, subprocess.CalledProcessError):
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _written(path: Path) -> str:
    """The text of a file without its generated parts."""
    return BLOCK.sub('', path.read_text(encoding='utf-8'))


def remove(files: dict[Path, str], root: Path) -> list[Path]:
    """Remove the files that are as :func:`write` wrote them.

    Args:
        files: What :func:`plan` returned.
        root: The source tree.

    Returns:
        The files that stay: they were changed, or others made them.
    """
    with tempfile.TemporaryDirectory() as folder:
        fresh = {
            Path(folder, p.relative_to(root)): t for p, t in files.items()
        }
        shutil.copy(root / 'pyproject.toml', folder)  # how lines are broken
        write(fresh)
        for path, copy in zip(files, fresh, strict=True):
            if path.is_file() and _written(path) == _written(copy):
                path.unlink()
    kept = []
    for path in sorted({path.parent for path in files}):
        shutil.rmtree(path / '__pycache__', ignore_errors=True)
        rest = sorted(path.rglob('*'))
        kept += [one for one in rest if one.is_file()]
        if path.is_dir() and not rest:
            path.rmdir()
    return kept


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Write the files and regenerate the indexes.

    Returns:
        0; 1 if the files can't be written; 2 for wrong arguments.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0],
        epilog='docs/add_a_method.md says what to do next.',
    )
    parser.add_argument('name', help='in snake case, e.g. soft_anchor')
    parser.add_argument(
        '--category', required=True, help=', '.join(CATEGORIES)
    )
    parser.add_argument(
        '--base', help=f'{", ".join(BASES)}; default: the first that fits'
    )
    parser.add_argument(
        '--title',
        help='name as in the paper, which starts the class name, e.g. SAPD; '
        'default: NAME in camel case',
    )
    parser.add_argument(
        '--unpublished',
        action='store_true',
        help='work of your own: no paper, no converter of released weights',
    )
    parser.add_argument(
        '--undo',
        action='store_true',
        help='with the same arguments: remove the files that are still as '
        'they were written',
    )
    args = parser.parse_args(argv)
    kept = []
    try:
        files = plan(
            root,
            args.name,
            args.category,
            args.base,
            args.title,
            not args.unpublished,
            args.undo,
        )
        if args.undo:
            kept = remove(files, root)
        else:
            write(files)
    except ValueError as error:
        print(f'new_method: {error}', file=sys.stderr)
        return 2
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'new_method: {error}', file=sys.stderr)
        return 1
    for path in kept if args.undo else files:
        print(path.relative_to(root).as_posix())
    if kept:
        print('These were changed since they were written: they stay.')
    elif not args.undo:
        print(
            f'Every {MARK} is yours; `python tools/dev/check_repo.py` lists '
            'what is missing.'
        )
    index = root / 'tools' / 'dev' / 'generate_index.py'
    return subprocess.run([sys.executable, index], check=False).returncode


if __name__ == '__main__':
    sys.exit(main())
