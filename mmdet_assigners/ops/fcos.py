"""FCOS: batched targets of points, and its centerness ablation.

All levels are concatenated to P points and ground truths are padded to
(B, G); tensors (B, G, P) are made in chunks of ground truths.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .anchor_match import NEGATIVE, gather_gts
from .anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    centerness,
    gt_chunks,
)


class Candidates(NamedTuple):
    """The ground truths that FCOS could have given to each point.

    Attributes:
        number: (B, P) int64.
        mixed: (B, P) bool, True where these are of different classes.
    """

    number: Tensor
    mixed: Tensor


class PointLimits(NamedTuple):
    """Which ground truths each of P points may have.

    1. The point is inside the box, farther from its sides than ``margin``.
    2. Its largest distance to them is in ``ranges``, ends included.
    3. Center sampling: it is also inside the square of half side ``radius``
       round the center of the box, farther from its sides than ``margin``.

    Attributes:
        xy: (P, 2) in pixels, as all lengths.
        ranges: (P, 2) smallest and largest distance; None for no limits.
        radius: (P,); None for the whole box.
        margin: Of the distances.
    """

    xy: Tensor
    ranges: Tensor | None = None
    radius: Tensor | None = None
    margin: float = 0.0

    def takes(self, boxes: Tensor) -> Tensor:
        """Whether points may have boxes (B, G, 4): (B, G, P) bool."""
        x, y = self.xy.unbind(-1)
        x1, y1, x2, y2 = boxes[:, :, None].unbind(-1)
        found, far = None, None
        for before, after in ((x - x1, x2 - x), (y - y1, y2 - y)):
            inside = torch.minimum(before, after) > self.margin
            found = inside if found is None else found & inside
            longer = torch.maximum(before, after, out=before)
            far = longer if far is None else torch.maximum(far, longer)
        assert found is not None and far is not None
        if self.ranges is not None:
            low, high = self.ranges.unbind(-1)
            found &= (far >= low) & (far <= high)
        if self.radius is not None:
            for center, point in (((x1 + x2) / 2, x), ((y1 + y2) / 2, y)):
                before = point - (center - self.radius)
                after = (center + self.radius) - point
                found &= torch.minimum(before, after) > self.margin
        return found


def point_limits(
    points: AnchorPoints,
    ranges: Sequence[Sequence[float]] | None = None,
    center_radius: float | None = None,
) -> PointLimits:
    """FCOS's limits.

    Args:
        points: P points of L levels.
        ranges: L pairs of minimum and maximum distance in pixels; None for no
            limits.
        center_radius: Radius in strides; 1.5 in the paper. None for the whole
            box.

    Raises:
        ValueError: As many ranges as levels are expected.
    """
    levels = len(points.strides)
    if ranges is not None and len(ranges) != levels:
        raise ValueError(
            f'ranges must have one pair per level, {levels}, got '
            f'{len(ranges)}: {ranges}'
        )
    reach = radius = None
    if ranges is not None:
        reach = points.xy.new_tensor(ranges)[points.level]
    if center_radius is not None:
        radius = points.stride * center_radius
    return PointLimits(points.xy, reach, radius)


@torch.no_grad()
def smallest_match(
    limits: PointLimits,
    boxes: Tensor,
    mask: Tensor,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Give each point the smallest ground truth that it may have.

    Ties go to the first.

    Args:
        limits: Of P points.
        boxes: (B, G, 4) xyxy pixels.
        mask: (B, G) bool, False for padding.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, P) int64 index of the ground truth, -1 without one.
    """
    (batch, num_gts), num_points = mask.shape, len(limits.xy)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    order = area.argsort(stable=True)  # the smallest area first
    rows, known = gather_gts(boxes, order), mask.gather(1, order)
    # rank in this order of the smallest box that takes each point
    rank = order.new_full((batch, num_points), num_gts, dtype=torch.int32)
    for part in gt_chunks(batch, num_gts, num_points, max_elements):
        wins = limits.takes(rows[:, part]) & known[:, part, None]
        index = torch.arange(
            part.start, part.stop, dtype=rank.dtype, device=rank.device
        )
        first = index[:, None].where(wins, num_gts).amin(1)
        rank = torch.minimum(rank, first)
    # from rank to index
    order = F.pad(order, (0, 1), value=NEGATIVE)
    return order.gather(1, rank.long())


@torch.no_grad()
def count_candidates(
    limits: PointLimits,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    max_elements: int = MAX_ELEMENTS,
) -> Candidates:
    """Count the ground truths that each point may have.

    Args:
        limits: Of P points.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Candidates: Of each point.
    """
    (batch, num_gts), num_points = mask.shape, len(limits.xy)
    number = labels.new_zeros(batch, num_points)
    # lowest and highest label of the candidates: they differ if mixed
    high = torch.full_like(number, -1)
    low = torch.full_like(number, torch.iinfo(number.dtype).max)
    for part in gt_chunks(batch, num_gts, num_points, max_elements):
        found = limits.takes(boxes[:, part]) & mask[:, part, None]
        number += found.sum(1)
        own = labels[:, part, None]
        high = torch.maximum(high, own.where(found, -1).amax(1))
        own = own.where(found, low[:, None])
        low = torch.minimum(low, own.amin(1))
    return Candidates(number, (number > 1) & (low < high))


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
