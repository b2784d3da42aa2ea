"""A job of a table, and what stands for its processes."""

import json
from pathlib import Path

import torch

from mmdet_assigners.experiments import CallError
from mmdet_assigners.reproduction.plan import Job, Row, Settings

FLIP = Row('b_flip', ('tta',))
PLAIN = Row('a', ('plain', 'tta'))
LOG = (
    '11/30 11:14:28 - mmengine - INFO - Epoch(train) [4][40/69]  lr: 1e-03  '
    'eta: 0:01:47  time: 0.6951\n'
)


class Trainer:
    """Stands for the processes: it leaves the files that they leave."""

    def __init__(self):
        self.calls = []
        self.fails = ()

    def __call__(self, arguments, log, name='', processes=1, environment=None):
        self.calls.append((arguments, processes, environment))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(LOG)
        if arguments[1] in self.fails:
            raise CallError('CUDA out of memory', ['a', 'b'])
        folder = Path(arguments[arguments.index('--work-dir') + 1])
        (folder / 'now').mkdir(parents=True, exist_ok=True)
        if arguments[0] == 'test':
            value = 0.5 if '--tta' in arguments else 0.375
            metrics = {'coco/bbox_mAP': value, 'coco/disc_precision': 0.25}
            (folder / 'now/now.json').write_text(json.dumps(metrics))
        else:
            leave_training(folder)

    def commands(self):
        return [' '.join(arguments[:2]) for arguments, _, _ in self.calls]


def leave_training(folder, epoch=2):
    data = folder / 'now/vis_data'
    data.mkdir(parents=True, exist_ok=True)
    lines = [
        {'loss': 1.0, 'epoch': epoch, 'iter': 9, 'step': 9, 'time': 0.5},
        {'coco/bbox_mAP': 0.125, 'step': epoch},
    ]
    text = '\n'.join(map(json.dumps, lines))
    (data / 'scalars.json').write_text(text)
    (data / 'config.py').write_text(
        "model = dict(type='X')\ntrain_cfg = dict(max_epochs=2)\n"
        'randomness = dict(seed=1)\n'
    )
    torch.save(
        {'state_dict': {'w': torch.zeros(3)}, 'meta': {'epoch': epoch}},
        folder / f'epoch_{epoch}.pth',
    )


def make_job(root, rows=(PLAIN, FLIP), **settings):
    settings = dict(form='mini', data='shapes') | settings
    return Job('a', 1, rows, Settings(root, **settings))
