"""Golden ops of Double-Head-Ext."""

import re

import torch
from golden_runner import adapter
from mmdet.models.backbones.resnet import Bottleneck
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_assigners.methods.double_head.functional import fuse_scores
from mmdet_assigners.methods.double_head.layers import GroupNonLocal2d

NONLOCAL = {'W.0': 'out', 'W.bn': 'bn'}
BOTTLENECK = {
    str(3 * i + j): f'{part}{i + 1}'
    for i in range(3)
    for j, part in enumerate(('conv', 'bn'))
}
HEAD = {
    'nonlocal_conv.top.0': 'res_block.conv_identity.conv',
    'nonlocal_conv.top.1': 'res_block.conv_identity.bn',
    'nonlocal_conv.bottom.0': 'res_block.conv1.conv',
    'nonlocal_conv.bottom.1': 'res_block.conv1.bn',
    'nonlocal_conv.bottom.3': 'res_block.conv2.conv',
    'nonlocal_conv.bottom.4': 'res_block.conv2.bn',
    'fc6': 'fc_branch.0',
    'fc7': 'fc_branch.1',
    'cls_score': 'fc_cls_conv',
    'bbox_pred': 'fc_reg',
    'cls_score_fc': 'fc_cls',
    'bbox_pred_fc': 'fc_reg_fc',
}


def rename_block(name, nonlocal_block, bottleneck):
    """A name inside a non-local block, or of the bottleneck behind it."""
    layer, _, last = name.rpartition('.')
    if layer.startswith('ffconv.bottleneck.'):
        return f'{bottleneck}.{BOTTLENECK[layer.split(".")[-1]]}.{last}'
    return f'{nonlocal_block}.{NONLOCAL.get(layer, layer)}.{last}'


def rename_head(name):
    block = re.fullmatch(r'shared_nonlocal\.(\d+)\.(.+)', name)
    if block:
        index = block[1]
        return rename_block(
            block[2], f'nonlocal_branch.{index}', f'conv_branch.{index}'
        )
    layer, _, last = name.rpartition('.')
    return f'{HEAD[layer]}.{last}'


@adapter('double_head.nonlocal')
def nonlocal_block(case):
    p, width = case.params, case['x'].shape[1]
    layers = [
        GroupNonLocal2d(
            width,
            p['inter_channels'],
            p['num_group'],
            softmax=p['use_softmax'],
            relu=p['relu_after_residual'],
        )
    ]
    if p['use_ffconv']:
        layers.append(Bottleneck(width, width // 4))
    module = case.load(
        nn.Sequential(*layers), lambda name: rename_block(name, '0', '1')
    )
    module.train(p['bn_training'])
    return case.results({'out': module(case['x'])})


def build_head(**options):
    init_default_scope('mmdet')
    return MODELS.build(dict(type='DoubleHeadExtBBoxHead', **options))


@adapter('double_head.head')
def head(case):
    p = case.params
    module = build_head(
        in_channels=case['x_cls'].shape[1],
        num_classes=p['num_classes'],
        conv_out_channels=p['conv_channels'],
        nonlocal_channels=p['inter_channels'],
        fc_out_channels=p['fc_channels'],
        num_convs=max(p['num_nonlocal'], 1),
        num_nonlocal=p['num_nonlocal'],
        nonlocal_groups=p['num_group'],
        roi_feat_size=p['roi_feat_size'],
    )
    if p['num_nonlocal'] == 0:
        module.conv_branch = nn.ModuleList()
    outs = case.load(module, rename_head).eval()(case['x_cls'], case['x_reg'])
    return case.results(
        {
            'conv_cls': outs['cls_score_conv'],
            'conv_reg': outs['bbox_pred'],
            'fc_cls': outs['cls_score'],
            'fc_reg': outs['bbox_pred_fc'],
        }
    )


@adapter('double_head.loss')
def loss(case):
    p, labels = case.params, case['labels']
    classes = case['conv_cls'].shape[1] - 1
    weights = {name: p[name] for name in p if name != 'beta'}
    module = build_head(
        in_channels=1,
        num_classes=classes,
        roi_feat_size=1,
        conv_out_channels=8,
        fc_out_channels=1,
        loss_bbox=dict(type='SmoothL1Loss', beta=p['beta']),
        **weights,
    )
    positive = (labels < classes).to(case['bbox_targets'])

    def losses():
        return module.loss(
            case['fc_cls'],
            case['conv_reg'],
            torch.zeros(len(labels), 5),
            labels,
            torch.ones_like(positive),
            case['bbox_targets'],
            positive[:, None].expand(-1, 4),
            cls_score_conv=case['conv_cls'],
            bbox_pred_fc=case['fc_reg'],
        )

    total = sum(value for name, value in losses().items() if 'loss' in name)
    module.weights = dict.fromkeys(module.weights, 1.0)
    parts = losses()
    outputs = {
        'loss': total,
        'loss_conv_cls': parts['loss_cls_conv'],
        'loss_conv_reg': parts['loss_bbox_conv'],
        'loss_fc_cls': parts['loss_cls_fc'],
        'loss_fc_reg': parts['loss_bbox_fc'],
    }
    return case.results(outputs, total)


@adapter('double_head.score_fusion')
def score_fusion(case):
    return case.results(
        {'scores': fuse_scores(case['conv_cls'], case['fc_cls'])}
    )
