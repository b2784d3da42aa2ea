"""The converter of AutoAssign on random weights of the official shapes."""

import torch
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
