"""Command line: ``python -m mmdet_assigners`` or ``mmdet-assigners``."""

import argparse
import difflib
import importlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Sequence
from types import ModuleType

from . import __version__
from .diagnostics.problem import one_line

# Modules of `cli`; only that of the given command is imported.
COMMANDS = (
    'list',
    'show',
    'train',
    'test',
    'demo',
    'viz',
    'table',
    'compare',
    'convert',
    'check',
)


def _command(name: str) -> ModuleType:
    return importlib.import_module(f'{__package__}.cli.{name}')


def build_parser(names: Iterable[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands, by default of all."""
    parser = argparse.ArgumentParser(
        prog='mmdet-assigners',
        description='Detection research as config diffs for MMDetection 3.x.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    parser.add_argument(
        '--traceback',
        action='store_true',
        help='show where an unexpected error comes from (before the command)',
    )
    subparsers = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True
    )
    for name in names:
        _command(name).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Arguments without the program name; by default those of the
            process.

    Returns:
        Exit code: 0 done, 1 problems found, 2 wrong arguments.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and not argv[0].startswith('-') and argv[0] not in COMMANDS:
        near = difflib.get_close_matches(argv[0], COMMANDS, n=2)
        hint = f'did you mean {" or ".join(near)}?' if near else ''
        names = ', '.join(COMMANDS)
        print(
            f'mmdet-assigners: no command {argv[0]!r}; '
            f'{hint or f"there are {names}"}',
            file=sys.stderr,
        )
        return 2
    logging.raiseExceptions = False  # a closed pipe is no logging error
    # mmengine causes it on every config; users can't avoid it
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    if threading.current_thread() is threading.main_thread():
        # `finally` clauses run, which end trainings in other processes
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    known = argv and argv[0] in COMMANDS
    parser = build_parser(argv[:1] if known else COMMANDS)
    args = argparse.Namespace(command='COMMAND', traceback=False)
    try:
        try:
            parser.parse_args(argv, args)
            code = _command(args.command).run(args)
        finally:
            sys.stdout.flush()  # of the help, too
    except BrokenPipeError:  # `mmdet-assigners list | head`
        # Python flushes stdout once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if args.traceback:
            raise
        print(
            f'mmdet-assigners: {one_line(error)}; for the place of the error: '
            f'mmdet-assigners --traceback {args.command} ...',
            file=sys.stderr,
        )
        return 1
    return code


if __name__ == '__main__':
    sys.exit(main())
