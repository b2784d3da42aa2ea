"""``test CONFIG CHECKPOINT``: evaluate a checkpoint."""

import argparse
from pathlib import Path

from . import common, launch


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'test', help='evaluate a checkpoint', description=__doc__
    )
    common.add_config_arguments(parser)
    parser.add_argument('checkpoint', help='file that train wrote')
    parser.add_argument('--work-dir', help='default: work_dirs/<config>')
    parser.add_argument(
        '--show-dir', help='folder for images of the detections'
    )
    launch.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate."""
    cfg = common.load_config(args)
    from mmengine.runner import Runner

    from ..diagnostics.checkpoints import check_weights

    common.require_files(cfg, 'test_dataloader')
    cfg.work_dir = args.work_dir or common.default_work_dir(args)
    cfg.load_from = args.checkpoint
    if args.show_dir:
        cfg.default_hooks.visualization = dict(
            type='DetVisualizationHook',
            draw=True,
            # mmdet puts a relative one into its own folder of the run
            test_out_dir=str(Path(args.show_dir).absolute()),
        )
    with common.user_errors():
        launch.prepare(args, cfg)
        runner = Runner.from_cfg(cfg)
        data = runner.test_loop.dataloader.dataset
        classes = getattr(data, 'metainfo', {}).get('classes')
        check_weights(runner.model, args.checkpoint, classes)
    runner.test()
    return 0
