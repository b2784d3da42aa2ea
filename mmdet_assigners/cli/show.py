"""``show CONFIG``: a config as a diff against its mmdet base."""

import argparse
from pathlib import Path

from . import common

_SIGNS = {'changed': '~', 'added': '+', 'removed': '-'}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'show', help='what a config changes in its base', description=__doc__
    )
    parser.add_argument('config', help='name of our config, or a path')
    parser.add_argument(
        '--base', help='config to compare with; default: its mmdet base'
    )


@common.user_errors()
def run(args: argparse.Namespace) -> int:
    """Print the changed, added and removed keys."""
    from ..config_diff import diff_against_base, mmdet_bases
    from ..utils import resolve_config

    path = Path(resolve_config(args.config))
    bases = [args.base] if args.base else mmdet_bases(path)
    if not bases:
        raise ValueError(f'{path} has no mmdet:: base; name one with --base')
    changes = diff_against_base(path, bases)
    print(f'{path.stem}\n  on {", ".join(bases)}\n')
    for key, change in changes.items():
        text = {
            'added': f'{change.new!r}',
            'removed': f'{change.old!r}',
            'changed': f'{change.old!r} -> {change.new!r}',
        }[change.type]
        print(f'{_SIGNS[change.type]} {key}: {text}')
    types = [change.type for change in changes.values()]
    print('\n' + ', '.join(f'{types.count(type)} {type}' for type in _SIGNS))
    return 0
