"""``demo``: a method and its mmdet baseline, trained in a few minutes."""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import common

# What a model that has learned nothing does not reach: a detector that puts
# boxes at random stays under 0.01.
LEARNED_AP50 = 0.1
SCORE_THR = 0.25


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the arguments of the command."""
    parser = subparsers.add_parser(
        'demo',
        help='train a method and its baseline at small scale, with images',
        description=__doc__,
    )
    parser.add_argument('--work-dir', default='work_dirs/demo')
    parser.add_argument('--config', default='sepc-lite_atss_r50_fpn_1x_coco')
    parser.add_argument(
        '--baseline', default='mmdet::atss/atss_r50_fpn_1x_coco.py'
    )
    parser.add_argument('--data', default='shapes', metavar='NAME|ROOT')
    parser.add_argument('--epochs', type=int, default=5)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, draw; exit code 1 if the method has learned nothing."""
    from ..datasets.roots import resolve_data
    from ..experiments import Run
    from ..files import write_json, write_text
    from ..visualization.report import plot_curves, result_table

    for config in (args.config, args.baseline):
        common.resolve_config(config)
    work_dir = Path(args.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    done = (work_dir / 'results.json').is_file()
    print(f'data: {args.data}')
    try:
        data = resolve_data(args.data)
    except (FileNotFoundError, ValueError) as error:
        common.fail(str(error))
    runs = {
        Path(config).stem: Run(config, args.data, args.epochs)
        for config in (args.baseline, args.config)
    }
    print(f'training {" and ".join(runs)} side by side')
    results = _execute(runs, work_dir)
    table = result_table(results)
    print('\n' + table)
    write_text(work_dir / 'table.md', table)
    plot_curves(results, work_dir / 'curves.png')
    _draw_detections(runs, data, work_dir)
    _draw_assignment(runs[Path(args.config).stem], args.data, work_dir)
    write_json(work_dir / 'results.json', results)
    method = results[Path(args.config).stem]
    if method['bbox_mAP_50'] < LEARNED_AP50:
        common.fail(
            f'{args.config} has learned nothing: AP50 '
            f'{method["bbox_mAP_50"]:.3f} after {args.epochs} epochs, '
            f'expected at least {LEARNED_AP50}; see curves.png and the '
            f'train.log files in {work_dir}'
        )
    state = 'was done already' if done else 'done'
    print(f'{state}: table.md and images are in {work_dir}')
    return 0


def _execute(runs: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    from ..experiments import execute

    # one process each: small maps do not use several threads well
    threads = max(1, (os.cpu_count() or 2) // len(runs))
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))
    try:
        with ThreadPoolExecutor(len(runs)) as pool:
            futures = {
                name: pool.submit(execute, run, work_dir / run.name)
                for name, run in runs.items()
            }
            return {name: f.result() for name, f in futures.items()}
    except RuntimeError as error:
        common.fail(str(error))


def _draw_detections(
    runs: dict[str, Any], data: Any, work_dir: Path, count: int = 4
) -> None:
    import mmcv
    from mmdet.apis import inference_detector, init_detector
    from mmengine.runner import find_latest_checkpoint

    from ..utils import register_all_modules
    from ..visualization.report import plot_detections

    register_all_modules()
    files, truth = _ground_truth(data.val, count)
    columns: dict[str, Sequence[Any]] = {'ground truth': truth}
    for name, run in runs.items():
        folder = work_dir / run.name
        model = init_detector(
            str(next(folder.glob('*.py'))),
            find_latest_checkpoint(str(folder)),
            device='cpu',
        )
        columns[name] = [
            found[found.scores > SCORE_THR]
            for found in (
                inference_detector(model, str(file)).pred_instances
                for file in files
            )
        ]
    images = [mmcv.imread(str(file), channel_order='rgb') for file in files]
    plot_detections(
        images, columns, data.val.classes, work_dir / 'detections.png'
    )


def _ground_truth(split: Any, count: int) -> tuple[list[Path], list[Any]]:
    import numpy as np
    from mmengine.structures import InstanceData
    from pycocotools.coco import COCO

    coco = COCO(str(split.ann_file))
    label_of = {cat: label for label, cat in enumerate(coco.getCatIds())}
    images = [i for i in coco.getImgIds() if coco.getAnnIds(i)][:count]
    files, truth = [], []
    for image in images:
        boxes = coco.loadAnns(coco.getAnnIds(image, iscrowd=False))
        xywh = np.array([box['bbox'] for box in boxes]).reshape(-1, 4)
        truth.append(
            InstanceData(
                bboxes=np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]]),
                labels=np.array([label_of[b['category_id']] for b in boxes]),
            )
        )
        files.append(split.img_dir / coco.loadImgs(image)[0]['file_name'])
    return files, truth


def _draw_assignment(run: Any, data: str, work_dir: Path) -> None:
    from mmengine.runner import find_latest_checkpoint

    from ..__main__ import main

    checkpoint = find_latest_checkpoint(str(work_dir / run.name))
    command = ['viz', 'assign', '--mini', run.config]
    command += ['--checkpoint', checkpoint, '--data', data, '--index', '2']
    main([*command, '--out', str(work_dir / 'assignment.png')])
