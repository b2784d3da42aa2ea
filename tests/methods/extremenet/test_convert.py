"""Converter of ExtremeNet, on random weights of the official shapes."""

import pytest
from methods.centernet.test_convert import (
    conv,
    official_dla,
    official_hourglass,
)
from official_weights import assert_loads

from mmdet_assigners.conversion import load_converter

HOURGLASS = 'extremenet_hourglass104_crop511-50e_coco'
BRANCHES = [(f'{p}_heats', 80) for p in ('t', 'l', 'b', 'r', 'ct')]
BRANCHES += [(f'{p}_regrs', 2) for p in 'tlbr']
EXDET = [(f'hm_{p}', 80) for p in 'tlbrc'] + [(f'reg_{p}', 2) for p in 'tlbr']


def without_heads(state):
    heads = ('hm.', 'wh.', 'reg.')
    return {n: t for n, t in state.items() if not n.startswith(heads)}


def hourglass(branches):
    state = without_heads(official_hourglass())
    for s in range(2):
        for name, width in branches:
            conv(state, f'{name}.{s}.0.conv', 256, 256, 3, bias=True)
            conv(state, f'{name}.{s}.1', width, 256, 1, bias=True)
    return state


def test_official_hourglass():
    same = {
        'backbone.hourglass_modules.1.low2.low2.low3.1.bn2.weight': (
            'kps.1.low2.low2.low3.1.bn2.weight'
        ),
        'bbox_head.stacks.0.top_heat.2.bias': 't_heats.0.1.bias',
        'bbox_head.stacks.1.left_heat.0.bias': 'l_heats.1.0.conv.bias',
        'bbox_head.stacks.1.bottom_heat.2.bias': 'b_heats.1.1.bias',
        'bbox_head.stacks.1.right_heat.2.weight': 'r_heats.1.1.weight',
        'bbox_head.stacks.1.center_heat.2.bias': 'ct_heats.1.1.bias',
        'bbox_head.stacks.0.right_offset.2.bias': 'r_regrs.0.1.bias',
        'bbox_head.stacks.1.top_offset.0.weight': 't_regrs.1.0.conv.weight',
    }
    assert_loads('extremenet', hourglass(BRANCHES), same, HOURGLASS)


def test_hourglass_of_centernets_code():
    same = {
        'bbox_head.stacks.0.top_heat.2.bias': 'hm_t.0.1.bias',
        'bbox_head.stacks.1.center_heat.2.bias': 'hm_c.1.1.bias',
        'bbox_head.stacks.1.left_offset.0.bias': 'reg_l.1.0.conv.bias',
    }
    assert_loads('extremenet', hourglass(EXDET), same, HOURGLASS)


def test_dla_of_centernets_code():
    state = without_heads(official_dla())
    for name, width in EXDET:
        conv(state, f'{name}.0', 256, 64, 3, bias=True)
        conv(state, f'{name}.2', width, 256, 1, bias=True)
    same = {
        'bbox_head.stacks.0.top_heat.2.bias': 'hm_t.2.bias',
        'bbox_head.stacks.0.center_heat.0.bias': 'hm_c.0.bias',
        'bbox_head.stacks.0.bottom_offset.2.bias': 'reg_b.2.bias',
    }
    config = 'extremenet_dla34_crop512-140e_coco'
    assert_loads('extremenet', state, same, config)


def test_weights_of_another_method():
    state = official_dla()
    with pytest.raises(ValueError, match=r'hm\.'):
        load_converter('extremenet').convert(state)


def test_tests_of_the_same_weights_load_them():
    alternatives = load_converter('extremenet').alternatives
    assert len(alternatives(HOURGLASS)) == 4
    for config in alternatives(HOURGLASS):
        assert config.endswith('_hourglass104_crop511-50e_coco')
