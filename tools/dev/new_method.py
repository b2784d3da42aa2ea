"""``new-method``: all files of a method, as stubs whose tests fail."""

import argparse
import ast
import importlib.util
import keyword
import re
import subprocess
import sys
from pathlib import Path
from string import Template

from ..catalog import closest, find_classes
from . import templates
from .kinds import KINDS
from .templates import BASES

_SLUG = re.compile(r'[a-z][a-z0-9]*(_[a-z0-9]+)*')
_MAX_SLUG = 24  # longer names break the 79 columns of generated lines


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'new-method',
        help='write all files of a new method (in a source tree)',
        description=__doc__,
    )
    parser.add_argument('name', help='in snake case, e.g. soft_anchor')
    parser.add_argument('--kind', required=True, help=', '.join(KINDS))
    parser.add_argument(
        '--base', help=f'{", ".join(BASES)}; default: retinanet or faster-rcnn'
    )
    parser.add_argument(
        '--title',
        help='name as in the paper, which starts the class name, e.g. SAPD; '
        'default: NAME in camel case',
    )


def source_root(package: Path | None = None) -> Path:
    """The source tree that holds the package.

    Raises:
        FileNotFoundError: The package is installed from a wheel.
    """
    package = package or Path(__file__).parents[1]
    root = package.parent
    if not all((root / n).exists() for n in ('pyproject.toml', 'tests')):
        raise FileNotFoundError(
            f'new-method works in a source tree; {package} is an installed '
            'copy. Clone the repository, `pip install -e .` and run it there'
        )
    return root


def _check(slug: str, kind: str, base: str | None) -> str:
    """Check the arguments; returns the base."""
    if not _SLUG.fullmatch(slug) or keyword.iskeyword(slug):
        raise ValueError(
            f'NAME {slug!r}: expected snake case such as soft_anchor'
        )
    if len(slug) > _MAX_SLUG:
        raise ValueError(
            f'NAME {slug!r}: expected at most {_MAX_SLUG} characters'
        )
    if kind not in KINDS:
        raise ValueError(f'--kind {kind!r}: {closest(kind, tuple(KINDS))}')
    base = base or ('faster-rcnn' if kind == 'roi_head' else 'retinanet')
    if base not in BASES:
        raise ValueError(f'--base {base!r}: {closest(base, tuple(BASES))}')
    if kind == 'head' and BASES[base].two_stage:
        raise ValueError(f'--base {base!r}: expected one stage for a head')
    if kind == 'roi_head' and not BASES[base].two_stage:
        raise ValueError(f'--base {base!r}: a roi_head needs faster-rcnn')
    if kind == 'assigner' and not BASES[base].assigner:
        raise ValueError(
            f'--base {base!r}: its head takes no assigner; expected another'
        )
    return base


def _natural(module: str) -> list[int | str]:
    """Sort key of ruff's isort: numbers by value."""
    parts = re.split(r'(\d+)', module)
    return [int(part) if part.isdigit() else part for part in parts]


def add_import(source: str, line: str) -> str:
    """Add ``from .module import ...`` to an ``__init__``, in sorted order."""
    module = line.split()[1].removeprefix('.')
    nodes = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom) and node.level == 1
    ]
    if any(node.module == module for node in nodes):
        return source
    lines = source.splitlines()
    later = [
        node.lineno - 1
        for node in nodes
        if _natural(node.module or '') > _natural(module)
    ]
    if later:
        lines.insert(later[0], line)
    elif nodes:
        lines.insert(nodes[-1].end_lineno or nodes[-1].lineno, line)
    else:
        lines += ['', line] if lines else [line]
    return '\n'.join(lines) + '\n'


