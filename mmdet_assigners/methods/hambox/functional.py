"""HAMBox: online mining of high-quality anchors.

HAMBox: Delving into Mining High-Quality Anchors on Face Detection (CVPR 2020,
arXiv 1912.09231). Ground truths that matched too few anchors by IoU get, in
training, further anchors whose **regressed** boxes overlap them well.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.anchor_match import IGNORED, NEGATIVE, iou_chunks
from ...ops.anchor_points import MAX_ELEMENTS


class Compensation(NamedTuple):
    """Compensated anchors of B images, from their regressed boxes.

    Attributes:
        gt: (B, P) int64 ground truth that a compensated anchor was given to,
            ``NEGATIVE`` for all other anchors.
        iou: (B, P) IoU F of the regressed box with that ground truth, 0 for
            anchors that aren't compensated.
        best_iou: (B, P) greatest IoU of the regressed box with any ground
            truth, 0 without ground truths.
        best_gt: (B, P) int64 that ground truth, 0 where ``best_iou`` is 0.
    """

    gt: Tensor
    iou: Tensor
    best_iou: Tensor
    best_gt: Tensor


class Terms(NamedTuple):
    """Sums of the four terms of the loss, not normalized.

    Attributes:
        cls_norm: Scalar, matched anchors and negatives.
        cls_comp: Scalar, compensated anchors, weighted by F.
        box_norm: Scalar, matched anchors.
        box_comp: Scalar, compensated anchors.
    """

    cls_norm: Tensor
    cls_comp: Tensor
    box_norm: Tensor
    box_comp: Tensor


def matched_counts(gt: Tensor, num_gts: int) -> Tensor:
    """Number of anchors of each ground truth.

    Args:
        gt: (B, P) int64 index, negative without a ground truth.
        num_gts: Number G of (padded) ground truths.

    Returns:
        Tensor: (B, G) int64.
    """
    counts = gt.new_zeros(len(gt), num_gts)
    return counts.scatter_add_(1, gt.clamp(min=0), (gt >= 0).long())


@torch.no_grad()
def compensate(
    matched: Tensor,
    pred_boxes: Tensor,
    boxes: Tensor,
    mask: Tensor,
    iou_thr: float,
    topk: int,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Compensation:
    """Top up ground truths that have fewer than K anchors.

    Ground truth j with M_j matched anchors takes, among unmatched anchors, the
    K - M_j whose regressed boxes overlap it most, if the IoU is at least T;
    ties go to the first. An anchor that several ground truths want goes to the
    one of larger IoU (ties go to the first); the others get no replacement, a
    choice of ours where the paper is silent.

    Args:
        matched: (B, P) int64 ground truth of the first step, negative
            without one.
        pred_boxes: (B, P, 4) regressed boxes in pixels.
        boxes: (B, G, 4) ground truths in pixels, padded.
        mask: (B, G) bool, False for padding.
        iou_thr: T in (0, 1].
        topk: K, at least 0.
        valid: (B, P) bool, False for anchors that are excluded.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Compensation: Without gradient.
    """
    best_iou = pred_boxes.new_zeros(matched.shape)
    best_gt = torch.zeros_like(matched)
    comp_iou, comp_gt = best_iou, torch.full_like(matched, NEGATIVE)
    taken = matched >= 0 if valid is None else (matched >= 0) | ~valid
    # how many each ground truth lacks
    need = (topk - matched_counts(matched, mask.shape[1])).clamp(min=0)
    for part, iou in iou_chunks(
        pred_boxes, boxes, mask, max_elements=max_elements
    ):
        iou.nan_to_num_(nan=0)  # deltas that diverged
        # best ground truth of each regressed box
        highest, index = iou.max(1)
        best_gt = torch.where(highest > best_iou, index + part.start, best_gt)
        best_iou = torch.maximum(best_iou, highest)
        if topk == 0:
            continue
        # candidates of each ground truth, then the best one of each anchor
        iou.masked_fill_(taken[:, None], -1)
        wanted = _first_best(iou, need[:, part], iou_thr, topk)
        highest, index = iou.masked_fill_(~wanted, 0).max(1)
        wins = highest > comp_iou
        comp_gt = torch.where(wins, index + part.start, comp_gt)
        comp_iou = torch.maximum(comp_iou, highest)
    return Compensation(comp_gt, comp_iou, best_iou, best_gt)


def _first_best(
    iou: Tensor, need: Tensor, min_iou: float, topk: int
) -> Tensor:
    """Mask of the ``need`` (B, G) best of each row of ``iou`` (B, G, P).

    At least ``min_iou``; ties go to the first on every device, unlike the
    indices of ``topk``.
    """
    top = iou.topk(min(topk, iou.shape[-1]), -1).values
    last = (need - 1).clamp(0, top.shape[-1] - 1)
    bound = top.gather(-1, last[..., None]).clamp(min=min_iou)
    above, equal = iou > bound, iou == bound
    room = need[..., None] - (top > bound).sum(-1, keepdim=True)
    tied = equal & (equal.cumsum(-1, dtype=torch.int32) <= room)
    return (above | tied) & (need[..., None] > 0)


def ignored_negatives(
    matched: Tensor, compensation: Compensation, ignore_iou: float
) -> Tensor:
    """Negatives whose regressed box is too good to be background.

    Args:
        matched: (B, P) int64 ground truth, ``NEGATIVE`` or ``IGNORED``.
        compensation: From :func:`compensate`.
        ignore_iou: Minimum IoU of an ignored negative; above 1 none is.

    Returns:
        Tensor: (B, P) bool.
    """
    negative = (matched == NEGATIVE) & (compensation.gt < 0)
    return negative & (compensation.best_iou >= ignore_iou)


def loss_terms(
    cls_loss: Tensor,
    box_loss: Tensor,
    gt: Tensor,
    compensated: Tensor,
    comp_iou: Tensor,
    cls_weight: Tensor | None = None,
) -> Terms:
    """Regression-aware focal loss and box loss of the paper, as sums.

    Args:
        cls_loss: (B, P, C) loss of each logit; target is the class of the
            anchor, matched or compensated.
        box_loss: (B, P) box loss of each anchor.
        gt: (B, P) int64 ground truth of each anchor, matched or compensated,
            ``NEGATIVE`` or ``IGNORED``.
        compensated: (B, P) bool.
        comp_iou: (B, P) IoU F of compensated anchors.
        cls_weight: (B, P, C) further weight of the term of matched anchors
            and negatives.

    Returns:
        Terms: Divide the first and third by the number of matched anchors,
        the others by that of compensated ones.
    """
    counted = ((gt != IGNORED) & ~compensated).to(cls_loss)
    comp = compensated.to(box_loss)
    norm = ((gt >= 0) & ~compensated).to(box_loss)
    # over the classes first: what follows is smaller by their number
    rows = weighted = cls_loss.sum(-1)
    if cls_weight is not None:
        weighted = (cls_loss * cls_weight).sum(-1)
    return Terms(
        (weighted * counted).sum(),
        (rows * (comp_iou * comp)).sum(),
        (box_loss * norm).sum(),
        (box_loss * comp).sum(),
    )
