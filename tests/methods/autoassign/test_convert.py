"""The converter of AutoAssign on random weights of the official shapes."""

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
from official_weights import (
    DETECTRON2,
    assert_loads,
    assert_scalar_scales,
    detectron2,
    scales,
)

SAME = {
    'bbox_head.reg_convs.2.gn.weight': 'head.bbox_subnet.7.weight',
    'bbox_head.conv_centerness.weight': 'head.obj_score.weight',
    'bbox_head.center_prior.mean': 'mu',
    'bbox_head.center_prior.sigma': 'sigma',
}


def test_loads_strictly():
    outputs = dict(cls_score=80, bbox_pred=4, obj_score=1)
    theirs = scales(detectron2(outputs, norm=True), 'head')
    theirs |= dict(mu=torch.randn(80, 2), sigma=torch.randn(80, 2))
    ours, _ = assert_loads('autoassign', theirs, DETECTRON2 | SAME)
    assert_scalar_scales(ours, theirs, 'head')


def decode(place, ltrb):
    """Distances in pixels from the corner of a cell; cvpods is exclusive."""
    level, y, x, _ = place
    x, y = x * STRIDES[level], y * STRIDES[level]
    left, top, right, bottom = map(float, ltrb)
    return x - left, y - top, x + right, y + bottom


def test_boxes_of_the_official_result_file():
    places = cells()
    places, values, theirs = official_file(
        places, deltas(places, (60.0,) * 4).abs(), decode, write_exclusive
    )
    ours = result_file(
        'autoassign-ablation_r50-caffe_fpn_1x_coco',
        class_maps(places),
        maps(places, values),
        maps(places, torch.full((len(places), 1), 20.0)),
    )
    assert_same(ours, theirs)
