"""Small-scale trainings of every method next to its baseline.

``run`` trains what has no committed result yet (resumes what was
interrupted), ``render`` writes ``docs/small_scale.md`` from the results.
Datasets are looked for as ``data/<name>``.
"""

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from statistics import mean

from mmdet_assigners.catalog import read_catalog
from mmdet_assigners.experiments import Run, execute
from mmdet_assigners.files import write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'docs' / 'results' / 'small_scale'
STEPS = ROOT / 'docs' / 'results' / 'benchmark' / 'train_step.json'
OVERFIT = ROOT / 'docs' / 'results' / 'overfit'
UNCERTAINTY = RESULTS / 'uncertainty.md'
PAGE = ROOT / 'docs' / 'small_scale.md'

RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
FSAF = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
ATSS = 'mmdet::atss/atss_r50_fpn_1x_coco.py'
FCOS = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
AUTOASSIGN = 'mmdet::autoassign/autoassign_r50-caffe_fpn_1x_coco.py'
FREEANCHOR = 'mmdet::free_anchor/freeanchor_r50_fpn_1x_coco.py'
GFL = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
FASTER = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
REPPOINTS = 'mmdet::reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py'
# label -> config, label of its baseline
METHODS = {
    'RetinaNet (mmdet)': (RETINANET, None),
    'SEPC-RetinaNet': (
        'sepc_retinanet_r50_fpn_1x_coco',
        'RetinaNet (mmdet)',
    ),
    'FSAF (mmdet)': (FSAF, None),
    'SEPC-FSAF': ('sepc_fsaf_r50_fpn_1x_coco', 'FSAF (mmdet)'),
    'SAPD': ('sapd_r50_fpn_1x_coco', 'FSAF (mmdet)'),
    'ATSS (mmdet)': (ATSS, None),
    'ATSS (ladder head)': ('atss-ladder_r50_fpn_1x_coco', 'ATSS (mmdet)'),
    'FCOS (mmdet)': (FCOS, None),
    'FCOS, all improvements': (
        'fcos_ctr-on-reg-center-giou-normbbox_r50-caffe_fpn_gn-head_1x_coco',
        'FCOS (mmdet)',
    ),
    'FSAF, paper rules': ('fsaf_paper_r50_fpn_1x_coco', 'FSAF (mmdet)'),
    'RetinaNet + FSAF': ('retina-fsaf_r50_fpn_1x_coco', 'RetinaNet (mmdet)'),
    'AutoAssign (mmdet)': (AUTOASSIGN, None),
    'AutoAssign (switches)': (
        'autoassign-ablation_r50-caffe_fpn_1x_coco',
        'AutoAssign (mmdet)',
    ),
    'HAMBox-RetinaNet': (
        'hambox_retinanet_r50_fpn_1x_coco',
        'RetinaNet (mmdet)',
    ),
    'Noisy Anchors': ('noisy-anchors_r50_fpn_1x_coco', 'RetinaNet (mmdet)'),
    'FreeAnchor (mmdet)': (FREEANCHOR, None),
    'MAL': ('mal_r50_fpn_18e_coco', 'FreeAnchor (mmdet)'),
    'GA-RetinaNet (batched)': (
        'batch-ga-retinanet_r50-caffe_fpn_1x_coco',
        'RetinaNet (mmdet)',
    ),
    'Sampling-Free RetinaNet': (
        'sampling-free_retinanet_r50_fpn_1x_coco',
        'RetinaNet (mmdet)',
    ),
    'AP-Loss RetinaNet': (
        'ap-loss_retinanet_r50_fpn_1x_coco',
        'RetinaNet (mmdet)',
    ),
    'DR Loss RetinaNet': (
        'dr-loss_retinanet_r50_fpn_1x_coco',
        'RetinaNet (mmdet)',
    ),
    'GFL (mmdet)': (GFL, None),
    'GFL (ablation head)': ('gfl-ablation_r50_fpn_1x_coco', 'GFL (mmdet)'),
    'Faster R-CNN (mmdet)': (FASTER, None),
    'KL-Loss Faster R-CNN': (
        'kl-loss_faster-rcnn_r50_fpn_2x_coco',
        'Faster R-CNN (mmdet)',
    ),
    'DSFPN Faster R-CNN': (
        'dsfpn_faster-rcnn_r50_fpn_1x_coco',
        'Faster R-CNN (mmdet)',
    ),
    'FPT Faster R-CNN': (
        'fpt_faster-rcnn_r50_1x_coco',
        'Faster R-CNN (mmdet)',
    ),
    'YOLOv3 (whole batches)': (
        'gaussian-yolov3-off_d53_ms-608-273e_coco',
        None,
    ),
    'Gaussian YOLOv3': (
        'gaussian-yolov3_d53_ms-608-273e_coco',
        'YOLOv3 (whole batches)',
    ),
    'BorderDet-FCOS': (
        'borderdet_r50-caffe_fpn_1x_coco',
        'FCOS (mmdet)',
    ),
    'AlignDet': ('aligndet_r50_fpn_1x_coco', 'RetinaNet (mmdet)'),
    'RepPoints (mmdet)': (REPPOINTS, None),
    'RepPoints, official settings': (
        'batch-reppoints-moment_r50_fpn-gn_1x_coco',
        'RepPoints (mmdet)',
    ),
}
# rows that say what a part of a method does: BCCD, seed 0 only
PARTS = {
    'SAPD': {
        'SAPD': 'sapd_r50_fpn_1x_coco',
        'SW alone': 'sapd-sw_r50_fpn_1x_coco',
        'SS alone': 'sapd-ss_r50_fpn_1x_coco',
        'neither (one level of least loss, all points alike)': (
            'sapd-off_r50_fpn_1x_coco'
        ),
    },
    'FSAF': {
        'paper rules': 'fsaf_paper_r50_fpn_1x_coco',
        'adjacent levels negative': 'fsaf_paper_no-adjacent_r50_fpn_1x_coco',
        "mmdet's rules in our head": 'fsaf_mmdet-rules_r50_fpn_1x_coco',
        'mmdet': FSAF,
    },
    'HAMBox': {
        'HAMBox': 'hambox_retinanet_r50_fpn_1x_coco',
        'compensation alone': 'hambox_no-ignore_retinanet_r50_fpn_1x_coco',
        'one normalizer': 'hambox_joint-norm_retinanet_r50_fpn_1x_coco',
        'ignore rule alone': 'hambox-k0_retinanet_r50_fpn_1x_coco',
        'neither (RetinaNet)': RETINANET,
    },
    'Gaussian YOLOv3': {
        'Gaussian YOLOv3': 'gaussian-yolov3_d53_ms-608-273e_coco',
        'official gradient (straight through the sigmoids)': (
            'gaussian-yolov3_d53_straight-through_ms-608-273e_coco'
        ),
        'neither (YOLOv3, whole batches)': (
            'gaussian-yolov3-off_d53_ms-608-273e_coco'
        ),
    },
}
ON_COCO128 = (
    'RetinaNet (mmdet)',
    'SEPC-RetinaNet',
    'FSAF (mmdet)',
    'SEPC-FSAF',
    'SAPD',
)
SEEDS = (0, 1, 2)
EPOCHS = 12
# nobody asks how the curve of the generated set rises, and it takes a sixth
# of the time
ONCE = (f'train_cfg.val_interval={EPOCHS}',)
METRICS = {'mAP': 'bbox_mAP', 'AP50': 'bbox_mAP_50', 'AP75': 'bbox_mAP_75'}


