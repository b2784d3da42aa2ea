"""The converter of AP-loss on random weights of the official shapes."""

import math

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
    write_inclusive,
)
from official_weights import assert_loads, build
from torch import nn

from mmdet_assigners.methods.ap_loss.convert import convert

NAMES = {  # ours -> theirs
    'neck.lateral_convs.0.conv': 'fpn.P3_1',
    'neck.lateral_convs.1.conv': 'fpn.P4_1',
    'neck.lateral_convs.2.conv': 'fpn.P5_1',
    'neck.fpn_convs.0.conv': 'fpn.P3_2',
    'neck.fpn_convs.1.conv': 'fpn.P4_2',
    'neck.fpn_convs.2.conv': 'fpn.P5_2',
    'neck.fpn_convs.3.conv': 'fpn.P6',
    'neck.fpn_convs.4.conv': 'fpn.P7_2',
    'bbox_head.cls_convs.0.conv': 'classificationModel.conv1',
    'bbox_head.cls_convs.1.conv': 'classificationModel.conv2',
    'bbox_head.cls_convs.2.conv': 'classificationModel.conv3',
    'bbox_head.cls_convs.3.conv': 'classificationModel.conv4',
    'bbox_head.reg_convs.0.conv': 'regressionModel.conv1',
    'bbox_head.reg_convs.1.conv': 'regressionModel.conv2',
    'bbox_head.reg_convs.2.conv': 'regressionModel.conv3',
    'bbox_head.reg_convs.3.conv': 'regressionModel.conv4',
    'bbox_head.retina_cls': 'classificationModel.output',
    'bbox_head.retina_reg': 'regressionModel.output',
}


def official_name(name):
    module, _, parameter = name.rpartition('.')
    if module in NAMES:
        return f'{NAMES[module]}.{parameter}'
    return name.removeprefix('backbone.')


@pytest.mark.parametrize('depth', [50, 101])
def test_loads_strictly(depth):
    config = f'ap-loss_retinanet_r{depth}-caffe_fpn_512-100e_coco'
    tensors = build(config).state_dict()
    same = {
        name: official_name(name)
        for name in tensors
        if not name.endswith('num_batches_tracked')
    }
    theirs = {t: torch.randn(tensors[o].shape) for o, t in same.items()}
    assert_loads('ap_loss', theirs, same, config)


def test_bias_of_the_first_convolution():
    """Officially R-50 has one, before a batch norm that doesn't learn."""
    conv, norm = nn.Conv2d(3, 64, 7), nn.BatchNorm2d(64).eval()
    for tensor in norm.state_dict().values():
        if tensor.ndim:
            nn.init.uniform_(tensor, 0.5, 2)
    parts = dict(conv1=conv, bn1=norm)
    theirs = {
        f'{name}.{key}': value.clone()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    ours = convert(theirs)
    assert 'backbone.conv1.bias' not in ours
    x = torch.randn(1, 3, 8, 8)
    expected = norm(conv(x))
    nn.init.zeros_(conv.bias)
    norm.running_mean = ours['backbone.bn1.running_mean']
    torch.testing.assert_close(norm(conv(x)), expected)


def decode(place, delta):
    """Two scales inside each of three ratios, nothing rounded or bounded."""
    level, y, x, index = place
    stride = STRIDES[level]
    ratio, scale = divmod(index, 2)
    side = 4 * stride * 2 ** (scale / 2)
    width = side / math.sqrt((0.5, 1.0, 2.0)[ratio])
    height = side * side / width
    dx, dy, dw, dh = (
        float(d) * std
        for d, std in zip(delta, (0.1, 0.1, 0.2, 0.2), strict=True)
    )
    center_x = x * stride + (stride - 1) / 2 + dx * width
    center_y = y * stride + (stride - 1) / 2 + dy * height
    half_w = max(math.exp(dw) * width - 1, 0) / 2
    half_h = max(math.exp(dh) * height - 1, 0) / 2
    return (
        center_x - half_w,
        center_y - half_h,
        center_x + half_w,
        center_y + half_h,
    )


def test_boxes_of_the_official_result_file():
    """Sides are at least a pixel there, and not bounded above."""
    places = cells(6)
    places, values, theirs = official_file(
        places, deltas(places, (3.0,) * 4), decode, write_inclusive
    )
    ours = result_file(
        'ap-loss_retinanet_r50-caffe_fpn_512-100e_coco',
        class_maps(places, anchors=6),
        maps(places, values, anchors=6),
        score_thr=[0.05] * 5,
    )
    assert_same(ours, theirs)
