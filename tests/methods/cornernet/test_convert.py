"""Converter of CornerNet, on random weights of the official shapes."""

import pytest
from methods.centernet.test_convert import conv, norm, official_hourglass
from official_weights import assert_loads

from mmdet_assigners.methods.cornernet.convert import convert

CONFIG = 'cornernet-official_hourglass104_10xb5-crop511-210e_coco'


def official():
    """Names of princeton-vl/CornerNet, spelled out."""
    heads = ('hm.', 'wh.', 'reg.')
    state = {
        name: value
        for name, value in official_hourglass().items()
        if not name.startswith(heads)
    }
    for s in range(2):
        for corner in ('tl', 'br'):
            pool = f'{corner}_cnvs.{s}'
            for name, out, inputs, size in (
                ('p1_conv1', 128, 256, 3),
                ('p2_conv1', 128, 256, 3),
                ('conv2', 256, 256, 3),
            ):
                conv(state, f'{pool}.{name}.conv', out, inputs, size)
                norm(state, f'{pool}.{name}.bn', out)
            conv(state, f'{pool}.p_conv1', 256, 128, 3)
            norm(state, f'{pool}.p_bn1', 256)
            conv(state, f'{pool}.conv1', 256, 256, 1)
            norm(state, f'{pool}.bn1', 256)
            for name, width in (('heats', 80), ('tags', 1), ('regrs', 2)):
                branch = f'{corner}_{name}.{s}'
                conv(state, f'{branch}.0.conv', 256, 256, 3, bias=True)
                conv(state, f'{branch}.1', width, 256, 1, bias=True)
    return state


def test_hourglass104():
    same = {
        'backbone.stem.1.0.downsample.1.bias': 'pre.1.skip.1.bias',
        'backbone.hourglass_modules.1.low2.low2.low3.1.bn2.weight': (
            'kps.1.low2.low2.low3.1.bn2.weight'
        ),
        # pooling towards the top, then towards the left
        'bbox_head.tl_pool.0.direction1_conv.bn.bias': (
            'tl_cnvs.0.p1_conv1.bn.bias'
        ),
        'bbox_head.br_pool.1.direction2_conv.bn.running_var': (
            'br_cnvs.1.p2_conv1.bn.running_var'
        ),
        'bbox_head.tl_pool.1.aftpool_conv.bn.weight': 'tl_cnvs.1.p_bn1.weight',
        'bbox_head.br_pool.0.conv1.bn.bias': 'br_cnvs.0.bn1.bias',
        'bbox_head.tl_pool.0.conv2.bn.bias': 'tl_cnvs.0.conv2.bn.bias',
        'bbox_head.tl_heat.0.0.conv.bias': 'tl_heats.0.0.conv.bias',
        'bbox_head.br_heat.1.1.conv.bias': 'br_heats.1.1.bias',
        'bbox_head.tl_emb.1.1.conv.bias': 'tl_tags.1.1.bias',
        'bbox_head.br_off.0.1.conv.bias': 'br_regrs.0.1.bias',
    }
    assert_loads('cornernet', official(), same, CONFIG)


def test_weights_of_another_detector():
    with pytest.raises(ValueError, match=r'hm\.0\.0\.conv'):
        convert(official_hourglass())
