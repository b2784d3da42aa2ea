"""``viz assign``: draw which priors the configs assign to which objects."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import assigning, common

if TYPE_CHECKING:
    from ..visualization.rows import AssignmentRow


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    viz = subparsers.add_parser(
        'viz', help='pictures of label assignment', description=__doc__
    )
    kinds = viz.add_subparsers(dest='kind', metavar='KIND', required=True)
    parser = kinds.add_parser(
        'assign',
        help='positives per level, their weights and objects, PNG or HTML',
        description='Draws the label assignment of pictures in the scale of '
        'the network input: as PNG, one row per config, or as an HTML page to '
        'flip between configs and pictures.',
    )
    parser.add_argument(
        'config',
        nargs='+',
        metavar='CONFIG',
        help='names of our configs, mmdet::name, or paths',
    )
    parser.add_argument('--img', help='picture; needs --ann or --data')
    parser.add_argument('--ann', help='COCO annotation file that lists --img')
    parser.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes (default), bccd, coco128 or the root of a COCO-format '
        'data set',
    )
    parser.add_argument('--split', choices=('train', 'val'), default='val')
    parser.add_argument(
        '--index',
        type=int,
        nargs='+',
        default=[0],
        metavar='N',
        help='which pictures of the split',
    )
    assigning.add_method_arguments(parser)
    parser.add_argument(
        '--out',
        help='PNG file (assign.png unless there is --html); of several '
        'pictures each gets its index appended',
    )
    parser.add_argument(
        '--html',
        metavar='FILE',
        help='one self-contained page; arrow keys flip configs and pictures',
    )


def run(args: argparse.Namespace) -> int:
    """Draw the pictures."""
    if args.out is None and args.html is None:
        args.out = 'assign.png'
    _check(args)
    configs = [common.resolve_config(name) for name in args.config]
    from ..utils import register_all_modules

    register_all_modules(init_default_scope=True)
    try:
        infos, classes = _find_pictures(args)
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


def _check(args: argparse.Namespace) -> None:
    assigning.check_checkpoints(args)
    if args.ann and not args.img:
        common.fail('--ann needs --img, the path of a picture that it lists')
    if args.ann and args.data:
        common.fail('--ann and --data exclude each other')
    if args.img and not (args.ann or args.data):
        common.fail('--img needs its objects: add --ann FILE or --data NAME')
    for option, endings in (('out', ('.png',)), ('html', ('.html', '.htm'))):
        name = getattr(args, option)
        if name and Path(name).suffix.lower() not in endings:
            common.fail(
                f'--{option} {name}: expected a file ending in {endings[0]}'
            )


def _find_pictures(
    args: argparse.Namespace,
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    from ..datasets.roots import resolve_data
    from ..visualization.samples import find_picture

    if args.ann:
        info, classes = find_picture(args.ann, args.img)
        return [info], classes
    root = resolve_data(args.data or 'shapes')
    split = getattr(root, args.split)
    indices = [0] if args.img else args.index
    found = [
        find_picture(split.ann_file, args.img, split.img_dir, index)
        for index in indices
    ]
    return [info for info, _ in found], found[0][1]


def _say(rows: 'list[AssignmentRow]', picture: str | None) -> None:
    if picture:
        print(f'{Path(picture).name}:')
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
            out = Path(args.out)
            if len(table) > 1:
                out = out.with_stem(f'{out.stem}_{index}')
            files.append(draw_assignments(rows, classes, out))
    if args.html:
        names = [Path(info['img_path']).name for info in infos]
        files.append(write_page(names, table, classes, args.html))
    return files
