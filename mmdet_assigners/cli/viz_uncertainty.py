"""``viz uncertainty``: detections with the uncertainty of each side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import assigning, common, images

if TYPE_CHECKING:
    from ..analysis.uncertainty import UncertainDetector
    from ..visualization.uncertainty_plots import UncertaintyPanel

DESCRIPTION = (
    'Draws the detections of configs whose heads predict the standard '
    'deviation of each side (box_sigmas), as bands around the sides, next to '
    'the true boxes. Pixels are those of the file.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    images.add_image_arguments(parser)
    assigning.add_method_arguments(parser)
    parser.add_argument(
        '--score-thr',
        type=float,
        default=0.3,
        help='least score of a detection that is drawn (default 0.3)',
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
        help='PNG file (default uncertainty.png); of several images each '
        'gets its index appended',
    )


def run(args: argparse.Namespace) -> int:
    """Draw the images."""
    assigning.check_checkpoints(args)
    images.check_image_arguments(args)
    images.check_ending('out', args.out, '.png')
    if args.max_boxes < 1:
        common.fail(f'--max-boxes {args.max_boxes}: expected at least 1')
    if not 0 <= args.score_thr <= 1:
        common.fail(f'--score-thr {args.score_thr}: expected 0 to 1')
    configs = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    from ..visualization.uncertainty_plots import draw_uncertainty

    try:
        infos, classes = images.find_images(args)
        detectors = assigning.load_uncertain(args, configs, len(classes))
        for number, info in enumerate(infos):
            panels = [_panel(args, own, info) for own in detectors]
            out = images.numbered(args.out, args.index[number], len(infos) > 1)
            print(f'wrote {draw_uncertainty(panels, classes, out)}')
    except (OSError, ValueError, TypeError, IndexError, ImportError) as error:
        common.fail(str(error))
    return 0


def _panel(
    args: argparse.Namespace,
    detector: 'UncertainDetector',
    info: dict[str, Any],
) -> 'UncertaintyPanel':
    import mmcv

    from ..analysis.uncertainty import objects_of
    from ..visualization.uncertainty_plots import UncertaintyPanel

    found = detector.detect(info)
    drawn = found.best(args.score_thr, args.max_boxes)
    top = f'{found.scores[0]:.3f}' if len(found.scores) else 'none'
    name = Path(info['img_path']).name
    print(
        f'{detector.title}: {len(drawn.scores)} of {len(found.scores)} '
        f'detections drawn on {name} (best score {top})'
    )
    return UncertaintyPanel(
        title=detector.title,
        subtitle=f'{name} · {len(drawn.scores)} detections'
        + (' · UNTRAINED' if detector.untrained else ''),
        image=mmcv.imread(info['img_path'], channel_order='rgb'),
        found=drawn,
        objects=objects_of(info)[0],
    )
