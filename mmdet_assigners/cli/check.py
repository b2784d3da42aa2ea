"""``check [CONFIG]``: do the packages fit, does a config fit its data?

With a config: reads the annotation files, decodes a sample of the images,
makes some training steps and evaluates a prediction. Nothing is written.
"""

from __future__ import annotations

import argparse
import platform
import sys
from typing import TYPE_CHECKING

from ..diagnostics.environment import check_stack
from ..diagnostics.problem import Problem, one_line
from . import common

if TYPE_CHECKING:
    from mmengine.config import Config


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'check',
        help='installed versions; with a config: its data and a dry run',
        description=__doc__,
    )
    common.add_config_arguments(parser, optional=True)
    common.add_weights_arguments(parser)
    parser.add_argument('--checkpoint', help='also check this checkpoint')
    parser.add_argument(
        '--no-step', action='store_true', help='check the files only'
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
    minor = [problem for problem in problems if problem.minor]
    problems = [problem for problem in problems if not problem.minor]
    for problem in minor:
        print(f'note: {problem}')
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
    with common.user_errors():
        from mmengine.registry import init_default_scope

        from ..datasets.annotations import AnnotationError
        from ..diagnostics import config_check, data_check

        try:
            cfg = common.read_config(args)
        except AnnotationError as error:
            return [Problem(str(error), 'correct the file')]
    common.set_weights(args, cfg)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    problems = data_check.check_data(cfg)
    for data in data_check.dataset_nodes(cfg):
        print(f'{data.key}: {data.ann_file}, images in {data.img_dir}')
    problems += config_check.check_num_classes(cfg)
    problems += config_check.check_padding(cfg)
    if args.checkpoint:
        problems += config_check.check_checkpoint(cfg, args.checkpoint)
    missing = _check_weights(cfg)
    if args.no_step or any(not problem.minor for problem in problems):
        return problems + missing
    if missing:
        from ..small_scale import drop_pretrained

        print('note: random weights, so the losses are not those of training')
        drop_pretrained(cfg.model)
    return problems + missing + _dry_run(args, cfg)


def _check_weights(cfg: Config) -> list[Problem]:
    """Print the pretrained weights and find those that are missing."""
    from ..compat import WeightsError
    from ..diagnostics import weights

    missing = []
    for name in weights.names_of_weights(cfg):
        try:
            print(f'weights: {weights.describe_weights(name)}')
        except WeightsError as error:
            missing.append(Problem(error.what, error.fix))
    return missing


def _dry_run(args: argparse.Namespace, cfg: Config) -> list[Problem]:
    from ..diagnostics import dry_run

    what = 'building the model'
    try:
        model = dry_run.build_initialized(cfg)
        what = 'a training step'
        step = dry_run.dry_steps(cfg, model)
        losses = ', '.join(f'{k} {v:.4g}' for k, v in step.losses.items())
        print(f'steps on {step.images} images: {losses}')
        print(f'forward and backward: {step.seconds:.2f} s')
        what = 'the evaluation'
        detections = dry_run.dry_evaluation(cfg, model)
    except Exception as error:
        return [
            Problem(
                f'{what} fails: {one_line(error)}',
                f'see mmdet-assigners --traceback train {args.config}',
            )
        ]
    if detections is not None:
        print(f'evaluation of one batch: {detections} detections')
    if step.unused and not cfg.get('find_unused_parameters'):
        print(
            f'note: {len(step.unused)} parameters get no gradient (first '
            f'{step.unused[0]}); distributed training needs '
            '--cfg-options find_unused_parameters=True'
        )
    return step.problems
