"""The definitions of positives that ATSS compares, batched.

Zhang, Chi, Yao, Lei, Li: Bridging the Gap Between Anchor-based and
Anchor-free Detection via Adaptive Training Sample Selection (CVPR 2020, arXiv
1912.02424); official code https://github.com/sfzhang15/ATSS. Widths have no
"+ 1 pixel", as in mmdet >= 2. Names of dimensions: B images, G ground truths
(padded), P anchors of all levels, L levels, K candidates of a ground truth.
Ground truths are 0 to G - 1, ``NEGATIVE`` or ``IGNORED``; anchors that are not
``valid`` are ignored.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.anchor_match import (
    IGNORED,
    NEGATIVE,
    gather_gts,
    iou_chunks,
    max_iou_match,
    pairwise_iou,
)
from ...ops.anchor_points import MAX_ELEMENTS, box_distances, gt_chunks
from ...ops.fcos import AxisLimits, PointLimits, smallest_match

MARGIN = 0.01
"""An anchor's center is in a box if it is farther than this from each side,
in pixels; the official code's constant."""

OUTSIDE = ('ignore', 'negative', 'keep')


class Claims(NamedTuple):
    """The assignment of each anchor.

    Attributes:
        gt: (B, P) int64 index of the ground truth, ``NEGATIVE`` or
            ``IGNORED``.
        iou: (B, P) IoU with it, 0 without one.
    """

    gt: Tensor
    iou: Tensor


