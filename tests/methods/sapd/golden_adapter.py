"""Golden ops of SAPD."""

import torch
from golden_runner import adapter

from mmdet_assigners.methods.sapd import functional as sapd
from mmdet_assigners.methods.sapd.select_net import FeatureSelectNet
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

STRIDES = (8, 16, 32, 64, 128)


def setting(case):
    """Points and padded ground truths of the case's single image."""
    shapes = case['feat_shapes'].tolist()
    points = anchor_points(shapes, STRIDES, dtype=torch.float64)
    boxes, labels, valid = pad_gts([case['gt_bboxes']], [case['gt_labels']])
    weights = case['level_weights']
    padding = boxes.shape[1] - len(weights)
    weights = torch.nn.functional.pad(weights, (0, 0, 0, padding))[None]
    return points, boxes, labels, valid, weights, len(case['gt_bboxes'])


@adapter('sapd.selection_net')
def selection_net(case):
    params = case.params
    channels, num_levels = params['channels'], params['num_levels']
    net = case.load(
        FeatureSelectNet(channels, STRIDES[:num_levels], channels),
        lambda name: name,
    )
    logits = net.head(case['roi_feats'])
    target = case['target_level']
    losses = torch.nn.functional.cross_entropy(logits, target, reduction='sum')
    loss = params['loss_weight'] * losses / max(1, len(target))
    return case.results({'probs': logits.softmax(-1), 'loss': loss}, loss)


@adapter('sapd.paper_targets_losses')
def paper(case):
    p = case.params
    points, boxes, labels, valid, weights, _ = setting(case)
    targets = sapd.soft_targets(
        points,
        boxes,
        labels,
        valid,
        sapd.valid_regions(boxes, points, p['eps']),
        weights,
        sapd.top_levels(weights, p['topk']),
        p['eta'],
        p['z'],
        p['unselected'],
    )
    cls, box, norm = sapd.weighted_losses(
        case['cls_logits'][None],
        case['reg_pred'][None],
        targets,
        p['alpha'],
        p['gamma'],
    )
    norm = norm.clamp(min=1)
    outputs = {
        'assigned_gt': targets.assigned[0],
        'point_weight': targets.weight[0],
        'reg_target': targets.distances[0],
        'normalizer': norm,
        'loss_cls': cls / norm,
        'loss_bbox': box / norm,
    }
    return case.results(outputs, outputs['loss_cls'] + outputs['loss_bbox'])


@adapter('sapd.reimpl_targets_losses')
def reimpl(case):
    p = case.params
    points, boxes, labels, valid, weights, gts = setting(case)
    regions = sapd.valid_regions(boxes, points, p['shrink'], True)
    preds = case['cls_prob'][None], case['reg_pred'][None]
    focal = p['alpha'], p['gamma'], True
    losses = sapd.level_losses(
        points, boxes, labels, regions, *preds, p['z'], *focal
    )
    targets = sapd.soft_targets(
        points,
        boxes,
        labels,
        valid,
        regions,
        weights,
        torch.ones_like(weights, dtype=torch.bool),
        p['eta'],
        p['z'],
        'hide',
    )
    cls, box, norm = sapd.weighted_losses(*preds, targets, *focal)
    norm = norm.clamp(min=1)
    one_hot = torch.nn.functional.one_hot(targets.labels, p['num_classes'])
    outputs = {
        'cells': sapd.shrunk_cells(boxes, points, p['shrink'])[0, :gts].long(),
        'level_losses': losses[0, :gts],
        'argmin_level': losses[0, :gts].argmin(-1),
        'cls_target': (one_hot * targets.positive[..., None])[0].double(),
        'point_weight': targets.weight[0],
        'pos_mask': targets.positive[0],
        'reg_target': targets.distances[0],
        'loss_cls': cls / norm,
        'loss_bbox': box / norm,
    }
    return case.results(outputs, outputs['loss_cls'] + outputs['loss_bbox'])
