"""``table assign``, ``recall`` and ``uncertainty``: a head in numbers."""

import argparse
import math
from typing import TYPE_CHECKING, Any

from . import assigning, common, table_recall, table_uncertainty

if TYPE_CHECKING:
    import numpy as np

    from ..analysis.detectors import Method
    from ..datasets.roots import Split

_ASSIGN = (
    'Runs configs over images and counts the positive priors of each '
    'object: mean, median and the share of objects without any, by size of '
    'the object (area of its box in the file: below 32^2, 96^2 px) and by '
    'level; the share of positives whose center lies in several objects; the '
    'median time of an assignment without the network; and how far the '
    'configs agree (Jaccard index of the cells that are positive for an '
    "object; '-' where they see the images in different sizes)."
)


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    table = subparsers.add_parser(
        'table',
        help='label assignment and uncertainty in numbers',
        description=__doc__,
    )
    kinds = table.add_subparsers(dest='kind', metavar='KIND', required=True)
    assign = kinds.add_parser(
        'assign',
        help='positives per object, ambiguity, agreement between configs',
        description=_ASSIGN,
    )
    assigning.add_table_arguments(assign, images=50)
    assigning.add_method_arguments(assign)
    recall = kinds.add_parser(
        'recall',
        help='share of the objects that any prior learns',
        description=table_recall.DESCRIPTION,
    )
    table_recall.add_arguments(recall)
    uncertainty = kinds.add_parser(
        'uncertainty',
        help='predicted standard deviations against errors and IoU',
        description=table_uncertainty.DESCRIPTION,
    )
    table_uncertainty.add_arguments(uncertainty)


def run(args: argparse.Namespace) -> int:
    """Print or write the table."""
    if args.kind == 'recall':
        return table_recall.run(args)
    if args.kind == 'uncertainty':
        return table_uncertainty.run(args)
    assigning.check_images(args)
    assigning.check_checkpoints(args)
    paths = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)

    try:
        split = assigning.find_split(args)
        methods = assigning.load_methods(args, paths, len(split.classes))
        lines, agreement = _count(methods, split, args.images)
        text = format_table(lines, agreement, args.format)
        assigning.emit(args, text)
    except (OSError, ValueError, TypeError, ImportError) as error:
        common.fail(str(error))
    return 0


def _count(
    methods: 'list[Method]', split: 'Split', limit: int
) -> 'tuple[list[list[dict[str, str]]], np.ndarray]':
    from ..analysis.samples import read_images
    from ..analysis.statistics import Agreement, Statistics

    statistics = [Statistics(method.title) for method in methods]
    agreement = Agreement(len(methods))
    for info in read_images(split.ann_file, split.img_dir, limit):
        areas = [_area(i) for i in info['instances'] if not i['ignore_flag']]
        rows = []
        for method, numbers in zip(methods, statistics, strict=True):
            row, seconds = method.assign(info)
            numbers.add(row, areas, seconds)
            rows.append(row)
        agreement.add(rows)
    return [numbers.lines() for numbers in statistics], agreement.table()


def _area(instance: dict[str, Any]) -> float:
    x1, y1, x2, y2 = instance['bbox']
    return (x2 - x1) * (y2 - y1)


def format_table(
    methods: list[list[dict[str, str]]], agreement: 'np.ndarray', kind: str
) -> str:
    """The table as text.

    Args:
        methods: For each of M methods its lines, column -> text; columns of
            levels that only some have are empty in the others.
        agreement: (M, M) Jaccard index, NaN where there is none.
        kind: 'markdown': two tables; 'csv': one, where the lines of all
            objects also have the agreement with each method.
    """
    names = [lines[0]['config'] for lines in methods]
    shares = [
        ['-' if math.isnan(share) else f'{share:.3f}' for share in line]
        for line in agreement
    ]
    lines = [line for lines in methods for line in lines]
    columns = _columns(lines)
    if kind == 'csv':
        keys = [f'jaccard {name}' for name in names]
        for own, texts in zip(methods, shares, strict=True):
            own[0].update(zip(keys, texts, strict=True))
        columns = [*columns, *keys]
        return common.csv_text(
            columns, [[x.get(c, '') for c in columns] for x in lines]
        )
    text = common.markdown(
        columns, [[x.get(c, '') for c in columns] for x in lines]
    )
    if len(names) > 1:
        text += '\n\nAgreement (Jaccard index of positive cells):\n\n'
        rows = [[n, *s] for n, s in zip(names, shares, strict=True)]
        text += common.markdown(['config', *names], rows)
    return text


def _columns(lines: list[dict[str, str]]) -> list[str]:
    """First what every method has, then levels from fine to coarse."""
    first = ['config', 'size', 'objects', 'mean', 'median', 'none %']
    last = ['ambiguous %', 's / image']
    levels = {key for line in lines for key in line} - {*first, *last}
    ordered = sorted(levels, key=lambda name: float(name.removeprefix('P')))
    return [*first, *ordered, *last]
