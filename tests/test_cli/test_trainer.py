"""Options of the trainer, as they change the config."""

import os
import re
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmdet_assigners.__main__ import build_parser
from mmdet_assigners.cli import trainer
from mmdet_assigners.cli.common import parse_cfg_options
from mmdet_assigners.datasets.shapes import generate_shapes

CONFIG = 'sepc_retinanet_r50_fpn_1x_coco'
EVALUATOR = dict(type='CocoMetric', metric=['bbox', 'segm'])


def apply(*options, **changes):
    """The config after the options."""
    cfg = Config(
        dict(
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            train_dataloader=dict(batch_size=2),
            val_dataloader=dict(batch_size=1),
            val_evaluator=EVALUATOR,
            auto_scale_lr=dict(base_batch_size=16),
        )
        | changes
    )
    args = build_parser(['train']).parse_args(['train', CONFIG, *options])
    trainer.apply(args, cfg)
    return cfg


def test_nothing_changes_without_options():
    assert apply().to_dict() == apply('--cfg-options', 'a=1').to_dict()
    assert 'custom_hooks' not in apply() and 'compile' not in apply()


def test_scaled_learning_rate():
    base = apply('--auto-scale-lr').auto_scale_lr
    assert base == dict(enable=True, base_batch_size=16)
    # mmengine divides the images of one batch by it: 2 / 4 = 8 / 16
    both = apply('--auto-scale-lr', '--accumulate', '4')
    assert both.auto_scale_lr.base_batch_size == 4
    assert both.optim_wrapper.accumulative_counts == 4
    with pytest.raises(ValueError, match=r'no auto_scale_lr\.base'):
        apply('--auto-scale-lr', auto_scale_lr=None)


def test_warning_about_images_per_step(capsys, monkeypatch):
    apply()
    line = capsys.readouterr().err
    assert '2 images per step (1 x 2), and the learning rate is' in line
    assert 'that of 16: --auto-scale-lr' in line
    apply('--accumulate', '8')
    apply('--auto-scale-lr')
    apply(form='mini')
    apply(auto_scale_lr=dict(base_batch_size=16, enable=True))
    assert capsys.readouterr().err == ''
    monkeypatch.setenv('WORLD_SIZE', '8')
    monkeypatch.setenv('RANK', '0')
    apply('--launcher', 'pytorch')
    assert capsys.readouterr().err == ''
    apply('--launcher', 'pytorch', '--accumulate', '2')
    assert '32 images per step (8 x 2 x 2)' in capsys.readouterr().err
    monkeypatch.setenv('RANK', '3')  # one process says it
    apply('--launcher', 'pytorch', '--accumulate', '2')
    assert capsys.readouterr().err == ''


def test_moving_average():
    hook = apply('--ema').custom_hooks[0]
    assert hook == dict(type='EMAHook', momentum=0.0002, update_buffers=True)
    assert apply('--ema', '0.02').custom_hooks[0]['momentum'] == 0.02
    with pytest.raises(ValueError, match='--ema 2: expected between 0 and 1'):
        apply('--ema', '2')
    with pytest.raises(ValueError, match='has an EMAHook already'):
        apply('--ema', custom_hooks=[dict(type='mmdet.EMAHook')])


@pytest.mark.parametrize(
    ('evaluator', 'metric'),
    [
        (EVALUATOR, 'coco/bbox_mAP'),
        ([dict(type='X'), EVALUATOR], 'coco/bbox_mAP'),
        (dict(type='mmdet.CocoMetric', prefix='val'), 'val/bbox_mAP'),
        (dict(type='CocoMetric', metric='segm'), 'coco/segm_mAP'),
        (dict(type='VOCMetric'), 'pascal_voc/mAP'),
    ],
)
def test_early_stop(evaluator, metric):
    (hook,) = apply('--early-stop', '3', val_evaluator=evaluator).custom_hooks
    assert (hook['patience'], hook['monitor']) == (3, metric)
    assert hook['type'] == 'mmdet_assigners.StopWithoutGainHook'


