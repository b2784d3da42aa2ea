"""mmdet's anchor heads whose assignment depends on the predictions.

The assignment is read by running the head's own loss or target code.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import (
    FreeAnchorRetinaHead,
    FSAFHead,
    PAAHead,
    TOODHead,
)
from mmdet.models.utils import levels_to_images
from mmdet.structures.bbox import bbox_overlaps
from mmdet.utils import InstanceList

from ...ops.anchor_match import IGNORED, NEGATIVE
from .helpers import pack, read_targets, recording
from .mmdet_anchor import ANCHOR_TARGETS
from .registry import HeadRun, register_adapter


@register_adapter(
    FSAFHead, 'reweight_loss_single', *ANCHOR_TARGETS, uses_predictions=True
)
def _fsaf_head(head: Any, run: HeadRun) -> InstanceList:
    """FSAF: positives on the level of smallest loss; others are ignored."""
    anchors, _ = head.get_anchors(run.sizes, run.metas, run.outs[0][0].device)
    outs = [list(out) for out in run.outs]  # FSAF clamps the boxes in place
    with (
        recording(head, '_get_targets_single') as targets,
        recording(head, 'reweight_loss_single') as chosen,
    ):
        head.loss_by_feat(*outs, run.gts, run.metas, run.ignored)
    # L flags (B * P_l,) -> (B, P): the level was selected
    batch = len(run.metas)
    kept = torch.cat([flag.view(batch, -1) for _, (_, _, flag) in chosen], 1)
    results = []
    for levels, (_, target), keep in zip(anchors, targets, kept, strict=True):
        labels, label_weights, _, _, pos_inds, _, sampling, _ = target
        pos_gts = sampling.pos_assigned_gt_inds
        assigned_gt, weight = read_targets(
            head, labels, label_weights, pos_inds, pos_gts
        )
        dropped = (assigned_gt >= 0) & ~keep
        assigned_gt = assigned_gt.masked_fill(dropped, IGNORED)
        weight = weight.masked_fill(dropped, 0)
        results.append(pack(head, levels, assigned_gt, weight))
    return results


@register_adapter(
    FreeAnchorRetinaHead,
    'loss_by_feat',
    'positive_loss_single',
    'positive_bag_loss',
    uses_predictions=True,
)
def _free_anchor_head(head: Any, run: HeadRun) -> InstanceList:
    """FreeAnchor: the bag of each ground truth, weighted by match quality.

    The bag is the ``pre_anchor_topk`` anchors of highest IoU, the weight the
    probability that the anchor matches, relative to the best of its bag. An
    anchor in several bags counts in that of highest weight. There are no
    hard negatives or ignored anchors.
    """
    anchors, _ = head.get_anchors(run.sizes, run.metas, run.outs[0][0].device)
    with recording(head, 'positive_bag_loss') as calls:
        head.loss_by_feat(*run.outs, run.gts, run.metas, run.ignored)
    # one call per image, also for those without ground truths: (G, topk)
    matches = [cls_prob * box_prob for (cls_prob, box_prob), _ in calls]
    results = []
    for levels, gt, match in zip(anchors, run.gts, matches, strict=True):
        priors = torch.cat(levels)
        assigned_gt = priors.new_full((len(priors),), NEGATIVE).long()
        weight = priors.new_ones(len(priors))
        if len(gt):
            match = match / match.amax(1, keepdim=True).clamp(min=1e-12)
            iou = bbox_overlaps(gt.bboxes, priors)
            # the head's own call: `match` has this order, which isn't sorted
            _, bag = torch.topk(iou, head.pre_anchor_topk, dim=1, sorted=False)
            # (G, P): the weights of the bag, -1 elsewhere
            table = match.new_full((len(gt), len(priors)), -1.0)
            table.scatter_(1, bag, match)
            best, index = table.max(0)
            assigned_gt = torch.where(best >= 0, index, assigned_gt)
            weight = torch.where(best >= 0, best, weight)
        results.append(pack(head, levels, assigned_gt, weight))
    return results


@register_adapter(
    PAAHead,
    'loss_by_feat',
    'get_pos_loss',
    'paa_reassign',
    'get_targets',
    '_get_targets_single',
    uses_predictions=True,
)
def _paa_head(head: Any, run: HeadRun) -> InstanceList:
    """PAA after the mixture model; the weight is the IoU of the prediction.

    Candidates that the mixture model drops are negatives, those between its
    two components are ignored.
    """
    anchors, _ = head.get_anchors(run.sizes, run.metas, run.outs[0][0].device)
    with recording(head, 'paa_reassign') as calls:
        head.loss_by_feat(*run.outs, run.gts, run.metas, run.ignored)
    deltas = levels_to_images(run.outs[1])
    results = []
    for levels, gt, delta, (args, result) in zip(
        anchors, run.gts, deltas, calls, strict=True
    ):
        # before the mixture model: (N,) indices and ground truths
        candidates, candidate_gts = args[4:6]
        # after it: (P,)
        labels, label_weights = result[:2]
        positive = (labels >= 0) & (labels < head.num_classes)
        ignored = ~positive & (label_weights == 0)
        assigned_gt = torch.full_like(labels, NEGATIVE)
        assigned_gt[candidates] = candidate_gts
        assigned_gt = assigned_gt.masked_fill(~positive, NEGATIVE)
        assigned_gt = assigned_gt.masked_fill(ignored, IGNORED)
        pred = head.bbox_coder.decode(
            torch.cat(levels)[positive], delta.reshape(-1, 4)[positive]
        )
        boxes = gt.bboxes[assigned_gt[positive]]
        iou = bbox_overlaps(pred, boxes, is_aligned=True)
        weight = label_weights.masked_scatter(positive, iou.to(label_weights))
        results.append(pack(head, levels, assigned_gt, weight))
    return results


@register_adapter(
    TOODHead, 'loss_by_feat', '_get_targets_single', uses_predictions=True
)
def _tood_head(head: Any, run: HeadRun) -> InstanceList:
    """TOOD's task-aligned phase; the weight is the alignment metric.

    In its first epochs (``initial_epoch``) TOOD assigns like ATSS; that phase
    is not read.
    """
    anchors, flags = head.get_anchors(
        run.sizes, run.metas, run.outs[0][0].device
    )
    strides = [stride[0] for stride in head.prior_generator.strides]
    scores, boxes = (levels_to_images(list(out)) for out in run.outs)
    # (P, 1) stride: the head predicts boxes in units of it
    scale = torch.cat(
        [
            box.new_full((len(priors), 1), stride)
            for box, priors, stride in zip(
                run.outs[1], anchors[0], strides, strict=True
            )
        ]
    )
    results = []
    for b, levels in enumerate(anchors):
        with recording(head.sampler, 'sample') as samples:
            _, labels, label_weights, _, metrics = head._get_targets_single(
                scores[b].reshape(-1, head.cls_out_channels),
                boxes[b].reshape(-1, 4) * scale,
                torch.cat(levels),
                torch.cat(flags[b]),
                run.gts[b],
                run.metas[b],
                run.ignored[b],
            )
        ((_, sampling),) = samples
        assigned_gt, weight = read_targets(
            head,
            labels,
            label_weights,
            sampling.pos_inds,
            sampling.pos_assigned_gt_inds,
        )
        weight = torch.where(assigned_gt >= 0, metrics.to(weight), weight)
        results.append(pack(head, levels, assigned_gt, weight))
    return results
