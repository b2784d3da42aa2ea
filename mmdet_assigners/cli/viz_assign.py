"""``viz assign``: images of the label assignment."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import common, inputs

if TYPE_CHECKING:
    from ..analysis.detectors import Detector

HELP = 'positives per level, their weights and objects, PNG or HTML'
DESCRIPTION = (
    'Draws the label assignment of images in the scale of the network input: '
    'as PNG, one row per config, or as an HTML page to flip between configs '
    'and images. Heat maps of keypoint detectors are drawn per class, '
    'targets and predictions, one PNG for each config.'
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    inputs.add_config_arguments(parser)
    inputs.add_image_arguments(parser)
    inputs.add_weights_arguments(parser)
    parser.add_argument(
        '--out',
        help='PNG file (default assign.png, unless there is --html); with '
        'several images the index of each is appended',
    )
    parser.add_argument(
        '--html',
        metavar='FILE',
        help='one self-contained page to flip between configs and images',
    )


@common.user_errors()
def run(args: argparse.Namespace) -> int:
    """Draw the images."""
    inputs.check(args)
    inputs.check_ending('out', args.out, '.png')
    inputs.check_ending('html', args.html, '.html', '.htm')
    if args.out is None and args.html is None:
        args.out = 'assign.png'
    from ..analysis import assignment
    from ..visualization.assignment import draw_assignments
    from ..visualization.page import write_page

    split = inputs.split(args)
    images = inputs.images(args, split)
    detectors = list(inputs.detectors(args, split))
    detectors = draw_heatmaps(args, detectors, images, split.classes)
    if not detectors:
        return 0
    warn_untrained(detectors)
    infos = [info for _, info in images]
    by_detector = [list(assignment.collect(d, infos)) for d in detectors]
    by_image = list(zip(*by_detector, strict=True))
    names = [Path(info['img_path']).name for info in infos]
    for name, found in zip(names, by_image, strict=True):
        if len(names) > 1:
            print(f'{name}:')
        for one in found:
            print(f'{one.name}: {one.headline()}')
    if args.out:
        for (index, _), found in zip(images, by_image, strict=True):
            out = inputs.numbered(args.out, index, len(images) > 1)
            print(f'wrote {draw_assignments(found, split.classes, out)}')
    if args.html:
        page = write_page(names, by_image, split.classes, args.html)
        print(f'wrote {page}')
    return 0


def draw_heatmaps(
    args: argparse.Namespace,
    detectors: 'list[Detector]',
    images: list[tuple[int, dict]],
    class_names: tuple[str, ...],
) -> 'list[Detector]':
    """Draw heat maps; returns the detectors with an assignment of priors."""
    from ..analysis.heads import dense_head
    from ..analysis.heatmaps import has_heatmaps, heatmaps_of
    from ..visualization import heatmaps

    rest = []
    for detector in detectors:
        if not has_heatmaps(detector.model):
            rest.append(detector)
            continue
        if hasattr(dense_head(detector.model), 'get_assignment'):
            rest.append(detector)
        for index, info in images:
            out = Path(args.out or args.html).with_suffix('.png')
            out = out.with_stem(f'{out.stem}-{detector.name}-heatmaps')
            path = inputs.numbered(str(out), index, len(images) > 1)
            found = heatmaps_of(detector, info)
            print(f'wrote {heatmaps.draw_heatmaps(found, class_names, path)}')
    return rest


def warn_untrained(detectors: 'list[Detector]') -> None:
    """Warn of detectors that assign by the predictions of random weights.

    Raises:
        TypeError: A detector has no dense head, or the head no adapter.
    """
    from ..analysis.assignment import uses_predictions

    for detector in detectors:
        if uses_predictions(detector) and detector.checkpoint is None:
            common.warn(
                f'{detector.name} assigns by its predictions and is not '
                'trained; give its weights with --checkpoint'
            )
