"""The converter of ATSS on random weights of the official shapes."""

import torch
from official_boxes import (
    assert_same,
    cells,
    class_maps,
    deltas,
    detectron_anchor,
    detectron_decode,
    maps,
    official_file,
    result_file,
    write_inclusive,
)
from official_weights import (
    MASKRCNN_BENCHMARK,
    assert_deformable_converts,
    assert_loads,
    assert_scalar_scales,
    maskrcnn_benchmark,
    scales,
)

OUTPUTS = dict(cls_logits=80, bbox_pred=4, centerness=1)
SAME = {
    'bbox_head.reg_convs.1.conv.bias': 'rpn.head.bbox_tower.3.bias',
    'bbox_head.reg_convs.1.gn.bias': 'rpn.head.bbox_tower.4.bias',
    'bbox_head.atss_cls.weight': 'rpn.head.cls_logits.weight',
}


def official():
    state = maskrcnn_benchmark(OUTPUTS, 256, anchors=1, norm=True)
    return scales(state, 'rpn.head')


def test_deformable(tmp_path):
    base = 'atss-released_r50-caffe_fpn_1x_coco'
    assert_deformable_converts('atss', official(), base, tmp_path)


def test_loads_strictly():
    theirs = official()
    ours, _ = assert_loads('atss', theirs, MASKRCNN_BENCHMARK | SAME)
    assert_scalar_scales(ours, theirs, 'rpn.head')


def anchor(level, y, x, _):
    """Its generator starts at 0.5: the center is s / 2 in inclusive pixels."""
    stride = 8 * 2**level
    box = detectron_anchor(stride, 8 * stride, 1.0, start=0.5)
    shift = (x * stride, y * stride) * 2
    return [side + move for side, move in zip(box, shift, strict=True)]


def test_boxes_of_the_official_result_file():
    places = cells()
    values = deltas(places, (3.0, 3.0, 3.0, 3.0))
    values[::5, 2:] *= 8
    # x = center - (w - 1) / 2 is the x of maskrcnn-benchmark's coder
    places, values, theirs = official_file(
        places,
        values,
        lambda place, delta: detectron_decode(anchor(*place), delta),
        write_inclusive,
    )
    ours = result_file(
        'atss-released_r50-caffe_fpn_1x_coco',
        class_maps(places),
        maps(places, values),
        maps(places, torch.zeros(len(places), 1)),
    )
    assert_same(ours, theirs)
