"""Golden ops of HAMBox."""

import torch
from golden_runner import adapter
from mmengine.config import ConfigDict

from mmdet_assigners.methods.hambox.functional import matched_counts
from mmdet_assigners.methods.hambox.heads import HAMBoxRetinaHead
from mmdet_assigners.methods.hambox.wider_face import wider_face_ap
from mmdet_assigners.models.dense_heads.flat_head import FlatBatch
from mmdet_assigners.models.task_modules.assigners._base import AssignInputs
from mmdet_assigners.ops.anchor_match import IGNORED
from mmdet_assigners.ops.anchor_points import pad_gts


def head_of(p):
    return HAMBoxRetinaHead(
        num_classes=p['num_classes'],
        in_channels=1,
        feat_channels=1,
        stacked_convs=1,
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0] * 4,
            target_stds=[0.1, 0.1, 0.2, 0.2],
        ),
        loss_cls=dict(
            type='FocalLoss',
            use_sigmoid=True,
            gamma=p['gamma'],
            alpha=p['alpha'],
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=p['smooth_l1_beta']),
        train_cfg=ConfigDict(
            assigner=dict(
                type='HAMBoxAssigner',
                pos_iou_thr=p['pos_iou_thr_L'],
                neg_iou_thr=p['neg_iou_thr'],
                online_iou_thr=p['online_iou_thr_T'],
                topk=p['K'],
                ignore_pred_iou=p['ignore_pred_iou'],
                match_low_quality=p['match_low_quality'],
            )
        ),
    )


def flat_of(case):
    """The head's input: one level, all anchors inside."""
    logits, anchors = case['cls_logits'], case['anchors'].detach()
    boxes, labels, mask = pad_gts(
        case.levels('gt_bboxes_'), case.levels('gt_labels_')
    )
    return FlatBatch(
        cls=logits,
        deltas=case['bbox_deltas'],
        others=(),
        anchors=anchors,
        strides=torch.ones_like(anchors[:, 0]),
        level=torch.zeros(len(anchors), dtype=torch.long),
        level_sizes=(len(anchors),),
        valid=torch.ones(logits.shape[:2], dtype=torch.bool),
        boxes=boxes,
        labels=labels,
        mask=mask,
    )


@adapter('hambox.targets_losses')
def targets_losses(case):
    head, flat = head_of(case.params), flat_of(case)
    losses = head.loss_flat(flat)
    assignment = head.assign_flat(flat)
    extra = assignment.extra
    compensated = extra['comp_gt'] >= 0
    first = head.assigner.assign_batch(
        AssignInputs(
            flat.anchors,
            flat.boxes,
            flat.labels,
            flat.mask,
            pred_boxes=head.decode(flat),
        )
    ).gt
    counts = matched_counts(first, flat.boxes.shape[1])
    outputs = {
        'norm_gt': torch.where(first == IGNORED, -1, first + 1),
        'comp_gt': extra['comp_gt'] + 1,
        'comp_iou': extra['comp_iou'],
        'best_pred_iou': extra['best_pred_iou'],
        'cls_ignored': (assignment.gt == IGNORED) | compensated,
        'loss_cls_norm': losses['loss_cls'],
        'loss_cls_comp': losses['loss_cls_comp'],
        'loss_bbox_norm': losses['loss_bbox'],
        'loss_bbox_comp': losses['loss_bbox_comp'],
        'num_norm': losses['num_norm'].long(),
        'num_comp': losses['num_comp'].long(),
    }
    for b, mask in enumerate(flat.mask):
        outputs[f'matched_count_{b}'] = counts[b, : int(mask.sum())]
    scalar = sum(value for name, value in losses.items() if 'loss' in name)
    return case.results(outputs, scalar)


@adapter('hambox.wider_ap')
def wider_ap(case):
    aps = wider_face_ap(
        [rows.numpy() for rows in case.levels('pred_xywhs_')],
        [rows.numpy() for rows in case.levels('gt_xywh_')],
        {
            name: [kept.numpy() for kept in case.levels(f'keep_{name}_')]
            for name in ('easy', 'medium', 'hard')
        },
        case.params['iou_thr'],
        case.params['thresholds'],
    )
    return case.results(
        {
            f'ap_{name}': torch.tensor(ap, dtype=torch.float64)
            for name, ap in aps.items()
        }
    )
