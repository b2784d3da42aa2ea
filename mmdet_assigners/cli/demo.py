"""``demo``: a method and its mmdet baseline, trained in a few minutes."""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import common

if TYPE_CHECKING:
    from ..experiments import Run

# An untrained model doesn't reach this: random boxes stay below 0.01.
LEARNED_AP50 = 0.1
NUM_IMAGES = 4


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'demo',
        help='train a method and its baseline at small scale, with images',
        description=__doc__,
    )
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument(
        '--config', default='dr-loss_retinanet_r50_fpn_1x_coco'
    )
    parser.add_argument(
        '--baseline', default='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    )
    parser.add_argument('--data', default='shapes', metavar='NAME|ROOT')
    parser.add_argument('--epochs', type=int, default=5)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, draw; exit code 1 if the method learned nothing."""
    from ..datasets.roots import resolve_data
    from ..experiments import Run, result_table
    from ..files import write_json, write_text
    from ..reproduction.comparison import draw_detections
    from ..utils import resolve_config
    from ..visualization.runs import plot_curves

    work_dir = Path(args.work_dir)
    done = (work_dir / 'results.json').is_file()
    with common.user_errors():
        for config in (args.config, args.baseline):
            resolve_config(config)
        print(f'data: {args.data}')
        resolve_data(args.data)
    runs = {
        Path(config).stem: Run(config, args.data, args.epochs)
        for config in (args.baseline, args.config)
    }
    print(f'training {" and ".join(runs)} side by side')
    results = _execute(runs, work_dir)
    table = result_table(results) + '\n'
    print('\n' + table)
    write_text(work_dir / 'table.md', table)
    plot_curves(results, work_dir / 'curves.png')
    folders = {name: work_dir / run.name for name, run in runs.items()}
    draw_detections(folders, NUM_IMAGES, work_dir / 'detections.png')
    _draw_assignment(runs[Path(args.config).stem], work_dir)
    write_json(work_dir / 'results.json', results)
    ap50 = results[Path(args.config).stem]['bbox_mAP_50']
    if ap50 < LEARNED_AP50:
        common.fail(
            f'{args.config} has learned nothing: AP50 {ap50:.3f} after '
            f'{args.epochs} epochs, expected at least {LEARNED_AP50}; see '
            f'curves.png and the train.log files in {work_dir}'
        )
    state = 'was done already' if done else 'done'
    print(f'{state}: table.md and images are in {work_dir}')
    return 0


def _execute(runs: 'dict[str, Run]', work_dir: Path) -> dict[str, Any]:
    from ..experiments import execute, stop_children

    # a process per run: small feature maps use several threads badly
    threads = max(1, (os.cpu_count() or 2) // len(runs))
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    pool = ThreadPoolExecutor(len(runs))
    futures = {
        name: pool.submit(execute, run, work_dir / run.name)
        for name, run in runs.items()
    }
    try:
        return {name: future.result() for name, future in futures.items()}
    except RuntimeError as error:
        common.fail(str(error))
    finally:
        # also on Ctrl-C and SIGTERM, and when one of the trainings failed
        stop_children()
        pool.shutdown()


def _draw_assignment(run: 'Run', work_dir: Path) -> None:
    from ..__main__ import main
    from ..diagnostics.checkpoints import find_last

    checkpoint = str(find_last(work_dir / run.name))
    command = ['viz', 'assign', '--mini', run.config]
    command += ['--checkpoint', checkpoint, '--index', '2']
    command += ['--data', str(run.data)]
    main([*command, '--out', str(work_dir / 'assignment.png')])
