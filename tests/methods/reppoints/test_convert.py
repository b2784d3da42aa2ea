"""The converter of RepPoints: mmdet's names but for those listed here."""

import math
import statistics

import pytest
import torch
from official_boxes import (
    KEEP_ALL,
    META,
    STRIDES,
    as_written,
    assert_same,
    build_head,
    cells,
    class_maps,
    deltas,
    maps,
    official_file,
    write_inclusive,
)
from official_weights import assert_loads, build

NAME = 'batch-reppoints-moment_{}_fpn-gn_{}_coco'
CHANGED = {  # config -> part of our name, official one
    NAME.format('r50', '1x'): (
        'bbox_head.reppoints_pts_init_conv.weight',
        'bbox_head.reppoints_pts_init_conv.weight',
    ),
    NAME.format('r101', '2x'): (
        'bbox_head.reppoints_cls_out.bias',
        'bbox_head.reppoints_cls_out.bias',
    ),
    NAME.format('r101-dconv-c3-c5', '2x'): (
        'conv2.conv_offset.',
        'conv2_offset.',
    ),
    NAME.format('x101-dconv-c3-c5', '2x'): (
        'conv2.conv_offset.',
        'conv2_offset.',
    ),
}
OTHERS = {  # without moments
    NAME.format('r50', '1x').replace('moment', points): 2
    * ('bbox_head.reppoints_pts_init_conv.weight',)
    for points in ('minmax', 'bbox-center')
}


@pytest.mark.parametrize('config', CHANGED | OTHERS)
def test_loads_strictly(config):
    our, their = (CHANGED | OTHERS)[config]
    theirs, same = {}, {}
    for name, tensor in build(config).state_dict().items():
        make = torch.randn if our in name else torch.zeros
        theirs[name.replace(our, their)] = make(tensor.shape)
        if our in name:
            same[name] = name.replace(our, their)
    assert same
    assert_loads('reppoints', theirs, same, config)


TRANSFER = (0.3, -0.2)  # what moment learns


def moment(xs, ys):
    half = [
        statistics.stdev(values) * math.exp(power)
        for values, power in zip((xs, ys), TRANSFER, strict=True)
    ]
    x, y = statistics.fmean(xs), statistics.fmean(ys)
    return x - half[0], y - half[1], x + half[0], y + half[1]


def minmax(xs, ys):
    return min(xs), min(ys), max(xs), max(ys)


def partial_minmax(xs, ys):
    return minmax(xs[:4], ys[:4])


@pytest.mark.parametrize(
    ('config', 'transform'),
    [
        *((config, moment) for config in CHANGED),
        ('batch-reppoints-minmax_r50_fpn-gn_1x_coco', minmax),
        ('batch-reppoints-partial-minmax_r50_fpn-gn_1x_coco', partial_minmax),
        # the grid of a box: its corners are points
        ('batch-reppoints-bbox-center_r50_fpn-gn_1x_coco', minmax),
        ('batch-reppoints-bbox_r50_fpn-gn_1x_coco', minmax),
    ],
)
def test_boxes_of_the_official_result_file(config, transform):
    """Points y, x in strides from the corner of a cell, as predicted."""

    def decode(place, points):
        level, y, x, _ = place
        points = points.tolist()
        box = transform(points[1::2], points[0::2])
        start = (x, y) * 2
        return [
            (side + at) * STRIDES[level]
            for side, at in zip(box, start, strict=True)
        ]

    places = cells()
    places, values, theirs = official_file(
        places, deltas(places, (3.0,) * 18), decode, write_inclusive
    )
    head = build_head(config)
    if transform is moment:
        head.moment_transfer.data = torch.tensor(TRANSFER)
    points = maps(places, values)
    with torch.no_grad():
        (found,) = head.predict_by_feat(
            class_maps(places),
            points,
            points,
            batch_img_metas=[META],
            cfg=KEEP_ALL,
        )
    assert_same(as_written(found.bboxes), theirs)
