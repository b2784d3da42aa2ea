"""``table run``: train and test the rows of a method's tables."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import common

if TYPE_CHECKING:
    from ..reproduction.jobs import Slot
    from ..reproduction.plan import Job

HELP = 'train and test all rows of a table'
DESCRIPTION = (
    'Trains and tests the rows of the tables of a method, and keeps a result '
    'for each row and seed. What is finished is kept, what was interrupted '
    'goes on; several calls share the work.'
)
DEFAULT_ROOT = 'work_dirs/tables'


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that say which rows with which seeds, and where."""
    parser.add_argument('table', metavar='METHOD[/TABLE]')
    parser.add_argument(
        '--rows', default='*', metavar='GLOB', help='only these configs'
    )
    parser.add_argument(
        '--seeds', default='0', metavar='N,N,...', help='default: 0'
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        '--mini', action='store_true', help='as of train: for a CPU'
    )
    forms.add_argument(
        '--small', action='store_true', help='as of docs/small_scale.md'
    )
    parser.add_argument('--data', metavar='NAME|ROOT', help='as of train')
    parser.add_argument('--epochs', type=int, help='length of the schedules')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='changes of all configs',
    )
    parser.add_argument(
        '--root', default=DEFAULT_ROOT, help=f'default: {DEFAULT_ROOT}'
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_table_arguments(parser)
    parser.add_argument(
        '--dry-run', action='store_true', help='print the commands'
    )
    parser.add_argument('--amp', action='store_true', help='as of train')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='as of train'
    )
    pool = parser.add_argument_group('on this machine')
    pool.add_argument(
        '--jobs',
        type=int,
        help='trainings side by side (default: 1, with --gpus as many as fit)',
    )
    pool.add_argument('--gpus', metavar='N,N,...', help='GPUs to share')
    pool.add_argument(
        '--gpus-per-run',
        type=int,
        default=1,
        metavar='N',
        help='processes of a training, a GPU each (without GPUs: on the CPU)',
    )
    cluster = parser.add_argument_group('on a Slurm cluster (extra [slurm])')
    cluster.add_argument(
        '--slurm', action='store_true', help='submit an array of jobs'
    )
    cluster.add_argument('--partition')
    cluster.add_argument(
        '--time', type=int, default=1440, metavar='MINUTES', help='of a job'
    )
    cluster.add_argument(
        '--parallel', type=int, default=16, help='jobs at the same time'
    )
    cluster.add_argument(
        '--slurm-options',
        nargs='+',
        metavar='KEY=VALUE',
        default=[],
        help='further options of sbatch, e.g. account=vision',
    )


def jobs_of(args: argparse.Namespace) -> 'list[Job]':
    """The jobs that :func:`add_table_arguments` name."""
    from ..reproduction.jobs import check_results
    from ..reproduction.plan import Settings, find_rows, plan

    form = 'mini' if args.mini else 'small' if args.small else 'full'
    data = args.data or ('shapes' if form != 'full' else None)
    further = [f'--{name}' for name in ('amp', 'auto-scale-lr')]
    settings = Settings(
        Path(args.root),
        form,
        data,
        args.epochs,
        tuple(args.cfg_options),
        tuple(
            flag
            for flag in further
            if getattr(args, flag[2:].replace('-', '_'), False)
        ),
    )
    with common.user_errors():
        if settings.root.exists() and not settings.root.is_dir():
            raise NotADirectoryError(f'--root {args.root}: expected a folder')
        if args.epochs is not None and args.epochs < 1:
            raise ValueError(f'--epochs {args.epochs}: expected 1 or more')
        common.parse_cfg_options(args.cfg_options)
        rows = find_rows(args.table, args.rows)
        jobs = plan(rows, _numbers('--seeds', args.seeds), settings)
        check_results(jobs)
    return jobs


def run(args: argparse.Namespace) -> int:
    """Run, or submit, or print what is missing."""
    jobs = jobs_of(args)
    missing = [job for job in jobs if job.missing()]
    if args.dry_run:
        return _print(missing)
    with common.user_errors():
        if args.slurm:
            return _submit(missing, args)
        slots = _slots(args)
        _check_data(missing)
    return _work(missing, slots)


def _numbers(name: str, text: str) -> list[int]:
    try:
        numbers = [int(one) for one in text.split(',')]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0 or len({*numbers}) < len(numbers):
        raise ValueError(
            f'{name} {text}: expected different numbers with commas, 0,1,2'
        )
    return numbers


def _slots(args: argparse.Namespace) -> 'list[Slot]':
    from ..reproduction.jobs import Slot

    size = args.gpus_per_run
    if size < 1 or (args.jobs is not None and args.jobs < 1):
        raise ValueError('--jobs and --gpus-per-run: expected 1 or more')
    if not args.gpus:
        return [Slot(size)] * (args.jobs or 1)
    gpus = [str(gpu) for gpu in _numbers('--gpus', args.gpus)]
    fit = len(gpus) // size
    if fit < (args.jobs or 1):
        raise ValueError(
            f'--gpus {args.gpus}: expected {(args.jobs or 1) * size}, for '
            f'--jobs {args.jobs or 1} and --gpus-per-run {size}'
        )
    return [
        Slot(size, tuple(gpus[i * size : (i + 1) * size]))
        for i in range(args.jobs or fit)
    ]


def _check_data(jobs: 'Sequence[Job]') -> None:
    """End before the first training if the data is not there."""
    from ..small_scale import load_config

    for job in jobs[:1]:
        settings = job.settings
        cfg = load_config(
            job.training,
            settings.form == 'mini',
            settings.data,
            small=settings.form == 'small',
            options=common.parse_cfg_options(list(settings.options)),
        )
        common.require_files(cfg, 'train_dataloader', 'val_dataloader')


def _work(jobs: 'Sequence[Job]', slots: 'Sequence[Slot]') -> int:
    from ..reproduction.jobs import is_busy, run_job
    from ..reproduction.pool import work_off

    # a process per job: small feature maps use several threads badly
    busy = len(slots) * slots[0].processes
    threads = max(1, (os.cpu_count() or 1) // busy)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))

    def missing() -> 'list[Job]':
        """Those first on which no other process works."""
        return sorted((job for job in jobs if job.missing()), key=is_busy)

    failed = work_off(missing, run_job, slots)
    done = len(jobs) - len(failed)
    print(f'{done} of {len(jobs)} trainings that were missing are done')
    if failed:
        names = ', '.join(job.folder.name for job in failed)
        common.warn(f'{len(failed)} failed, see `table status`: {names}')
    return int(bool(failed))


def _submit(jobs: 'Sequence[Job]', args: argparse.Namespace) -> int:
    from ..reproduction.slurm import submit

    submitted = submit(
        jobs,
        Path(args.root),
        processes=args.gpus_per_run,
        minutes=args.time,
        partition=args.partition,
        parallel=args.parallel,
        parameters=common.parse_pairs('--slurm-options', args.slurm_options),
    )
    for one, job in zip(submitted, jobs, strict=True):
        print(f'{one.job_id}: {job.folder.name}')
    print(f'{len(submitted)} jobs submitted; `table status` says how far')
    return 0


def _print(jobs: 'Sequence[Job]') -> int:
    from ..reproduction.jobs import commands_of

    for job in jobs:
        for command in commands_of(job):
            print(command)
    rows = sum(len(job.missing()) for job in jobs)
    print(f'\n{rows} rows are missing, of {len(jobs)} trainings')
    return 0