def test_early_stop_of_another_metric():
    options = ['--early-stop', '3', '--monitor']
    (hook,) = apply(*options, 'a/b', val_evaluator=dict(type='X')).custom_hooks
    assert hook['monitor'] == 'a/b'
    (hook,) = apply(*options, 'coco/disc_precision').custom_hooks
    assert hook['monitor'] == 'coco/disc_precision'
    with pytest.raises(ValueError, match='map: did you mean coco/bbox_mAP'):
        apply(*options, 'coco/bbox_map')
    for evaluator in (dict(type='X'), dict(EVALUATOR, metric='proposal')):
        with pytest.raises(ValueError, match='name the metric'):
            apply('--early-stop', '3', val_evaluator=evaluator)
    with pytest.raises(ValueError, match='the config has no validation'):
        apply(*options, 'a/b', val_dataloader=None)
    with pytest.raises(ValueError, match='--monitor belongs to'):
        apply('--monitor', 'a/b')


def test_logs(monkeypatch):
    monkeypatch.setattr(trainer, 'find_spec', lambda name: name != 'wandb')
    assert apply('--log', 'tensorboard', 'mlflow').visualizer == dict(
        type='DetLocalVisualizer',
        name='visualizer',
        vis_backends=[
            dict(type='LocalVisBackend'),
            dict(type='TensorboardVisBackend'),
            dict(type='MLflowVisBackend'),
        ],
    )
    with pytest.raises(ValueError, match='wandb is not installed'):
        apply('--log', 'wandb')


def test_other_options(monkeypatch):
    assert apply('--compile').compile is True
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    wrapper = apply('--amp').optim_wrapper
    assert wrapper.type == 'AmpOptimWrapper'
    for option, value in (('--accumulate', '0'), ('--early-stop', '-1')):
        with pytest.raises(ValueError, match=f'{option} {value}: expected 1'):
            apply(option, value)
    two = dict(a=dict(optimizer=dict()), b=dict(optimizer=dict()))
    with pytest.raises(ValueError, match='--accumulate: the config has sev'):
        apply('--accumulate', '2', optim_wrapper=two)


def test_options_of_dicts_and_lists():
    options = [
        'a=1,2',
        'b=[(1,2),(3,4)]',
        "model.x=dict(type='SGD', lr=0.1)",
        "c=[dict(type='A'), {'type': 'B'}]",
        'd=null',
    ]
    assert parse_cfg_options(options) == {
        'a': [1, 2],
        'b': [(1, 2), (3, 4)],
        'model.x': dict(type='SGD', lr=0.1),
        'c': [dict(type='A'), dict(type='B')],
        'd': 'null',
    }


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('a', "--cfg-options 'a': expected KEY=VALUE"),
        ('a=[1,(2]', '--cfg-options a: Imbalanced brackets'),
        ('a=dict(type=SGD)', 'a=dict.type=SGD.: expected a Python literal'),
        ('a={1', 'a={1: expected a Python literal with quoted strings'),
        ("a=dict(type='A', x=open('f'))", 'expected a Python literal'),
    ],
)
def test_options_that_cannot_be_parsed(option, message):
    with pytest.raises(ValueError) as error:
        parse_cfg_options([option])
    assert re.search(message, str(error.value))


def test_a_training_with_them(tmp_path):
    data = generate_shapes(
        tmp_path / 'data', num_train=8, num_val=2, num_test=1
    )
    done = subprocess.run(
        [
            sys.executable, '-m', 'mmdet_assigners', 'train', CONFIG, '--mini',
            '--data', str(data), '--epochs', '6', '--batch-size', '2', '--ema',
            '1e-6', '--accumulate', '2', '--early-stop', '1',
            '--auto-scale-lr', '--work-dir', str(tmp_path / 'run'),
            '--cfg-options',
            'train_cfg.val_interval=1', 'train_cfg.val_begin=1',
        ],
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Scaling the original LR by' in done.stdout
    # the average hardly moves, so the second evaluation ends it
    assert 'the monitored metric did not improve' in done.stdout
    epochs = [p.name for p in (tmp_path / 'run').glob('epoch_*.pth')]
    assert 'epoch_2.pth' in epochs and 'epoch_3.pth' not in epochs
    saved = torch.load(tmp_path / 'run/epoch_2.pth', weights_only=False)
    assert 'ema_state_dict' in saved
