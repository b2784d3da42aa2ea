"""The converter of BorderDet on random weights of the official shapes."""

import re

import pytest
import torch
from official_boxes import (
    STRIDES,
    assert_same,
    cells,
    class_maps,
    deltas,
    maps,
    official_file,
    result_file,
    write_exclusive,
)
from official_weights import build

from mmdet_assigners import get_config
from mmdet_assigners.conversion import convert_file
from mmdet_assigners.conversion.state_dicts import check_state
from mmdet_assigners.methods.borderdet.convert import convert, guess_config

R50 = 'borderdet_r50-caffe_fpn_1x_coco'
# config: blocks of stage 4, width of a group there, deformable
MODELS_OF_THE_ZOO = {
    R50: (6, 256, False),
    'borderdet_r101-caffe_fpn_ms-2x_coco': (23, 256, False),
    'borderdet-released_x101-32x8d_fpn_ms-2x_coco': (23, 32, False),
    'borderdet-released_x101-64x4d-dcnv2_fpn_ms-2x_coco': (23, 16, True),
}


def tensor(*shape):
    """Without memory; R-101 would be slow."""
    return torch.zeros(1).expand(shape)


def conv(state, name, out, inputs, kernel, bias=False, norm=False):
    state[f'{name}.weight'] = tensor(out, inputs, kernel, kernel)
    if bias:
        state[f'{name}.bias'] = tensor(out)
    if norm:
        for part in ('weight', 'bias', 'running_mean', 'running_var'):
            state[f'{name}.norm.{part}'] = tensor(out)


def official(blocks=6, group=256, dcn=False):
    """A state dict as the official code writes it, spelled out by hand."""
    state = {'pixel_mean': tensor(3, 1, 1), 'pixel_std': tensor(3, 1, 1)}
    body = 'backbone.bottom_up'
    conv(state, f'{body}.stem.conv1', 64, 3, 7, norm=True)
    inputs = 64
    width = 64 if group == 256 else 256  # of the first stage
    for stage, count in zip((2, 3, 4, 5), (3, 4, blocks, 3), strict=True):
        out = 256 << (stage - 2)
        for block in range(count):
            name = f'{body}.res{stage}.{block}'
            mid = width << (stage - 2)
            part = mid if group == 256 else group >> 4 << stage
            if block == 0:
                conv(state, f'{name}.shortcut', out, inputs, 1, norm=True)
            conv(state, f'{name}.conv1', mid, inputs, 1, norm=True)
            conv(state, f'{name}.conv2', mid, part, 3, norm=True)
            if dcn and stage > 3:
                conv(state, f'{name}.conv2_offset', 27, mid, 3, bias=True)
            conv(state, f'{name}.conv3', out, mid, 1, norm=True)
            inputs = out
    for level, width in zip((3, 4, 5), (512, 1024, 2048), strict=True):
        conv(state, f'backbone.fpn_lateral{level}', 256, width, 1, bias=True)
        conv(state, f'backbone.fpn_output{level}', 256, 256, 3, bias=True)
    for level in (6, 7):
        conv(state, f'backbone.top_block.p{level}', 256, 256, 3, bias=True)
    for tower in ('cls', 'bbox'):
        for layer in range(0, 12, 3):
            name = f'head.{tower}_subnet'
            conv(state, f'{name}.{layer}', 256, 256, 3, bias=True)
            state[f'{name}.{layer + 1}.weight'] = torch.randn(256)
            state[f'{name}.{layer + 1}.bias'] = torch.randn(256)
        channels = 256 if tower == 'cls' else 128
        name = f'head.border_{tower}_subnet'
        conv(state, f'{name}.cur_point_conv.0', channels, 256, 1, bias=True)
        conv(state, f'{name}.ltrb_conv.0', 4 * channels, 256, 1, bias=True)
        conv(state, f'{name}.border_conv.0', 256, 5 * channels, 1, bias=True)
    for name, out, kernel in (
        ('cls_score', 80, 3),
        ('bbox_pred', 4, 3),
        ('centerness', 1, 3),
        ('border_cls_score', 80, 1),
        ('border_bbox_pred', 4, 1),
    ):
        conv(state, f'head.{name}', out, 256, kernel, bias=True)
        state[f'head.{name}.bias'] = torch.randn(out)
    for level in range(5):
        state[f'head.scales.{level}.scale'] = torch.randn(1)
    return state


