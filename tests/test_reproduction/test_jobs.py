import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reproduction_jobs import (
    FLIP,
    LOG,
    PLAIN,
    Trainer,
    leave_training,
    make_job,
)

from mmdet_assigners.reproduction import jobs, results
from mmdet_assigners.reproduction.jobs import Slot, run_job, state_of
from mmdet_assigners.reproduction.plan import Row


@pytest.fixture
def trainer(monkeypatch):
    found = Trainer()
    monkeypatch.setattr(jobs, 'call', found)
    return found


@pytest.fixture
def job(tmp_path):
    return make_job(tmp_path)


def states(job):
    return [state_of(job, row).state for row in job.rows]


def test_rows_share_a_training(job, trainer):
    assert states(job) == ['missing', 'missing']
    run_job(job, Slot())
    # the plain test of `a` is the last evaluation of its training
    assert trainer.commands() == ['train a', 'test a', 'test b_flip']
    assert states(job) == ['done', 'done'] and not job.missing()
    plain = results.read(job.result_file(PLAIN))
    assert plain.metrics == {'coco/bbox_mAP': 0.125, 'tta/coco/bbox_mAP': 0.5}
    assert (plain.config, plain.seed, plain.parameters) == ('a', 1, 3)
    assert plain.commands[0].startswith('mmdet-assigners train a --mini')
    flip = results.read(job.result_file(FLIP))
    assert flip.metrics == {'tta/coco/bbox_mAP': 0.5}
    assert flip.per_class == {'disc': 0.25}
    run_job(job, Slot())
    assert len(trainer.calls) == 3  # nothing is missing


def test_commands_are_those_that_run(job, trainer):
    options = make_job(job.settings.root, options=('a.b=1',), epochs=3)
    run_job(options, Slot())
    train, test, _ = (
        ' '.join(['mmdet-assigners', *arguments])
        for arguments, _, _ in trainer.calls
    )
    said = jobs.commands_of(options)
    assert train.startswith(said[0]) and '--epochs 3' in said[0]
    checkpoint = str(options.folder / 'epoch_2.pth')
    assert test.startswith(
        said[1].replace(str(options.folder / 'CHECKPOINT'), checkpoint)
    )
    assert '--cfg-options a.b=1' in said[1]


def test_an_interrupted_job_goes_on(job, trainer):
    job.folder.mkdir(parents=True)
    leave_training(job.folder, epoch=1)
    (job.folder / 'train.log').write_text(LOG)
    state = state_of(job, PLAIN)
    assert state.state == 'stopped'
    assert state.detail == '[4][40/69], remaining 0:01:47'
    run_job(job, Slot())
    assert trainer.calls[0][0][-1] == '--resume'
    # trained, but not tested
    job.result_file(FLIP).unlink()
    run_job(job, Slot())
    assert trainer.commands()[3:] == ['test b_flip']


def test_a_training_that_ends_early_is_no_result(job, monkeypatch):
    monkeypatch.setattr(
        jobs, 'call', lambda *_: leave_training(job.folder, epoch=1)
    )
    with pytest.raises(RuntimeError, match='ended without an error at epoch'):
        run_job(job, Slot())
    assert states(job) == ['failed', 'failed']


def test_a_failure_is_shown_and_tried_again(job, trainer):
    trainer.fails = ('b_flip',)
    with pytest.raises(RuntimeError, match='out of memory'):
        run_job(job, Slot())
    assert states(job) == ['done', 'failed']
    detail = state_of(job, FLIP).detail
    assert detail == 'a\nCUDA out of memory'
    trainer.fails = ()
    run_job(job, Slot())
    assert states(job) == ['done', 'done']


def test_another_training_is_refused(job, trainer):
    run_job(job, Slot())
    jobs.check_results([job])
    more = make_job(job.settings.root, arguments=('--amp',))
    with pytest.raises(ValueError, match='is of another training'):
        jobs.check_results([more])
    job.result_file(FLIP).unlink()
    other = make_job(job.settings.root, options=('a.b=1',))
    with pytest.raises(RuntimeError, match='holds another training'):
        run_job(other, Slot())


def test_a_wrong_command_leaves_nothing(job, trainer):
    trainer.fails = ('a',)
    with pytest.raises(RuntimeError):
        run_job(make_job(job.settings.root, arguments=('--amp',)), Slot())
    trainer.fails = ()
    run_job(job, Slot())
    assert states(job) == ['done', 'done']


def test_damaged_files_are_named(job, trainer):
    job.folder.mkdir(parents=True)
    (job.folder / 'failure.json').write_text('{"err')
    state = state_of(job, PLAIN)
    assert state.state == 'failed' and 'failure.json is damaged' in (
        state.detail
    )
    job.result_file(PLAIN).parent.mkdir()
    job.result_file(PLAIN).write_text('')
    with pytest.raises(ValueError, match='is no JSON'):
        jobs.check_results([job])


def test_gpus_and_processes(job, trainer):
    run_job(job, Slot(2, ('2', '3')))
    _, processes, environment = trainer.calls[0]
    assert processes == 2
    assert environment == {'CUDA_VISIBLE_DEVICES': '2,3'}
    assert Slot().environment == {}


HOLD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from reproduction_jobs import make_job
from mmdet_assigners.reproduction import jobs
with jobs._lock(make_job(Path({root!r})), 0):
    print('holds', flush=True)
    time.sleep(60)
"""


def test_a_lock_survives_no_kill(job, trainer):
    """Another process works on it, until it is killed."""
    script = HOLD.format(
        tests=str(Path(__file__).parents[1]), root=str(job.settings.root)
    )
    with subprocess.Popen(
        [sys.executable, '-c', script], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == 'holds\n'
        assert states(job) == ['running', 'running']
        assert jobs.is_busy(job)
        run_job(job, Slot(wait=False))
        assert trainer.calls == []
        other.send_signal(signal.SIGKILL)
    assert not jobs.is_busy(job)
    run_job(job, Slot(wait=False))
    assert states(job) == ['done', 'done']


def _run(root, log):
    def call(arguments, *_, **__):
        with log.open('a') as stream:
            stream.write(' '.join(arguments[:2]) + '\n')
        time.sleep(0.2)
        folder = Path(arguments[arguments.index('--work-dir') + 1])
        leave_training(folder)

    jobs.call = call
    run_job(make_job(root, (Row('a', ('plain',)),)), Slot())


def test_two_at_once_share_the_work(tmp_path):
    log = tmp_path / 'calls'
    context = multiprocessing.get_context('fork')
    both = [context.Process(target=_run, args=(tmp_path, log)) for _ in '12']
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert log.read_text() == 'train a\n'
