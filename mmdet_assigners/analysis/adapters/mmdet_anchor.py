"""mmdet's anchor heads that assign by anchors and boxes alone.

The assignment is read by running the head's own target code.
"""

from typing import Any

import torch
from mmdet.models.dense_heads import ATSSHead, GFLHead, RPNHead
from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops.anchor_match import NEGATIVE
from .helpers import pack, read_targets, recording
from .registry import HeadRun, register_adapter

ANCHOR_TARGETS = ('loss_by_feat', 'get_targets', '_get_targets_single')


@register_adapter(AnchorHead, *ANCHOR_TARGETS)
def _anchor_head(head: Any, run: HeadRun) -> InstanceList:
    """RetinaNet and similar: assigner, sampler, one label per anchor."""
    results = []
    for levels, target in anchor_targets(head, run):
        labels, label_weights, _, _, pos_inds, _, sampling = target[:7]
        pos_gts = sampling.pos_assigned_gt_inds
        read = read_targets(head, labels, label_weights, pos_inds, pos_gts)
        results.append(pack(head, levels, *read))
    return results


@register_adapter(RPNHead, *ANCHOR_TARGETS)
def _rpn_head(head: Any, run: HeadRun) -> InstanceList:
    """RPN: one class; an anchor that isn't sampled is negative, weight 0."""
    gts = [
        InstanceData(bboxes=gt.bboxes, labels=torch.zeros_like(gt.labels))
        for gt in run.gts
    ]
    results = _anchor_head(head, run._replace(gts=gts))
    for result in results:
        # drawn as ignored, nearly all anchors would hide the image
        result.assigned_gt = result.assigned_gt.clamp(min=NEGATIVE)
    return results


@register_adapter(ATSSHead, 'loss_by_feat_single', *ANCHOR_TARGETS)
def _atss_head(head: Any, run: HeadRun) -> InstanceList:
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
def _gfl_head(head: Any, run: HeadRun) -> InstanceList:
    """GFL and similar.

    The box loss also weights positives by their predicted score, which is
    left out: which anchors are positive doesn't depend on it.
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
        head.get_targets(  # ATSS concatenates `anchors` in place
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