@pytest.mark.parametrize('config', MODELS_OF_THE_ZOO)
def test_fits(config):
    state = convert(official(*MODELS_OF_THE_ZOO[config]))
    assert guess_config(state) == config
    check_state(state, config)
    # all of them: cvpods' own mean and no deviation
    given = get_config(config).model.data_preprocessor
    assert given.mean == [103.53, 116.28, 123.675]
    assert given.std == [1.0, 1.0, 1.0] and not given.bgr_to_rgb


def test_every_tensor_arrives():
    theirs = official()
    for index, name in enumerate(theirs):  # to tell them apart
        theirs[name] = theirs[name] + index
    state = convert(theirs)
    assert len(state) == len(theirs) - 2  # mean and deviation
    pairs = {
        'backbone.bn1.running_var': 'backbone.bottom_up.stem.conv1.norm'
        '.running_var',
        'backbone.layer1.0.downsample.1.bias': 'backbone.bottom_up.res2.0'
        '.shortcut.norm.bias',
        'backbone.layer4.2.conv3.weight': 'backbone.bottom_up.res5.2.conv3'
        '.weight',
        'backbone.layer3.5.bn2.running_mean': 'backbone.bottom_up.res4.5'
        '.conv2.norm.running_mean',
        'neck.lateral_convs.0.conv.weight': 'backbone.fpn_lateral3.weight',
        'neck.fpn_convs.2.conv.bias': 'backbone.fpn_output5.bias',
        'neck.fpn_convs.3.conv.bias': 'backbone.top_block.p6.bias',
        'neck.fpn_convs.4.conv.bias': 'backbone.top_block.p7.bias',
        'bbox_head.cls_convs.0.conv.weight': 'head.cls_subnet.0.weight',
        'bbox_head.cls_convs.0.gn.weight': 'head.cls_subnet.1.weight',
        'bbox_head.reg_convs.3.conv.bias': 'head.bbox_subnet.9.bias',
        'bbox_head.reg_convs.3.gn.bias': 'head.bbox_subnet.10.bias',
        'bbox_head.conv_reg.bias': 'head.bbox_pred.bias',
        'bbox_head.border_bbox_subnet.border_conv.0.bias': 'head'
        '.border_bbox_subnet.border_conv.0.bias',
        'bbox_head.border_cls_score.bias': 'head.border_cls_score.bias',
    }
    for our, their in pairs.items():
        assert torch.equal(state[our], theirs[their]), our
    scale = state['bbox_head.scales.4.scale']
    assert scale.shape == () and scale == theirs['head.scales.4.scale']


def test_file(tmp_path):
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(dict(model=official(), iteration=3), source)
    assert convert_file('borderdet', source, out)[1] == R50
    model = build(R50)
    state = torch.load(out)['state_dict']
    found = model.load_state_dict(state, strict=False, assign=True)
    assert not found.unexpected_keys
    assert all('num_batches_tracked' in name for name in found.missing_keys)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (('head.centerness.bias', None), 'missing: bbox_head.conv_centerness'),
        (('head.gate.weight', tensor(1)), 'unknown: head.gate.weight'),
        (
            ('head.border_cls_score.bias', tensor(20)),
            'border_cls_score.bias (20,), not (80,)',
        ),
    ],
)
def test_refuses(tmp_path, change, message):
    state = official()
    name, value = change
    state.pop(name, None)
    if value is not None:
        state[name] = value
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(state, source)
    with pytest.raises(ValueError, match=re.escape(message)):
        convert_file('borderdet', source, out)
    assert not out.exists()


def decode(place, values):
    """A coarse box from the corner of its cell, and its refinement."""
    level, y, x, _ = place
    x, y = x * STRIDES[level], y * STRIDES[level]
    left, top, right, bottom, *refinement = map(float, values)
    box = x - left, y - top, x + right, y + bottom
    sides = (left + right, top + bottom) * 2
    return [
        corner + 0.5 * delta * side
        for corner, delta, side in zip(box, refinement, sides, strict=True)
    ]


@pytest.mark.parametrize('config', MODELS_OF_THE_ZOO)
def test_boxes_of_the_official_result_file(config):
    """cvpods is exclusive."""
    places = cells()
    values = deltas(places, (60.0,) * 4 + (0.2,) * 4)
    values[:, :4] = values[:, :4].abs()
    places, values, theirs = official_file(
        places, values, decode, write_exclusive
    )
    zeros = torch.zeros(len(places), 1)
    ours = result_file(
        config,
        class_maps(places),
        maps(places, values[:, :4]),
        maps(places, zeros),
        maps(places, zeros.expand(-1, 80)),
        maps(places, values[:, 4:]),
        score_thr=0.0,
        min_bbox_size=-1,
    )
    assert_same(ours[: len(places)], theirs)
