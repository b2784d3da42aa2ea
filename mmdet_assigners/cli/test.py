"""``test CONFIG CHECKPOINT``: evaluate a checkpoint."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import common, launch

if TYPE_CHECKING:
    from mmengine.config import Config


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
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation: the tta_pipeline of the config',
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
        if args.tta:
            augment(cfg)
        launch.prepare(args, cfg)
        runner = Runner.from_cfg(cfg)
        data = runner.test_loop.dataloader.dataset
        classes = getattr(data, 'metainfo', {}).get('classes')
        check_weights(runner.model, args.checkpoint, classes)
    runner.test()
    return 0


def augment(cfg: 'Config') -> None:
    """Make the test of a config one with test-time augmentation, in place.

    Raises:
        ValueError: The config has no ``tta_model`` or ``tta_pipeline``.
    """
    from mmengine.config import ConfigDict

    from ..utils import leaf_datasets

    for key in ('tta_model', 'tta_pipeline'):
        if not cfg.get(key):
            raise ValueError(f'--tta: the config has no {key}')
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
    for _, dataset in leaf_datasets(cfg.test_dataloader):
        dataset['pipeline'] = cfg.tta_pipeline
