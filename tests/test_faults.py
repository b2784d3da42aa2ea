"""What goes wrong on the machines of users: nothing is lost, one clear line.

The long ones run in ``make test-all``.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_datasets.test_roots import coco_root

from mmdet_assigners.__main__ import main
from mmdet_assigners.datasets.shapes import generate_shapes
from mmdet_assigners.diagnostics.checkpoints import find_last, load
from mmdet_assigners.engine.hooks import FiniteLossHook
from mmdet_assigners.small_scale import load_config
from mmdet_assigners.utils import config_path

CONFIG = 'atss-ladder_r50_fpn_1x_coco'
COMMAND = [sys.executable, '-m', 'mmdet_assigners']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    return generate_shapes(root, num_train=8, num_val=4, num_test=2)


def refused(capsys, *arguments):
    """The line with which a command ends."""
    with pytest.raises(SystemExit, match='1'):
        main([str(argument) for argument in arguments])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith('mmdet-assigners: ')
    return line


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(', 'cannot be read as a config: SyntaxError'),
        ("_base_ = 'none.py'", 'cannot be read as a config: '),
        ('x = 1 / 0', 'cannot be read as a config: ZeroDivisionError'),
        ('x = 1', 'not a config of MMDetection 3.x: it has no model'),
        ('model = dict()\ndata = dict()', '3.x: it is of mmdet 2'),
    ],
)
@pytest.mark.parametrize('command', ['train', 'check'])
def test_files_that_are_no_configs(tmp_path, capsys, command, text, message):
    path = tmp_path / 'mine.py'
    path.write_text(text)
    line = refused(capsys, command, path, '--mini')
    assert message in line and 'mine.py' in line


def test_a_folder_is_no_config(tmp_path, capsys):
    assert 'has no config' in refused(capsys, 'train', tmp_path, '--mini')


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('modle.x=1', "a config has no key 'modle'; did you mean model?"),
        ('nothing_like_it=1', "a config has no key 'nothing_like_it'"),
        ('model', 'expected KEY=VALUE'),
    ],
)
def test_misspelled_options(tmp_path, capsys, option, message):
    root = coco_root(tmp_path)
    line = refused(
        capsys, 'train', CONFIG, '--mini', '--data', root, '--cfg-options',
        option,
    )  # fmt: skip
    assert line.endswith(message)


def test_unknown_class_is_one_line(tmp_path, capsys):
    root = coco_root(tmp_path)
    arguments = ['train', CONFIG, '--mini', '--data', str(root)]
    arguments += ['--work-dir', str(tmp_path / 'run'), '--cfg-options']
    assert main([*arguments, 'model.type=ATTS']) == 1
    *_, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith('mmdet-assigners: KeyError: ')
    assert line.endswith('mmdet-assigners --traceback train ...')
    with pytest.raises(KeyError, match='ATTS'):
        main(['--traceback', *arguments, 'model.type=ATTS'])


def test_mixed_precision_without_a_gpu(capsys, data, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    arguments = ['train', CONFIG, '--mini', '--data', data, '--amp']
    assert '--amp needs a GPU' in refused(capsys, *arguments)


def test_files_of_a_dataset_go_together(tmp_path, capsys):
    arguments = ['check', CONFIG, '--mini', '--train-ann', 'a.json']
    assert 'name a dataset together' in refused(capsys, *arguments)
    arguments += ['--val-ann', 'a.json', '--images', tmp_path, '--data', 'x']
    assert 'without --data' in refused(capsys, *arguments)


class _Runner:
    iter = 3
    train_dataloader = range(10)


@pytest.mark.parametrize('loss', [float('nan'), float('inf')])
def test_a_loss_that_is_not_finite_ends_the_training(loss):
    hook = FiniteLossHook(interval=4)
    bad, good = (
        dict(loss=torch.tensor(v), loss_cls=torch.tensor(0.25))
        for v in (loss, 1.0)
    )
    hook.after_train_iter(_Runner(), 3, outputs=good)
    hook.after_train_iter(_Runner(), 9, outputs=good)
    message = (
        f'the loss is {loss} at iteration 4 [(]loss_cls 0.25[)]; '
        'mmdet-assigners check'
    )
    with pytest.raises(FloatingPointError, match=message):
        hook.after_train_iter(_Runner(), 3, outputs=bad)
    _Runner.iter = 4
    hook.after_train_iter(_Runner(), 4, outputs=bad)  # between two looks
    with pytest.raises(FloatingPointError):  # before a checkpoint
        hook.after_train_iter(_Runner(), 9, outputs=bad)
    _Runner.iter = 3


def test_another_training_is_not_overwritten(tmp_path, capsys, data):
    (tmp_path / 'epoch_1.pth').write_bytes(b'weights')
    line = refused(
        capsys, 'train', CONFIG, '--mini', '--data', data, '--work-dir',
        tmp_path,
    )  # fmt: skip
    assert 'add --resume, or choose another --work-dir' in line
    assert (tmp_path / 'epoch_1.pth').read_bytes() == b'weights'


def train(data, folder, *more):
    """A training whose result depends on the seed alone."""
    return [
        *COMMAND, 'train', CONFIG, '--mini', '--data', str(data), '--epochs',
        '4', '--seed', '0', '--work-dir', str(folder), *more,
        '--cfg-options', 'train_dataloader.dataset.pipeline.3.prob=0.0',
        'randomness.deterministic=True',
    ]  # fmt: skip


@pytest.mark.slow
def test_kill_at_random_moments_and_resume(data, tmp_path):
    """The resumed training ends with the weights of one that ran through."""
    subprocess.run(train(data, tmp_path / 'a'), check=True)
    rng = random.Random(0)
    folder = tmp_path / 'b'
    for _ in range(4):
        process = subprocess.Popen(train(data, folder, '--resume'))
        time.sleep(rng.uniform(8, 14))
        process.kill()
        process.wait()
    subprocess.run(train(data, folder, '--resume'), check=True)
    first, second = (load(find_last(tmp_path / name)) for name in 'ab')
    assert first['meta']['epoch'] == second['meta']['epoch'] == 4
    for name, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][name]), name


@pytest.mark.slow
def test_two_processes_on_a_cpu(data, tmp_path):
    run = [sys.executable, '-m', 'torch.distributed.run', '--standalone',
           '--nproc-per-node', '2', '-m', 'mmdet_assigners']  # fmt: skip
    common = [CONFIG, '--mini', '--data', data]
    options = ['--work-dir', tmp_path, '--launcher', 'pytorch']
    options += ['--dist-timeout', 60]
    for command in (
        ['train', *common, '--epochs', 1, *options],
        ['test', *common, tmp_path / 'epoch_1.pth', *options],
    ):
        done = subprocess.run(
            [*run, *map(str, command)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert find_last(tmp_path) is not None


def _children(pid):
    listed = Path(f'/proc/{pid}/task').glob('*/children')
    return [int(c) for path in listed for c in path.read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.parametrize(
    'kind', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
)
def test_the_demo_ends_its_trainings(data, tmp_path, kind):
    process = subprocess.Popen(
        [*COMMAND, 'demo', '--data', str(data), '--work-dir', str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # background jobs of a shell ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    children = []
    for _ in range(300):
        time.sleep(0.2)
        children = _children(process.pid)
        if len(children) == 2:
            break
    assert len(children) == 2
    time.sleep(3)
    process.send_signal(kind)
    process.wait(timeout=60)
    for _ in range(150):
        if not any(Path(f'/proc/{child}').exists() for child in children):
            return
        time.sleep(0.2)
    for child in children:
        os.kill(child, signal.SIGKILL)
    pytest.fail('the trainings go on without the demo')


def test_scalars_of_a_killed_process(tmp_path):
    """Half a line is skipped; without any evaluation there is no result."""
    from mmdet_assigners.experiments import Run, _collect

    run = Run(CONFIG, 'shapes', 1)
    folder = tmp_path / '20260101' / 'vis_data'
    folder.mkdir(parents=True)
    torch.save(
        dict(state_dict=dict(a=torch.ones(3))), tmp_path / 'epoch_1.pth'
    )
    (folder / 'scalars.json').write_text('')
    with pytest.raises(RuntimeError, match='has no complete training'):
        _collect(run, tmp_path)
    lines = [dict(loss=1.0, time=0.5), {'coco/bbox_mAP': 0.25, 'step': 1}]
    text = '\n'.join(json.dumps(line) for line in lines)
    (folder / 'scalars.json').write_text(text + '\n{"loss": 0.')
    result = _collect(run, tmp_path)
    assert (result['bbox_mAP'], result['parameters']) == (0.25, 3)


@pytest.mark.parametrize(
    'key', ['find_unused_parameters', 'sync_bn', 'compile', 'resume', 'data']
)
def test_keys_that_a_config_does_not_have_yet(tmp_path, key):
    """mmengine reads more than the arguments of its Runner."""
    path = tmp_path / 'mine.py'
    base = config_path(CONFIG)
    # a variable of the user may be called as mmdet 2 called its datasets
    path.write_text(f'_base_ = {base!r}\ndata = 1\n')
    root = str(coco_root(tmp_path))
    cfg = load_config(str(path), True, root, options={key: 'x'})
    assert cfg[key] == 'x'
