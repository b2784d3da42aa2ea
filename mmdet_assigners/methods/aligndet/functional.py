"""Targets and losses of AlignDet, as in its official code."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.anchor_match import IGNORED, NEGATIVE, iou_bounds, iou_chunks
from ...ops.anchor_points import MAX_ELEMENTS


class OfficialMatch(NamedTuple):
    """Targets of the boxes of the previous stage.

    Attributes:
        label_gt: (B, P) int64 ground truth whose class it learns,
            ``NEGATIVE`` or ``IGNORED``.
        box_gt: (B, P) the same for its box; can be another ground truth.
        iou: (B, P) IoU with the best ground truth, 0 where there is none.
    """

    label_gt: Tensor
    box_gt: Tensor
    iou: Tensor


def official_match(
    priors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    pos_iou_thr: float,
    neg_iou_thr: float | Sequence[float],
    min_pos_iou: float = 0.0,
    plus_one: bool = True,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> OfficialMatch:
    """IoU matching as in SimpleDet's RetinaNet and AlignDet.

    1. IoU < ``neg_iou_thr``: negative; all others are ignored unless
    2. the prior has the best IoU of some ground truth, at least
       ``min_pos_iou``: it learns the class of that one, of several the last;
    3. IoU >= ``pos_iou_thr``: it learns the class of its best ground truth.

    In both cases it learns the **box of its own best** ground truth (ties go
    to the first), so after rule 2 class and box can come from two objects.
    With ``min_pos_iou=0`` a ground truth that overlaps no prior takes every
    prior that doesn't overlap it.

    Args:
        priors: (P, 4) or (B, P, 4) in pixels.
        boxes: (B, G, 4) ground truths in pixels.
        mask: (B, G) bool, False for padding.
        pos_iou_thr: 0.4 in the first stage, 0.7 in the second.
        neg_iou_thr: 0.3 in the first stage, 0.7 in the second; a pair is a
            minimum and a maximum.
        min_pos_iou: Minimum IoU of rule 2.
        plus_one: Sides are x2 - x1 + 1 long, inclusive pixels.
        valid: (B, P) bool; others are ignored.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        OfficialMatch: Class, box and IoU of each prior.
    """
    shape = (len(boxes), priors.shape[-2])
    if shape[1] == 0:
        none = mask.new_full(shape, NEGATIVE, dtype=torch.long)
        return OfficialMatch(none, none, boxes.new_zeros(shape))
    if plus_one:
        far = boxes.new_tensor([0, 0, 1, 1])
        priors, boxes = priors + far, boxes + far
    # best ground truth of each prior, best IoU of each ground truth
    best = boxes.new_zeros(shape)
    argmax = torch.zeros(shape, dtype=torch.long, device=boxes.device)
    gt_best = []
    for part, iou in iou_chunks(priors, boxes, mask, valid, max_elements):
        highest, index = iou.max(1)
        argmax = torch.where(highest > best, index + part.start, argmax)
        best = torch.maximum(best, highest)
        gt_best.append(iou.amax(2))
    bound = torch.cat(gt_best, 1)
    found = (bound >= min_pos_iou) & mask
    # rule 2: the last ground truth for which a prior is the best
    last = torch.full_like(argmax, NEGATIVE)
    for part, iou in iou_chunks(priors, boxes, mask, valid, max_elements):
        ties = (iou == bound[:, part, None]) & found[:, part, None]
        index = torch.arange(part.start, part.stop, device=boxes.device)
        own = index[:, None].where(ties, NEGATIVE).amax(1)
        last = torch.maximum(last, own)
    # rules 1 to 3, the later over the earlier; all negative without objects
    some = mask.any(1, keepdim=True)
    low, high = iou_bounds(neg_iou_thr)
    negative = ((best >= low) & (best < high)) | ~some
    label = torch.full_like(argmax, IGNORED).masked_fill(negative, NEGATIVE)
    label = torch.where(last >= 0, last, label)
    label = torch.where((best >= pos_iou_thr) & some, argmax, label)
    if valid is not None:
        label = label.masked_fill(~valid, IGNORED)
    return OfficialMatch(label, argmax.where(label >= 0, label), best)


def stage_losses(
    loss_cls: Callable,
    loss_bbox: Callable,
    logits: Tensor,
    deltas: Tensor,
    labels: Tensor,
    targets: Tensor,
    normalizer: Tensor | None = None,
    pos_weight: float = -1,
) -> tuple[Tensor, Tensor]:
    """Losses of one stage.

    Both are sums, divided by the normalizer.

    Args:
        loss_cls: mmdet's ``FocalLoss``.
        loss_bbox: mmdet's ``SmoothL1Loss``; beta 0.11 in the official code.
        logits: (B, P, C).
        deltas: (B, P, 4).
        labels: (B, P) int64: class, C background, -1 ignored.
        targets: (B, P, 4) encoded boxes, finite everywhere.
        normalizer: Scalar; by default, as in the official code, the number of
            foreground boxes of the batch **plus one**.
        pos_weight: Weight of positives in the class loss; -1: 1.

    Returns:
        tuple: Two scalars.
    """
    classes = logits.shape[-1]
    known = labels >= 0
    positive = known & (labels < classes)
    if normalizer is None:
        normalizer = positive.sum().to(logits) + 1
    weight = known.to(logits)
    if pos_weight > 0:
        weight = weight.where(~positive, pos_weight)
    cls = loss_cls(
        logits.flatten(0, 1),
        labels.where(known, classes).flatten(),
        weight.flatten(),
        avg_factor=normalizer,
    )
    # element-wise: mmdet's mean synchronizes to look for positives
    box = loss_bbox(
        deltas.flatten(0, 1),
        targets.flatten(0, 1),
        reduction_override='none',
    )
    box = box.where(positive.view(-1, 1), 0).sum() / normalizer
    return cls, box
