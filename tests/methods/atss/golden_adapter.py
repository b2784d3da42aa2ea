"""Golden ops of ATSS."""

import torch
from golden_runner import adapter
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.atss.head import ATSSLadderHead
from mmdet_assigners.models.dense_heads.flat_head import FlatBatch
from mmdet_assigners.ops.anchor_match import IGNORED

STRIDES = (8, 16, 32, 64, 128)


def assigner_of(p):
    kind = p['positive_type'].upper()
    if kind == 'IOU':
        return dict(
            type='CenterInGTMaxIoUAssigner',
            pos_iou_thr=p['pos_iou_thr'],
            neg_iou_thr=p['neg_iou_thr'],
        )
    if kind == 'SSC':
        return dict(type='SSCAssigner')
    if kind == 'ATSS':
        return dict(type='BatchATSSAssigner', topk=p['topk'])
    if kind == 'TOPK':
        return dict(type='TopkIoUAssigner', topk=p['topk'])
    raise ValueError(f'positive_type {p["positive_type"]!r}')


def coder_of(p):
    scale = p['octave_base_scale']
    if p['regression_type'].upper() == 'POINT':
        return dict(type='AnchorPointCoder', octave_base_scale=scale)
    return dict(
        type='DeltaXYWHBBoxCoder',
        target_means=[0.0] * 4,
        target_stds=[0.1, 0.1, 0.2, 0.2],
    )


def head_of(p):
    init_default_scope('mmdet')
    return ATSSLadderHead(
        p['num_classes'],
        1,
        feat_channels=1,
        stacked_convs=1,
        norm_cfg=None,
        official_norm=True,
        anchor_generator=dict(
            type='AnchorGenerator',
            ratios=p['ratios'],
            octave_base_scale=p['octave_base_scale'],
            scales_per_octave=p['scales_per_octave'],
            strides=STRIDES,
        ),
        bbox_coder=coder_of(p),
        loss_cls=dict(
            type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25
        ),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        train_cfg=ConfigDict(assigner=assigner_of(p)),
    )


def flat_of(case):
    """The head's input; an op without predictions gets zeros."""
    anchors = case['anchors'].detach()
    boxes, labels = case['gt_bboxes'], case['gt_labels']
    batch, gts = labels.shape
    if gts == 0:
        boxes, labels = (
            boxes.new_zeros(batch, 1, 4),
            labels.new_zeros(batch, 1),
        )
    sizes = case['num_level_anchors']
    level = torch.arange(len(sizes)).repeat_interleave(sizes)
    shape = (batch, len(anchors))
    zeros = anchors.new_zeros
    cls = case.inputs.get('cls_logits')
    deltas = case.inputs.get('reg_pred')
    ctr = case.inputs.get('ctr_logits')
    return FlatBatch(
        cls=zeros(*shape, case.params['num_classes']) if cls is None else cls,
        deltas=zeros(*shape, 4) if deltas is None else deltas,
        others=((zeros(shape) if ctr is None else ctr)[..., None],),
        anchors=anchors,
        strides=anchors.new_tensor(STRIDES)[level],
        level=level,
        level_sizes=tuple(sizes.tolist()),
        valid=torch.ones(shape, dtype=torch.bool),
        boxes=boxes,
        labels=labels,
        mask=torch.full(labels.shape, gts > 0),
    )


def targets(head, flat):
    gt = head.assign_flat(flat).gt
    encoded = head.encode(flat, head.matched_boxes(flat, gt))
    return {
        'assigned_gt_inds': torch.where(gt == IGNORED, -1, gt + 1),
        'reg_targets': encoded.where((gt >= 0)[..., None], 0),
    }


@adapter('atss.assign')
def assign(case):
    return case.results(targets(head_of(case.params), flat_of(case)))


@adapter('atss.assign_loss')
def assign_loss(case):
    head, flat = head_of(case.params), flat_of(case)
    losses = head.loss_flat(flat)
    outputs = {**targets(head, flat), **losses}
    return case.results(outputs, sum(losses.values()))
