"""Converter of SaccadeNet, on random weights of the official shapes."""

import torch
from methods.centernet.test_convert import (
    conv,
    official_dla,
    official_resnet,
)
from official_weights import assert_loads


def saccade(state, hidden):
    conv(state, 'cor_att.0', hidden, 64, 3, bias=True)
    conv(state, 'cor_att.2', 4, hidden, 1, bias=True)
    conv(state, 'agg_att', hidden, 64, 3, bias=True)
    conv(state, 'agg_att.conv_offset_mask', 7, 64, 3, bias=True)
    conv(state, 'agg_att.conv1x1', 2, hidden, 1, bias=True)
    return state


def test_released_weights():
    same = {
        'bbox_head.agg_att.bias': 'agg_att.bias',
        'bbox_head.agg_att.conv_offset_mask.bias': (
            'agg_att.conv_offset_mask.bias'
        ),
        'bbox_head.agg_att.conv1x1.bias': 'agg_att.conv1x1.bias',
        'bbox_head.corner_head.2.bias': 'cor_att.2.bias',
        'bbox_head.heatmap_head.2.bias': 'hm.2.bias',
    }
    for theirs, net in (
        (saccade(official_dla(), 256), 'dla34'),
        (saccade(official_resnet(False), 64), 'r18-dcnv2'),
    ):
        config = f'saccadenet-released_{net}_crop512-230e_coco'
        ours, _ = assert_loads('saccadenet', theirs, same, config)
        assert not torch.isnan(ours['bbox_head.agg_att.weight']).any()
