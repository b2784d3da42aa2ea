"""The converter of FCOS on random weights of the official shapes."""

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
from official_weights import (
    MASKRCNN_BENCHMARK,
    assert_deformable_converts,
    assert_loads,
    assert_scalar_scales,
    maskrcnn_benchmark,
    scales,
)

from mmdet_assigners.conversion import convert_file

OUTPUTS = dict(cls_logits=80, bbox_pred=4, centerness=1)
SAME = {
    'bbox_head.cls_convs.3.conv.weight': 'rpn.head.cls_tower.9.weight',
    'bbox_head.cls_convs.3.gn.weight': 'rpn.head.cls_tower.10.weight',
    'bbox_head.conv_centerness.bias': 'rpn.head.centerness.bias',
    'bbox_head.conv_reg.weight': 'rpn.head.bbox_pred.weight',
}


def official():
    state = maskrcnn_benchmark(OUTPUTS, 256, anchors=0, norm=True)
    return scales(state, 'rpn.head')


def test_loads_strictly():
    theirs = official()
    ours, _ = assert_loads('fcos', theirs, MASKRCNN_BENCHMARK | SAME)
    assert_scalar_scales(ours, theirs, 'rpn.head')


def test_deformable(tmp_path):
    base = 'fcos-released_r50-caffe_fpn_gn-head_1x_coco'
    assert_deformable_converts('fcos', official(), base, tmp_path)


def test_file_with_a_wrapped_model(tmp_path):
    state = {f'module.{k}': v for k, v in official().items()}
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(dict(model=state, iteration=9), source)
    _, config = convert_file('fcos', source, out)
    assert config.startswith('fcos-released_r50')
    assert 'bbox_head.conv_cls.weight' in torch.load(out)['state_dict']


def decode(place, ltrb):
    """Distances in pixels from the location of a cell."""
    level, y, x, _ = place
    stride = STRIDES[level]
    x, y = x * stride + stride // 2, y * stride + stride // 2
    left, top, right, bottom = map(float, ltrb)
    return x - left, y - top, x + right, y + bottom


def test_boxes_of_the_official_result_file():
    places = cells()
    places, values, theirs = official_file(
        places, deltas(places, (60.0,) * 4).abs(), decode, write_inclusive
    )
    ours = result_file(
        'fcos-released_r50-caffe_fpn_gn-head_1x_coco',
        class_maps(places),
        maps(places, values),
        maps(places, torch.zeros(len(places), 1)),
    )
    assert_same(ours, theirs)
