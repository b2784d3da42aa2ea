"""The converter of MAL on random weights of the official shapes."""

import pytest
import torch
from official_boxes import assert_retinanet_of_maskrcnn_benchmark
from official_weights import (
    MASKRCNN_BENCHMARK,
    assert_loads,
    maskrcnn_benchmark,
)

from mmdet_assigners.methods.mal.convert import convert

OUTPUTS = dict(cls_logits=720, bbox_pred=36)
SAME = {
    'bbox_head.reg_convs.1.conv.bias': 'rpn.head.bbox_tower.2.bias',
    'bbox_head.retina_cls.weight': 'rpn.head.cls_logits.weight',
}


def test_loads_strictly():
    theirs = maskrcnn_benchmark(OUTPUTS, 2048, anchors=9, norm=False)
    assert_loads('mal', theirs, MASKRCNN_BENCHMARK | SAME)
    theirs['rpn.head.centerness.bias'] = torch.zeros(1)
    with pytest.raises(ValueError, match='1 keys are unknown'):
        convert(theirs)


def test_boxes_of_the_official_result_file():
    assert_retinanet_of_maskrcnn_benchmark(
        'mal-released_r50-caffe_fpn_18e_coco'
    )
