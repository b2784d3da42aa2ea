"""FCOS: batched targets of points, and its centerness ablation.

All levels are concatenated to P points and ground truths are padded to
(B, G); tensors (B, G, P) are made in chunks of ground truths.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .anchor_match import NEGATIVE
from .anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    box_distances,
    centerness,
    gt_chunks,
)


class PointTargets(NamedTuple):
    """FCOS's assignment of each point.

    Attributes:
        gt: (B, P) int64 index of the ground truth, -1 without one.
        candidates: (B, P) int64 number of ground truths that the point could
            have.
        mixed: (B, P) bool, True where these are of different classes.
    """

    gt: Tensor
    candidates: Tensor
    mixed: Tensor


def assign_points(
    points: AnchorPoints,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    ranges: Sequence[Sequence[float]] | None = None,
    center_radius: float | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> PointTargets:
    """Give each point the smallest ground truth that it may have.

    1. A ground truth is a candidate of the points strictly inside its box
       whose largest distance to its sides is in the range of their level,
       both ends included.
    2. Center sampling: the points must also be strictly inside the square of
       half side ``center_radius`` strides round its center, clipped to it.
    3. Of several candidates the one with the smallest area wins; ties go to
       the first.

    Args:
        points: P points of L levels.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        ranges: L pairs of minimum and maximum distance in pixels; None for no
            limits.
        center_radius: Radius in strides; 1.5 in the paper. None for the whole
            box.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        PointTargets: Ground truths and numbers of candidates.

    Raises:
        ValueError: As many ranges as levels are expected.
    """
    levels = len(points.strides)
    if ranges is not None and len(ranges) != levels:
        raise ValueError(
            f'ranges must have one pair per level, {levels}, got '
            f'{len(ranges)}: {ranges}'
        )
    batch, num_gts = mask.shape
    shape = (batch, len(points.xy))
    best = boxes.new_full(shape, torch.inf)
    gt = torch.full(shape, NEGATIVE, device=boxes.device)
    count = torch.zeros_like(gt)
    # lowest and highest label of the candidates: they differ if mixed
    high_label = torch.full_like(gt, -1)
    low_label = torch.full_like(gt, torch.iinfo(gt.dtype).max)
    if ranges is not None:
        low, high = points.xy.new_tensor(ranges)[points.level].unbind(-1)
    for part in gt_chunks(batch, num_gts, shape[1], max_elements):
        chunk = boxes[:, part, None]
        ltrb = box_distances(points.xy, chunk)
        # strictly inside a real box
        found = (ltrb.amin(-1) > 0) & mask[:, part, None]
        # farthest side within the range of the level
        if ranges is not None:
            reach = ltrb.amax(-1)
            found &= (reach >= low) & (reach <= high)
        if center_radius is not None:
            center = (chunk[..., :2] + chunk[..., 2:]) / 2
            radius = (points.stride * center_radius)[:, None]
            region = torch.cat(
                (
                    torch.maximum(center - radius, chunk[..., :2]),
                    torch.minimum(center + radius, chunk[..., 2:]),
                ),
                -1,
            )
            found &= box_distances(points.xy, region).amin(-1) > 0
        # the smallest candidate of this chunk against the best so far
        area = (chunk[..., 2:] - chunk[..., :2]).prod(-1)
        area, index = area.where(found, torch.inf).min(1)
        gt = torch.where(area < best, index + part.start, gt)
        best = torch.minimum(best, area)
        count += found.sum(1)
        own = labels[:, part, None]
        high_label = torch.maximum(high_label, own.where(found, -1).amax(1))
        own = own.where(found, low_label[:, None])
        low_label = torch.minimum(low_label, own.amin(1))
    return PointTargets(gt, count, (count > 1) & (low_label < high_label))


def box_loss(
    terms: Tensor, target: Tensor, positive: Tensor, weighted: bool
) -> tuple[Tensor, Tensor]:
    """Sum of the box loss over positives, and its normalizer.

    Args:
        terms: (...) loss of each point, finite for negatives too.
        target: (...) centerness targets.
        positive: (...) bool.
        weighted: Weigh each positive by its target (official), or by 1.

    Returns:
        tuple: Weighted sum () and sum of the weights ().
    """
    weight = positive.to(terms)
    if weighted:
        weight = target.to(terms) * weight
    return (terms * weight).sum(), weight.sum()


def reg_centerness(ltrb: Tensor) -> Tensor:
    """Logit of the centerness of predicted distances (..., 4), at least 0.

    Centerness 0 and 1 are infinite logits, whose sigmoid is exact.
    """
    return centerness(ltrb).logit()


def ranking_scores(
    cls_logits: Tensor, factor_logits: Tensor | None, root: bool = False
) -> Tensor:
    """Scores by which detections are ranked.

    Args:
        cls_logits: (..., C).
        factor_logits: (...) logits of the centerness, predicted or from
            :func:`reg_centerness`; None for the class score alone.
        root: Square root of the product, as in the official code. The order
            is the same.

    Returns:
        Tensor: (..., C) in [0, 1].
    """
    scores = cls_logits.sigmoid()
    if factor_logits is not None:
        scores = scores * factor_logits.sigmoid()[..., None]
    return scores.sqrt() if root else scores
