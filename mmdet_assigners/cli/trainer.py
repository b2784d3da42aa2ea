"""Options of ``train`` that change the trainer, not the method."""

import argparse
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..catalog import closest
from . import common

if TYPE_CHECKING:
    from mmengine.config import Config

# name on the command line -> backend of mmengine, package
_LOGS = {
    'tensorboard': ('TensorboardVisBackend', 'tensorboard'),
    'wandb': ('WandbVisBackend', 'wandb'),
    'mlflow': ('MLflowVisBackend', 'mlflow'),
    'clearml': ('ClearMLVisBackend', 'clearml'),
}
# evaluator -> its default prefix; what it calls the mean AP follows
_PREFIXES = {'CocoMetric': 'coco', 'VOCMetric': 'pascal_voc'}
# variables with the number of processes, by launcher
_PROCESSES = {
    'pytorch': 'WORLD_SIZE',
    'slurm': 'SLURM_NTASKS',
    'mpi': 'OMPI_COMM_WORLD_SIZE',
}
EMA_MOMENTUM = 0.0002  # that of mmengine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    group = parser.add_argument_group('trainer')
    group.add_argument(
        '--amp', action='store_true', help='mixed precision (needs a GPU)'
    )
    group.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate to the images per step',
    )
    group.add_argument(
        '--accumulate',
        type=int,
        metavar='N',
        help='sum the gradients of N batches for a step',
    )
    group.add_argument(
        '--ema',
        type=float,
        nargs='?',
        const=EMA_MOMENTUM,
        metavar='MOMENTUM',
        help='evaluate and save a moving average of the weights (momentum '
        f'{EMA_MOMENTUM:g})',
    )
    group.add_argument(
        '--early-stop',
        type=int,
        metavar='N',
        help='end when N evaluations in a row brought nothing',
    )
    group.add_argument(
        '--monitor',
        metavar='METRIC',
        help='of --early-stop, e.g. coco/bbox_mAP (default: the first mAP)',
    )
    group.add_argument(
        '--log',
        nargs='+',
        choices=tuple(_LOGS),
        default=[],
        help='write the curves there, too',
    )
    group.add_argument(
        '--compile', action='store_true', help='with torch.compile'
    )


def apply(args: argparse.Namespace, cfg: 'Config') -> None:
    """Apply the options to a config, in place.

    Raises:
        ValueError: An option is wrong, or doesn't fit the config or machine.
    """
    for name in ('accumulate', 'early_stop'):
        value = getattr(args, name)
        if value is not None and value < 1:
            option = f'--{name.replace("_", "-")}'
            raise ValueError(f'{option} {value}: expected 1 or more')
    _batch(args, cfg)
    if args.amp:
        _amp(cfg)
    if args.ema is not None:
        _ema(args.ema, cfg)
    if args.early_stop:
        _early_stop(args.early_stop, args.monitor, cfg)
    elif args.monitor:
        raise ValueError('--monitor belongs to --early-stop')
    for log in args.log:
        _log(log, cfg)
    if args.compile:
        cfg.compile = True


def _amp(cfg: 'Config') -> None:
    import torch

    if not torch.cuda.is_available():
        raise ValueError('--amp needs a GPU, and there is none')
    _single_optimizer('--amp', cfg)
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.loss_scale = 'dynamic'


def _batch(args: argparse.Namespace, cfg: 'Config') -> None:
    """Images per step, and the learning rate that belongs to them."""
    batches = args.accumulate or 1
    if args.accumulate:
        _single_optimizer('--accumulate', cfg)
        cfg.optim_wrapper.accumulative_counts = batches
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size')
    if args.auto_scale_lr:
        if not base:
            raise ValueError(
                '--auto-scale-lr: the config has no '
                'auto_scale_lr.base_batch_size'
            )
        # mmengine doesn't count accumulated batches
        cfg.auto_scale_lr = dict(enable=True, base_batch_size=base / batches)
        return
    processes = int(os.environ.get(_PROCESSES.get(args.launcher, ''), 1))
    per_process = cfg.train_dataloader.get('batch_size', 1)
    images = processes * per_process * batches
    overlay = cfg.get('form') in ('mini', 'small')
    enabled = (cfg.get('auto_scale_lr') or {}).get('enable')
    first = int(os.environ.get('RANK', 0)) == 0
    if base and images != base and not overlay and not enabled and first:
        parts = f'{processes} x {per_process}'
        parts += f' x {batches}' if batches > 1 else ''
        common.warn(
            f'{images} images per step ({parts}), and the learning rate is '
            f'that of {base}: --auto-scale-lr adapts it'
        )


def _single_optimizer(option: str, cfg: 'Config') -> None:
    if 'optimizer' not in cfg.optim_wrapper:
        raise ValueError(f'{option}: the config has several optimizers')


def _ema(momentum: float, cfg: 'Config') -> None:
    from ..utils import type_name

    if not 0 < momentum < 1:
        raise ValueError(f'--ema {momentum:g}: expected between 0 and 1')
    hooks = list(cfg.get('custom_hooks') or [])
    if any(type_name(hook) == 'EMAHook' for hook in hooks):
        raise ValueError('--ema: the config has an EMAHook already')
    # running statistics are averaged, too: they belong to the weights
    hook = dict(type='EMAHook', momentum=momentum, update_buffers=True)
    cfg.custom_hooks = [*hooks, hook]


def _early_stop(patience: int, metric: str | None, cfg: 'Config') -> None:
    if not cfg.get('val_dataloader') or not cfg.get('val_evaluator'):
        raise ValueError('--early-stop: the config has no validation')
    known = _mean_aps(cfg.val_evaluator)
    if not metric and not known:
        raise ValueError(
            '--early-stop: name the metric of the evaluator by --monitor'
        )
    ap = metric and metric.lower().endswith('map')
    if metric and ap and known and metric not in known:
        raise ValueError(f'--monitor {metric}: {closest(metric, known)}')
    hook = dict(
        type='mmdet_assigners.StopWithoutGainHook',
        monitor=metric or known[0],
        patience=patience,
    )
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]


def _mean_aps(evaluator: Any) -> list[str]:
    """Names of the mean APs that an evaluator gives."""
    from ..utils import type_name, walk_config

    found = []
    for _, node in walk_config(evaluator):
        name = type_name(node)
        if name in _PREFIXES:
            prefix = node.get('prefix') or _PREFIXES[name]
            metrics = node.get('metric', 'bbox')
            metrics = [metrics] if isinstance(metrics, str) else metrics
            if name == 'VOCMetric':
                metrics = ['']
            found += [
                f'{prefix}/{one}_mAP' if one else f'{prefix}/mAP'
                for one in metrics
                if one != 'proposal'
            ]
    return found


def _log(name: str, cfg: 'Config') -> None:
    backend, package = _LOGS[name]
    if not find_spec(package):
        raise ValueError(
            f'--log {name}: {package} is not installed (pip install {package})'
        )
    cfg.setdefault('visualizer', dict(type='DetLocalVisualizer'))
    cfg.visualizer.setdefault('name', 'visualizer')
    backends = list(
        cfg.visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    )
    cfg.visualizer.vis_backends = [*backends, dict(type=backend)]
