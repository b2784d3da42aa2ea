"""The converter of FCOS on random weights of the official shapes."""

import torch
from official_weights import (
    MASKRCNN_BENCHMARK,
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


def test_file_with_a_wrapped_model(tmp_path):
    state = {f'module.{k}': v for k, v in official().items()}
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(dict(model=state, iteration=9), source)
    _, config = convert_file('fcos', source, out)
    assert config.startswith('fcos-released_r50')
    assert 'bbox_head.conv_cls.weight' in torch.load(out)['state_dict']
