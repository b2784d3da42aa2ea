"""``viz uncertainty``: detections with the uncertainty of each side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common, inputs

if TYPE_CHECKING:
    from ..analysis.detectors import Detector
    from ..visualization.uncertainty import UncertaintyPanel

HELP = 'detections with the standard deviation of each side, PNG'
DESCRIPTION = (
    'Draws the detections of configs whose heads predict the standard '
    'deviation of each side (box_sigmas), as bands around the sides, next to '
    'the true boxes. Pixels are those of the file.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    inputs.add_config_arguments(parser)
    inputs.add_image_arguments(parser)
    inputs.add_weights_arguments(parser)
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='smallest score of a detection that is drawn (default 0.3)',
    )
    parser.add_argument(
        '--max-boxes',
        type=int,
        default=20,
        metavar='N',
        help='only the N best detections (default 20)',
    )
    parser.add_argument(
        '--out',
        default='uncertainty.png',
        help='PNG file (default uncertainty.png); with several images the '
        'index of each is appended',
    )


@common.user_errors()
def run(args: argparse.Namespace) -> int:
    """Draw the images."""
    inputs.check(args)
    inputs.check_ending('out', args.out, '.png')
    inputs.check_range(args, 'score_thr', 0, 1)
    if args.max_boxes < 1:
        raise ValueError(f'--max-boxes {args.max_boxes}: expected at least 1')
    from ..visualization.uncertainty import draw_uncertainty

    split = inputs.split(args)
    images = inputs.images(args, split)
    detectors = list(inputs.detectors(args, split))
    warn_untrained(detectors)
    for index, info in images:
        panels = [_panel(args, detector, info) for detector in detectors]
        out = inputs.numbered(args.out, index, len(images) > 1)
        print(f'wrote {draw_uncertainty(panels, split.classes, out)}')
    return 0


def warn_untrained(detectors: 'list[Detector]') -> None:
    """Warn of detectors with random weights."""
    for detector in detectors:
        if detector.checkpoint is None:
            common.warn(
                f'{detector.name} is not trained, its detections mean '
                'nothing; give its weights with --checkpoint'
            )


def _panel(
    args: argparse.Namespace, detector: 'Detector', info: dict[str, Any]
) -> 'UncertaintyPanel':
    import mmcv

    from ..analysis.images import ground_truths
    from ..analysis.uncertainty import detect
    from ..visualization.uncertainty import UncertaintyPanel

    found = detect(detector, info)
    drawn = found.best(args.score_thr, args.max_boxes)
    top = f'{found.scores[0]:.3f}' if len(found.scores) else 'none'
    name = Path(info['img_path']).name
    print(
        f'{detector.name}: {len(drawn.scores)} of {len(found.scores)} '
        f'detections drawn on {name} (best score {top})'
    )
    return UncertaintyPanel(
        title=detector.name,
        subtitle=f'{name} · {len(drawn.scores)} detections'
        + ('' if detector.checkpoint else ' · UNTRAINED'),
        image=mmcv.imread(info['img_path'], channel_order='rgb'),
        found=drawn,
        objects=ground_truths(info)[0],
    )
