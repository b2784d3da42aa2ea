"""What ``viz`` and ``table`` share: detectors and images from arguments."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_text
from . import common

if TYPE_CHECKING:
    from ..analysis.detectors import Detector
    from ..datasets.roots import Split


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that name the configs and the dataset."""
    parser.add_argument(
        'config',
        nargs='+',
        metavar='CONFIG',
        help='names of our configs, mmdet::name, or paths',
    )
    parser.add_argument(
        '--mini',
        action='store_true',
        help='the small-scale form of the configs (see train --mini)',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='changes merged into every config',
    )
    parser.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes, bccd, coco128 or the root of a COCO-format dataset '
        '(default: the data of a config that is a file of yours, else shapes)',
    )
    parser.add_argument('--split', choices=('train', 'val'), default='val')


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that give the detectors their weights."""
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        default=[],
        metavar='FILE',
        help="weights for each config, '-' for random ones",
    )
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of random weights'
    )


def add_image_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that select single images."""
    parser.add_argument('--img', help='image; needs --ann or --data')
    parser.add_argument('--ann', help='COCO annotation file that lists --img')
    parser.add_argument(
        '--index',
        type=int,
        nargs='+',
        default=[0],
        metavar='N',
        help='indices of images of the split',
    )


def add_table_arguments(parser: argparse.ArgumentParser, images: int) -> None:
    """Arguments of a table: how many images, and the output.

    Args:
        parser: Of the command.
        images: Default of ``--images``.
    """
    parser.add_argument(
        '--images',
        type=int,
        default=images,
        metavar='N',
        help='only the first N images, 0: all (default %(default)s)',
    )
    parser.add_argument(
        '--format', choices=('markdown', 'csv'), default='markdown'
    )
    parser.add_argument(
        '--out', metavar='FILE', help='write the table there, not to stdout'
    )


def check(args: argparse.Namespace) -> None:
    """Check the arguments of all the functions above that were used.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: Arguments don't fit together, or are out of range.
    """
    from ..utils import resolve_config

    given = vars(args)
    if given.get('ann') and args.data:
        raise ValueError('--ann and --data exclude each other')
    if 'img' in given:
        if args.ann and not args.img:
            raise ValueError(
                '--ann needs --img, the path of an image that it lists'
            )
        if args.img and not (args.ann or args.data):
            raise ValueError(
                '--img needs its objects: add --ann FILE or --data NAME'
            )
    if given.get('images', 0) < 0:
        raise ValueError(f'--images {args.images}: expected 0 (all) or more')
    weights = given.get('checkpoint', [])
    if weights and len(weights) != len(args.config):
        raise ValueError(
            f'{len(weights)} checkpoints for {len(args.config)} configs; give '
            "one each, '-' for random weights"
        )
    for name in args.config:
        resolve_config(name)


def check_range(
    args: argparse.Namespace, name: str, low: float, high: float
) -> None:
    """Check that a number is in [low, high].

    Raises:
        ValueError: It isn't.
    """
    value = getattr(args, name)
    if not low <= value <= high:
        option = name.replace('_', '-')
        raise ValueError(f'--{option} {value}: expected {low:g} to {high:g}')


def check_ending(option: str, name: str | None, *endings: str) -> None:
    """Check the ending of the name of a file, if there is one.

    Raises:
        ValueError: It is none of ``endings``.
    """
    if name and Path(name).suffix.lower() not in endings:
        raise ValueError(
            f'--{option} {name}: expected a file ending in {endings[0]}'
        )


def split(args: argparse.Namespace) -> 'Split':
    """The split that the arguments name.

    It is that of ``--ann``, or of ``--data`` and ``--split``; without them
    that of the first config which is a file of the user, otherwise shapes.

    Raises:
        ValueError: The data can't be used.
    """
    from ..datasets.roots import load_split, resolve_data

    if vars(args).get('ann'):
        return load_split(args.ann)
    own = [name for name in args.config if _is_own_file(name)]
    if args.data or not own:
        return getattr(resolve_data(args.data or 'shapes'), args.split)
    from ..diagnostics.data_check import config_split
    from ..small_scale import load_config

    options = common.parse_cfg_options(args.cfg_options)
    try:
        found = config_split(load_config(own[0], options=options), args.split)
    except ValueError as error:
        raise ValueError(
            f'{own[0]}: {error}; or name other data: --data NAME|ROOT'
        ) from error
    # stdout may be a table for another program
    print(f'data of {own[0]}: {found.ann_file}', file=sys.stderr)
    return found


def _is_own_file(config: str) -> bool:
    """Whether a config is given as a file that is none of this package."""
    from ..utils import config_root

    path = Path(config)
    return path.is_file() and config_root() not in path.resolve().parents


def images(
    args: argparse.Namespace, split: 'Split'
) -> list[tuple[int, dict[str, Any]]]:
    """Index and record of each image of :func:`add_image_arguments`."""
    from ..analysis.images import find_image

    indices = args.index[:1] if args.img else args.index
    return [(index, find_image(split, args.img, index)) for index in indices]


def detectors(
    args: argparse.Namespace, split: 'Split'
) -> 'Iterator[Detector]':
    """The detectors of the configs, for the classes of a split."""
    from ..analysis.detectors import load_detector

    given = vars(args)
    weights = given.get('checkpoint') or ['-'] * len(args.config)
    for config, checkpoint in zip(args.config, weights, strict=True):
        yield load_detector(
            config,
            None if checkpoint == '-' else checkpoint,
            num_classes=len(split.classes),
            mini=args.mini,
            options=common.parse_cfg_options(args.cfg_options),
            seed=given.get('seed', 0),
            device=given.get('device', 'cpu'),
        )


def numbered(out: str, index: int, several: bool) -> Path:
    """Output file of one image: with its index if there are several."""
    path = Path(out)
    return path.with_stem(f'{path.stem}_{index}') if several else path


def check_out(name: str | None) -> None:
    """Check that ``--out`` can be a file.

    Raises:
        ValueError: It is empty or a folder.
    """
    if name is not None and (not name or Path(name).is_dir()):
        what = 'is a folder' if name else 'is empty'
        raise ValueError(f"--out '{name}' {what}, expected a file")


def write_out(name: str, text: str) -> None:
    """Write ``--out``.

    Raises:
        ValueError: It is empty or a folder.
        OSError: It can't be written; the message names the option.
    """
    check_out(name)
    try:
        write_text(name, text)
    except BrokenPipeError:  # no mistake, see common.user_errors
        raise
    except OSError as error:
        raise OSError(f'--out {name}: {error.strerror or error}') from error


def emit(args: argparse.Namespace, text: str) -> None:
    """Print a table, or write it to ``--out``."""
    if args.out is None:
        print(text)
    else:
        write_out(args.out, text + '\n')
        print(f'wrote {args.out}')
