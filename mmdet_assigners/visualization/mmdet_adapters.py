"""Read the assignment of mmdet's own heads by running their target code."""

from typing import Any

import torch
from mmdet.models.dense_heads import (
    ATSSHead,
    FCOSHead,
    FreeAnchorRetinaHead,
    FSAFHead,
    RPNHead,
)
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch import Tensor

from .adapters import (
    IGNORED,
    NEGATIVE,
    HeadRun,
    pack,
    recording,
    register_adapter,
)

_ANCHOR_TARGETS = ('loss_by_feat', 'get_targets', '_get_targets_single')


@register_adapter(AnchorHead, *_ANCHOR_TARGETS)
def _anchor_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """RetinaNet and relatives: assigner, sampler, one label per anchor."""
    results = []
    for levels, target in _anchor_targets(head, run):
        labels, label_weights, _, _, pos_inds, _, sampling = target[:7]
        pos_gts = sampling.pos_assigned_gt_inds
        read = _read_targets(head, labels, label_weights, pos_inds, pos_gts)
        results.append(pack(head, levels, *read))
    return results


@register_adapter(RPNHead, *_ANCHOR_TARGETS)
def _rpn_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """RPN: one class; what isn't sampled is a negative of weight 0."""
    objects = [
        InstanceData(bboxes=gt.bboxes, labels=torch.zeros_like(gt.labels))
        for gt in run.gts
    ]
    results = _anchor_head(head, run._replace(gts=objects))
    for result in results:
        # nearly all anchors: crosses for them would hide the picture
        result.assigned_gt = result.assigned_gt.clamp(min=NEGATIVE)
    return results


@register_adapter(ATSSHead, 'loss_by_feat_single', *_ANCHOR_TARGETS)
def _atss_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """ATSS; the weight of a positive is its centerness."""
    results = []
    for levels, target in _anchor_targets(head, run):
        priors, labels, label_weights, boxes, _, pos_inds, _, sampling = target
        pos_gts = sampling.pos_assigned_gt_inds
        assigned_gt, weight = _read_targets(
            head, labels, label_weights, pos_inds, pos_gts
        )
        positive = assigned_gt >= 0
        centerness = head.centerness_target(priors[positive], boxes[positive])
        weight = weight.masked_scatter(positive, centerness)
        results.append(pack(head, levels, assigned_gt, weight))
    return results


@register_adapter(
    FSAFHead, 'reweight_loss_single', *_ANCHOR_TARGETS, uses_predictions=True
)
def _fsaf_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """FSAF: positives only on the level of least loss, others ignored."""
    anchors, _ = head.get_anchors(run.sizes, run.metas, run.outs[0][0].device)
    outs = [list(out) for out in run.outs]  # FSAF clamps the boxes in place
    with (
        recording(head, '_get_targets_single') as targets,
        recording(head, 'reweight_loss_single') as chosen,
    ):
        head.loss_by_feat(*outs, run.gts, run.metas, run.ignored)
    batch = len(run.metas)
    kept = torch.cat([flag.view(batch, -1) for _, (_, _, flag) in chosen], 1)
    results = []
    for levels, (_, target), keep in zip(anchors, targets, kept, strict=True):
        labels, label_weights, _, _, pos_inds, _, sampling, _ = target
        pos_gts = sampling.pos_assigned_gt_inds
        assigned_gt, weight = _read_targets(
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
def _free_anchor_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """FreeAnchor: the bag of each object, weighted by matching quality.

    The bag is the ``pre_anchor_topk`` anchors of highest IoU, the weight the
    probability that the anchor matches, relative to the best of its bag. An
    anchor in several bags is shown in that of highest weight. There are no
    hard negatives or ignored anchors.
    """
    anchors, _ = head.get_anchors(run.sizes, run.metas, run.outs[0][0].device)
    with recording(head, 'positive_bag_loss') as calls:
        head.loss_by_feat(*run.outs, run.gts, run.metas, run.ignored)
    # one call per image, also for those without objects
    matches = [cls_prob * box_prob for (cls_prob, box_prob), _ in calls]
    results = []
    for levels, gt, match in zip(anchors, run.gts, matches, strict=True):
        priors = torch.cat(levels)
        assigned_gt = priors.new_full((len(priors),), NEGATIVE).long()
        weight = priors.new_ones(len(priors))
        if len(gt):
            match = match / match.amax(1, keepdim=True).clamp(min=1e-12)
            iou = bbox_overlaps(gt.bboxes, priors)
            # the head's own call: unsorted, so the order matters
            _, bag = torch.topk(iou, head.pre_anchor_topk, dim=1, sorted=False)
            table = match.new_full((len(gt), len(priors)), -1.0)
            table.scatter_(1, bag, match)  # (G, P)
            best, index = table.max(0)
            assigned_gt = torch.where(best >= 0, index, assigned_gt)
            weight = torch.where(best >= 0, best, weight)
        results.append(pack(head, levels, assigned_gt, weight))
    return results


@register_adapter(
    FCOSHead,
    'loss_by_feat',
    'get_targets',
    '_get_targets_single',
    'centerness_target',
)
def _fcos_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """FCOS; the weight of a positive is its centerness.

    The targets of FCOS don't say which object a point belongs to. They copy
    its label, so each object gets a label of its own: -1, -2, ... (negative,
    because ``num_classes`` means background).
    """
    boxes = run.outs[1][0]
    points = head.prior_generator.grid_priors(
        run.sizes, dtype=boxes.dtype, device=boxes.device
    )
    objects = [
        InstanceData(
            bboxes=gt.bboxes,
            labels=-1 - torch.arange(len(gt), device=boxes.device),
        )
        for gt in run.gts
    ]
    level_labels, level_targets = head.get_targets(points, objects)
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


def _anchor_targets(
    head: Any, run: HeadRun
) -> list[tuple[list[Tensor], tuple]]:
    """Anchors by level and result of ``_get_targets_single`` per image."""
    anchors, flags = head.get_anchors(
        run.sizes, run.metas, run.outs[0][0].device
    )
    by_level = [list(levels) for levels in anchors]
    with recording(head, '_get_targets_single') as calls:
        head.get_targets(  # ATSS joins the levels of `anchors` in place
            anchors,
            flags,
            run.gts,
            run.metas,
            batch_gt_instances_ignore=run.ignored,
        )
    return [
        (levels, target)
        for levels, (_, target) in zip(by_level, calls, strict=True)
    ]


def _read_targets(
    head: Any,
    labels: Tensor,
    label_weights: Tensor,
    pos_inds: Tensor,
    pos_gts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Assigned gt (P,) and weight (P,) from the targets of one image.

    ``pos_inds`` counts only the anchors inside the image; ``labels`` has all
    of them in the same order, so the k-th positive is the same in both.
    """
    positive = (labels >= 0) & (labels < head.num_classes)
    weight = label_weights
    if weight.dim() == 2:  # one weight per class
        own = labels.clamp(max=weight.shape[1] - 1)[:, None]
        own_weight = weight.gather(1, own)[:, 0]
        weight = torch.where(positive, own_weight, weight.amin(1))
    ignored = ~positive & (weight == 0)
    assigned_gt = torch.full_like(labels, NEGATIVE)
    assigned_gt = assigned_gt.masked_fill(ignored, IGNORED)
    assigned_gt[positive] = pos_gts[pos_inds.argsort()]
    return assigned_gt, weight
