"""SAPD (Soft Anchor-Point Object Detection): targets and losses.

Zhu, Chen, Shen, Savvides, ECCV 2020, arXiv 1911.12448. No official code was
released; "the re-implementation" is https://github.com/xuannianz/SAPD
(Keras). Names of dimensions: B images, G ground truths (padded), L levels,
P points of all levels, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    assign_smallest_area,
    box_distances,
    centerness,
    distance_iou,
)
from ...ops.level_losses import EMPTY_LEVEL_LOSS as EMPTY_LEVEL_LOSS
from ...ops.level_losses import focal_terms as focal_terms
from ...ops.level_losses import level_losses as level_losses
from ...ops.level_losses import point_cls_losses, shrink_boxes

UNSELECTED = ('negative', 'ignore', 'hide')


class SAPDTargets(NamedTuple):
    """Targets of each point.

    Attributes:
        assigned: (B, P) int64 index of the ground truth, -1 not positive.
        positive: (B, P) bool.
        weight: (B, P) weight w of the loss; 1 negative, 0 ignored.
        labels: (B, P) int64 class of the ground truth, 0 if not positive.
        distances: (B, P, 4) l, t, r, b in units of z * stride, 0 if not
            positive.
        centerness: (B, P) min/max product ratio (exponent 1), 0 if not
            positive.
    """

    assigned: Tensor
    positive: Tensor
    weight: Tensor
    labels: Tensor
    distances: Tensor
    centerness: Tensor


def shrunk_cells(boxes: Tensor, points: AnchorPoints, eps: float) -> Tensor:
    """Cells that the valid boxes cover on each level, at least one each.

    The rule of the re-implementation: round outwards, clip to the map, and
    keep one cell where nothing is left.

    Args:
        boxes: (B, G, 4) xyxy pixels.
        points: The points; gives strides and sizes of the L levels.
        eps: Factor of the valid box.

    Returns:
        Tensor: (B, G, L, 4) x1, y1, x2, y2 in cells, integers, half open.
    """
    cells = shrink_boxes(boxes, eps)[:, :, None] / points.strides[:, None]
    size = points.sizes.to(cells)
    high = torch.minimum(cells[..., 2:].ceil().clamp(min=1), size)
    low = torch.minimum(cells[..., :2].floor().clamp(min=0), high - 1)
    return torch.cat((low, high), -1)


def valid_regions(
    boxes: Tensor, points: AnchorPoints, eps: float, min_one_cell: bool = False
) -> Tensor:
    """Regions whose points are positive, for ``inside_regions``.

    Args:
        boxes: (B, G, 4) xyxy pixels.
        points: The points of L levels (offset 0.5).
        eps: Factor of the valid box; 0.2 in the paper.
        min_one_cell: Take whole cells, at least one per level, as the
            re-implementation does; else points strictly inside the box.

    Returns:
        Tensor: (B, G, 1 or L, 4) x1, y1, x2, y2 in pixels.
    """
    if not min_one_cell:
        return shrink_boxes(boxes, eps)[:, :, None]
    return shrunk_cells(boxes, points, eps) * points.strides[:, None]


def top_levels(level_weights: Tensor, topk: int) -> Tensor:
    """Mask of the ``topk`` largest weights; ties go to the finer level.

    Args:
        level_weights: (B, G, L).
        topk: Levels to keep; 3 in the paper. More than L keeps all.

    Returns:
        Tensor: (B, G, L) bool.
    """
    order = level_weights.argsort(stable=True, dim=-1, descending=True)
    keep = torch.zeros_like(level_weights, dtype=torch.bool)
    return keep.scatter(-1, order[..., :topk], True)


def soft_targets(
    points: AnchorPoints,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    regions: Tensor,
    level_weights: Tensor,
    selected: Tensor,
    eta: float = 1.0,
    z: float = 4.0,
    unselected: str = 'negative',
    max_elements: int = MAX_ELEMENTS,
) -> SAPDTargets:
    """Assign points and weigh them (Eqs. 3 to 6 of the paper).

    1. A point is positive for a ground truth that is selected on the point's
       level and whose region holds the point; the smallest area wins.
    2. Its weight is the level weight times ``centerness ** eta`` (full box).
    3. All other points are negative with weight 1, save those inside the
       region of some ground truth under ``unselected='ignore'``: weight 0.

    Args:
        points: P points of L levels.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        regions: (B, G, 1 or L, 4) from :func:`valid_regions`.
        level_weights: (B, G, L); gradients flow into it.
        selected: (B, G, L) bool, levels on which a ground truth is trained.
        eta: Exponent of the generalized centerness; 1 in the paper, 0 gives
            every point of a level the same weight.
        z: Normalizer of distances in strides.
        unselected: Points in the region of a ground truth on a level where it
            isn't selected: 'negative' (paper), 'ignore' (weight 0), or
            'hide' (re-implementation: the smallest area, of clipped distances,
            is decided among all ground truths, and where the winner isn't
            selected the point is a positive of weight 0).
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        SAPDTargets: Per point; only ``weight`` may carry a gradient.
    """
    num_levels = len(points.strides)
    everywhere = mask[..., None].expand(-1, -1, num_levels)
    selected = selected & everywhere
    search = (points, boxes, regions)
    hide = unselected == 'hide'
    with torch.no_grad():
        # rule 1: the smallest selected box whose region holds the point
        assigned = assign_smallest_area(
            *search, everywhere if hide else selected, hide, max_elements
        )
        positive = assigned >= 0
        index = assigned.clamp(min=0)
        # distances and generalized centerness in the full box
        boxes_of = boxes.gather(1, index[..., None].expand(-1, -1, 4))
        distances = box_distances(points.xy, boxes_of).clamp(min=0)
        ratio = centerness(distances, 1.0)
        unit = (z * points.stride)[:, None]
        distances = distances / unit * positive[..., None]
        # rule 3: weight of all other points
        rest = torch.ones_like(ratio)
        if unselected == 'ignore':
            holder = assign_smallest_area(
                *search, everywhere, max_elements=max_elements
            )
            rest = (holder < 0).to(rest)
    # rule 2: weight of the ground truth on the level of the point
    flat = (level_weights * selected).flatten(1)
    of_level = flat.gather(1, index * num_levels + points.level)
    return SAPDTargets(
        assigned=assigned,
        positive=positive,
        weight=torch.where(positive, of_level * ratio.pow(eta), rest),
        labels=labels.gather(1, index) * positive,
        distances=distances,
        centerness=ratio * positive,
    )


def weighted_losses(
    cls_pred: Tensor,
    reg_pred: Tensor,
    targets: SAPDTargets,
    alpha: float = 0.25,
    gamma: float = 2.0,
    activated: bool = False,
    iou_eps: float = 1e-7,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the weighted losses, and the sum of positive weights (Eq. 7).

    Args:
        cls_pred: (B, P, C) logits, or probabilities if ``activated``.
        reg_pred: (B, P, 4) l, t, r, b in units of z * stride, at least 0.
        targets: Targets and weights.
        alpha: Focal alpha.
        gamma: Focal gamma.
        activated: See :func:`focal_terms`.
        iou_eps: Added to intersection and union, in units of (z * stride)^2.

    Returns:
        tuple: Scalars: classification, box regression (-log IoU), weight of
        the positives. Both losses are to be divided by the last, at least 1.
    """
    cls = point_cls_losses(
        cls_pred, targets.labels, targets.positive, alpha, gamma, activated
    )
    own_weight = targets.weight * targets.positive
    box = -distance_iou(reg_pred, targets.distances, iou_eps).log()
    # `where`, so that no gradient passes where the target is undefined
    box = box.where(targets.positive, 0)
    return (
        (targets.weight * cls).sum(),
        (own_weight * box).sum(),
        own_weight.sum(),
    )