def plan(
    root: Path,
    slug: str,
    kind: str,
    base: str | None = None,
    title: str | None = None,
) -> dict[Path, str]:
    """The contents of all files of a new method, nothing written.

    Args:
        root: The source tree.
        slug: Name in snake case.
        kind: A key of :data:`kinds.KINDS`.
        base: A key of :data:`templates.BASES`.
        title: Start of the class name; None makes it from the slug.

    Raises:
        ValueError: A wrong argument, or the class name is taken.
        FileExistsError: One of the new files exists.
    """
    base = _check(slug, kind, base)
    spec, start = KINDS[kind], BASES[base]
    stem = slug.removesuffix(f'_{kind}')
    title = title or ''.join(part.capitalize() for part in stem.split('_'))
    if not re.fullmatch(rf'[A-Z][A-Za-z0-9]{{0,{_MAX_SLUG - 1}}}', title):
        raise ValueError(
            f'--title {title!r}: expected a class name such as SAPD of at '
            f'most {_MAX_SLUG} characters'
        )
    module, cls = f'{stem}_{kind}', title + spec.suffix
    model = spec.config
    if start.two_stage and spec.config_two_stage:
        model = spec.config_two_stage
    test_imports, test = spec.test.split('\n\n\n', 1)
    head, constant, rest = test_imports.partition('\n\n')
    names = {
        'base_config': start.config,
        'cls': cls,
        'config': f'{slug}_{base}_r50_fpn_1x_coco',
        'head': start.head,
        'kind': kind,
        'mark': templates.MARK,
        'method': spec.method,
        'parent': start.head if spec.parent == '$head' else spec.parent,
        'registry': spec.registry,
        'slug': slug,
        'title': title,
    }

    def fill(text: str) -> str:
        return Template(text).substitute(names)

    names |= {
        'body': fill(spec.body),
        'imports': fill(spec.imports),
        'model': fill(start.extra + model),
    }
    models = root / 'mmdet_assigners' / 'models'
    folder = models / spec.folder
    configs, tests = root / 'configs' / slug, root / 'tests'
    new = {
        folder / f'{module}.py': fill(templates.MODULE),
        configs / f'{names["config"]}.py': fill(templates.CONFIG),
        configs / 'metafile.yml': fill(templates.METAFILE),
        configs / 'README.md': fill(templates.README),
        tests / 'adapters' / f'{slug}.py': fill(templates.ADAPTER),
    }
    names['imports'] = head + '\n'
    names['test'] = fill(f'{rest}\n\n\n{test}' if constant else test)
    test_folder = tests / 'test_models' / f'test_{folder.name}'
    new[test_folder / f'test_{module}.py'] = fill(templates.TEST)
    _refuse_collisions(root, new, cls)

    edits = {folder / '__init__.py': f'from .{module} import {cls}'}
    if folder.parent != models:
        line = f'from .{folder.name} import *  # noqa: F403'
        edits[folder.parent / '__init__.py'] = line
    for path, line in edits.items():
        source = path.read_text(encoding='utf-8') if path.is_file() else ''
        new[path] = add_import(source, line)
    return new


def _refuse_collisions(root: Path, new: dict[Path, str], cls: str) -> None:
    taken = [path for path in new if path.exists()]
    if taken:
        names = ', '.join(str(path.relative_to(root)) for path in taken)
        raise FileExistsError(f'nothing written, there is already {names}')
    mmdet = importlib.util.find_spec('mmdet')
    packages = [root / 'mmdet_assigners']
    if mmdet is not None and mmdet.submodule_search_locations:
        packages.append(Path(mmdet.submodule_search_locations[0]))
    for package in packages:
        file = find_classes(package).get(cls)
        if file is not None:
            raise ValueError(
                f'nothing written, {file} has a class {cls}; expected an '
                'unused NAME'
            )


def write(files: dict[Path, str]) -> None:
    """Write all files, or, if one fails, none."""
    before = {
        path: path.read_bytes() if path.exists() else None for path in files
    }
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding='utf-8')
    except OSError:
        for path, old in before.items():
            if old is not None:
                path.write_bytes(old)
            elif path.is_file():
                path.unlink()
        raise


def run(args: argparse.Namespace) -> int:
    """Write the files and regenerate the indices.

    Returns:
        0; 1 if the files can't be written; 2 for wrong arguments.
    """
    try:
        root = source_root()
        files = plan(root, args.name, args.kind, args.base, args.title)
        write(files)
    except ValueError as error:
        print(f'mmdet-assigners new-method: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        print(f'mmdet-assigners new-method: {error}', file=sys.stderr)
        return 1
    python = [str(path) for path in files if path.suffix == '.py']
    if importlib.util.find_spec('ruff'):  # long names need other line breaks
        command = [sys.executable, '-m', 'ruff', 'format', '-q', *python]
        subprocess.run(command, cwd=root, check=False)
    index = root / 'tools' / 'generate_index.py'
    done = subprocess.run([sys.executable, str(index)], check=False)
    for path in files:
        print(path.relative_to(root).as_posix())
    print(
        f'Every {templates.MARK} is yours; `python tools/check_repo.py` '
        'lists what is missing.'
    )
    return done.returncode
