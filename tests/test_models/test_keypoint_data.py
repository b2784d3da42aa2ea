"""Awkward data under every keypoint detector."""

import functools

import pytest
import torch
from helpers import demo_batch, losses_of, mini_config, total_loss
from interface_cases import config_of
from mmdet.registry import MODELS

HEADS = (
    'CenterPointHead',
    'CornerPairHead',
    'ExtremeHead',
    'SaccadeHead',
)
CROWD = [[2.0 + i % 100, 2 + i // 10, 14 + i % 100, 14 + i // 10]
         for i in range(1000)]  # fmt: skip
# name -> boxes of one image, height and width
CASES = {
    'smaller than a cell': (
        [[10, 10, 11, 11], [50, 50, 50.5, 80]], (128, 160)),
    'two of a class in one cell': (
        [[8, 8, 24, 24], [50, 8, 70, 20], [9, 9, 23, 23]], (128, 160)),
    'outside of the image': (
        [[-40, -30, -5, -5], [300, 300, 400, 400], [-9, -9, 30, 30]],
        (128, 160)),
    'no objects': ([], (128, 160)),
    'odd sizes': ([[8, 8, 60, 40]], (101, 67)),
    'a small image': ([[8, 8, 30, 30]], (60, 40)),
    '1000 objects': (CROWD, (128, 160)),
}  # fmt: skip


@functools.cache
def model_of(name):
    torch.manual_seed(0)
    model = MODELS.build(mini_config(config_of(name)).model)
    model.init_weights()
    return model


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('case', CASES)
def test_awkward_data(name, case):
    boxes, size = CASES[case]
    model = model_of(name).train()
    model.zero_grad()
    batch = demo_batch([boxes, [[8, 8, 30, 38]]], size)
    loss = total_loss(losses_of(model, batch))
    loss.backward()
    assert loss.isfinite() and loss > 0
    for parameter in model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(demo_batch([boxes], size), False)
        (result,) = model(**data, mode='predict')
    assert result.pred_instances.bboxes.isfinite().all()


@pytest.mark.parametrize('name', HEADS)
def test_class_ids_beyond_the_classes(name):
    batch = demo_batch([[[8, 8, 30, 38]]] * 2)
    batch['data_samples'][1].gt_instances.labels += 2
    with pytest.raises(ValueError, match='labels must be from 0 to 1, got 2'):
        losses_of(model_of(name).train(), batch)
