"""``table uncertainty``: predicted sigma against errors and IoU."""

import argparse
from typing import TYPE_CHECKING

from . import assigning, common, images

if TYPE_CHECKING:
    from ..analysis.uncertainty import SideErrors, UncertainDetector
    from ..datasets.roots import Split

DESCRIPTION = (
    'Compares the standard deviation of each side that a head predicts '
    '(box_sigmas) with the error of that side, and with the IoU of the box, '
    'for detections that overlap an object of their class. Ratio: mean sigma '
    'over the sigma of Gaussian errors of this mean; 1 is calibrated, more is '
    'over-estimated (a threshold on the IoU cuts large errors off and raises '
    'it). Within sigma: 68.3 % if calibrated. Rank correlations are '
    "Spearman's: with the error it should be positive, with the IoU negative."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    assigning.add_table_arguments(parser, images=0)
    assigning.add_method_arguments(parser)
    parser.add_argument(
        '--iou-thr',
        type=float,
        default=0.5,
        help='least IoU of a detection with its object (default 0.5; 0.1 '
        'shows bad boxes too)',
    )
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.05,
        help='least score of a detection (default 0.05)',
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


def run(args: argparse.Namespace) -> int:
    """Print or write the table and the plot."""
    assigning.check_images(args)
    for option in ('iou_thr', 'score_thr'):
        value = getattr(args, option)
        if not 0 <= value <= 1:
            name = option.replace('_', '-')
            common.fail(f'--{name} {value}: expected 0 to 1')
    images.check_ending('plot', args.plot, '.png')
    assigning.check_checkpoints(args)
    paths = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    from ..analysis.uncertainty import table_lines

    try:
        split = assigning.find_split(args)
        detectors = assigning.load_uncertain(args, paths, len(split.classes))
        errors = collect(args, detectors, split)
        lines = [
            line
            for title, own in errors
            for line in table_lines(title, own, args.deciles)
        ]
        text = format_table(lines, args.format)
        assigning.emit(args, text)
        if args.plot:
            from ..visualization.uncertainty_plots import draw_reliability

            out = draw_reliability(errors, args.plot, args.relative)
            print(f'wrote {out}')
    except (OSError, ValueError, TypeError, ImportError) as error:
        common.fail(str(error))
    return 0


def collect(
    args: argparse.Namespace,
    detectors: 'list[UncertainDetector]',
    split: 'Split',
) -> 'list[tuple[str, SideErrors]]':
    """Name and matched detections of each config.

    Args:
        args: ``images``, ``iou_thr``, ``score_thr`` and ``relative``.
        detectors: One per config.
        split: The images.
    """
    from ..analysis.samples import read_images
    from ..analysis.uncertainty import SideErrors, match, objects_of

    parts: list[list[SideErrors]] = [[] for _ in detectors]
    for info in read_images(split.ann_file, split.img_dir, args.images):
        objects = objects_of(info)
        for own, detector in zip(parts, detectors, strict=True):
            found = detector.detect(info).best(args.score_thr)
            own.append(match(found, *objects, args.iou_thr, args.relative))
    return [
        (detector.title, SideErrors.join(own))
        for detector, own in zip(detectors, parts, strict=True)
    ]


def format_table(lines: list[dict[str, str]], kind: str) -> str:
    """The table as text.

    Args:
        lines: Column -> text, all with the same columns.
        kind: 'markdown' or 'csv'.
    """
    header = [*lines[0]]
    rows = [[line[column] for column in header] for line in lines]
    if kind == 'markdown':
        return common.markdown(header, rows)
    return common.csv_text(header, rows)
