"""``table recall``: the share of the objects that any prior learns."""

import argparse
from typing import TYPE_CHECKING

from ..tables import csv_text, markdown
from . import inputs
from .common import user_errors, warn

if TYPE_CHECKING:
    from ..analysis.recall_rules import Counts

HELP = 'share of the objects that any prior learns'
DESCRIPTION = (
    'Counts, over an annotation file, the objects that get at least one '
    'prior of the head (the best possible recall), and the positive priors '
    'that could have been assigned to several objects. Needs no images and '
    'no weights.'
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
    inputs.add_config_arguments(parser)
    parser.add_argument(
        '--ann', metavar='FILE', help='COCO annotation file, not --data'
    )
    inputs.add_table_arguments(parser, images=0)
    parser.add_argument(
        '--no-ambiguity',
        action='store_true',
        help='recall alone, without the ambiguous priors',
    )


@user_errors()
def run(args: argparse.Namespace) -> int:
    """Print or write the table."""
    inputs.check(args)
    from ..analysis import recall
    from ..analysis.assignment import uses_predictions

    split = inputs.split(args)
    ambiguity = not args.no_ambiguity
    rows = []
    for detector in inputs.detectors(args, split):
        if uses_predictions(detector):
            warn(
                f'{detector.name} may assign by its predictions; it is '
                'counted with predictions that are zero everywhere'
            )
        counts = recall.count(detector, split, args.images, ambiguity)
        rows.append((detector.name, counts))
    inputs.emit(args, format_table(rows, args.format, ambiguity))
    return 0


def format_table(
    rows: 'list[tuple[str, Counts]]', form: str, ambiguity: bool = True
) -> str:
    """The table as text.

    Args:
        rows: Name and counts of each config.
        form: 'markdown' or 'csv'.
        ambiguity: Whether ambiguous priors were counted.

    Returns:
        str: Percentages with two decimals, '-' where they are not defined.
    """
    lines = []
    for name, counts in rows:
        shares = [
            _percent(counts.ambiguous, counts.positive),
            _percent(counts.mixed, counts.positive),
        ]
        lines.append(
            (
                name,
                str(counts.objects),
                _percent(counts.recalled, counts.objects),
                str(counts.positive),
                *(shares if ambiguity else ['-', '-']),
            )
        )
    return (csv_text if form == 'csv' else markdown)(_HEADER, lines)


def _percent(part: int, whole: int) -> str:
    return f'{100 * part / whole:.2f}' if whole else '-'
