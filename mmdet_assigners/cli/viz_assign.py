"""``viz assign`` and ``viz uncertainty``: images of what a head does."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import assigning, common, images, viz_uncertainty

if TYPE_CHECKING:
    from ..analysis.rows import AssignmentRow


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    viz = subparsers.add_parser(
        'viz',
        help='images of label assignment and uncertainty',
        description=__doc__,
    )
    kinds = viz.add_subparsers(dest='kind', metavar='KIND', required=True)
    parser = kinds.add_parser(
        'assign',
        help='positives per level, their weights and objects, PNG or HTML',
        description='Draws the label assignment of images in the scale of '
        'the network input: as PNG, one row per config, or as an HTML page to '
        'flip between configs and images.',
    )
    images.add_image_arguments(parser)
    assigning.add_method_arguments(parser)
    parser.add_argument(
        '--out',
        help='PNG file (assign.png unless there is --html); of several '
        'images each gets its index appended',
    )
    parser.add_argument(
        '--html',
        metavar='FILE',
        help='one self-contained page; arrow keys flip configs and images',
    )
    uncertainty = kinds.add_parser(
        'uncertainty',
        help='detections with the standard deviation of each side, PNG',
        description=viz_uncertainty.DESCRIPTION,
    )
    viz_uncertainty.add_arguments(uncertainty)


def run(args: argparse.Namespace) -> int:
    """Draw the images."""
    if args.kind == 'uncertainty':
        return viz_uncertainty.run(args)
    if args.out is None and args.html is None:
        args.out = 'assign.png'
    assigning.check_checkpoints(args)
    images.check_image_arguments(args)
    images.check_ending('out', args.out, '.png')
    images.check_ending('html', args.html, '.html', '.htm')
    configs = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    try:
        infos, classes = images.find_images(args)
        methods = assigning.load_methods(args, configs, len(classes))
        table = [
            [method.assign(info)[0] for method in methods] for info in infos
        ]
        for info, rows in zip(infos, table, strict=True):
            _say(rows, info['img_path'] if len(infos) > 1 else None)
        for out in _write(args, infos, table, classes):
            print(f'wrote {out}')
    except (OSError, ValueError, TypeError, IndexError, ImportError) as error:
        common.fail(str(error))
    return 0


def _say(rows: 'list[AssignmentRow]', image: str | None) -> None:
    if image:
        print(f'{Path(image).name}:')
    for row in rows:
        counts = row.counts()
        found = int((counts.sum(1) > 0).sum())
        print(
            f'{row.title}: {counts.sum()} positives on {found} of '
            f'{len(counts)} objects'
        )


def _write(
    args: argparse.Namespace,
    infos: list[dict[str, Any]],
    table: 'list[list[AssignmentRow]]',
    classes: tuple[str, ...],
) -> list[Path]:
    """Write the PNG files and the page; returns their paths."""
    from ..visualization.draw import draw_assignments
    from ..visualization.page import write_page

    files = []
    if args.out:
        for index, rows in zip(args.index, table, strict=False):
            out = images.numbered(args.out, index, len(table) > 1)
            files.append(draw_assignments(rows, classes, out))
    if args.html:
        names = [Path(info['img_path']).name for info in infos]
        files.append(write_page(names, table, classes, args.html))
    return files
