"""TrainProgressHook in real runners."""

import pytest
import torch
from helpers import train_with_progress
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from mmdet_assigners.engine.hooks import TrainProgressHook


class Numbers(Dataset):
    """Twelve numbers."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([float(index)]))


class Listener(nn.Linear):
    """Records the progress that it is told."""

    def __init__(self):
        super().__init__(1, 1)
        self.seen = []

    def set_train_progress(self, progress):
        self.seen.append(progress)


class Model(BaseModel):
    """Wraps one layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, inputs, mode='tensor'):
        assert mode == 'loss'
        return dict(loss=self.layer(torch.stack(inputs)).sum())


def train(work_dir, layer, train_cfg, batch_size=4, **options):
    train_with_progress(
        Model(layer), Numbers(), work_dir, train_cfg, batch_size, **options
    )


def fractions(layer):
    return [progress.fraction for progress in layer.seen]


def test_epochs(tmp_path):
    layer = Listener()
    train(tmp_path, layer, dict(by_epoch=True, max_epochs=4))
    assert fractions(layer) == pytest.approx([i / 12 for i in range(12)])
    assert fractions(layer)[6] == 0.5  # exactly, at the start of epoch 2
    last = layer.seen[-1]
    assert (last.epoch, last.max_epochs) == (3, 4)
    assert (last.iter, last.max_iters) == (11, 12)


def test_resume_goes_on_where_it_stopped(tmp_path):
    class Stop(Exception):
        pass

    class Interrupted(Listener):
        def set_train_progress(self, progress):
            super().set_train_progress(progress)
            if progress.epoch == 3:
                raise Stop

    with pytest.raises(Stop):
        train(tmp_path, Interrupted(), dict(by_epoch=True, max_epochs=4))
    layer = Listener()
    train(tmp_path, layer, dict(by_epoch=True, max_epochs=4), resume=True)
    assert fractions(layer) == pytest.approx([9 / 12, 10 / 12, 11 / 12])

    # another batch size changes the number of iterations, not the progress
    train_cfg = dict(by_epoch=True, max_epochs=8)
    layer = Listener()
    train(tmp_path, layer, train_cfg, batch_size=2, resume=True)
    assert fractions(layer)[0] == 0.5


def test_iterations(tmp_path):
    layer = Listener()
    train(
        tmp_path,
        layer,
        dict(by_epoch=False, max_iters=5),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3)
        ),
    )
    assert fractions(layer) == [0, 0.2, 0.4, 0.6, 0.8]
    resumed = Listener()
    train(
        tmp_path,
        resumed,
        dict(by_epoch=False, max_iters=5),
        resume=True,
        load_from=str(tmp_path / 'iter_3.pth'),
    )
    assert fractions(resumed) == [0.6, 0.8]


def test_warns_without_listener():
    """A hook for nothing is a mistake in the config."""

    class Logger:
        messages = []

        def warning(self, message):
            self.messages.append(message)

    class FakeRunner:
        model = nn.Linear(1, 1)
        logger = Logger()

    TrainProgressHook().before_train(FakeRunner())
    assert 'no module of the model' in Logger.messages[0]
