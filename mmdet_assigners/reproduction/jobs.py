"""Runs one job of a table: a training, then the tests of its rows."""

import dataclasses
import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from ..diagnostics.checkpoints import find_last
from ..experiments import CallError, call
from ..files import write_json
from ..work_dir import is_free
from . import results
from .plan import TTA, Job, Row

_LOCK = '.job.lock'
_COMMAND = 'job.json'
_FAILURE = 'failure.json'
_LOG = 'train.log'
_PATIENCE = 60  # seconds
_MOMENT = 10  # seconds
_POLL = 2  # seconds between two looks at a lock of another process


@dataclasses.dataclass(frozen=True)
class Slot:
    """What a job may use.

    Attributes:
        processes: Processes of a training, a GPU each if there are GPUs.
        gpus: Their numbers; empty: those that are visible, or the CPU.
        wait: For a job that another process works on; otherwise it is left
            to that one.
    """

    processes: int = 1
    gpus: tuple[str, ...] = ()
    wait: bool = True

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the processes."""
        gpus = ','.join(self.gpus)
        return {'CUDA_VISIBLE_DEVICES': gpus} if gpus else {}


@dataclasses.dataclass(frozen=True)
class State:
    """How far a row is.

    Attributes:
        state: ``done``, ``running``, ``failed``, ``stopped`` (it goes on from
            its checkpoint) or ``missing``.
        detail: Epoch and remaining time, or the lines that say why it failed.
    """

    state: str
    detail: str = ''


def run_job(job: Job, slot: Slot) -> None:
    """Train and test what is missing of a job.

    Only one process works on a job. When it dies, however it dies, the kernel
    releases its lock, and another goes on from the last checkpoint.

    Raises:
        RuntimeError: The training or a test failed, or the folder holds
            another training.
    """
    try:
        # a moment: `is_busy` of another process holds it, too
        with _lock(job, -1 if slot.wait else _MOMENT):
            _run(job, slot)
    except Timeout:
        print(f'{job.folder.name}: another process works on it', flush=True)


def is_busy(job: Job) -> bool:
    """Whether another process works on a job; False if nobody may know."""
    if not (job.folder / _LOCK).exists():
        return False
    try:
        with _lock(job, 0):
            return False
    except Timeout:
        return True
    except PermissionError:
        return False


def check_results(jobs: Iterable[Job]) -> None:
    """Check that the results of finished rows are of these jobs.

    Raises:
        ValueError: One is damaged, or of another training.
    """
    for job in jobs:
        command = commands_of(job)[0]
        for row in job.rows:
            path = job.result_file(row)
            if not path.exists():
                continue
            found = results.read(path).commands
            if found[:1] != [command]:
                raise ValueError(
                    f'{path} is of another training (`{"".join(found[:1])}`);'
                    ' choose another --root'
                )


def state_of(job: Job, row: Row) -> State:
    """How far a row of a job is."""
    if job.result_file(row).exists():
        return State('done')
    if is_busy(job):
        return State('running', _progress(job.folder / _LOG))
    failure = job.folder / _FAILURE
    if failure.exists():
        return State('failed', _read(failure, 'error'))
    if (job.folder / _LOG).exists():
        return State('stopped', _progress(job.folder / _LOG))
    return State('missing')


def commands_of(job: Job) -> list[str]:
    """Commands of a job: its training, and the tests of all its rows."""
    arguments = [*job.run.arguments(), *job.settings.arguments]
    tests = [
        _test_arguments(job, row, mode, str(job.folder / 'CHECKPOINT'))
        for row in job.rows
        for mode in row.modes
        if not _is_last_evaluation(job, row, mode)
    ]
    return [
        shlex.join(['mmdet-assigners', *one]) for one in (arguments, *tests)
    ]


def _is_last_evaluation(job: Job, row: Row, mode: str) -> bool:
    """Whether a test is what the training evaluated at its end."""
    return mode == 'plain' and row.config == job.training


def _test_arguments(
    job: Job, row: Row, mode: str, checkpoint: str
) -> list[str]:
    arguments = ['test', row.config, checkpoint, *job.run.dataset_arguments()]
    arguments += ['--tta'] if mode == 'tta' else []
    if job.settings.options:
        arguments += ['--cfg-options', *job.settings.options]
    return arguments


def _lock(job: Job, timeout: float) -> AcquireReturnProxy:
    job.folder.mkdir(parents=True, exist_ok=True)
    return FileLock(job.folder / _LOCK).acquire(timeout, poll_interval=_POLL)


def _run(job: Job, slot: Slot) -> None:
    if not job.missing():
        return
    _check_command(job)
    failure = job.folder / _FAILURE
    failure.unlink(missing_ok=True)
    try:
        trained = _train(job, slot)
        for row in job.missing():
            _evaluate(job, row, trained, slot)
    except (RuntimeError, OSError, ValueError) as error:
        tail = error.tail[:-1] if isinstance(error, CallError) else []
        write_json(failure, {'error': '\n'.join([*tail, str(error)])})
        raise RuntimeError(f'{job.folder.name}: {error}') from error


def _check_command(job: Job) -> None:
    """Refuse the folder of another training."""
    file = job.folder / _COMMAND
    command = commands_of(job)[0]
    if file.exists() and find_last(job.folder):
        found = _read(file, 'command')
        if found != command:
            raise RuntimeError(
                f'{job.folder} holds another training (`{found}`); choose '
                'another --root'
            )
    write_json(file, {'command': command})


def _read(file: Path, key: str) -> str:
    """The text of a key in a JSON file."""
    try:
        return str(json.loads(file.read_text('utf-8'))[key])
    except (ValueError, KeyError, TypeError) as error:
        return f'{file} is damaged: {error}'


def _train(job: Job, slot: Slot) -> results.Result:
    """Train, or resume, or read what is finished."""
    found = _collect(job)
    if found is None or not found.finished:
        # that of a process which was killed ends a moment later
        if not is_free(job.folder, _PATIENCE):
            raise RuntimeError(f'another process trains in {job.folder}')
        arguments = [*job.run.arguments(), *job.settings.arguments]
        arguments += ['--work-dir', str(job.folder), '--resume']
        print(f'{job.folder.name}: training', flush=True)
        call(
            arguments,
            job.folder / _LOG,
            job.folder.name,
            slot.processes,
            slot.environment,
        )
        found = _collect(job)
    if found is None or not found.finished:
        reached = f'{found.unit} {found.last_epoch}' if found else 'no step'
        raise RuntimeError(
            f'the training in {job.folder} ended without an error at '
            f'{reached}, before its end'
        )
    return found


def _collect(job: Job) -> results.Result | None:
    try:
        return results.collect(
            job.folder, commands=commands_of(job)[:1], here=True
        )
    except FileNotFoundError:  # not begun
        return None


def _evaluate(job: Job, row: Row, trained: results.Result, slot: Slot) -> None:
    """Test a row in all its ways, and write its result."""
    checkpoint = str(find_last(job.folder))
    stem = Path(row.config).stem
    metrics: dict[str, float | None] = {}
    per_class: dict[str, float | None] = {}
    commands = list(trained.commands)
    for mode in row.modes:
        if _is_last_evaluation(job, row, mode) and trained.metrics:
            metrics |= trained.metrics
            per_class = trained.per_class
            continue
        folder = job.folder / 'tests' / f'{stem}_{mode}'
        arguments = _test_arguments(job, row, mode, checkpoint)
        call(
            [*arguments, '--work-dir', str(folder)],
            folder / 'test.log',
            processes=slot.processes,
            environment=slot.environment,
        )
        commands.append(shlex.join(['mmdet-assigners', *arguments]))
        tested, classes = results.split_metrics(results.test_metrics(folder))
        if mode == 'plain':
            metrics, per_class = tested | metrics, classes
        else:
            metrics |= {f'{TTA}{k}': value for k, value in tested.items()}
            per_class = per_class or classes
    results.write(
        dataclasses.replace(
            trained,
            config=stem,
            metrics=metrics,
            per_class=per_class,
            commands=commands,
        ),
        job.result_file(row),
    )


def _progress(log: Path) -> str:
    """Epoch and remaining time, as mmengine logs them."""
    if not log.exists():
        return ''
    text = log.read_text('utf-8', errors='replace')
    found = re.findall(r'(?:Epoch|Iter)\(train\) +(\S+).*?eta: (.+?)  ', text)
    return '{}, remaining {}'.format(*found[-1]) if found else ''
