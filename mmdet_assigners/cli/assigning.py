"""What the kinds of ``viz`` and ``table`` share: configs as detectors."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import common

if TYPE_CHECKING:
    from mmengine.config import Config

    from ..visualization.methods import Method
    from ..visualization.uncertainty import UncertainDetector


def add_method_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how the configs become detectors."""
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        default=[],
        metavar='FILE',
        help="weights for each config, '-' for random ones",
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
    from ..visualization.methods import load_method

    methods = []
    for path, weights in zip(
        paths, args.checkpoint or ['-'] * len(paths), strict=True
    ):
        method = load_method(
            Path(path).stem,
            load_config(args, path, num_classes),
            None if weights == '-' else weights,
            args.seed,
            args.device,
        )
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
    from ..visualization.uncertainty import UncertainDetector

    detectors = []
    for path, weights in zip(
        paths, args.checkpoint or ['-'] * len(paths), strict=True
    ):
        detector = UncertainDetector(
            Path(path).stem,
            load_config(args, path, num_classes),
            None if weights == '-' else weights,
            args.seed,
            args.device,
        )
        if detector.untrained:
            print(
                f'warning: {detector.title} is not trained, its detections '
                'mean nothing; give its weights with --checkpoint',
                file=sys.stderr,
            )
        detectors.append(detector)
    return detectors


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
        shrink_model,
        shrink_pictures,
    )

    cfg = Config.fromfile(path)
    if args.mini:
        shrink_model(cfg.model)
        shrink_pictures(cfg)
        merge_mini(cfg)
    set_num_classes(cfg.model, num_classes)
    cfg.merge_from_dict(common.parse_cfg_options(args.cfg_options))
    return cfg
