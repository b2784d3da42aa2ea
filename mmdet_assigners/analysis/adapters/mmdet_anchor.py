"""Assignments of mmdet's heads that look at anchors and boxes alone.

They are read by running the heads' own target code.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import (
    ATSSHead,
    GFLHead,
    RPNHead,
)
from mmdet.models.dense_heads.anchor_head import AnchorHead
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

ANCHOR_TARGETS = ('loss_by_feat', 'get_targets', '_get_targets_single')


@register_adapter(AnchorHead, *ANCHOR_TARGETS)
def _anchor_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """RetinaNet and relatives: assigner, sampler, one label per anchor."""
    results = []
    for levels, target in anchor_targets(head, run):
        labels, label_weights, _, _, pos_inds, _, sampling = target[:7]
        pos_gts = sampling.pos_assigned_gt_inds
        read = read_targets(head, labels, label_weights, pos_inds, pos_gts)
        results.append(pack(head, levels, *read))
    return results


@register_adapter(RPNHead, *ANCHOR_TARGETS)
def _rpn_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """RPN: one class; what isn't sampled is a negative of weight 0."""
    objects = [
        InstanceData(bboxes=gt.bboxes, labels=torch.zeros_like(gt.labels))
        for gt in run.gts
    ]
    results = _anchor_head(head, run._replace(gts=objects))
    for result in results:
        # nearly all anchors: crosses for them would hide the image
        result.assigned_gt = result.assigned_gt.clamp(min=NEGATIVE)
    return results


@register_adapter(ATSSHead, 'loss_by_feat_single', *ANCHOR_TARGETS)
def _atss_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """ATSS; the weight of a positive is its centerness."""
    results = []
    for levels, target in anchor_targets(head, run):
        priors, labels, label_weights, boxes, _, pos_inds, _, sampling = target
        pos_gts = sampling.pos_assigned_gt_inds
        assigned_gt, weight = read_targets(
            head, labels, label_weights, pos_inds, pos_gts
        )
        positive = assigned_gt >= 0
        centerness = head.centerness_target(priors[positive], boxes[positive])
        weight = weight.masked_scatter(positive, centerness)
        results.append(pack(head, levels, assigned_gt, weight))
    return results


@register_adapter(GFLHead, 'loss_by_feat_single', *ANCHOR_TARGETS)
def _gfl_head(head: Any, run: HeadRun) -> list[InstanceData]:
    """GFL and relatives.

    The box loss also weighs positives by their predicted score, which is not
    shown: which anchors are positive doesn't depend on it.
    """
    results = []
    for levels, target in anchor_targets(head, run):
        _, labels, label_weights, _, _, pos_inds, _, sampling = target
        pos_gts = sampling.pos_assigned_gt_inds
        read = read_targets(head, labels, label_weights, pos_inds, pos_gts)
        results.append(pack(head, levels, *read))
    return results


def anchor_targets(
    head: Any, run: HeadRun
) -> list[tuple[list[Tensor], tuple]]:
    """Anchors and targets of each image.

    Args:
        head: An ``AnchorHead``.
        run: Its forward pass.

    Returns:
        For each image the anchors of each level, (P_l, 4), and what
        ``_get_targets_single`` returned.
    """
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


def read_targets(
    head: Any,
    labels: Tensor,
    label_weights: Tensor,
    pos_inds: Tensor,
    pos_gts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Assigned gt and weight from the targets of one image.

    ``pos_inds`` counts only the anchors inside the image; ``labels`` has all
    of them in the same order, so the k-th positive is the same in both.

    Args:
        head: Has ``num_classes``.
        labels: (P,), ``num_classes`` for negatives.
        label_weights: (P,) or (P, C).
        pos_inds: (N,) positives, in any order.
        pos_gts: (N,) their objects.

    Returns:
        tuple: Assigned gt (P,) and weight (P,).
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
