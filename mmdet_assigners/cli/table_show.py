"""``table show``: published and own numbers next to each other."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import inputs
from .common import user_errors, warn
from .table_run import DEFAULT_ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..catalog import Model
    from ..reproduction.report import Line, Section
    from ..reproduction.results import Result

HELP = 'published and own numbers of a table, or of any trainings'
DESCRIPTION = (
    'Shows the tables of a method with what `table run` reached, or any '
    'trainings: work folders of this package and of the tools of mmdet, and '
    'the result files of `table run`.'
)
FORMATS = ('markdown', 'csv', 'latex', 'html')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'what',
        nargs='+',
        metavar='METHOD[/TABLE] | FILE_OR_WORK_DIR',
        help='tables, or result files and work folders',
    )
    parser.add_argument(
        '--root', help=f'of `table run` (default: {DEFAULT_ROOT})'
    )
    add_report_arguments(parser)
    parser.add_argument('--format', choices=FORMATS, default='markdown')
    parser.add_argument(
        '--cost',
        action='store_true',
        help='measure parameters, multiply-adds, time and peak memory of an '
        'image',
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='image of --cost in pixels (default: 800 1280; 240 320 of the '
        'mini form, 360 480 of the small one)',
    )
    parser.add_argument('--device', default='cpu', help='of --cost')


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every report."""
    parser.add_argument(
        '--metric',
        help="e.g. 'mask AP' or coco/segm_mAP (default: that of most "
        'published numbers)',
    )
    parser.add_argument(
        '--out', metavar='FILE', help='write there, not to stdout'
    )


@user_errors()
def run(args: argparse.Namespace) -> int:
    """Print or write the report."""
    from ..reproduction.formats import to_csv, to_latex, to_markdown
    from ..visualization.results_page import results_page

    if args.shape and not args.cost:
        raise ValueError('--shape is that of --cost, which is missing')
    if args.shape and min(args.shape) < 1:
        raise ValueError(f'--shape {args.shape}: expected positive sides')
    inputs.check_out(args.out)
    root = args.root
    if root is not None and not (root and Path(root).is_dir()):
        raise ValueError(
            f"--root '{root}': expected the folder of `table run`"
        )
    sections = _sections(args)
    if args.cost:
        sections = [_with_costs(section, args) for section in sections]
    title = ' '.join(args.what) if len(args.what) < 4 else 'Trainings'
    text = {
        'markdown': to_markdown,
        'csv': to_csv,
        'latex': to_latex,
        'html': lambda found: results_page(title, found),
    }[args.format](sections)
    inputs.emit(args, text)
    return 0


def _sections(args: argparse.Namespace) -> 'list[Section]':
    from ..catalog import find_tables
    from ..reproduction.labels import by_config
    from ..reproduction.report import run_sections, table_sections

    paths = [Path(one) for one in args.what]
    missing = [one for one in paths if not one.exists()]
    if not missing:
        runs = by_config(_read_paths(paths))
        return run_sections(runs, catalog_rows(), args.metric)
    if len(missing) < len(paths):
        raise FileNotFoundError(
            f'there is no {missing[0]}; expected result files and work '
            'folders, or tables'
        )
    try:
        found = [find_tables(name) for name in args.what]
    except ValueError as error:
        raise ValueError(f'neither a table nor a file: {error}') from error
    results = read_results(Path(args.root or DEFAULT_ROOT))
    return [
        section
        for method, tables in found
        for table in tables
        for section in table_sections(
            table,
            f'{method.slug}/{table.id}',
            results,
            args.metric,
            method.sources,
        )
    ]


def _read_paths(paths: 'Sequence[Path]') -> 'list[Result]':
    """The results of files, work folders, and roots of ``table run``.

    Each once; a folder without any is skipped with a warning.

    Raises:
        FileNotFoundError: All are skipped.
    """
    from ..reproduction.results import NoTrainingError, collect, read

    found: dict[Path, Result] = {}
    skipped: dict[Path, NoTrainingError] = {}
    for path in paths:
        try:
            if not path.is_dir():
                found.setdefault(path.resolve(), read(path))
            elif results := read_results(path):
                for file, result in results.items():
                    found.setdefault(Path(file).resolve(), result)
            elif path.resolve() not in found:
                found[path.resolve()] = collect(path)
        except NoTrainingError as error:
            skipped[path] = error
    names = ', '.join(map(str, skipped))
    if not found and len(skipped) == 1:
        raise skipped.popitem()[1]
    if not found:
        raise FileNotFoundError(
            f'no training in {names}: expected work folders or result files'
        )
    if skipped:
        warn(f'no training in {names}, skipped')
    return [*found.values()]


def read_results(root: Path) -> 'dict[str, Result]':
    """What ``table run`` wrote, by its files; nothing without the folder."""
    from ..reproduction.results import read

    files = sorted(root.glob('results/*.json'))
    return {str(path): read(path) for path in files}


def catalog_rows() -> 'dict[str, Model]':
    """Stem of a config -> its row, with the numbers of all tables."""
    from ..catalog import read_catalog
    from ..reproduction.report import stem

    rows: dict[str, Model] = {}
    for method in read_catalog():
        shown = [row for table in method.tables for row in table.rows]
        for row in (*shown, *method.models):
            rows.setdefault(stem(row.name), row)
    return rows


def _with_costs(section: 'Section', args: argparse.Namespace) -> 'Section':
    lines = []
    known: dict[str, Line] = {}
    for line in section.lines:
        if line.config not in known:
            known[line.config] = _with_cost(line, section, args)
        lines.append(replace(line, cost=known[line.config].cost))
    return replace(section, lines=tuple(lines))


def _with_cost(
    line: 'Line', section: 'Section', args: argparse.Namespace
) -> 'Line':
    from ..reproduction.cost import measure
    from ..small_scale import load_config

    form = section.form or 'full'
    shape = {'full': (800, 1280), 'mini': (240, 320), 'small': (360, 480)}
    dumps = [Path(r.work_dir) / f'{r.config}.py' for r in line.results]
    dump = next((path for path in dumps if path.is_file()), None)
    if dump:  # it has the form, and the classes of its data
        cfg = load_config(str(dump))
    else:
        cfg = load_config(
            line.config,
            form == 'mini',
            section.data if form == 'small' else None,
            small=form == 'small',
        )
    cost = measure(cfg, tuple(args.shape or shape[form]), args.device)
    return replace(line, cost=cost)
