"""``table uncertainty``: predicted sigma against error and IoU."""

import argparse
import math
from typing import TYPE_CHECKING

from ..tables import csv_text, markdown
from . import inputs
from .common import user_errors
from .viz_uncertainty import warn_untrained

if TYPE_CHECKING:
    from ..analysis.uncertainty import SideSummary

HELP = 'predicted standard deviations against errors and IoU'
DESCRIPTION = (
    'Compares the standard deviation of each side that a head predicts '
    '(box_sigmas) with the error of that side, and with the IoU of the box, '
    'for detections that overlap an object of their class. Ratio: mean sigma '
    'over the sigma of Gaussian errors of the same mean; 1 is calibrated, '
    'more is over-estimated (a threshold on the IoU cuts large errors off and '
    'raises it). Within sigma: 68.3 % if calibrated. Rank correlations are '
    "Spearman's: with the error it should be positive, with the IoU negative."
)
_HEADER = (
    'config',
    'side',
    'decile',
    'count',
    'mean sigma',
    'mean error',
    'ratio',
    'within sigma %',
    'rank corr. error',
    'mean IoU',
    'rank corr. IoU',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    inputs.add_config_arguments(parser)
    inputs.add_table_arguments(parser, images=0)
    inputs.add_weights_arguments(parser)
    parser.add_argument(
        '--iou-thr',
        type=float,
        default=0.5,
        help='smallest IoU of a detection with its object (default 0.5; 0.1 '
        'includes bad boxes)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.05,
        help='smallest score of a detection (default 0.05)',
    )
    parser.add_argument(
        '--relative',
        action='store_true',
        help='sigma and error as share of the width or height of the object',
    )
    parser.add_argument(
        '--deciles',
        action='store_true',
        help='also a line for each tenth of the sides, by sigma',
    )
    parser.add_argument(
        '--plot',
        metavar='FILE',
        help='PNG: sigma against error and against IoU',
    )


@user_errors()
def run(args: argparse.Namespace) -> int:
    """Print or write the table and the plot."""
    inputs.check(args)
    inputs.check_range(args, 'iou_thr', 0, 1)
    inputs.check_range(args, 'score_thr', 0, 1)
    inputs.check_ending('plot', args.plot, '.png')
    from ..analysis.images import read_images
    from ..analysis.uncertainty import collect, summarize

    split = inputs.split(args)
    detectors = list(inputs.detectors(args, split))
    warn_untrained(detectors)
    thresholds = args.iou_thr, args.score_thr
    errors = []
    for detector in detectors:
        images = read_images(split, args.images)
        own = collect(detector, images, *thresholds, args.relative)
        errors.append((detector.name, own))
    rows = [
        _row(name, summary)
        for name, own in errors
        for summary in summarize(own, args.deciles)
    ]
    form = csv_text if args.format == 'csv' else markdown
    inputs.emit(args, form(_HEADER, rows))
    if args.plot:
        from ..visualization.uncertainty import draw_reliability

        print(f'wrote {draw_reliability(errors, args.plot, args.relative)}')
    return 0


def _row(name: str, summary: 'SideSummary') -> list[str]:
    numbers = (
        summary.mean_sigma,
        summary.mean_error,
        summary.ratio,
        100 * summary.within_sigma,
        summary.error_correlation,
        summary.mean_iou,
        summary.iou_correlation,
    )
    return [
        name,
        summary.side,
        str(summary.decile or 'all'),
        str(summary.sides),
        *('-' if math.isnan(x) else f'{x:#.3g}' for x in numbers),
    ]
