"""Golden ops of DSFPN."""

import torch
from golden_runner import adapter
from mmdet.registry import MODELS
from torch import nn

from mmdet_assigners.methods.dsfpn.neck import DuallySupervisedFPN
from mmdet_assigners.methods.dsfpn.roi_heads import auxiliary, box_losses


@adapter('dsfpn.fpn_laterals')
def fpn_laterals(case):
    params = case.params
    in_channels = params['in_channels']
    neck = DuallySupervisedFPN(
        in_channels, params['out_channels'], len(in_channels) + 1
    )

    def rename(name):
        kind, level, parameter = name.split('.')
        module = dict(lateral='lateral_convs', post='fpn_convs')[kind]
        return f'{module}.{level}.conv.{parameter}'

    levels = sorted(int(n[1:]) for n in case.inputs if n[1:].isdigit())
    maps = [case[f'c{level}'] for level in levels]
    outs = case.load(neck, rename)(maps, return_laterals=True)
    outputs = {f'p{levels[0] + i}': out for i, out in enumerate(outs)}
    for level, lateral in zip(levels, outs.laterals, strict=True):
        outputs[f'lat{level}'] = lateral
    return case.results(outputs)


NAMES = {
    'fc_cls.': 'cls_fcs.',
    'fc_reg.': 'reg_fcs.',
    'score.': 'fc_cls.',
    'bbox.': 'fc_reg.',
}


def rename_head(name):
    head, rest = name.split('.', 1)
    for theirs, ours in NAMES.items():
        if rest.startswith(theirs):
            return f'{head}.{ours}{rest.removeprefix(theirs)}'
    return name


def decoupled_head(params, in_channels):
    return MODELS.build(
        dict(
            type='ConvFCBBoxHead',
            num_cls_fcs=2,
            num_reg_fcs=2,
            in_channels=in_channels,
            fc_out_channels=params['fc_channels'],
            roi_feat_size=params['roi_size'],
            num_classes=params['num_classes'],
            reg_class_agnostic=params['reg_class_agnostic'],
            loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
            loss_bbox=dict(type='SmoothL1Loss', beta=params['beta']),
        )
    )


@adapter('dsfpn.dual_heads')
def dual_heads(case):
    params, labels = case.params, case['labels']
    channels = case['roi_feat'].shape[1]
    heads = case.load(
        nn.ModuleDict(
            {n: decoupled_head(params, channels) for n in ('main', 'aux')}
        ),
        rename_head,
    )
    targets = case['bbox_targets']
    positive = (labels < params['num_classes']).to(targets)[:, None]
    targets = (
        labels,
        torch.ones_like(targets[:, 0]),
        targets,
        positive.expand_as(targets),
    )
    rois = torch.zeros(len(labels), 5, dtype=torch.float64)
    outputs, total = {}, 0.0
    for name, feats, prefix in (
        ('main', case['roi_feat'], ''),
        ('aux', case['aux_roi_feat'], 'aux_'),
    ):
        scores, deltas = heads[name](feats)
        losses = box_losses(heads[name], feats, rois, targets)
        weighted = auxiliary(losses, params[f'{name}_weight'])
        total = total + sum(v for n, v in weighted.items() if 'loss' in n)
        outputs[f'{prefix}cls_score'] = scores
        outputs[f'{prefix}bbox_pred'] = deltas
        for loss in ('loss_cls', 'loss_bbox'):
            outputs[f'{prefix}{loss}'] = losses[loss]
    return case.results(outputs, total)