def seed_runs(config, data='bccd'):
    """12 epochs on train, evaluated on val, a run per seed."""
    options = ONCE if data == 'shapes' else ()
    return [Run(config, data, EPOCHS, seed, options=options) for seed in SEEDS]


def coco128_run(config):
    """20 epochs on 128 images, evaluated on themselves: can it fit?"""
    return Run(config, 'coco128', 20, 0, 'train')


def all_runs():
    """Every run of the page, the most telling ones first."""
    configs = [config for config, _ in METHODS.values()]
    runs = []
    for data in ('bccd', 'shapes'):
        by_seed = [seed_runs(config, data) for config in configs]
        runs += [run for runs in zip(*by_seed, strict=True) for run in runs]
    runs += [coco128_run(METHODS[label][0]) for label in ON_COCO128]
    for parts in PARTS.values():
        runs += [seed_runs(config)[0] for config in parts.values()]
    return list(dict.fromkeys(runs))


def train(jobs, only):
    """Train every run without a result, ``jobs`` side by side."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault('OMP_NUM_THREADS', '1')

    def one(run):
        target = RESULTS / f'{run.name}.json'
        if not target.is_file():
            folder = ROOT / 'work_dirs' / 'small_scale' / run.name
            write_json(target, execute(run, folder, quiet=True))
            print(run.name, flush=True)

    runs = [run for run in all_runs() if fnmatch(run.name, f'*{only}*')]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, runs))


def load(run):
    """The committed result of a run, or None."""
    path = RESULTS / f'{run.name}.json'
    return json.loads(path.read_text()) if path.is_file() else None


def spread(values):
    """Mean and range of a metric over seeds."""
    if len(values) == 1:
        return f'{values[0]:.3f}'
    low, high = min(values), max(values)
    return f'{mean(values):.3f} ({low:.3f}-{high:.3f})'


def step_times():
    """Time of a training step over the baseline's, by label."""
    if not STEPS.is_file():
        return {}
    rows = json.loads(STEPS.read_text())['rows']
    return {
        row['name'].partition(' train step')[0]: f'{1 / row["ratio"]:.2f}'
        for row in rows
    }


