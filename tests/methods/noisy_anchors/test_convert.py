"""The converter of Noisy Anchors on random weights of official shapes."""

import math

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
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
from official_weights import DETECTRON2, assert_loads, detectron2

from mmdet_assigners.methods.noisy_anchors.convert import ratio_major

SAME = {'bbox_head.cls_convs.2.conv.weight': 'head.cls_subnet.4.weight'}


def official():
    state = detectron2(dict(cls_score=720, bbox_pred=36), norm=False)
    state['anchor_generator.cell_anchors.0'] = torch.zeros(9, 4)
    return state


def test_loads_strictly():
    theirs = official()
    ours, _ = assert_loads('noisy_anchors', theirs, DETECTRON2 | SAME)
    # first ratio, second size: block 1 of ours, block 3 of theirs
    for our, their, width in (
        ('retina_cls', 'cls_score', 80),
        ('retina_reg', 'bbox_pred', 4),
    ):
        for part in ('weight', 'bias'):
            new = ours[f'bbox_head.{our}.{part}']
            old = theirs[f'head.{their}.{part}']
            block = slice(3 * width, 4 * width)
            assert torch.equal(new[width : 2 * width], old[block])


def test_order_of_the_anchors():
    def anchors(scale_major):
        return AnchorGenerator(
            strides=[8],
            ratios=[0.5, 1.0, 2.0],
            octave_base_scale=4,
            scales_per_octave=3,
            scale_major=scale_major,
        ).base_anchors[0]

    # mmdet's scale_major=False counts as detectron2 does, size by size
    reordered = ratio_major(anchors(False).flatten()).view(9, 4)
    assert torch.equal(reordered, anchors(True))


def decode(place, delta):
    """detectron2's anchors, without corners on pixels, and coder."""
    level, y, x, index = place
    stride = STRIDES[level]
    ratio, scale = divmod(index, 3)
    side = 4 * stride * 2 ** (scale / 3)
    width = side / math.sqrt((0.5, 1.0, 2.0)[ratio])
    height = side * side / width
    dx, dy, dw, dh = map(float, delta)
    limit = math.log(1000.0 / 16)
    center_x, center_y = x * stride + dx * width, y * stride + dy * height
    half_w = math.exp(min(dw, limit)) * width / 2
    half_h = math.exp(min(dh, limit)) * height / 2
    return (
        center_x - half_w,
        center_y - half_h,
        center_x + half_w,
        center_y + half_h,
    )


def test_boxes_of_the_official_result_file():
    """Exclusive there, too; anchors in our order, see the test above."""
    places = cells(9)
    values = deltas(places, (0.3, 0.3, 0.6, 0.6))
    values[::7, 2:] *= 8
    places, values, theirs = official_file(
        places, values, decode, write_exclusive
    )
    ours = result_file(
        'noisy-anchors-released_r50-caffe_fpn_1x_coco',
        class_maps(places, anchors=9),
        maps(places, values, anchors=9),
    )
    assert_same(ours, theirs)
