"""What the kinds of ``viz`` and ``table`` share: configs as detectors."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_text
from . import common

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..analysis.detectors import Method
    from ..analysis.uncertainty import UncertainDetector
    from ..datasets.roots import Split


def add_table_arguments(parser: argparse.ArgumentParser, images: int) -> None:
    """Arguments of a table: configs, images, where it goes.

    Args:
        parser: Of the command.
        images: Default of ``--images``.
    """
    common.add_data_arguments(parser)
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


def check_images(args: argparse.Namespace) -> None:
    """End the command if ``--images`` is negative."""
    if args.images < 0:
        common.fail(f'--images {args.images}: expected 0 (all) or more')


def find_split(args: argparse.Namespace) -> 'Split':
    """The images that ``--data`` and ``--split`` name."""
    from ..datasets.roots import resolve_data

    return getattr(resolve_data(args.data or 'shapes'), args.split)


def emit(args: argparse.Namespace, text: str) -> None:
    """Print a table, or write it to ``--out``."""
    if args.out:
        write_text(args.out, text + '\n')
        print(f'wrote {args.out}')
    else:
        print(text)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that change the configs."""
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


def add_method_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how the configs become detectors."""
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        default=[],
        metavar='FILE',
        help="weights for each config, '-' for random ones",
    )
    add_config_arguments(parser)
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--seed', type=int, default=0, help='of weights that are random'
    )


def check_checkpoints(args: argparse.Namespace) -> None:
    """End the command unless each config has its weights, or none has."""
    if args.checkpoint and len(args.checkpoint) != len(args.config):
        common.fail(
            f'{len(args.checkpoint)} checkpoints for {len(args.config)} '
            "configs; give one each, '-' for random weights"
        )


def load_methods(
    args: argparse.Namespace, paths: list[str], num_classes: int
) -> 'list[Method]':
    """The detectors of the configs; warns of those that are not trained.

    Args:
        args: Arguments of :func:`add_method_arguments`.
        paths: The configs.
        num_classes: Of the data.
    """
    from ..analysis.detectors import load_method

    methods = []
    for detector in _detectors(args, paths, num_classes):
        method = load_method(*detector, args.seed, args.device)
        if method.untrained:
            print(
                f'warning: {method.title} assigns by its predictions and is '
                'not trained; give its weights with --checkpoint',
                file=sys.stderr,
            )
        methods.append(method)
    return methods


def load_uncertain(
    args: argparse.Namespace, paths: list[str], num_classes: int
) -> 'list[UncertainDetector]':
    """Detectors that say how sure they are; warns of untrained ones.

    Args:
        args: Arguments of :func:`add_method_arguments`.
        paths: The configs.
        num_classes: Of the data.
    """
    from ..analysis.uncertainty import UncertainDetector

    detectors = []
    for own in _detectors(args, paths, num_classes):
        detector = UncertainDetector(*own, args.seed, args.device)
        if detector.untrained:
            print(
                f'warning: {detector.title} is not trained, its detections '
                'mean nothing; give its weights with --checkpoint',
                file=sys.stderr,
            )
        detectors.append(detector)
    return detectors


def _detectors(
    args: argparse.Namespace, paths: list[str], num_classes: int
) -> 'Iterator[tuple[str, Config, str | None]]':
    """Title, config and weights (None: random) of each config."""
    weights = args.checkpoint or ['-'] * len(paths)
    for path, file in zip(paths, weights, strict=True):
        cfg = load_config(args, path, num_classes)
        yield Path(path).stem, cfg, None if file == '-' else file


def load_config(
    args: argparse.Namespace, path: str, num_classes: int
) -> 'Config':
    """A config in the form and with the changes of the arguments.

    Args:
        args: ``mini`` and ``cfg_options``.
        path: Of the config.
        num_classes: Of the data.
    """
    from mmengine.config import Config

    from ..small_scale import (
        merge_mini,
        set_num_classes,
        shrink_images,
        shrink_model,
    )

    cfg = Config.fromfile(path)
    if args.mini:
        shrink_model(cfg.model)
        shrink_images(cfg)
        merge_mini(cfg)
    set_num_classes(cfg.model, num_classes)
    cfg.merge_from_dict(common.parse_cfg_options(args.cfg_options))
    return cfg
