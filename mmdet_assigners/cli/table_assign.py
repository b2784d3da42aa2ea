"""``table assign``: the label assignment in numbers."""

import argparse
import math
from typing import TYPE_CHECKING

from ..tables import csv_text, markdown
from . import inputs
from .common import user_errors
from .viz_assign import warn_untrained

if TYPE_CHECKING:
    import numpy as np

    from ..analysis.statistics import Statistics

HELP = 'positives per object, their overlap, agreement between configs'
DESCRIPTION = (
    'Runs configs on images and counts the positive priors of each object: '
    'mean, median and the share of objects without any, by size of the '
    'object (area of its box in the file: below 32^2, 96^2 px) and by level; '
    'the share of positives whose center lies in several boxes; the median '
    'time of an assignment without the network; and how far the configs '
    'agree (Jaccard index of the cells that are positive for an object; '
    "'-' if they see the images in different sizes)."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    inputs.add_config_arguments(parser)
    inputs.add_table_arguments(parser, images=50)
    inputs.add_weights_arguments(parser)


@user_errors()
def run(args: argparse.Namespace) -> int:
    """Print or write the table."""
    inputs.check(args)
    from ..analysis.images import read_images
    from ..analysis.statistics import compare

    split = inputs.split(args)
    detectors = list(inputs.detectors(args, split))
    warn_untrained(detectors)
    statistics, agreement = compare(detectors, read_images(split, args.images))
    lines = [
        _lines(detector.name, own)
        for detector, own in zip(detectors, statistics, strict=True)
    ]
    inputs.emit(args, format_table(lines, agreement.table(), args.format))
    return 0


def _lines(name: str, statistics: 'Statistics') -> list[dict[str, str]]:
    """A line for each size of objects, column -> text."""
    lines = []
    for summary in statistics.by_size():
        line = {
            'config': name,
            'size': summary.size,
            'objects': str(summary.objects),
            'mean': _number(summary.mean, '.2f'),
            'median': _number(summary.median, 'g'),
            'none %': _number(100 * summary.without, '.2f'),
        }
        for level, mean in summary.per_level.items():
            line[level] = _number(mean, '.2f')
        if summary.size == 'all':
            line['in several %'] = f'{100 * statistics.in_several:.2f}'
            line['s / image'] = f'{statistics.seconds:.4f}'
        lines.append(line)
    return lines


def _number(value: float, spec: str) -> str:
    return '-' if math.isnan(value) else format(value, spec)


def format_table(
    configs: list[list[dict[str, str]]], agreement: 'np.ndarray', form: str
) -> str:
    """The table as text.

    Args:
        configs: For each of M configs its lines, column -> text; levels that
            only some configs have are empty in the others.
        agreement: (M, M) Jaccard index, NaN where it is not defined.
        form: 'markdown': two tables; 'csv': one, where the lines of all
            objects also have the agreement with each config.
    """
    names = [lines[0]['config'] for lines in configs]
    shares = [[_number(share, '.3f') for share in row] for row in agreement]
    lines = [line for own in configs for line in own]
    columns = _columns(lines)
    if form == 'csv':
        keys = [f'jaccard {name}' for name in names]
        for own, texts in zip(configs, shares, strict=True):
            own[0].update(zip(keys, texts, strict=True))
        columns = [*columns, *keys]
    rows = [[line.get(column, '') for column in columns] for line in lines]
    if form == 'csv':
        return csv_text(columns, rows)
    text = markdown(columns, rows)
    if len(names) > 1:
        text += '\n\nAgreement (Jaccard index of positive cells):\n\n'
        rows = [[n, *s] for n, s in zip(names, shares, strict=True)]
        text += markdown(['config', *names], rows)
    return text


def _columns(lines: list[dict[str, str]]) -> list[str]:
    """All columns, the levels from fine to coarse."""
    first = ['config', 'size', 'objects', 'mean', 'median', 'none %']
    last = ['in several %', 's / image']
    levels = {key for line in lines for key in line} - {*first, *last}
    ordered = sorted(levels, key=lambda name: float(name.removeprefix('P')))
    return [*first, *ordered, *last]
