"""``train CONFIG``: train any config, at full or at small scale."""

import argparse

from . import common


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'train',
        help='train a config (--mini: small enough for a CPU)',
        description=__doc__,
    )
    common.add_config_arguments(parser)
    parser.add_argument('--work-dir', help='default: work_dirs/<config>')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='resume from the last checkpoint of the work folder',
    )
    parser.add_argument('--seed', type=int)
    parser.add_argument(
        '--amp', action='store_true', help='mixed precision (needs a GPU)'
    )
    common.add_weights_arguments(parser)
    parser.add_argument(
        '--launcher',
        choices=('none', 'pytorch', 'slurm', 'mpi'),
        default='none',
        help='as in mmdet; with torchrun use pytorch',
    )


def run(args: argparse.Namespace) -> int:
    """Train."""
    cfg = common.load_config(args)
    from mmengine.runner import Runner

    from ..compat import WeightsError
    from ..diagnostics.checkpoints import check_resume, find_last
    from ..diagnostics.weights import require_local_weights
    from ..work_dir import claim

    cfg.work_dir = args.work_dir or common.default_work_dir(args)
    cfg.launcher = args.launcher
    common.set_weights(args, cfg)
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    if args.amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    common.require_files(cfg, 'train_dataloader', 'val_dataloader')
    with common.user_errors():
        # referenced until the training ends
        lock = claim(cfg.work_dir, args.resume)
        last = find_last(cfg.work_dir) if args.resume else None
        if last:
            check_resume(cfg, last)
            cfg.resume, cfg.load_from = True, str(last)
        require_local_weights(cfg)
        # what a class says about its arguments, with the name of the class
        runner = Runner.from_cfg(cfg)
    try:
        runner.train()
    except WeightsError as error:
        common.fail(str(error))
    finally:
        if lock:
            lock.release()
    return 0
