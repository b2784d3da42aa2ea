"""What the commands that draw images share: which images, checks."""

import argparse
from pathlib import Path
from typing import Any

from . import common


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that name the configs and the images."""
    common.add_data_arguments(parser)
    parser.add_argument('--img', help='image; needs --ann or --data')
    parser.add_argument('--ann', help='COCO annotation file that lists --img')
    parser.add_argument(
        '--index',
        type=int,
        nargs='+',
        default=[0],
        metavar='N',
        help='which images of the split',
    )


def check_image_arguments(args: argparse.Namespace) -> None:
    """End the command if --img, --ann and --data don't fit together."""
    if args.ann and not args.img:
        common.fail('--ann needs --img, the path of an image that it lists')
    if args.ann and args.data:
        common.fail('--ann and --data exclude each other')
    if args.img and not (args.ann or args.data):
        common.fail('--img needs its objects: add --ann FILE or --data NAME')


def check_ending(option: str, name: str | None, *endings: str) -> None:
    """End the command if the file of an option has another ending."""
    if name and Path(name).suffix.lower() not in endings:
        common.fail(
            f'--{option} {name}: expected a file ending in {endings[0]}'
        )


def find_images(
    args: argparse.Namespace,
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The images that the arguments name, and the names of the classes."""
    from ..analysis.samples import find_image
    from ..datasets.roots import resolve_data

    if args.ann:
        info, classes = find_image(args.ann, args.img)
        return [info], classes
    root = resolve_data(args.data or 'shapes')
    split = getattr(root, args.split)
    indices = [0] if args.img else args.index
    found = [
        find_image(split.ann_file, args.img, split.img_dir, index)
        for index in indices
    ]
    return [info for info, _ in found], found[0][1]


def numbered(out: str, index: int, several: bool) -> Path:
    """File of one image: with its index if there are several."""
    path = Path(out)
    return path.with_stem(f'{path.stem}_{index}') if several else path
