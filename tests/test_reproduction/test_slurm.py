import os
import stat
import sys
from pathlib import Path

import pytest
from reproduction_jobs import Trainer, make_job

from mmdet_assigners.reproduction import jobs, slurm

GOLDEN = Path(__file__).with_name('sbatch.txt')


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Commands of Slurm that keep the script instead of running it."""
    kept = tmp_path / 'script.sh'
    commands = tmp_path / 'bin'
    commands.mkdir()
    for name, text in {
        'sbatch': f'cp "$1" {kept}; echo "Submitted batch job 12"',
        'srun': 'exit 1',
        'sacct': 'exit 0',
    }.items():
        path = commands / name
        path.write_text(f'#!/bin/sh\n{text}\n')
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv('PATH', f'{commands}{os.pathsep}{os.environ["PATH"]}')
    return kept


def test_script_of_an_array(cluster, tmp_path):
    pytest.importorskip('submitit', reason='the extra [slurm]')
    root = tmp_path / 'tables'
    several = [make_job(root), make_job(root, data='bccd')]
    submitted = slurm.submit(
        several, root, processes=4, minutes=600, partition='gpu', parallel=2,
        parameters={'account': 'vision'},
    )  # fmt: skip
    assert [job.job_id for job in submitted] == ['12_0', '12_1']
    text = cluster.read_text().replace(str(root.absolute()), 'ROOT')
    text = text.replace(sys.executable, 'PYTHON')
    assert text == GOLDEN.read_text()


def test_a_job_at_its_limit_is_put_back(tmp_path):
    submitit = pytest.importorskip('submitit', reason='the extra [slurm]')
    task = slurm._Task(make_job(tmp_path), jobs.Slot())
    again = task.checkpoint()
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert again.function is task


def test_a_task_runs_its_job(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, 'call', Trainer())
    job = make_job(tmp_path)
    slurm._Task(job, jobs.Slot())()
    assert not job.missing()


def test_local_executor(tmp_path):
    """A process of submitit's own; the config is unknown, so it fails."""
    pytest.importorskip('submitit', reason='the extra [slurm]')
    job = make_job(tmp_path)
    (submitted,) = slurm.submit([job], tmp_path, 'local', gpus=False)
    assert 'no config' in str(submitted.exception())
    assert jobs.state_of(job, job.rows[0]).state == 'failed'


def test_without_submitit(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'submitit', None)
    with pytest.raises(ImportError, match=r'mmdet_assigners\[slurm\]'):
        slurm.submit([make_job(tmp_path)], tmp_path)
