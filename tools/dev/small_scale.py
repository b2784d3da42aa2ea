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
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from itertools import chain

import small_scale_report
from facts import ROOT
from small_scale_page import compared_rows
from small_scale_runs import DATA, add_run, missing_runs

from mmdet_assigners.experiments import execute

WORK_DIR = ROOT / 'work_dirs' / 'small'


class Queue:
    """Hands out runs to several threads, and keeps their results."""

    def __init__(self, configs, datasets) -> None:
        self.configs = configs
        self.datasets = datasets
        self.changed = threading.Condition()
        self.running: set = set()
        self.failed: dict = {}

    def take(self):
        """The next run and its rate; None when all are done."""
        with self.changed:
            while True:
                missing = chain.from_iterable(
                    missing_runs(self.configs, data) for data in self.datasets
                )
                for run, rate in missing:
                    if run not in self.running and run not in self.failed:
                        self.running.add(run)
                        return run, rate
                if not self.running:
                    return None
                self.changed.wait()  # a last tuning run starts five others

    def work(self) -> None:
        """Train until there is nothing left."""
        while taken := self.take():
            run, rate = taken
            folder = WORK_DIR / f'{run.name}_{rate:g}'
            try:
                result = execute(run, folder, quiet=True)
            except RuntimeError as error:
                with self.changed:
                    self.failed[run] = str(error)
                print(error, flush=True)
            else:
                with self.changed:
                    add_run(run, rate, result)
                shutil.rmtree(folder)  # checkpoints of hundreds of runs
                print(folder.name, result['bbox_mAP'], flush=True)
            with self.changed:
                self.running.discard(run)
                self.changed.notify_all()


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
    args = parser.parse_args(argv)
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    configs = [
        row.config
        for row in compared_rows()
        if any(fnmatch(row.config, f'*{part}*') for part in args.only)
    ]
    if not configs:
        sys.exit(f'--only {" ".join(args.only)}: no config has such a name')
    queue = Queue(list(dict.fromkeys(configs)), args.data)
    with ThreadPoolExecutor(args.jobs) as pool:
        for worker in [pool.submit(queue.work) for _ in range(args.jobs)]:
            worker.result()
    return small_scale_report.main() or int(bool(queue.failed))


if __name__ == '__main__':
    sys.exit(main())
