"""Trains every small-scale run that has no committed result yet.

The metafiles list the runs (``Small Scale`` and ``Ablation``); an interrupted
run is resumed. Datasets are looked for as ``data/<name>``. Afterwards
``tools/dev/check_repo.py --write`` renders ``docs/quick_form.md``.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch

from facts import ROOT
from quick_form_page import RESULTS, all_runs

from mmdet_assigners.experiments import execute
from mmdet_assigners.files import write_json


def train(jobs, only):
    """Train every run without a result, ``jobs`` side by side."""
    os.environ.setdefault('OMP_NUM_THREADS', '1')

    def one(run):
        target = ROOT / RESULTS / f'{run.name}.json'
        if not target.is_file():
            folder = ROOT / 'work_dirs' / 'small_scale' / run.name
            write_json(target, execute(run, folder, quiet=True))
            print(run.name, flush=True)

    runs = [run for run in all_runs() if fnmatch(run.name, f'*{only}*')]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, runs))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument(
        '--only', default='', help='part of a run name, * as in a shell'
    )
    args = parser.parse_args()
    train(args.jobs, args.only)


if __name__ == '__main__':
    sys.exit(main())
