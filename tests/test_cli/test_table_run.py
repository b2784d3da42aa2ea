import json
import os
import signal
import subprocess
import sys
import time

import pytest
from reproduction_jobs import Trainer

from mmdet_assigners.__main__ import main
from mmdet_assigners.cli.table_run import _slots
from mmdet_assigners.cli.table_run import add_arguments as add_run_arguments
from mmdet_assigners.datasets.shapes import generate_shapes
from mmdet_assigners.reproduction import jobs, results

TABLE = 'atss/ladder'
ROWS = '*_gn-giou_*'
ROW = 'atss-ladder_retinanet-a1_gn-giou_r50_fpn_1x_coco'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'few'
    return generate_shapes(root, num_train=8, num_val=2, num_test=1)


@pytest.fixture
def table(data, tmp_path, monkeypatch, capsys):
    """Function: a table command; its exit code and output."""
    trainer = Trainer()
    monkeypatch.setattr(jobs, 'call', trainer)

    def run(action, *more, rows=ROWS, form='--mini'):
        command = ['table', action, TABLE, '--rows', rows, form]
        command += ['--data', str(data), '--root', str(tmp_path / 'tables')]
        try:
            code = main([*command, *more])
        except SystemExit as error:
            code = error.code
        return code, capsys.readouterr()

    run.trainer = trainer
    return run


def test_run_and_status(table):
    code, said = table('status', '--seeds', '0,1')
    assert (code, said.out.splitlines()[-1]) == (0, '2 missing')
    code, said = table('run', '--seeds', '0,1', '--jobs', '2')
    assert code == 0 and '2 of 2 trainings' in said.out
    commands = table.trainer.commands()
    assert commands == [f'train {ROW}'] * 2
    code, said = table('status', '--seeds', '0,1,2')
    assert f'| {ROW} | 1 | done |' in said.out
    assert said.out.splitlines()[-1] == '2 done, 1 missing'
    table('run', '--seeds', '0,1')
    assert len(table.trainer.calls) == 2


def test_dry_run_changes_nothing(table, tmp_path):
    code, said = table('run', '--dry-run', '--epochs', '3', '--amp')
    assert code == 0 and not (tmp_path / 'tables').exists()
    command, _, count = said.out.splitlines()
    assert command.startswith(f'mmdet-assigners train {ROW} --mini --data ')
    assert command.endswith('--epochs 3 --seed 0 --amp')
    assert count == '1 rows are missing, of 1 trainings'


def test_failures_are_listed(table):
    table.trainer.fails = (ROW,)
    code, said = table('run', rows='*_gn[-_]*')
    assert code == 1
    name = f'{ROW}_mini_few_s0'
    assert said.err.splitlines() == [
        f'{name}: CUDA out of memory',
        f'warning: 1 failed, see `table status`: {name}',
    ]
    assert '3 of 4 trainings' in said.out
    code, said = table('status', rows='*_gn[-_]*')
    assert f'{ROW}, seed 0:\na\nCUDA out of memory' in said.out
    assert said.out.splitlines()[-1] == '3 done, 1 failed'


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--seeds', '0,0'], '--seeds 0,0: expected different numbers'),
        (['--seeds', 'x'], '--seeds x: expected different numbers'),
        (['--jobs', '0'], '--jobs and --gpus-per-run: expected 1 or more'),
        (['--gpus', '0,1', '--gpus-per-run', '4'], '0,1: expected 4, for'),
        (['--gpus', '0', '--jobs', '2'], '0: expected 2, for --jobs 2'),
        (['--epochs', '0'], '--epochs 0: expected 1 or more'),
        (['--cfg-options', 'x'], "--cfg-options 'x': expected KEY=VALUE"),
        (['--root', __file__], 'expected a folder'),
        (['--data', '/none'], '/none'),
        (['--slurm', '--slurm-options', 'x'], "'x': expected KEY=VALUE"),
    ],
)
def test_wrong_arguments(table, more, message):
    code, said = table('run', *more)
    assert code == 1 and message in said.err
    assert len(said.err.splitlines()) == 1
    assert table.trainer.calls == []


def test_results_of_another_training_are_refused(table):
    table('run')
    for more in (['--amp'], ['--cfg-options', 'a.b=1'], ['--data', '/x/few']):
        code, said = table('run', *more)
        assert code == 1 and 'is of another training' in said.err
    assert len(table.trainer.calls) == 1


def test_data_of_the_options_is_checked(table, tmp_path):
    option = 'val_dataloader.dataset.ann_file=/none/val.json'
    code, said = table('run', '--cfg-options', option)
    assert code == 1 and '/none/val.json' in said.err
    assert table.trainer.calls == []


def test_gpus_are_shared():
    import argparse

    parser = argparse.ArgumentParser()
    add_run_arguments(parser)

    def slots(*more):
        found = _slots(parser.parse_args(['atss', *more]))
        return [(slot.processes, slot.gpus) for slot in found]

    assert slots() == [(1, ())]
    assert slots('--jobs', '2', '--gpus-per-run', '2') == [(2, ())] * 2
    assert slots('--gpus', '0,2,3') == [(1, ('0',)), (1, ('2',)), (1, ('3',))]
    pairs = [(2, ('0', '1')), (2, ('2', '3'))]
    assert slots('--gpus', '0,1,2,3', '--gpus-per-run', '2') == pairs
    one = slots('--gpus', '0,1,2,3', '--gpus-per-run', '2', '--jobs', '1')
    assert one == pairs[:1]


def process(data, root, *more):
    """A real `table run` of one row, 3 epochs."""
    return subprocess.Popen(
        [
            sys.executable, '-m', 'mmdet_assigners', 'table', 'run', TABLE,
            '--rows', ROWS, '--mini', '--data', str(data), '--root', str(root),
            '--epochs', '3', *more,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )  # fmt: skip


@pytest.mark.slow
def test_killed_and_resumed(data, tmp_path):
    root = tmp_path / 'tables'
    first = process(data, root)
    folder = root / 'trainings' / f'{ROW}_mini_few_3e_s0'
    while not (folder / 'epoch_1.pth').exists():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    # at once: its training is still there for a moment
    again = process(data, root)
    assert again.wait() == 0, again.stdout.read()
    (file,) = (root / 'results').iterdir()
    found = results.read(file)
    assert (found.last_epoch, found.seed) == (3, 0)
    log = (folder / 'train.log').read_text()
    assert 'resumed epoch: ' in log


@pytest.mark.slow
def test_two_processes_for_a_training(data, tmp_path):
    run = process(data, tmp_path, '--gpus-per-run', '2')
    assert run.wait() == 0, run.stdout.read()
    (file,) = (tmp_path / 'results').iterdir()
    content = json.loads(file.read_text())
    assert content['last_epoch'] == 3
    log = next(tmp_path.glob('trainings/*/train.log')).read_text()
    # 8 images, 4 in a batch, 2 processes
    assert 'Epoch(train) [1][1/1]' in log
