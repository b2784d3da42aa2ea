"""``table recall``: which share of the objects any prior learns."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import assigning, common

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..ops.recall import Counts

DESCRIPTION = (
    'Counts, over an annotation file, the objects that get at least one '
    'prior of the head (the best possible recall), and the positive priors '
    'that could belong to several objects. Needs no pictures and no weights.'
)
_HEADER = (
    'config',
    'objects',
    'recalled %',
    'positives',
    'ambiguous %',
    'of different classes %',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        'config',
        nargs='+',
        metavar='CONFIG',
        help='names of our configs, mmdet::name, or paths',
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--ann', metavar='FILE', help='COCO annotation file')
    source.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes (default), bccd, coco128 or the root of a COCO-format '
        'data set',
    )
    parser.add_argument(
        '--split', choices=('train', 'val'), default='val', help='of --data'
    )
    parser.add_argument(
        '--images', type=int, metavar='N', help='only the first N pictures'
    )
    parser.add_argument(
        '--no-ambiguity',
        action='store_true',
        help='recall alone, which is many times faster',
    )
    parser.add_argument(
        '--mini',
        action='store_true',
        help='the small-scale form of the configs (see train --mini)',
    )
    parser.add_argument(
        '--format', choices=('markdown', 'csv'), default='markdown'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='changes merged into every config',
    )


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    if args.images is not None and args.images < 1:
        common.fail(f'--images {args.images}: expected at least 1')
    paths = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    from ..visualization.recall import read_classes

    rows = []
    try:
        ann_file = _ann_file(args)
        classes = len(read_classes(ann_file))
        for path in paths:
            cfg = assigning.load_config(args, path, classes)
            rows.append((Path(path).stem, _count(args, path, cfg, ann_file)))
    except (OSError, ValueError, TypeError) as error:
        common.fail(str(error))
    print(format_table(rows, args.format, not args.no_ambiguity))
    return 0


def format_table(
    rows: 'list[tuple[str, Counts]]', kind: str, ambiguity: bool = True
) -> str:
    """The table as text.

    Args:
        rows: Name and counts of each config.
        kind: 'markdown' or 'csv'.
        ambiguity: Whether ambiguous priors were counted.

    Returns:
        str: Percentages with two decimals, '-' where there is nothing.
    """
    lines: list[tuple[str, ...]] = [_HEADER]
    for name, counts in rows:
        share = [
            _percent(counts.ambiguous, counts.positive),
            _percent(counts.mixed, counts.positive),
        ]
        lines.append(
            (
                name,
                str(counts.objects),
                _percent(counts.recalled, counts.objects),
                str(counts.positive),
                *(share if ambiguity else ['-', '-']),
            )
        )
    if kind == 'csv':
        return '\n'.join(','.join(line) for line in lines)
    lines.insert(1, ('---',) * len(_HEADER))
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.2f}' if whole else '-'


def _ann_file(args: argparse.Namespace) -> Path:
    if args.ann:
        return Path(args.ann)
    from ..datasets.roots import resolve_data

    return getattr(resolve_data(args.data or 'shapes'), args.split).ann_file


def _count(
    args: argparse.Namespace, path: str, cfg: 'Config', ann_file: Path
) -> 'Counts':
    from ..visualization.recall import AssignmentCounter, read_samples

    counter = AssignmentCounter(cfg, not args.no_ambiguity)
    if counter.uses_predictions:
        print(
            f'warning: {Path(path).stem} may assign by its predictions; it '
            'is counted with predictions that are zero everywhere',
            file=sys.stderr,
        )
    return counter.count_all(read_samples(cfg, ann_file, args.images))
