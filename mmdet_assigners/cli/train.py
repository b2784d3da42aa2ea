"""``train CONFIG``: train any config, at full or at small scale."""

import argparse

from . import common, launch, trainer


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
    trainer.add_arguments(parser)
    common.add_weights_arguments(parser)
    launch.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    cfg = common.load_config(args)
    from mmengine.runner import Runner

    from ..compat import WeightsError
    from ..diagnostics.checkpoints import check_resume, find_last
    from ..diagnostics.weights import require_local_weights
    from ..work_dir import claim

    cfg.work_dir = args.work_dir or common.default_work_dir(args)
    common.set_weights(args, cfg)
    if args.seed is not None:
        cfg.randomness = dict(seed=args.seed)
    with common.user_errors():
        trainer.apply(args, cfg)
    common.require_files(cfg, 'train_dataloader', 'val_dataloader')
    # a loss of NaN ends the training, before it is all that is left
    cfg.custom_hooks = [
        *(cfg.get('custom_hooks') or []),
        dict(type='mmdet_assigners.FiniteLossHook'),
    ]
    with common.user_errors():
        launch.prepare(args, cfg)
        # referenced until the training ends
        resume = args.resume or bool(cfg.get('resume'))
        lock = claim(cfg.work_dir, resume)
        last = find_last(cfg.work_dir) if resume else None
        if last:
            check_resume(cfg, last)
            cfg.resume, cfg.load_from = True, str(last)
        require_local_weights(cfg)
        # what a class says about its arguments, with the name of the class
        runner = Runner.from_cfg(cfg)
    try:
        runner.train()
    except (WeightsError, FloatingPointError) as error:
        common.fail(str(error))
    finally:
        if lock:
            lock.release()
    return 0
