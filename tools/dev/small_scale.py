"""Trains the runs of docs/small_scale.md that have no committed result yet.

The metafiles and ``configs/baselines.yml`` list the configs. Each is trained
with every learning rate of the grid on a tuning seed, then with the best one
on five seeds. The queue may be stopped and started again at any time: a
finished run is kept, an interrupted one is resumed. With a GPU the runs share
it. Datasets are looked for as ``data/<name>``. In the end
``tools/dev/small_scale_report.py`` writes statistics, figures and page.
"""

import argparse
import os
import shutil
import sys
import threading
from fnmatch import fnmatch

import small_scale_report
from facts import ROOT
from small_scale_page import compared_rows, runs_on
from small_scale_runs import DATA, RATES, SEEDS, add_run, missing_runs

from mmdet_assigners.experiments import execute
from mmdet_assigners.reproduction.pool import work_off

WORK_DIR = ROOT / 'work_dirs' / 'small'
_writing = threading.Lock()


def train(run_and_rate, _slot) -> None:
    """Train one run and keep its result."""
    run, rate = run_and_rate
    folder = WORK_DIR / f'{run.name}_{rate:g}'
    result = execute(run, folder, quiet=True)
    with _writing:  # runs of a config share a file
        add_run(run, rate, result)
    shutil.rmtree(folder)  # checkpoints of hundreds of runs
    print(folder.name, result['bbox_mAP'], flush=True)


def queue(rows, datasets, rates, seeds, jobs: int) -> dict:
    """Train what is missing; returns the runs that failed."""

    def missing():
        for data in datasets:
            configs = [row.config for row in rows if runs_on(row, data)]
            yield from missing_runs(
                dict.fromkeys(configs), data, rates=rates, seeds=seeds
            )

    return work_off(missing, train, range(jobs))


def main(argv: list[str] | None = None) -> int:
    """Run the queue; 1 if a training failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--jobs', type=int, default=2, help='trainings side by side'
    )
    parser.add_argument(
        '--only',
        nargs='+',
        default=['*'],
        metavar='NAME',
        help='configs, * as in a shell',
    )
    parser.add_argument(
        '--data', nargs='+', choices=list(DATA), default=list(DATA)
    )
    parser.add_argument(
        '--rates',
        nargs='+',
        type=float,
        choices=RATES,
        default=RATES,
        metavar='LR',
        help='only these learning rates of the grid',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        choices=range(len(SEEDS) + 1),
        default=len(SEEDS),
        metavar='N',
        help='only the first N seeds, 0: only the tuning runs. A first look '
        'at many methods, from which the page claims nothing, is --rates '
        '0.002 --seeds 0',
    )
    args = parser.parse_args(argv)
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    rows = [
        row
        for row in compared_rows()
        if any(fnmatch(row.config, f'*{part}*') for part in args.only)
    ]
    if not rows:
        sys.exit(f'--only {" ".join(args.only)}: no config has such a name')
    failed = queue(rows, args.data, args.rates, SEEDS[: args.seeds], args.jobs)
    return small_scale_report.main() or int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
