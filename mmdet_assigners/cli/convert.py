"""``convert METHOD IN OUT``: official weights as an mmdet checkpoint."""

import argparse

from . import common


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'convert',
        help='official weights as a checkpoint for our configs',
        description='Renames the tensors of an official checkpoint, compares '
        'them and the geometry of their boxes with a config, and writes a '
        'checkpoint for it.',
    )
    parser.add_argument('method', help='as `list` shows it, e.g. sepc')
    parser.add_argument('official', metavar='IN', help='official weights')
    parser.add_argument('out', metavar='OUT', help='file to write')
    parser.add_argument(
        '--config', help='config to compare with (default: from the weights)'
    )


def run(args: argparse.Namespace) -> int:
    """Convert and print which config fits."""
    from ..utils import register_all_modules

    register_all_modules()
    from ..conversion import alternatives, convert_file

    try:
        count, config = convert_file(
            args.method, args.official, args.out, args.config
        )
    except (ValueError, OSError) as error:
        common.fail(f'not converted: {error}')
    print(f'{count} tensors written to {args.out}; config: {config}')
    others = [] if args.config else alternatives(args.method, config)
    if others:
        names = ' or '.join(others)
        print(f'if it is not that one, remove it and pass --config {names}')
    return 0