def box_centers(boxes: Tensor) -> Tensor:
    """Centers (..., 2) of boxes (..., 4), in pixels."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def center_distances(centers: Tensor, targets: Tensor) -> Tensor:
    """Distance of each center to each target.

    Args:
        centers: (P, 2) in pixels.
        targets: (B, G, 2) in pixels.

    Returns:
        Tensor: (B, G, P) in pixels.
    """
    dx = centers[:, 0] - targets[..., :1]
    dy = centers[:, 1] - targets[..., 1:]
    return dx.mul_(dx).add_(dy.mul_(dy)).sqrt_()


@torch.no_grad()
def atss_match(
    anchors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    level_sizes: Sequence[int],
    topk: int = 9,
    margin: float = MARGIN,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Claims:
    """Adaptive training sample selection, algorithm 1 of the paper.

    1. Candidates of a ground truth: on each level the ``topk`` anchors whose
       centers are nearest to its own (all of a smaller level).
    2. Its threshold is the mean plus the unbiased standard deviation (0 for a
       single candidate) of the candidates' IoU.
    3. Candidates at or above it whose center lies in the box are positive; of
       several ground truths the one of highest IoU wins; ties go to the
       first.

    Only distances are computed for all pairs, IoU for candidates.

    Args:
        anchors: (P, 4) in pixels, level-major.
        boxes: (B, G, 4) in pixels, padded.
        mask: (B, G) bool, False for padding.
        level_sizes: Number of anchors of each of the L levels.
        topk: Candidates of a level; the paper's k times the anchors of a
            location.
        margin: Minimum distance of the center to the sides in pixels.
        valid: (B, P) bool, False for anchors that are excluded.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Claims: Ground truth and IoU of each anchor.
    """
    centers = box_centers(anchors)
    index = _nearest(
        centers, boxes, level_sizes, topk, valid, max_elements
    )  # (B, G, K)
    # padding and excluded anchors are no candidates
    known = mask[..., None].expand_as(index)
    if valid is not None:
        known = known & gather_gts(valid, index.flatten(1)).view_as(index)
    # threshold: mean + standard deviation of the candidates' IoU
    iou = _candidate_iou(anchors, boxes, index)
    count = known.sum(-1, keepdim=True)
    mean = (iou * known).sum(-1, keepdim=True) / count.clamp(min=1)
    square = ((iou - mean) * known).square().sum(-1, keepdim=True)
    threshold = mean + (square / (count - 1).clamp(min=1)).sqrt()
    # positives: above it, with the center inside the box
    wanted = known & (iou >= threshold)
    wanted &= _inside(centers[index], boxes[:, :, None], margin)
    return _highest_iou_wins(index, iou, wanted, len(anchors), valid)


@torch.no_grad()
def topk_match(
    anchors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    topk: int = 9,
    margin: float = MARGIN,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Claims:
    """The anchors of highest IoU of each ground truth, over all levels.

    The definition 'TOPK' of the official code. With equal IoU the nearer
    center comes first, by subtracting d / (1000 d_max) of the distance d and
    the greatest distance d_max of the image. Of the ``topk`` anchors those
    whose center lies in the box are positive; of several ground truths the one
    of highest IoU wins; ties go to the first.

    Args:
        anchors: (P, 4) in pixels.
        boxes: (B, G, 4) in pixels, padded.
        mask: (B, G) bool, False for padding.
        topk: Anchors of a ground truth.
        margin: Minimum distance of the center to the sides in pixels.
        valid: (B, P) bool, False for anchors that are excluded.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Claims: Ground truth and IoU of each anchor.
    """
    centers, targets = box_centers(anchors), box_centers(boxes)
    greatest = _greatest_distance(centers, targets, mask, valid, max_elements)
    topk = min(topk, len(anchors))
    index, ious = [], []
    for part, iou in iou_chunks(anchors, boxes, mask, valid, max_elements):
        penalty = center_distances(centers, targets[:, part])
        penalty.div_(greatest[:, None, None]).div_(1000)
        best = (iou - penalty).topk(topk, sorted=False).indices
        index.append(best)
        ious.append(iou.gather(-1, best))
    index, iou = torch.cat(index, 1), torch.cat(ious, 1)
    wanted = _inside(centers[index], boxes[:, :, None], margin)
    wanted &= iou >= 0  # -1: padding or excluded
    return _highest_iou_wins(index, iou, wanted, len(anchors), valid)


@torch.no_grad()
def ssc_match(
    anchors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    ranges: Tensor,
    margin: float = MARGIN,
    radius: Tensor | None = None,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Claims:
    """FCOS's spatial and scale constraint, for anchors.

    An anchor is positive for the boxes that hold its center and whose
    farthest side has a distance in the range of its level, ends included; of
    several boxes the one with the smallest area wins; ties go to the first.

    Args:
        anchors: (P, 4) in pixels.
        boxes: (B, G, 4) in pixels, padded.
        mask: (B, G) bool, False for padding.
        ranges: (P, 2) minimum and maximum distance in pixels.
        margin: Minimum distance of the center to the sides in pixels.
        radius: (P,) center sampling: the anchor's center is also at most this
            far from the box's center in x and y, in pixels.
        valid: (B, P) bool, False for anchors that are excluded.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Claims: Ground truth of each anchor; the IoU isn't computed, zeros.
    """
    x, y = (
        AxisLimits(at, ranges, radius, margin)
        for at in box_centers(anchors).unbind(-1)
    )
    gt = smallest_match(PointLimits(x, y), boxes, mask, max_elements)
    if valid is not None:
        gt = gt.where(valid, IGNORED)
    return Claims(gt, boxes.new_zeros(gt.shape))


@torch.no_grad()
def center_iou_match(
    anchors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    pos_iou_thr: float = 0.5,
    neg_iou_thr: float | Sequence[float] = 0.4,
    low_quality: str | None = 'own',
    outside: str = 'ignore',
    margin: float = MARGIN,
    min_pos_iou: float = 0.0,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Claims:
    """RetinaNet's matching by IoU, then the center must lie in the box.

    Args:
        anchors: (P, 4) in pixels.
        boxes: (B, G, 4) in pixels, padded.
        mask: (B, G) bool, False for padding.
        pos_iou_thr: Minimum IoU of a match.
        neg_iou_thr: Minimum IoU of an ignored anchor.
        low_quality: As in
            :func:`~mmdet_assigners.ops.anchor_match.max_iou_match`.
        outside: Matched anchors with the center outside of the box: 'ignore'
            (official), 'negative' or 'keep' (RetinaNet).
        margin: Minimum distance of the center to the sides in pixels.
        min_pos_iou: Minimum IoU of a low-quality match.
        valid: (B, P) bool, False for anchors that are excluded.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Claims: Ground truth of each anchor and its highest IoU.

    Raises:
        ValueError: ``outside`` is unknown.
    """
    if outside not in OUTSIDE:
        raise ValueError(f'outside must be one of {OUTSIDE}, got {outside!r}')
    match = max_iou_match(
        anchors,
        boxes,
        mask,
        pos_iou_thr,
        neg_iou_thr,
        low_quality,
        min_pos_iou,
        valid,
        max_elements,
    )
    if outside == 'keep':
        return Claims(match.gt, match.iou)
    own = gather_gts(boxes, match.gt)
    dropped = ~_inside(box_centers(anchors), own, margin) & (match.gt >= 0)
    value = IGNORED if outside == 'ignore' else NEGATIVE
    return Claims(match.gt.masked_fill(dropped, value), match.iou)


def _inside(centers: Tensor, boxes: Tensor, margin: float) -> Tensor:
    return box_distances(centers, boxes).amin(-1) > margin


def _nearest(
    centers: Tensor,
    boxes: Tensor,
    level_sizes: Sequence[int],
    topk: int,
    valid: Tensor | None,
    max_elements: int,
) -> Tensor:
    """Indices (B, G, K) of the nearest anchors of each level."""
    targets = box_centers(boxes)
    starts = [sum(level_sizes[:i]) for i in range(len(level_sizes))]
    found = []
    batch, num_gts = boxes.shape[:2]
    for part in gt_chunks(batch, num_gts, len(centers), max_elements):
        distance = center_distances(centers, targets[:, part])
        if valid is not None:
            distance.masked_fill_(~valid[:, None], float('inf'))
        picks = [
            distance[..., start : start + size]
            .topk(min(topk, size), largest=False, sorted=False)
            .indices.add_(start)
            for start, size in zip(starts, level_sizes, strict=True)
        ]
        found.append(torch.cat(picks, -1))
    return torch.cat(found, 1)


def _candidate_iou(anchors: Tensor, boxes: Tensor, index: Tensor) -> Tensor:
    """IoU (B, G, K) of each ground truth with its own candidates."""
    candidates = anchors[index].flatten(0, 1)
    own = boxes.flatten(0, 1)[:, None]
    return pairwise_iou(own, candidates).view(index.shape)


def _greatest_distance(
    centers: Tensor,
    targets: Tensor,
    mask: Tensor,
    valid: Tensor | None,
    max_elements: int,
) -> Tensor:
    """(B,) over all pairs of an image."""
    greatest = centers.new_zeros(len(mask))
    batch, num_gts = mask.shape
    for part in gt_chunks(batch, num_gts, len(centers), max_elements):
        distance = center_distances(centers, targets[:, part])
        distance.masked_fill_(~mask[:, part, None], 0)
        if valid is not None:
            distance.masked_fill_(~valid[:, None], 0)
        greatest = torch.maximum(greatest, distance.flatten(1).amax(1))
    return greatest.clamp(min=torch.finfo(greatest.dtype).tiny)


def _highest_iou_wins(
    index: Tensor,
    iou: Tensor,
    wanted: Tensor,
    priors: int,
    valid: Tensor | None,
) -> Claims:
    """Assign candidates (B, G, K) to the ground truth of highest IoU."""
    batch, num_gts, _ = index.shape
    owner = torch.arange(num_gts, device=index.device)[:, None].expand_as(
        index
    )
    index, owner, wanted = (
        index.flatten(1),
        owner.flatten(1),
        wanted.flatten(1),
    )
    # highest IoU at each prior, and the candidates that have it
    score = iou.flatten(1).where(wanted, -1)
    best = iou.new_full((batch, priors), -1)
    best = best.scatter_reduce(1, index, score, 'amax')
    wins = wanted & (score == best.gather(1, index))
    # ties: the first ground truth
    first = index.new_full((batch, priors), num_gts)
    first = first.scatter_reduce(1, index, owner.where(wins, num_gts), 'amin')
    gt = first.where(first < num_gts, NEGATIVE)
    if valid is not None:
        gt = gt.where(valid, IGNORED)
    return Claims(gt, best.clamp(min=0))
