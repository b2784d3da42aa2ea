"""Golden ops of Noisy Anchors."""

import math

import torch
from golden_runner import adapter
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.noisy_anchors.functional import soft_focal_loss
from mmdet_assigners.methods.noisy_anchors.head import NoisyAnchorRetinaHead
from mmdet_assigners.models.dense_heads.flat_head import FlatBatch
from mmdet_assigners.ops.anchor_points import flatten_levels


@adapter('noisy_anchors.soft_focal')
def soft_focal(case):
    p = case.params
    loss = soft_focal_loss(
        case['logits'],
        case['gt_classes'],
        case['soft_targets'],
        p['alpha'],
        p['gamma'],
    )
    return case.results({'loss': loss})


def build_head(p):
    """The registered head with the options of a case."""
    init_default_scope('mmdet')
    return NoisyAnchorRetinaHead(
        num_classes=p['num_classes'],
        in_channels=1,
        stacked_convs=0,
        # theirs bounds dw and dh above only
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', add_ctr_clamp=True, ctr_clamp=math.inf
        ),
        alpha=p['alpha'],
        normalizer_init=p['normalizer_init'],
        normalizer_momentum=p['momentum'],
        loss_cls=dict(
            type='SoftFocalLoss',
            use_sigmoid=True,
            alpha=p['focal_alpha'],
            gamma=p['focal_gamma'],
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=p['smooth_l1_beta']),
        train_cfg=ConfigDict(
            assigner=dict(type='TopNIoUAssigner', topn=p['topn'])
        ),
    ).double()


def flat_batch(case):
    """Predictions, anchors and ground truths of a case."""
    anchors = case.levels('anchors')
    sizes = tuple(len(level) for level in anchors)
    cls, deltas = (
        flatten_levels(case.levels(name), sum(sizes))
        for name in ('cls_logits', 'bbox_pred')
    )
    gt = case['gt']
    if gt.shape[1] == 0:
        gt = gt.new_full((len(gt), 1, 5), -1)
    # real rows first, wherever the padding is: the first one counts
    order = (gt[..., 4] < 0).int().argsort(dim=1, stable=True)
    gt = gt.take_along_dim(order[..., None], 1)
    mask = gt[..., 4] >= 0
    return FlatBatch(
        cls=cls,
        deltas=deltas,
        others=(),
        anchors=torch.cat(anchors),
        strides=cls.new_ones(sum(sizes)),
        level=torch.zeros(sum(sizes), dtype=torch.long),
        level_sizes=sizes,
        valid=torch.ones(cls.shape[:2], dtype=torch.bool),
        boxes=gt[..., :4],
        labels=gt[..., 4].long().clamp(min=0),
        mask=mask,
    )


@adapter('noisy_anchors.targets_losses')
def targets_losses(case):
    head, flat = build_head(case.params), flat_batch(case)
    assignment = head.assign_flat(flat)
    clean = head.cleanliness(flat, assignment)
    losses = head.loss_flat(flat)
    boxes = head.matched_boxes(flat, assignment.gt)
    outputs = {
        'gt_classes': head.matched_labels(flat, assignment.gt),
        'reg_targets': head.encode(flat, boxes),
        'soft_labels': clean.label,
        'reweight': clean.weight,
        'loss_cls': losses['loss_cls'],
        'loss_reg': losses['loss_bbox'],
        'normalizer': head.normalizer,
    }
    return case.results(outputs, losses['loss_cls'] + losses['loss_bbox'])
