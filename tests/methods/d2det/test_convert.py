"""Converter of D2Det, on random weights of the official names and shapes."""

import math

import pytest
import torch
from helpers import read_config
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from official_boxes import (
    META,
    as_written,
    assert_same,
    build_head,
    write_inclusive,
)

from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.d2det import convert as converter
from mmdet_assigners.utils import resolve_config

CONFIG = 'd2det-{}_fpn_2x_coco'
NAMES = (
    'released_r50',
    'released_r101',
    'released_r101-dcnv2',
    'instance-released_r101',
)


def model_of(name):
    cfg = read_config(resolve_config(CONFIG.format(name))).model
    cfg.backbone.init_cfg = None
    with torch.device('meta'):
        return MODELS.build(cfg)


def blank(*shape):
    return torch.zeros(()).expand(shape)


def official(name='released_r50'):
    """Backbone, neck and RPN have the names of mmdet; the heads their own."""
    state = {
        key: blank(*value.shape)
        for key, value in model_of(name).state_dict().items()
        if not key.startswith('roi_head')
    }
    generator = torch.Generator().manual_seed(0)
    layers = {
        'bbox_head.shared_fcs.0': (1024, 256 * 49),
        'bbox_head.shared_fcs.1': (1024, 1024),
        'bbox_head.fc_cls': (81, 1024),
        'D2Det_head.D2Det_reg': (4, 576, 3, 3),
        'D2Det_head.D2Det_mask': (1, 576, 3, 3),
    }
    for level in range(4):
        pool = f'bbox_roi_extractor.roi_layers.{level}.'
        layers[f'{pool}offset_fc.0'] = (1024, 256 * 9)
        layers[f'{pool}offset_fc.2'] = (1024, 1024)
        layers[f'{pool}offset_fc.4'] = (98, 1024)
        state[f'{pool}awp.weight.conv.weight'] = blank(256, 256, 3, 3)
        for part in ('weight', 'bias'):
            state[f'{pool}awp.weight.bn.{part}'] = blank(256)
    if name.startswith('instance'):
        layers |= {
            'D2Det_head.deconv2': (256, 256, 2, 2),
            'D2Det_head.D2Det_instance': (81, 256, 3, 3),
            'D2Det_head.fcs.0': (1024, 577 * 49),
            'D2Det_head.fcs.1': (1024, 1024),
            'D2Det_head.fc_instance_iou': (81, 1024),
        }
        state['D2Det_head.deconv1.weight'] = blank(576, 256, 2, 2)
        state['D2Det_head.deconv1.bias'] = blank(256)
        for part in ('weight', 'bias'):
            state[f'D2Det_head.norm1.{part}'] = blank(256)
    for key, shape in layers.items():
        state[f'{key}.weight'] = blank(*shape)
        state[f'{key}.bias'] = torch.rand(shape[0], generator=generator)
    for i in range(8):
        conv = f'D2Det_head.convs.{i}.'
        state[f'{conv}conv.weight'] = blank(576, 576 if i else 256, 3, 3)
        for part in ('weight', 'bias'):
            state[f'{conv}gn.{part}'] = blank(576)
    return state


@pytest.mark.parametrize('name', NAMES)
def test_loads_strictly(name):
    ours = converter.convert(official(name))
    assert converter.guess_config(ours) == CONFIG.format(name)
    expected = model_of(name).state_dict()
    assert ours.keys() == expected.keys()
    for key, value in expected.items():
        assert ours[key].shape == value.shape, key


def test_a_file(tmp_path):
    source, out = tmp_path / 'official.pth', tmp_path / 'ours.pth'
    state = {name: value.clone() for name, value in official().items()}
    torch.save(dict(state_dict=state), source)
    assert convert_file('d2det', source, out)[1] == CONFIG.format(
        'released_r50'
    )


def test_where_layers_go():
    theirs = official()
    ours = converter.convert(theirs)
    scores = ours['roi_head.bbox_head.fc_cls.bias']
    assert torch.equal(scores[:80], theirs['bbox_head.fc_cls.bias'][1:])
    assert scores[80] == theirs['bbox_head.fc_cls.bias'][0]
    pool = 'bbox_roi_extractor.roi_layers.2.offset_fc.4.bias'
    assert torch.equal(ours[f'roi_head.{pool}'], theirs[pool])
    reg = ours['roi_head.d2det_head.conv_reg.bias']
    assert torch.equal(reg, theirs['D2Det_head.D2Det_reg.bias'])


def test_masks_have_no_background():
    theirs = official('instance-released_r101')
    ours = converter.convert(theirs)
    for our, their in (
        ('conv_logits', 'D2Det_instance'),
        ('fc_iou', 'fc_instance_iou'),
    ):
        found = ours[f'roi_head.mask_head.{our}.bias']
        assert torch.equal(found, theirs[f'D2Det_head.{their}.bias'][1:])


def official_average(box, reg, logits):
    """Mean of the boxes of inclusive RoIs, as the official code has it."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    sums, count = [0.0] * 4, 0
    for j in range(7):
        for i in range(7):
            if logits[0][j][i] <= 0:
                continue
            x = x1 + (i + 0.5) * width / 7
            y = y1 + (j + 0.5) * height / 7
            left, right, top, bottom = (reg[k][j][i] for k in range(4))
            sides = (
                x - left * width,
                y - top * height,
                x + right * width,
                y + bottom * height,
            )
            sums = [a + b for a, b in zip(sums, sides, strict=True)]
            count += 1
    return [value / (count + 1e-5) for value in sums]


def test_boxes_are_those_that_the_official_code_writes():
    head = build_head(CONFIG.format('released_r50'), 'roi_head')
    generator = torch.Generator().manual_seed(0)
    count = 60
    start = torch.rand(count, 2, generator=generator)
    start = start * torch.tensor([230.0, 170])
    inclusive = torch.cat(
        (start, start + 20 + 55 * torch.rand(count, 2, generator=generator)), 1
    )
    reg = 1.2 * torch.rand(count, 4, 7, 7, generator=generator)
    reg *= 0.5 + 3 * torch.rand(count, 4, 1, 1, generator=generator)
    logits = torch.randn(count, 1, 7, 7, generator=generator) + 0.5
    theirs = [
        write_inclusive(*official_average(*row))
        for row in zip(
            inclusive.double().tolist(),
            reg.double().tolist(),
            logits.tolist(),
            strict=True,
        )
    ]
    results = InstanceData(
        bboxes=inclusive + torch.tensor([0, 0, 1, 1]),
        scores=torch.ones(count),
        labels=torch.zeros(count, dtype=torch.long),
    )
    found = head._refine(results, reg, logits, META, dict())
    assert_same(as_written(found.bboxes), theirs)
    assert all(math.isfinite(side) for row in theirs for side in row)


def test_the_config_is_the_official_one():
    cfg = read_config(resolve_config(CONFIG.format('released_r101'))).model
    pool = cfg.roi_head.bbox_roi_extractor.roi_layer
    assert pool.pool_mode == 'legacy' and pool.sampling_ratio == 1
    assert not cfg.roi_head.reg_roi_extractor.roi_layer.aligned
    assert cfg.roi_head.inclusive
