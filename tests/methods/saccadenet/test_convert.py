"""Converter of SaccadeNet, on random weights of the official shapes."""

import math

import numpy as np
import pytest
import torch
from methods.centernet.test_convert import (
    branches,
    conv,
    official_dla,
    official_resnet,
)
from official_keypoints import (
    Canvas,
    Maps,
    assert_input,
    assert_same,
    build_head,
    center_boxes,
    detections,
    official_file,
    sigmoid,
)
from official_weights import assert_loads

from mmdet_assigners.methods.saccadenet.convert import convert


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


def test_weights_of_centernet():
    with pytest.raises(ValueError, match='assigners convert centernet`'):
        convert(official_dla())


def sample(features, y, x):
    """Bilinear sample (C,) of features (C, H, W), zero beyond the map."""
    height, width = features.shape[1:]
    found = np.zeros(len(features))
    top, left = math.floor(y), math.floor(x)
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                share = (1 - abs(y - row)) * (1 - abs(x - column))
                found += share * features[:, row, column]
    return found


def refined(weights, features, size, y, x):
    """The second size of a cell: five taps, one of them misplaced.

    Args:
        weights: Official names without ``agg_att.`` -> arrays.
        features: (C, H, W).
        size: First width and height in cells.
        y: Of the cell.
        x: Of the cell.
    """
    around = np.pad(features, ((0, 0), (1, 1), (1, 1)))
    around = around[:, y : y + 3, x : x + 3]
    raw = np.tensordot(weights['conv_offset_mask.weight'], around, 3)
    raw += weights['conv_offset_mask.bias']
    width, height = size
    taps = (  # of the 3x3 kernel, and y, x from the cell
        (0, 0, -height / 2, -width / 2),
        (0, 2, -height / 2, width / 2),
        (1, 1, raw[0], raw[1]),
        (2, 0, height / 2, -width / 2),
        (2, 2, 0, width / 2),  # not the bottom right corner
    )
    out = weights['bias'].copy()
    for (row, column, dy, dx), mask in zip(taps, raw[2:], strict=True):
        values = sample(features, y + dy, x + dx)
        kernel = weights['weight'][:, :, row, column]
        out += sigmoid(mask) * (kernel @ values)
    change = weights['conv1x1.weight'][:, :, 0, 0] @ np.maximum(out, 0)
    change += weights['conv1x1.bias']
    return width + change[0], height + change[1]


def aggregation(theirs):
    """Random weights in an official state dict, of outputs of few cells."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, tensor in theirs.items():
        if name.startswith('agg_att.'):
            scale = max(1, tensor[0].numel()) ** -0.5
            noise = torch.randn(tensor.shape, generator=generator)
            theirs[name] = 2 * scale * noise
            own = name.removeprefix('agg_att.')
            found[own] = theirs[name].double().numpy()
    return found


@pytest.mark.parametrize('tta', [False, True])
@pytest.mark.parametrize('net', ['dla34', 'r18-dcnv2'])
def test_boxes_of_the_official_result_file(net, tta):
    """Also what the weights of the aggregation make of features."""
    dla = net == 'dla34'
    theirs = official_dla() if dla else official_resnet(False)
    weights = aggregation(saccade(theirs, 256 if dla else 64))
    cfg, head = build_head(f'saccadenet-released_{net}_crop512-230e_coco')
    prefix = 'bbox_head.agg_att.'
    ours = {
        name.removeprefix(prefix): tensor
        for name, tensor in convert(theirs).items()
        if name.startswith(prefix)
    }
    head.agg_att.load_state_dict(ours)
    canvas = Canvas()
    assert_input(cfg, canvas)
    parts = [*branches(head), Maps(64, 9, -1.0, 1.0)]
    heat, sizes, offsets, features = (
        part.of_call(0, *canvas.cells).astype(np.float64) for part in parts
    )

    def size_of(image, y, x):
        first = sizes[image, :, y, x]
        return refined(weights, features[image], first, y, x)

    found = center_boxes(canvas, heat, size_of, offsets, tta)
    changes = [
        np.subtract(size_of(0, y, x), sizes[0, :, y, x])
        for y, x in ((3, 4), (9, 20), (30, 30))
    ]
    assert np.abs(changes).min() > 0.1
    assert_same(
        detections(cfg, head, tta, features=parts[-1]), official_file(found)
    )
