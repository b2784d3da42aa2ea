"""Golden ops of GFL."""

import torch
from golden_runner import adapter
from mmdet.models.losses import FocalLoss
from mmdet.structures.bbox import bbox_overlaps

from mmdet_assigners.methods.gfl import functional as gfl
from mmdet_assigners.methods.gfl.losses import (
    GaussianDistanceLoss,
    GeneralizedFocalLoss,
)
from mmdet_assigners.ops.anchor_points import box_distances, centerness


@adapter('gfl.unified')
def unified(case):
    p = case.params
    loss = GeneralizedFocalLoss(beta=p['beta'])
    args = case['logits'], (case['y'], case['y_l'], case['y_r'])
    terms = loss(*args, reduction_override='none')
    mean = loss(*args, case['weight'], avg_factor=p['avg_factor'])
    outputs = {'loss': terms, 'loss_weighted_mean': mean}
    scalar = (terms * case['cotangent_loss']).sum()
    return case.results(outputs, scalar)


@adapter('gfl.qfl')
def qfl(case):
    terms = gfl.quality_focal_loss(
        case['pred'], case['label'], case['score'], case.params['beta']
    )
    outputs = {
        'loss_elem': terms,
        'loss_sum': terms.sum(),
        'loss_row': terms.sum(1),
    }
    scalar = (terms * case['cotangent_loss_elem']).sum()
    return case.results(outputs, scalar)


@adapter('gfl.dfl')
def dfl(case):
    p = case.params
    bins, delta = p['n'], p['delta']
    pred = case['pred'].requires_grad_()
    logits = pred.view(-1, 4, bins + 1)
    target = gfl.clamp_distances(
        case['distance'], bins, delta, p['clamp_eps_bins']
    )
    terms = gfl.distribution_focal_loss(logits, target / delta)
    loss = (case['weight'][:, None] * terms).sum() / p['avg_factor']
    integral = gfl.expected_distance(logits, delta)
    mean = (integral * case['cotangent_integral']).sum()
    return {
        'target_clamped': target,
        'loss_elem': terms,
        'loss': loss,
        'integral': integral,
        'grad_pred_loss': torch.autograd.grad(loss, pred)[0],
        'grad_pred_integral': torch.autograd.grad(mean, pred)[0],
    }


@adapter('gfl.gaussian_distance')
def gaussian_distance(case):
    p = case.params
    args = case['mu'], case['alpha'], case['target']
    terms = gfl.gaussian_distance_loss(*args, p['smooth_l1_beta'])
    module = GaussianDistanceLoss(
        beta=p['smooth_l1_beta'], loss_weight=p['loss_weight']
    )
    loss = module(*args, case['weight'], avg_factor=p['avg_factor'])
    return case.results({'loss_elem': terms, 'loss': loss}, loss)


@adapter('gfl.guided_focal')
def guided_focal(case):
    p = case.params
    label, pred = case['label'], case['pred']
    central = centerness(box_distances(case['points'], case['gt']))
    iou = bbox_overlaps(case['pred_box'], case['gt'], is_aligned=True)
    quality = pred.new_ones(len(pred))
    quality[: len(iou)] = iou if p['quality'] == 'iou' else central
    focal = FocalLoss(alpha=p['alpha'], gamma=p['gamma'])
    losses = focal(pred, label, reduction_override='none')
    losses = gfl.guided_losses(losses, label, quality, p['eta'])
    loss = losses.sum() / p['avg_factor']
    outputs = {'centerness': central, 'iou': iou, 'loss': loss}
    return case.results(outputs, loss)
