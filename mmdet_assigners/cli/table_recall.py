"""``table recall``: which share of the objects any prior learns."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import assigning, common

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..analysis.recall_rules import Counts

DESCRIPTION = (
    'Counts, over an annotation file, the objects that get at least one '
    'prior of the head (the best possible recall), and the positive priors '
    'that could belong to several objects. Needs no images and no weights.'
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
        '--ann', metavar='FILE', help='COCO annotation file, not --data'
    )
    assigning.add_table_arguments(parser, images=0)
    parser.add_argument(
        '--no-ambiguity',
        action='store_true',
        help='recall alone, which is many times faster',
    )
    assigning.add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print or write the table."""
    if args.ann and args.data:
        common.fail('--ann and --data exclude each other')
    assigning.check_images(args)
    paths = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    from ..analysis.recall import read_classes

    rows = []
    try:
        ann_file = _ann_file(args)
        classes = len(read_classes(ann_file))
        for path in paths:
            cfg = assigning.load_config(args, path, classes)
            rows.append((Path(path).stem, _count(args, path, cfg, ann_file)))
        assigning.emit(
            args, format_table(rows, args.format, not args.no_ambiguity)
        )
    except (OSError, ValueError, TypeError) as error:
        common.fail(str(error))
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
    lines = []
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
    form = common.csv_text if kind == 'csv' else common.markdown
    return form(_HEADER, lines)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.2f}' if whole else '-'


def _ann_file(args: argparse.Namespace) -> Path:
    if args.ann:
        return Path(args.ann)
    return assigning.find_split(args).ann_file


def _count(
    args: argparse.Namespace, path: str, cfg: 'Config', ann_file: Path
) -> 'Counts':
    from ..analysis.recall import AssignmentCounter, read_samples

    counter = AssignmentCounter(cfg, not args.no_ambiguity)
    if counter.uses_predictions:
        print(
            f'warning: {Path(path).stem} may assign by its predictions; it '
            'is counted with predictions that are zero everywhere',
            file=sys.stderr,
        )
    return counter.count_all(read_samples(cfg, ann_file, args.images))