def seed_table(data):
    """One row per method: mean and range over the seeds.

    The gain is the mean over the seeds that the baseline has too.
    """
    lines = [
        '| model | mAP | AP50 | AP75 | mAP - baseline | step time / baseline '
        '| parameters | seeds |',
        '|---|---|---|---|---|---|---|---|',
    ]
    scores = {}  # label -> seed -> mAP
    for label, (config, baseline) in METHODS.items():
        results = [r for run in seed_runs(config, data) if (r := load(run))]
        if not results:
            lines.append(f'| {label} | not run | | | | | | |')
            continue
        scores[label] = {r['seed']: r['bbox_mAP'] for r in results}
        cells = [spread([r[key] for r in results]) for key in METRICS.values()]
        gains = [
            value - scores[baseline][seed]
            for seed, value in scores[label].items()
            if seed in scores.get(baseline, {})
        ]
        gain = f'{mean(gains):+.3f}' if gains else '-'
        ratio = '-' if baseline is None else 'not run'
        cells += [gain, step_times().get(label, ratio)]
        cells += [f'{results[0]["parameters"] / 1e6:.3f} M']
        cells += [', '.join(str(r['seed']) for r in results)]
        lines.append(f'| {label} | {" | ".join(cells)} |')
    return lines


def metric_table(head, runs):
    """One row of metrics per run; ``runs`` maps labels to runs."""
    lines = [f'| {head} | mAP | AP50 | AP75 |', '|---|---|---|---|']
    for label, run in runs.items():
        result = load(run)
        cells = (
            [f'{result[key]:.3f}' for key in METRICS.values()]
            if result
            else ['not run', '', '']
        )
        lines.append(f'| {label} | {" | ".join(cells)} |')
    return lines


def overfit_table():
    """AP50 of every method on the 16 images that it was trained on."""
    sets = ('bccd', 'shapes')
    lines = ['| method | BCCD | shapes |', '|---|---|---|']
    for method in read_catalog():
        cells = []
        for data in sets:
            path = OVERFIT / f'{method.configs[0]}_{data}.json'
            if path.is_file():
                result = json.loads(path.read_text())
                cells.append(
                    f'{result["bbox_mAP_50"]:.3f} ({result["last_epoch"]})'
                )
            else:
                cells.append('not run')
        lines.append(f'| {method.name} | {" | ".join(cells)} |')
    return lines


def coco128_table():
    runs = {k: coco128_run(METHODS[k][0]) for k in ON_COCO128}
    return metric_table('model', runs)


def parts_table(method):
    runs = {k: seed_runs(config)[0] for k, config in PARTS[method].items()}
    return metric_table(method, runs)


def commands():
    seen = []
    for run in all_runs():
        result = load(run)
        if result and run.seed == 0:
            seen.append(result['command'])
    return seen


def render():
    """The page from the committed results."""
    results = [r for run in all_runs() if (r := load(run))]
    stacks = {
        ', '.join(f'{k} {v}' for k, v in r['versions'].items())
        for r in results
    }
    notes = (RESULTS / 'notes.md').read_text().strip()
    lines = [
        '# Small-scale results',
        '',
        'Generated by `python tools/dev/small_scale.py render` from '
        '`docs/results/small_scale/*.json`; do not edit. These runs use the '
        'small-scale overlay (ResNet-18 with 16 base channels, images of '
        '320x240, random initial weights) and say whether a method trains '
        'and how it stands next to its baseline under the same budget. They '
        'are not COCO results: no COCO AP was measured for this project.',
        '',
        '## BCCD, 12 epochs',
        '',
        '205 images for training, 87 for evaluation, batch 4, up to '
        'three seeds: mean (lowest-highest); the difference from the baseline '
        'is over the same seeds. Step times are those of '
        '`tools/benchmark/train_step.py`, which runs a method and its '
        'baseline by turns in one process.',
        '',
        *seed_table('bccd'),
        '',
        '## shapes, 12 epochs',
        '',
        'The generated set, same budget.',
        '',
        *seed_table('shapes'),
        '',
        '## Overfit: 16 images',
        '',
        'AP50 on the images that the model was trained on (epochs), which '
        'has to pass 0.9: `pytest -m slow tests/test_overfit.py '
        '--overfit-results docs/results/overfit`. Evaluated every 20 epochs '
        'from 80 to 160 and stopped where it passes, but not if the method '
        'changes while it trains (MAL, SAPD); seed 0.',
        '',
        *overfit_table(),
        '',
        '## COCO128, 20 epochs, evaluated on the training images',
        '',
        'Can the model fit 128 images of 80 classes? One seed.',
        '',
        *coco128_table(),
        '',
        '## Parts of methods',
        '',
        'BCCD, 12 epochs, seed 0.',
        '',
        *(line for method in PARTS for line in (*parts_table(method), '')),
        *UNCERTAINTY.read_text().splitlines(),
        '',
        '## What the numbers say',
        '',
        notes,
        '',
        '## Commands',
        '',
        'Seed 0; the other seeds differ in `--seed`.',
        '',
        '```',
        *commands(),
        '```',
        '',
        f'Versions: {"; ".join(sorted(stacks))}.',
        '',
    ]
    return '\n'.join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('action', choices=('run', 'render', 'check'))
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument(
        '--only', default='', help='part of a run name, * as in a shell'
    )
    args = parser.parse_args()
    if args.action == 'run':
        train(args.jobs, args.only)
    elif args.action == 'render':
        write_text(PAGE, render())
    elif PAGE.read_text() != render():
        print(f'{PAGE} is not what its results say: run render')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
