"""mmdet's point heads.

The assignment is read by running the head's own loss or target code.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import (
    AutoAssignHead,
    FCOSHead,
    RepPointsHead,
    YOLOXHead,
)
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData

from ...ops.anchor_match import NEGATIVE
from .helpers import pack, read_targets, recording
from .registry import HeadRun, register_adapter

MIN_SHARE = 0.01


@register_adapter(
    FCOSHead,
    'loss_by_feat',
    'get_targets',
    '_get_targets_single',
    'centerness_target',
)
def _fcos_head(head: Any, run: HeadRun) -> InstanceList:
    """FCOS; the weight of a positive is its centerness.

    The targets of FCOS have the label of the ground truth of a point, not
    its index, so each ground truth gets a unique label: -1, -2, ...
    (negative, because ``num_classes`` means background).
    """
    boxes = run.outs[1][0]
    points = head.prior_generator.grid_priors(
        run.sizes, dtype=boxes.dtype, device=boxes.device
    )
    gts = [
        InstanceData(
            bboxes=gt.bboxes,
            labels=-1 - torch.arange(len(gt), device=boxes.device),
        )
        for gt in run.gts
    ]
    level_labels, level_targets = head.get_targets(points, gts)
    # L tensors (B * P_l, ...) -> (B, P) and (B, P, 4)
    batch = len(run.gts)
    labels = torch.cat([x.view(batch, -1) for x in level_labels], 1)
    targets = torch.cat([x.view(batch, -1, 4) for x in level_targets], 1)
    results = []
    for label, target in zip(labels, targets, strict=True):
        positive = label < 0
        assigned_gt = torch.where(positive, -1 - label, NEGATIVE)
        centerness = head.centerness_target(target[positive])
        weight = torch.ones_like(target[:, 0])
        weight = weight.masked_scatter(positive, centerness)
        results.append(pack(head, points, assigned_gt, weight))
    return results


@register_adapter(
    YOLOXHead, 'loss_by_feat', '_get_targets_single', uses_predictions=True
)
def _yolox_head(head: Any, run: HeadRun) -> InstanceList:
    """YOLOX: SimOTA, or whatever assigner the config gives.

    The points are the centers of the cells, as the assigner sees them.
    """
    cells = head.prior_generator.grid_priors(
        run.sizes, device=run.outs[0][0].device, with_stride=True
    )
    points = [cell[:, :2] + cell[:, 2:] / 2 for cell in cells]
    with recording(head.sampler, 'sample') as samples:
        head.loss_by_feat(*run.outs, run.gts, run.metas, run.ignored)
    remaining = iter(samples)
    results = []
    for gt in run.gts:
        weight = torch.cat(points).new_ones(sum(map(len, points)))
        assigned_gt = torch.full_like(weight, NEGATIVE, dtype=torch.long)
        if len(gt):  # images without ground truths are not sampled
            _, sampling = next(remaining)
            assigned_gt[sampling.pos_inds] = sampling.pos_assigned_gt_inds
        results.append(pack(head, points, assigned_gt, weight))
    return results


@register_adapter(
    AutoAssignHead,
    'loss_by_feat',
    'get_pos_loss_single',
    'get_targets',
    '_get_targets_single',
    uses_predictions=True,
)
def _auto_assign_head(head: Any, run: HeadRun) -> InstanceList:
    """AutoAssign: points by the weight of their positive loss.

    The weight is the confidence weight times the center prior, relative to
    the largest of the ground truth. It is never 0 inside a box; points with
    at least 1 % of the largest are positive here. There are no hard
    negatives.
    """
    boxes = run.outs[1][0]
    points = head.prior_generator.grid_priors(
        run.sizes, dtype=boxes.dtype, device=boxes.device
    )
    with recording(head, 'get_pos_loss_single') as calls:
        head.loss_by_feat(*run.outs, run.gts, run.metas, run.ignored)
    results = []
    for (scores, objectness, reg_loss, gt, prior), _ in calls:
        weight = scores.new_ones(len(scores))
        assigned_gt = torch.full_like(weight, NEGATIVE, dtype=torch.long)
        if len(gt):
            # (P, G): joint confidence of point and ground truth, its weight,
            # and that relative to the best point of the ground truth
            joint = (scores * objectness)[:, gt.labels] * (-reg_loss).exp()
            share = (3 * joint).exp() * prior
            share = share / share.amax(0).clamp(min=1e-12)
            best, index = share.max(1)
            positive = best >= MIN_SHARE
            assigned_gt = torch.where(positive, index, assigned_gt)
            weight = torch.where(positive, best, weight)
        results.append(pack(head, points, assigned_gt, weight))
    return results


@register_adapter(
    RepPointsHead,
    'loss_by_feat',
    'get_targets',
    '_get_targets_single',
    uses_predictions=True,
)
def _rep_points_head(head: Any, run: HeadRun) -> InstanceList:
    """RepPoints: the second stage; priors are the boxes of its first points.

    In evaluation mode the head returns no first points, so it runs again.
    """
    outs, mode = run.outs, head.training
    if not mode:
        try:
            head.training = True  # of the head alone, not of its layers
            outs = head(run.feats)
        finally:
            head.training = mode
    with recording(head, '_get_targets_single') as calls:
        head.loss_by_feat(*outs, run.gts, run.metas, run.ignored)
    sizes = [size.numel() for size in run.sizes]
    results = []
    # the calls of all images in the first stage, then in the second
    for (boxes, *_), target in calls[len(run.gts) :]:
        labels, label_weights, _, _, _, pos_inds, _, sampling = target
        read = read_targets(
            head,
            labels,
            label_weights,
            pos_inds,
            sampling.pos_assigned_gt_inds,
        )
        results.append(pack(head, boxes.split(sizes), *read))
    return results
