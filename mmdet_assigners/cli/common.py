"""What several commands share: user errors, and configs from arguments."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..datasets.roots import DataFiles

# what the package raises on bad input, each with a one-line message
_USER_ERRORS = (OSError, ValueError, TypeError, IndexError, ImportError)


def fail(message: str) -> NoReturn:
    """End the command with one clear line and exit code 1."""
    print(f'mmdet-assigners: {message}', file=sys.stderr)
    raise SystemExit(1)


@contextmanager
def user_errors() -> Iterator[None]:
    """Errors inside the ``with`` block end the command, see :func:`fail`."""
    try:
        yield
    except BrokenPipeError:  # the reader of the output is gone, no mistake
        raise
    except _USER_ERRORS as error:
        fail(str(error))


def warn(message: str) -> None:
    """Print a warning of one line."""
    print(f'warning: {message}', file=sys.stderr)


def add_analyses(
    subparsers: argparse._SubParsersAction,
    command: str,
    text: str,
    analyses: Mapping[str, ModuleType],
) -> None:
    """Add a command with an analysis as its first argument.

    Args:
        subparsers: Of the commands.
        command: Name of the command.
        text: Its description.
        analyses: Name -> module with ``HELP``, ``DESCRIPTION``,
            ``add_arguments`` and ``run``.
    """
    parser = subparsers.add_parser(command, help=text, description=text)
    parsers = parser.add_subparsers(
        dest='analysis', metavar='ANALYSIS', required=True
    )
    for name, module in analyses.items():
        own = parsers.add_parser(
            name, help=module.HELP, description=module.DESCRIPTION
        )
        module.add_arguments(own)


def add_config_arguments(
    parser: argparse.ArgumentParser, optional: bool = False
) -> None:
    """Arguments of every command that loads a config to run it."""
    parser.add_argument(
        'config',
        nargs='?' if optional else None,
        help='name of our config, mmdet::name, or a path',
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        '--mini',
        action='store_true',
        help='shrink model, images and schedule for a CPU',
    )
    forms.add_argument(
        '--small',
        action='store_true',
        help='the form of the published small-scale results (docs/'
        'small_scale.md)',
    )
    parser.add_argument(
        '--data',
        metavar='NAME|ROOT',
        help='shapes, bccd, coco128 or the root of a COCO-format dataset '
        '(with --mini or --small: shapes; otherwise: the files of the config)',
    )
    parser.add_argument(
        '--train-ann', metavar='FILE', help='COCO annotations, not --data'
    )
    parser.add_argument('--val-ann', metavar='FILE', help='see --train-ann')
    parser.add_argument(
        '--images', metavar='FOLDER', help='of --train-ann and --val-ann'
    )
    parser.add_argument(
        '--eval-on',
        choices=('train', 'val'),
        default='val',
        help='split of --data that is evaluated',
    )
    parser.add_argument('--epochs', type=int, help='length of the schedule')
    parser.add_argument('--batch-size', type=int, help='images per step')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='changes merged last, as in mmdet',
    )


def add_weights_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that change the initial weights, see :func:`set_weights`."""
    parser.add_argument(
        '--weights',
        action='append',
        metavar='NAME=FILE',
        default=[],
        help='use a file in place of the weights of this name in the config '
        '(may be repeated)',
    )
    parser.add_argument(
        '--no-pretrained', action='store_true', help='random initial weights'
    )


def set_weights(args: argparse.Namespace, cfg: 'Config') -> None:
    """Apply :func:`add_weights_arguments` to a config, in place."""
    from ..diagnostics.weights import replace_weights
    from ..small_scale import drop_pretrained

    if args.no_pretrained:
        drop_pretrained(cfg.model)
        cfg.load_from = None
    with user_errors():
        replace_weights(cfg, args.weights)


def parse_pairs(name: str, pairs: list[str]) -> dict[str, str]:
    """Parse the ``KEY=VALUE`` arguments of an option.

    Raises:
        ValueError: One has no ``=``.
    """
    for pair in pairs:
        if '=' not in pair:
            raise ValueError(f'{name} {pair!r}: expected KEY=VALUE')
    parts = (pair.partition('=') for pair in pairs)
    return {key: value for key, _, value in parts}


def parse_cfg_options(options: list[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` as mmengine's ``DictAction``, and dicts.

    Raises:
        ValueError: An option has no ``=``, or its value can't be parsed.
    """
    from mmengine.config import DictAction

    values: dict[str, Any] = {}
    for key, text in parse_pairs('--cfg-options', options).items():
        if '{' in text or 'dict(' in text:
            values[key] = _parse_dicts(key, text)
            continue
        parser = argparse.ArgumentParser()
        parser.add_argument('option', nargs='+', action=DictAction)
        try:
            found = parser.parse_args([f'{key}={text}'])
        except AssertionError as error:
            raise ValueError(f'--cfg-options {key}: {error}') from None
        values |= found.option
    return values


def _parse_dicts(key: str, text: str) -> Any:
    """A value with dicts in it, which mmengine leaves a string."""
    from ..diagnostics.checkpoints import read_literals

    found = read_literals(f'value = {text}')
    if 'value' not in found:
        raise ValueError(
            f'--cfg-options {key}={text}: expected a Python literal with '
            f'quoted strings, as "{key}=dict(type=\'SGD\', lr=0.01)"'
        )
    return found['value']


def read_config(args: argparse.Namespace) -> 'Config':
    """The config of :func:`add_config_arguments`.

    Raises:
        ValueError: See :func:`mmdet_assigners.small_scale.load_config`, as for
            other errors.
    """
    from ..small_scale import load_config

    return load_config(
        args.config,
        args.mini,
        _data(args),
        small=args.small,
        eval_on=args.eval_on,
        epochs=args.epochs,
        batch_size=args.batch_size,
        options=parse_cfg_options(args.cfg_options),
    )


def load_config(args: argparse.Namespace) -> 'Config':
    """As :func:`read_config`; an error ends the command."""
    with user_errors():
        return read_config(args)


def _data(args: argparse.Namespace) -> 'str | DataFiles | None':
    """The dataset that the arguments name.

    Raises:
        ValueError: Arguments don't fit together.
    """
    files = (args.train_ann, args.val_ann, args.images)
    if any(files):
        if args.data or not all(files):
            raise ValueError(
                '--train-ann, --val-ann and --images name a dataset together, '
                'without --data'
            )
        from ..datasets.roots import DataFiles

        return DataFiles(*files)
    return args.data or ('shapes' if args.mini or args.small else None)


def default_work_dir(args: argparse.Namespace) -> str:
    """Work folder of a run that is given none."""
    parts = [Path(args.config).stem]
    parts += [form for form in ('mini', 'small') if getattr(args, form)]
    data = _data(args)
    if data:
        # of a root that ends in `/.`, too
        folder = data if isinstance(data, str) else data.images
        parts.append(Path(folder).resolve().name)
    return str(Path('work_dirs') / '_'.join(parts))


def require_files(cfg: 'Config', *loaders: str) -> None:
    """End the command if a data loader names a missing file or folder."""
    from ..diagnostics.data_check import check_files

    for problem in check_files(cfg, *loaders):
        fail(str(problem))
