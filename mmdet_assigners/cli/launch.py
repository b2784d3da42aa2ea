"""Several processes for one training or evaluation."""

import argparse
import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say how the processes were started."""
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='as in mmdet; with torchrun use pytorch',
    )
    parser.add_argument(
        '--dist-timeout',
        type=int,
        metavar='SECONDS',
        help='longest time that a process waits for the others (default: that '
        'of PyTorch, 10 or 30 minutes)',
    )


def prepare(args: argparse.Namespace, cfg: 'Config') -> None:
    """Apply the arguments to a config, in place.

    mmengine starts processes of ``torchrun`` only on GPUs; on a CPU they are
    started here, with gloo.

    Raises:
        ValueError: The timeout is not positive.
    """
    import torch
    from torch import distributed

    timeout = args.dist_timeout
    if timeout is not None and timeout < 1:
        raise ValueError(f'--dist-timeout {timeout}: expected 1 or more')
    cfg.launcher = args.launcher
    if args.launcher != 'pytorch' or torch.cuda.is_available():
        if timeout:
            cfg.merge_from_dict({'env_cfg.dist_cfg.timeout': timeout})
        return
    if not distributed.is_initialized():
        limit = datetime.timedelta(seconds=timeout) if timeout else None
        distributed.init_process_group('gloo', timeout=limit)
    # the default wrapper asks for a GPU
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
