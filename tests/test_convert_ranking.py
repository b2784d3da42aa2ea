"""Converters of AP-loss and DR loss, on random weights.

The official names are spelled out here, not read from the rules; the official
shapes are those of RetinaNet.
"""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config

FOLDER = Path(__file__).parent.parent / 'tools' / 'convert'
METHODS = ('ap_loss', 'dr_loss')
RECIPES = {
    'ap-loss_retinanet_r50-caffe_fpn_512-100e_coco': 'ap_loss',
    'ap-loss_retinanet_r101-caffe_fpn_512-100e_coco': 'ap_loss',
    'dr-loss-released_retinanet_r50-caffe_fpn_1x_coco': 'dr_loss',
}
NAMES = {  # ours: (AP-loss, DR loss)
    'neck.lateral_convs.0.conv': ('fpn.P3_1', 'backbone.fpn.fpn_inner2'),
    'neck.lateral_convs.1.conv': ('fpn.P4_1', 'backbone.fpn.fpn_inner3'),
    'neck.lateral_convs.2.conv': ('fpn.P5_1', 'backbone.fpn.fpn_inner4'),
    'neck.fpn_convs.0.conv': ('fpn.P3_2', 'backbone.fpn.fpn_layer2'),
    'neck.fpn_convs.1.conv': ('fpn.P4_2', 'backbone.fpn.fpn_layer3'),
    'neck.fpn_convs.2.conv': ('fpn.P5_2', 'backbone.fpn.fpn_layer4'),
    'neck.fpn_convs.3.conv': ('fpn.P6', 'backbone.fpn.top_blocks.p6'),
    'neck.fpn_convs.4.conv': ('fpn.P7_2', 'backbone.fpn.top_blocks.p7'),
    'bbox_head.cls_convs.0.conv': (
        'classificationModel.conv1',
        'rpn.head.cls_tower.0',
    ),
    'bbox_head.cls_convs.1.conv': (
        'classificationModel.conv2',
        'rpn.head.cls_tower.2',
    ),
    'bbox_head.cls_convs.2.conv': (
        'classificationModel.conv3',
        'rpn.head.cls_tower.4',
    ),
    'bbox_head.cls_convs.3.conv': (
        'classificationModel.conv4',
        'rpn.head.cls_tower.6',
    ),
    'bbox_head.reg_convs.0.conv': (
        'regressionModel.conv1',
        'rpn.head.bbox_tower.0',
    ),
    'bbox_head.reg_convs.1.conv': (
        'regressionModel.conv2',
        'rpn.head.bbox_tower.2',
    ),
    'bbox_head.reg_convs.2.conv': (
        'regressionModel.conv3',
        'rpn.head.bbox_tower.4',
    ),
    'bbox_head.reg_convs.3.conv': (
        'regressionModel.conv4',
        'rpn.head.bbox_tower.6',
    ),
    'bbox_head.retina_cls': (
        'classificationModel.output',
        'rpn.head.cls_logits',
    ),
    'bbox_head.retina_reg': ('regressionModel.output', 'rpn.head.bbox_pred'),
}


@pytest.fixture(scope='module')
def tools():
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in METHODS}
    finally:
        sys.path.remove(str(FOLDER))
        for name in (*METHODS, 'common', 'trunks'):
            sys.modules.pop(name, None)


def build(config):
    init_default_scope('mmdet')
    with torch.device('meta'):
        return MODELS.build(get_config(config).model)


def official_name(name, method):
    module, _, parameter = name.rpartition('.')
    if module in NAMES:
        return f'{NAMES[module][METHODS.index(method)]}.{parameter}'
    name = name.removeprefix('backbone.')
    if method == 'ap_loss':
        return name
    stem = '' if name.startswith('layer') else 'stem.'
    return f'backbone.body.{stem}{name}'


@pytest.mark.parametrize('config', RECIPES)
def test_loads_strictly(tools, config):
    method, model = RECIPES[config], build(config)
    theirs = {
        official_name(name, method): torch.randn(tensor.shape)
        for name, tensor in model.state_dict().items()
        if not name.endswith('num_batches_tracked')
    }
    state = tools[method].convert(theirs)
    assert tools[method].guess_config(state) == config
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    for name, tensor in model.state_dict().items():
        if not name.endswith('num_batches_tracked'):
            assert torch.equal(tensor, theirs[official_name(name, method)])


@pytest.mark.parametrize('method', METHODS)
def test_refuses_another_method(tools, method):
    with pytest.raises(ValueError, match=r'unknown: rpn\.head\.iou'):
        tools[method].convert({'rpn.head.iou.bias': torch.zeros(1)})
