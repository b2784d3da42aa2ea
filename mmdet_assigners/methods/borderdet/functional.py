"""BorderDet: boxes, targets and scores of its two stages, batched.

All levels are concatenated to P points and ground truths are padded to
(B, G).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.anchor_match import gather_gts, max_iou_match
from ...ops.anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    box_distances,
    centerness,
)
from ...ops.fcos import point_limits, smallest_match


class BorderTargets(NamedTuple):
    """Targets of the points in both stages.

    Attributes:
        labels: (B, P) int64 class in stage 1, C for background.
        ltrb: (B, P, 4) distances in pixels, 0 for background.
        centerness: (B, P) in [0, 1], 0 for background.
        border_labels: (B, P) int64 class in stage 2, C for background.
        border_deltas: (B, P, 4) deltas of the coarse boxes, 0 for background.
    """

    labels: Tensor
    ltrb: Tensor
    centerness: Tensor
    border_labels: Tensor
    border_deltas: Tensor


def boxes_from_distances(xy: Tensor, ltrb: Tensor) -> Tensor:
    """Boxes of points.

    Args:
        xy: (..., 2) points in pixels.
        ltrb: (..., 4) distances in pixels.

    Returns:
        Tensor: (..., 4) x1, y1, x2, y2 in pixels.
    """
    return torch.cat((xy - ltrb[..., :2], xy + ltrb[..., 2:]), -1)


def pooling_boxes(
    boxes: Tensor, points: AnchorPoints, offset: float
) -> Tensor:
    """Boxes in cells, along whose borders features are pooled.

    Args:
        boxes: (B, P, 4) in pixels.
        points: The P points, whose levels the boxes have.
        offset: Location of a point in its cell, 0 in the paper.

    Returns:
        Tensor: (B, P, 4) in cells of the level, whose centers are whole
        numbers, clamped to the centers of the outer cells.
    """
    last = (points.sizes - 1)[points.level].repeat(1, 2)
    cells = (boxes / points.stride[:, None] - offset).clamp(min=0)
    return torch.minimum(cells, last.to(cells))


def encode_deltas(coarse: Tensor, boxes: Tensor, std: float) -> Tensor:
    """Deltas (..., 4) by which coarse boxes become boxes.

    ``(boxes - coarse) / (std * (w, h, w, h))``, sides of the coarse boxes.

    Args:
        coarse: (..., 4) x1, y1, x2, y2, with area.
        boxes: (..., 4) in the same units.
        std: 0.5 in the paper.
    """
    return (boxes - coarse) / (_sides(coarse) * std)


def decode_deltas(coarse: Tensor, deltas: Tensor, std: float) -> Tensor:
    """Boxes (..., 4) of coarse boxes and deltas, see `encode_deltas`."""
    return coarse + deltas * _sides(coarse) * std


def _sides(boxes: Tensor) -> Tensor:
    """Width, height, width, height (..., 4) of boxes."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.cat((sides, sides), -1)


def match_borders(
    coarse: Tensor,
    boxes: Tensor,
    mask: Tensor,
    iou_thr: float,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Ground truth of highest IoU for each coarse box; ties go to the first.

    Args:
        coarse: (B, P, 4) in pixels.
        boxes: (B, G, 4) in pixels.
        mask: (B, G) bool, False for padding.
        iou_thr: Minimum IoU of a positive; none is ignored.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, P) int64, -1 below the threshold and for boxes without
        area.
    """
    match = max_iou_match(
        coarse, boxes, mask, iou_thr, iou_thr, max_elements=max_elements
    )
    return match.gt


def border_targets(
    points: AnchorPoints,
    coarse: Tensor,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    num_classes: int,
    ranges: Sequence[Sequence[float]] | None = None,
    center_radius: float | None = 1.5,
    iou_thr: float = 0.6,
    std: float = 0.5,
) -> BorderTargets:
    """Targets of both stages.

    Stage 1 is FCOS. In stage 2 the coarse box of every point, positive in
    stage 1 or not, learns the ground truth that it overlaps most, if their
    IoU reaches ``iou_thr``.

    Args:
        points: P points of L levels.
        coarse: (B, P, 4) coarse boxes in pixels, not clamped.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        num_classes: Number C of classes.
        ranges: L pairs of minimum and maximum distance in pixels.
        center_radius: Of center sampling in strides; None for the whole box.
        iou_thr: 0.6 in the paper.
        std: Standard deviation of the deltas; 0.5 in the official code.

    Returns:
        BorderTargets: Of all points.
    """
    # stage 1: FCOS
    limits = point_limits(points, ranges, center_radius)
    first = smallest_match(limits, boxes, mask)
    positive = (first >= 0)[..., None]
    ltrb = box_distances(points.xy, gather_gts(boxes, first))
    ltrb = ltrb.where(positive, 0)
    # stage 2: by IoU of the coarse boxes
    second = match_borders(coarse, boxes, mask, iou_thr)
    refined = (second >= 0)[..., None]
    # unmatched coarse boxes may have no area: encode a unit box there
    unit = coarse.new_tensor([0, 0, 1, 1])
    deltas = encode_deltas(
        coarse.where(refined, unit), gather_gts(boxes, second), std
    )
    return BorderTargets(
        gather_gts(labels, first).where(first >= 0, num_classes),
        ltrb,
        centerness(ltrb),
        gather_gts(labels, second).where(second >= 0, num_classes),
        deltas.where(refined, 0),
    )


def stage_scores(
    cls: Tensor, centerness: Tensor, border_cls: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores of both stages.

    Args:
        cls: (...) logits of stage 1.
        centerness: (...) logits.
        border_cls: (...) logits of stage 2.

    Returns:
        tuple: (...) each: ``p = sqrt(cls * centerness)``, on which the score
        threshold acts, and ``sqrt(p * border_cls)``, the score.
    """
    first = (cls.sigmoid() * centerness.sigmoid()).sqrt()
    return first, (first * border_cls.sigmoid()).sqrt()


def best_candidates(
    cls: Tensor,
    centerness: Tensor,
    border_cls: Tensor,
    score_thr: float,
    limit: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The candidates of one level for NMS.

    Args:
        cls: (N, C) logits of stage 1.
        centerness: (N,) logits.
        border_cls: (N, C) logits of stage 2.
        score_thr: The score of stage 1 must exceed it.
        limit: Maximum number, by score; no limit below 1.

    Returns:
        tuple: Scores, classes and indices (n,) by descending score.
    """
    # p^2 <= sigmoid(cls): scores of the few alone that can pass; the slack
    # leaves the decision to them
    lowest = score_thr**2 if score_thr > 0 else 0.0
    lowest = math.log(lowest / (1 - lowest)) if 0 < lowest < 1 else -math.inf
    index, classes = (cls > lowest - 0.1).nonzero().unbind(1)
    first, scores = stage_scores(
        cls[index, classes], centerness[index], border_cls[index, classes]
    )
    found = (first > score_thr).nonzero().squeeze(1)
    scores, order = scores[found].sort(descending=True, stable=True)
    if limit > 0:
        scores, order = scores[:limit], order[:limit]
    found = found[order]
    return scores, classes[found], index[found]
