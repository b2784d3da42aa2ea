"""``check [CONFIG]``: do the packages fit, does a config fit its data?"""

from __future__ import annotations

import argparse
import platform
import sys

from ..diagnostics.environment import check_stack, one_line
from ..diagnostics.problem import Problem
from . import common


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'check',
        help='installed versions; with a config: its data and one step',
        description=__doc__,
    )
    common.add_config_arguments(parser, optional=True)
    common.add_weights_arguments(parser)
    parser.add_argument('--checkpoint', help='also check this checkpoint')
    parser.add_argument(
        '--no-step', action='store_true', help='skip the training step'
    )


def run(args: argparse.Namespace) -> int:
    """Print versions, notes and problems.

    Returns:
        0 if all is well, 1 if there are problems.
    """
    stack = check_stack()
    print(f'python {platform.python_version()} ({sys.executable})')
    for name, version in stack.versions.items():
        print(f'{name} {version}')
    for note in stack.notes:
        print(f'note: {note}')
    problems = stack.problems
    if args.config and problems:
        print(f'\n{args.config}: not checked, fix the environment first')
    elif args.config:
        print(f'\n{args.config}')
        problems = check_config(args)
    print()
    for problem in problems:
        print(f'problem: {problem}')
    count = len(problems)
    print(
        f'verdict: {count} problem{"s" * (count > 1)}'
        if count
        else 'verdict: all is well'
    )
    return int(bool(problems))


def check_config(args: argparse.Namespace) -> list[Problem]:
    """Print what a config trains on and find its problems."""
    cfg = common.load_config(args)
    common.set_weights(args, cfg)
    from ..compat import WeightsError
    from ..diagnostics import config_check, weights

    problems = config_check.check_data(cfg)
    for data in config_check.dataset_nodes(cfg):
        print(f'{data.key}: {data.ann_file}, images in {data.img_dir}')
    if args.checkpoint:
        problems += config_check.check_checkpoint(cfg, args.checkpoint)
    missing = []
    for name in weights.names_of_weights(cfg):
        try:
            print(f'weights: {weights.describe_weights(name)}')
        except WeightsError as error:
            missing.append(Problem(error.what, error.fix))
    if problems or args.no_step:
        return problems + missing
    try:
        step = config_check.dry_step(cfg)
    except Exception as error:
        return [
            *missing,
            Problem(
                f'one training step fails: {one_line(error)}',
                f'for the traceback: mmdet-assigners train {args.config} ...',
            ),
        ]
    losses = ', '.join(f'{k} {v:.4g}' for k, v in step.losses.items())
    print(f'one step on {step.images} images: {losses}')
    print(f'forward and backward: {step.seconds:.2f} s')
    if step.unused and not cfg.get('find_unused_parameters'):
        print(
            f'note: {len(step.unused)} parameters get no gradient (first '
            f'{step.unused[0]}); distributed training needs '
            '--cfg-options find_unused_parameters=True'
        )
    return step.problems + missing
