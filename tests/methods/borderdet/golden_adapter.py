"""Golden ops of BorderDet."""

import re

import torch
from golden_runner import adapter
from mmengine.config import ConfigDict

from mmdet_assigners.methods.borderdet import functional as borderdet
from mmdet_assigners.methods.borderdet.border_align_module import (
    BorderAlignModule,
)
from mmdet_assigners.methods.borderdet.head import BorderDetHead, BorderPoints
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts
from mmdet_assigners.ops.border_align import border_align_argmax


@adapter('borderdet.border_align')
def border_align(case):
    output, argmax = border_align_argmax(
        case['input'], case['boxes'], case.params['pool_size']
    )
    results = case.results({'output': output})
    return {**results, 'argmax': argmax.long()}


@adapter('borderdet.border_branch')
def border_branch(case):
    p = case.params
    module = BorderAlignModule(
        p['in_channels'], p['border_channels'], p['pool_size']
    )
    case.load(module)
    x = case['x']
    out = module([x], case['boxes']).view(x.shape)
    return case.results({'out': out})


TOWERS = {'cls_subnet': 'cls_convs', 'bbox_subnet': 'reg_convs'}
PREDICTORS = {
    'cls_score': 'conv_cls',
    'bbox_pred': 'conv_reg',
    'centerness': 'conv_centerness',
}


def rename(name):
    match = re.fullmatch(r'(cls_subnet|bbox_subnet)\.(\d+)\.(\w+)', name)
    if match:  # convolution, norm, ReLU
        layer, part = divmod(int(match[2]), 3)
        return f'{TOWERS[match[1]]}.{layer}.{["conv", "gn"][part]}.{match[3]}'
    first, _, rest = name.partition('.')
    return f'{PREDICTORS.get(first, first)}.{rest}'


@adapter('borderdet.head')
def head(case):
    p, feats = case.params, case.levels('x')
    module = BorderDetHead(
        p['num_classes'],
        p['in_channels'],
        feat_channels=p['in_channels'],
        stacked_convs=p['stacked_convs'],
        norm_cfg=dict(type='GN', num_groups=p['gn_groups']),
        strides=p['strides'],
        regress_ranges=[(-1, 1e8)] * len(p['strides']),
        border_cls_channels=p['border_cls_channels'],
        border_reg_channels=p['border_reg_channels'],
        pool_size=p['pool_size'],
        point_offset=p['point_offset'],
        norm_on_bbox=p['norm_reg_targets'],
        centerness_on_reg=p['centerness_on_reg'],
    )
    case.load(module, rename)
    outs = module(feats)
    names = (
        'cls_score',
        'bbox_pred',
        'centerness',
        'border_cls_score',
        'border_bbox_pred',
    )
    results = case.results(
        {
            f'{name}{level}': value
            for name, values in zip(names, outs, strict=True)
            for level, value in enumerate(values)
        }
    )
    empty = [case['x0'].detach().new_zeros(0, 4)] * len(feats[0])
    gts = [ConfigDict(bboxes=box, labels=box[:, 0].long()) for box in empty]
    coarse = module.flatten(outs, gts).coarse
    assert not coarse.requires_grad
    return {**results, 'coarse_boxes': coarse}


@adapter('borderdet.targets')
def targets(case):
    p = case.params
    points = anchor_points(
        p['sizes'], p['strides'], p['point_offset'], dtype=torch.float64
    )
    found = borderdet.border_targets(
        points,
        case['coarse_boxes'],
        *pad_gts(case.levels('gt_bboxes'), case.levels('gt_labels')),
        p['num_classes'],
        p['regress_ranges'],
        p['center_sampling_radius'] or None,
        p['border_iou_thr'],
        p['border_std'],
    )
    return case.results(
        {
            'cls_target': found.labels,
            'reg_target': found.ltrb,
            'centerness_target': found.centerness,
            'border_cls_target': found.border_labels,
            'border_reg_target': found.border_deltas,
        }
    )


def flat_levels(case, name):
    levels = [x.flatten(2).mT for x in case.levels(name)]
    return torch.cat(levels, 1)


@adapter('borderdet.losses')
def losses(case):
    p = case.params
    focal = dict(
        type='FocalLoss',
        use_sigmoid=True,
        alpha=p['focal_alpha'],
        gamma=p['focal_gamma'],
    )
    module = BorderDetHead(
        p['num_classes'],
        8,
        feat_channels=8,
        norm_cfg=dict(type='GN', num_groups=4),
        border_cls_channels=1,
        border_reg_channels=1,
        loss_cls=focal,
        loss_border_cls=focal,
    )
    flat = BorderPoints(
        cls=flat_levels(case, 'cls_score'),
        reg=flat_levels(case, 'bbox_pred'),
        factor=flat_levels(case, 'centerness').squeeze(-1),
        points=None,
        boxes=None,
        labels=None,
        mask=None,
        border_cls=flat_levels(case, 'border_cls_score'),
        border_reg=flat_levels(case, 'border_bbox_pred'),
        coarse=None,
    )
    found = module.stage_losses(
        flat,
        borderdet.BorderTargets(
            case['cls_target'],
            case['reg_target'],
            case['centerness_target'],
            case['border_cls_target'],
            case['border_reg_target'],
        ),
    )
    names = {
        'loss_cls': 'loss_cls',
        'loss_bbox': 'loss_box_reg',
        'loss_centerness': 'loss_centerness',
        'loss_border_cls': 'loss_border_cls',
        'loss_border_bbox': 'loss_border_reg',
    }
    return case.results(
        {names[name]: value for name, value in found.items()},
        sum(found.values()),
    )


@adapter('borderdet.inference')
def inference(case):
    p = case.params
    module = BorderDetHead(
        p['num_classes'],
        8,
        feat_channels=8,
        norm_cfg=dict(type='GN', num_groups=4),
        border_cls_channels=1,
        border_reg_channels=1,
        border_std=p['border_std'],
    )
    cfg = ConfigDict(
        score_thr=p['score_thr'],
        nms_pre=p['nms_pre'],
        nms=dict(type='nms', iou_threshold=p['nms_iou']),
        max_per_img=p['max_per_img'],
    )
    found = module.detect(
        case.levels('cls_score'),
        case.levels('centerness'),
        case.levels('border_cls_score'),
        case.levels('border_bbox_pred'),
        case.levels('coarse_boxes'),
        cfg=cfg,
    )
    return case.results(
        {
            'det_bboxes': found.bboxes,
            'det_scores': found.scores,
            'det_labels': found.labels,
        }
    )
