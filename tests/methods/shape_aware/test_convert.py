"""Converter of DSC, on random weights of the official names and shapes."""

import math

import pytest
import torch
from official_boxes import (
    HEIGHT,
    META,
    WIDTH,
    as_written,
    assert_same,
    build_head,
    write_exclusive,
)
from official_weights import assert_loads, build, conv, linear

from mmdet_assigners.conversion import load_converter

CONFIG = 'dsc_r50_fpn_1x_coco'
STDS = ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))


def fused(state, name):
    """``conv_res``: a convolution without bias, and its norm."""
    conv(state, f'{name}.conv', 256, 256, 1, bias=False)
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.bn.{part}'] = torch.randn(256)
    state[f'{name}.bn.num_batches_tracked'] = torch.tensor(1)


def mask_head(state, name, classes, with_res):
    for i in range(4):
        conv(state, f'{name}.convs.{i}.conv', 256, 256, 3)
    conv(state, f'{name}.upsample', 256, 256, 2)
    conv(state, f'{name}.conv_logits', classes, 256, 1)
    if with_res:
        fused(state, f'{name}.conv_res')


def official(config=CONFIG):
    """Backbone, neck and RPN have the names of mmdet; the rest its own."""
    state = {
        name: torch.zeros(()).expand(value.shape)
        for name, value in build(config).state_dict().items()
        if not name.startswith('roi_head')
    }
    for i in range(3):
        mask_head(state, f'roi_head.mpn.{i}', 1, i > 0)
        head = f'roi_head.bbox_head.{i}'
        fused(state, f'{head}.conv_res')
        linear(state, f'{head}.shared_fcs.0', 1024, 256 * 49)
        linear(state, f'{head}.shared_fcs.1', 1024, 1024)
        linear(state, f'{head}.fc_cls', 81, 1024)
        linear(state, f'{head}.fc_reg', 4, 1024)
    mask_head(state, 'roi_head.mask_head', 80, True)
    semantic = 'roi_head.semantic_head'
    for i in range(5):
        conv(state, f'{semantic}.lateral_convs.{i}.conv', 256, 256, 1)
    for i in range(4):
        conv(state, f'{semantic}.convs.{i}.conv', 256, 256, 3)
    conv(state, f'{semantic}.conv_embedding.conv', 256, 256, 1)
    conv(state, f'{semantic}.conv_logits', 183, 256, 1)
    return state


def test_loads_strictly():
    state = official()
    own = {n: n for n in state if n.startswith('roi_head')}
    assert_loads('shape_aware', state, own, CONFIG)
    # a model of F-DSC has the same tensors
    fast = build('f-dsc_r50_fpn_1x_coco').state_dict()
    assert {n: v.shape for n, v in fast.items()} == {
        n: v.shape for n, v in build(CONFIG).state_dict().items()
    }


@pytest.mark.parametrize(
    'config',
    [
        CONFIG,
        'dsc_r101_fpn_20e_coco',
        'dsc_x101-32x4d_fpn_16xb1-20e_coco',
        'dsc_x101-64x4d-dconv-c3-c5_fpn_ms-400-1400-16xb1-20e_coco',
        'dsc-without-semantic_r50_fpn_1x_coco',
    ],
)
def test_config_is_found(config):
    guess = load_converter('shape_aware').guess_config
    assert guess(build(config).state_dict()) == config


def test_unknown_tensors_are_named():
    with pytest.raises(ValueError, match='roi_head'):
        load_converter('shape_aware').convert(
            {'roi_head.mpn.3.convs.0.conv.bias': torch.zeros(1)}
        )


def decode(roi, deltas, stds):
    """``delta2bbox`` of mmdet 2.1: exclusive boxes."""
    width, height = roi[2] - roi[0], roi[3] - roi[1]
    limit = abs(math.log(16 / 1000))
    dx, dy = (d * stds[0] for d in deltas[:2])
    dw, dh = (min(max(d * stds[1], -limit), limit) for d in deltas[2:])
    x = (roi[0] + roi[2]) * 0.5 + width * dx
    y = (roi[1] + roi[3]) * 0.5 + height * dy
    width, height = width * math.exp(dw), height * math.exp(dh)
    return (
        x - width * 0.5,
        y - height * 0.5,
        x + width * 0.5,
        y + height * 0.5,
    )


def rois_and_deltas(spread, count=300):
    generator = torch.Generator().manual_seed(2)
    room = torch.tensor([WIDTH - 100.0, HEIGHT - 100.0])
    start = torch.rand(count, 2, generator=generator) * room
    sides = 20 + torch.rand(count, 2, generator=generator) * 79
    rois = torch.cat((torch.zeros(count, 1), start, start + sides), 1)
    deltas = torch.randn(count, 4, generator=generator)
    return rois, deltas * torch.tensor([*spread])


@pytest.mark.parametrize('stage', [0, 1, 2])
def test_boxes_of_a_stage(stage):
    """Of the first two stages as RoIs, of the last as detections."""
    stds = STDS[stage]
    head = build_head(CONFIG, 'roi_head').bbox_head[stage]
    rois, deltas = rois_and_deltas((0.8 / stds[0],) * 2 + (0.4 / stds[1],) * 2)
    theirs = [
        write_exclusive(*decode(roi, row, stds))
        for roi, row in zip(
            rois[:, 1:].double().tolist(),
            deltas.double().tolist(),
            strict=True,
        )
    ]
    labels = torch.zeros(len(rois), dtype=torch.int64)
    moved = head.regress_by_class(rois[:, 1:], labels, deltas, META)
    (found,) = head.predict_by_feat(
        (rois,), (torch.zeros(len(rois), 81),), (deltas,), [META]
    )
    # boxes beyond the image have no area
    kept = [i for i, row in enumerate(theirs) if min(row[2:]) > 0]
    for boxes in (moved, found.bboxes.view(-1, 4)):
        assert_same(as_written(boxes[kept]), [theirs[i] for i in kept])


def test_proposals():
    """Anchors of mmdet 2.1 start at 0 and are centered there."""
    generator = build_head(CONFIG, 'rpn_head').prior_generator
    for stride, anchors in zip(
        (4, 8, 16, 32, 64), generator.base_anchors, strict=True
    ):
        for ratio, anchor in zip((0.5, 1.0, 2.0), anchors, strict=True):
            height = 8 * stride * math.sqrt(ratio)
            width = 8 * stride / math.sqrt(ratio)
            expected = [-width / 2, -height / 2, width / 2, height / 2]
            torch.testing.assert_close(anchor, torch.tensor(expected))
