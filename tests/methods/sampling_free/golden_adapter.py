"""Golden ops of Sampling-Free."""

import torch
from golden_runner import adapter
from mmengine.registry import init_default_scope

from mmdet_assigners.methods.sampling_free.bbox_head import (
    SamplingFreeBBoxHead,
)
from mmdet_assigners.methods.sampling_free.heads import (
    SamplingFreeRetinaHead,
    SamplingFreeRPNHead,
)


def smooth_l1(beta, weight=1.0):
    return dict(type='SmoothL1Loss', beta=beta, loss_weight=weight)


def cross_entropy(sigmoid, weight=1.0):
    return dict(
        type='CrossEntropyLoss', use_sigmoid=sigmoid, loss_weight=weight
    )


def results(case, losses):
    loss_cls, loss_reg = losses['loss_cls'], losses['loss_bbox']
    outputs = {'loss_cls': loss_cls, 'loss_reg': loss_reg}
    return case.results(outputs, loss_cls + loss_reg)


def background_last(labels, num_classes):
    """0 background, 1..C classes, -1 ignored -> mmdet's labels."""
    return torch.where(labels > 0, labels - 1, num_classes).where(
        labels >= 0, -1
    )


def anchor_losses(case, head, logits):
    labels = background_last(case['labels'], logits.shape[1])
    losses = head.target_losses(
        logits,
        case['bbox_pred'],
        labels,
        case['bbox_targets'],
        torch.ones_like(labels, dtype=torch.bool),
        case.params['num_images'],
    )
    return results(case, losses)


@adapter('sampling_free.retina')
def retina(case):
    init_default_scope('mmdet')
    head = SamplingFreeRetinaHead(
        num_classes=case['cls_logits'].shape[1],
        in_channels=1,
        stacked_convs=0,
        loss_cls=cross_entropy(True),
        loss_bbox=smooth_l1(case.params['beta']),
        regress_norm=case.params['regress_norm'],
    )
    return anchor_losses(case, head, case['cls_logits'])


@adapter('sampling_free.rpn')
def rpn(case):
    init_default_scope('mmdet')
    head = SamplingFreeRPNHead(
        in_channels=1,
        feat_channels=1,
        loss_cls=cross_entropy(True),
        loss_bbox=smooth_l1(case.params['beta'], case.params['reg_norm']),
        regress_norm=4.0,
    )
    return anchor_losses(case, head, case['objectness'])


@adapter('sampling_free.rcnn')
def rcnn(case):
    p = case.params
    logits, deltas = case['cls_logits'], case['bbox_pred']
    num_classes = logits.shape[1] - 1
    init_default_scope('mmdet')
    head = SamplingFreeBBoxHead(
        fc_out_channels=1,
        in_channels=1,
        roi_feat_size=1,
        num_classes=num_classes,
        reg_class_agnostic=p['class_agnostic'],
        loss_cls=cross_entropy(False, p['cls_scale']),
        loss_bbox=smooth_l1(p['beta']),
    )
    if p['class_agnostic']:
        deltas = deltas[:, 4:8]
    else:
        deltas = deltas[:, 4:]
    labels = background_last(case['labels'], num_classes)
    losses = head.loss(
        logits.roll(-1, 1),
        deltas,
        None,
        labels.where(labels >= 0, num_classes),
        (labels >= 0).double(),
        case['bbox_targets'],
        None,
    )
    return results(case, losses)
