"""The converter of RepPoints: mmdet's names but for those listed here."""

import pytest
import torch
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


@pytest.mark.parametrize('config', CHANGED)
def test_loads_strictly(config):
    our, their = CHANGED[config]
    theirs, same = {}, {}
    for name, tensor in build(config).state_dict().items():
        make = torch.randn if our in name else torch.zeros
        theirs[name.replace(our, their)] = make(tensor.shape)
        if our in name:
            same[name] = name.replace(our, their)
    assert same
    assert_loads('reppoints', theirs, same, config)
