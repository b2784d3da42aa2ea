"""Small work folders, as mmengine's Runner leaves them."""

import json

import pytest
import torch

from mmdet_assigners.reproduction.results import Result

CONFIG = """
form = 'small'
model = dict(
    type='RetinaNet', bbox_head=dict(type='RetinaHead', num_classes=2))
randomness = dict(seed=3)
train_cfg = dict(max_epochs={epochs}, type='EpochBasedTrainLoop')
train_dataloader = dict(
    batch_size=2,
    dataset=dict(
        ann_file='annotations/train.json', data_root='data/cells/',
        type='CocoDataset'))
val_evaluator = dict(metric='bbox', type='CocoMetric')
"""
LOG = """2026/01/01 00:00:00 - mmengine - INFO -
System environment:
    Python: 3.11.7 (main)
    CUDA available: True
    GPU 0,1: NVIDIA H100
    PyTorch: 2.6.0
    MMEngine: 0.10.7

Runtime environment:
    seed: 3
    GPU number: 2
"""


def step(number, epoch=1, loss=1.0, **further):
    """An entry of a training iteration."""
    entry = dict(loss=loss, time=0.5, epoch=epoch, iter=number, step=number)
    return entry | further


def evaluation(epoch, **metrics):
    """An entry of an evaluation; ``coco__a`` becomes ``coco/a``."""
    named = {key.replace('__', '/'): v for key, v in metrics.items()}
    return named | dict(data_time=0.1, time=0.2, step=epoch)


class WorkDir:
    """Writes a work folder."""

    def __init__(self, path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def run(self, *entries, time='20260101_000000', config=CONFIG, epochs=2):
        """The files of one start of a training."""
        folder = self.path / time / 'vis_data'
        folder.mkdir(parents=True)
        lines = [e if isinstance(e, str) else json.dumps(e) for e in entries]
        (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')
        if config:
            (folder / 'config.py').write_text(config.format(epochs=epochs))
        (self.path / time / f'{time}.log').write_text(LOG)
        return self

    def checkpoint(self, name='epoch_2.pth', **meta):
        """A checkpoint of 7 parameters and one buffer."""
        state = {
            'conv.weight': torch.ones(2, 3),
            'conv.bias': torch.ones(1),
            'bn.running_mean': torch.ones(9),
        }
        torch.save(dict(state_dict=state, meta=meta), self.path / name)
        return self


@pytest.fixture
def work_dir(tmp_path):
    """Makes work folders by name."""
    return lambda name='run': WorkDir(tmp_path / name)


def result(config='ours', seed=0, value=0.4, **changes):
    """A finished result with one metric."""
    fields = dict(
        config=config, data='coco', form='full', seed=seed, unit='epoch',
        epochs=2, last_epoch=2, metrics={'coco/bbox_mAP': value},
        per_class={'cat': value, 'dog': None}, curve_epochs=[1, 2],
        curve={'coco/bbox_mAP': [value / 2, value]}, loss_steps=[10, 20],
        loss=[2.0, 1.0], seconds_per_iter=0.5, memory_mib=None,
        parameters=1_000_000, commands=['train'], commit='0123456789',
        versions={'torch': '2.6.0'},
        hardware={'cpu': 'a CPU', 'gpu': None, 'threads': 1, 'processes': 1},
        work_dir=f'runs/{config}_{seed}',
    )  # fmt: skip
    return Result(**(fields | changes))
