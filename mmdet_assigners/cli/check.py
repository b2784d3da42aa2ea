"""``check [CONFIG]``: does the stack fit, does a config fit its data?"""

from __future__ import annotations

import argparse
import platform
import sys
from importlib.util import find_spec

from ..diagnostics import environment
from ..diagnostics.environment import Problem
from . import common


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'check',
        help='stack versions and verdict; with a config: its data and a step',
        description=__doc__,
    )
    common.add_config_arguments(parser, optional=True)
    parser.add_argument('--checkpoint', help='also check this checkpoint')
    parser.add_argument(
        '--no-step', action='store_true', help='leave out the dry step'
    )


def run(args: argparse.Namespace) -> int:
    """Print versions, notes and problems.

    Returns:
        0 if all is well, 1 if there are problems.
    """
    problems = check_stack()
    if args.config and problems:
        print(f'\n{args.config}: not checked before the stack is mended')
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


def check_stack() -> list[Problem]:
    """Print the versions of the stack and find its problems."""
    versions = environment.installed_versions()
    print(f'python {platform.python_version()} ({sys.executable})')
    for name, version in versions.items():
        print(f'{name} {version}')
    for note in environment.stack_notes(versions):
        print(f'note: {note}')
    modules = [m for m in ('cv2', 'pkg_resources') if find_spec(m)]
    problems = environment.stack_problems(
        versions, environment.has_mmcv_ops(), modules
    )
    return problems or _import_problems()


def _import_problems() -> list[Problem]:
    """What only an import shows: ops of another torch, a broken file."""
    try:
        import torch
        from mmcv import _ext  # noqa: F401
    except Exception as error:
        what = f'mmcv {_one_line(error)}: compiled for another torch?'
        return [Problem(what, environment.MMCV_LINE)]
    from ..utils import register_all_modules

    try:
        register_all_modules()
    except Exception as error:
        return [
            Problem(
                f'mmdet cannot be imported: {_one_line(error)}',
                "python -c 'import mmdet.models' shows where",
            )
        ]
    cuda = torch.version.cuda
    if cuda and not torch.cuda.is_available():
        print(f'note: torch is built for CUDA {cuda} but sees no GPU')
    return []


def check_config(args: argparse.Namespace) -> list[Problem]:
    """Print what a config would train on and find its problems."""
    cfg = common.load_config(args)
    from ..diagnostics import config_check

    problems = config_check.check_data(cfg)
    for data in config_check.dataset_nodes(cfg):
        print(f'{data.key}: {data.ann_file}, images in {data.img_dir}')
    if args.checkpoint:
        problems += config_check.check_checkpoint(cfg, args.checkpoint)
    if problems or args.no_step:
        return problems
    try:
        step = config_check.dry_step(cfg)
    except Exception as error:
        return [
            Problem(
                f'one training step fails: {_one_line(error)}',
                f'for the traceback: mmdet-assigners train {args.config} ...',
            )
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
    return step.problems


def _one_line(error: BaseException) -> str:
    first, *_ = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {first}'
