"""The converter of AP-loss on random weights of the official shapes."""

import pytest
import torch
from official_weights import assert_loads, build

NAMES = {  # ours -> theirs
    'neck.lateral_convs.0.conv': 'fpn.P3_1',
    'neck.lateral_convs.1.conv': 'fpn.P4_1',
    'neck.lateral_convs.2.conv': 'fpn.P5_1',
    'neck.fpn_convs.0.conv': 'fpn.P3_2',
    'neck.fpn_convs.1.conv': 'fpn.P4_2',
    'neck.fpn_convs.2.conv': 'fpn.P5_2',
    'neck.fpn_convs.3.conv': 'fpn.P6',
    'neck.fpn_convs.4.conv': 'fpn.P7_2',
    'bbox_head.cls_convs.0.conv': 'classificationModel.conv1',
    'bbox_head.cls_convs.1.conv': 'classificationModel.conv2',
    'bbox_head.cls_convs.2.conv': 'classificationModel.conv3',
    'bbox_head.cls_convs.3.conv': 'classificationModel.conv4',
    'bbox_head.reg_convs.0.conv': 'regressionModel.conv1',
    'bbox_head.reg_convs.1.conv': 'regressionModel.conv2',
    'bbox_head.reg_convs.2.conv': 'regressionModel.conv3',
    'bbox_head.reg_convs.3.conv': 'regressionModel.conv4',
    'bbox_head.retina_cls': 'classificationModel.output',
    'bbox_head.retina_reg': 'regressionModel.output',
}


def official_name(name):
    module, _, parameter = name.rpartition('.')
    if module in NAMES:
        return f'{NAMES[module]}.{parameter}'
    return name.removeprefix('backbone.')


@pytest.mark.parametrize('depth', [50, 101])
def test_loads_strictly(depth):
    config = f'ap-loss_retinanet_r{depth}-caffe_fpn_512-100e_coco'
    tensors = build(config).state_dict()
    same = {
        name: official_name(name)
        for name in tensors
        if not name.endswith('num_batches_tracked')
    }
    theirs = {t: torch.randn(tensors[o].shape) for o, t in same.items()}
    assert_loads('ap_loss', theirs, same, config)
