"""Golden ops of AlignDet."""

import torch
from golden_runner import adapter
from mmdet.models.losses import FocalLoss, SmoothL1Loss
from mmdet.models.task_modules.coders import LegacyDeltaXYWHBBoxCoder
from mmengine.structures import InstanceData

from mmdet_assigners.methods.aligndet.assigner import AlignDetAssigner
from mmdet_assigners.methods.aligndet.functional import (
    official_match,
    stage_losses,
)
from mmdet_assigners.methods.aligndet.roi_conv_functional import (
    boxes_to_offsets,
)
from mmdet_assigners.methods.aligndet.stage_head import AlignStageHead
from mmdet_assigners.ops.anchor_match import gather_gts
from mmdet_assigners.ops.anchor_points import pad_gts


@adapter('aligndet.offsets')
def offsets(case):
    p = case.params
    found = boxes_to_offsets(
        case['boxes'],
        (p['feat_h'], p['feat_w']),
        p['kernel'],
        p['stride'],
        p['num_anchors'],
        p['legacy_plus_one'],
    )
    return case.results({'offsets': found})


RENAMES = {
    'align1': 'towers.0.align1.conv',
    'align2': 'towers.0.align2',
    'cls': 'cls',
    'bbox': 'reg',
}


@adapter('aligndet.head')
def head(case):
    p, x = case.params, case['x']
    module = AlignStageHead(
        p['num_classes'],
        x.shape[1],
        mid_channels=p['hidden'],
        kernel_size=p['kernel'],
        legacy_plus_one=p['legacy_plus_one'],
    )
    shape = case.weights['align1.weight'].shape
    case.weights['align1.weight'] = case.weights['align1.weight'].view(
        module.towers[0].align1.conv.weight.shape
    )

    def rename(name):
        part, parameter = name.rsplit('.', 1)
        return f'{RENAMES[part]}.{parameter}'

    case.load(module, rename)
    cls, reg = module(x, case['boxes'], p['stride'])
    results = case.results({'cls_score': cls, 'bbox_pred': reg})
    grad = results.get('grad_w/align1.weight')
    if grad is not None:
        results['grad_w/align1.weight'] = grad.view(shape)
    return results


@adapter('aligndet.targets')
def targets(case):
    p = case.params
    priors = case['boxes']
    options = dict(
        pos_iou_thr=p['pos_iou_thr'],
        neg_iou_thr=p['neg_iou_thr'],
        min_pos_iou=p['min_pos_iou'],
    )
    boxes, labels, mask = pad_gts([case['gt_bboxes']], [case['gt_labels']])
    match = official_match(
        priors, boxes, mask, plus_one=p['iou_plus_one'], **options
    )
    # the assigner is the same function behind mmdet's interface
    assigner = AlignDetAssigner(iou_plus_one=p['iou_plus_one'], **options)
    gts = InstanceData(bboxes=case['gt_bboxes'], labels=case['gt_labels'])
    result = assigner.assign(InstanceData(priors=priors), gts)
    assert torch.equal(result.gt_inds - 1, match.box_gt[0])
    gt = match.label_gt
    own = gather_gts(labels, gt).where(gt >= 0, gt + 1)
    own = own.where(gt != -1, p['num_classes'])  # -2, ignored, becomes -1
    positive = (gt[0] >= 0)[:, None].expand(-1, 4)
    coder = LegacyDeltaXYWHBBoxCoder(target_stds=(1.0, 1.0, 1.0, 1.0))
    unit = priors.new_tensor([0, 0, 1, 1])
    deltas = coder.encode(
        priors.where(positive, unit),
        gather_gts(boxes, match.box_gt)[0].where(positive, unit),
    )
    return case.results(
        {
            'labels': own[0],
            'bbox_targets': deltas.where(positive, 0),
            'bbox_weights': positive.to(priors),
        }
    )


@adapter('aligndet.losses')
def losses(case):
    p = case.params
    cls, box = stage_losses(
        FocalLoss(alpha=p['alpha'], gamma=p['gamma']),
        SmoothL1Loss(beta=p['beta']),
        case['cls_score'],
        case['bbox_pred'],
        case['labels'],
        case['bbox_targets'],
    )
    return case.results({'loss_cls': cls, 'loss_bbox': box}, cls + box)
