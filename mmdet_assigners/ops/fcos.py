"""FCOS: batched targets of points, and its centerness ablation.

All levels are concatenated to P points and ground truths are padded to
(B, G); tensors (B, G, P) are made in chunks of ground truths.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class AxisLimits:
    """What one coordinate of N points decides, see :class:`PointLimits`.

    Attributes:
        at: (N,) coordinate in pixels, as all lengths.
        ranges: (N, 2) smallest and largest distance; None for no limits.
        radius: (N,); None for the whole box.
        margin: Of the distances.
    """

    at: Tensor
    ranges: Tensor | None = None
    radius: Tensor | None = None
    margin: float = 0.0

    def takes(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Which sides of boxes points may have.

        Args:
            low: (B, G) left or upper sides.
            high: (B, G) right or lower sides.

        Returns:
            tuple: Whether all limits but the smallest distance hold, and
            whether that holds, as it must in one of the axes. Both (B, G, N)
            bool.
        """
        low, high = low[..., None], high[..., None]
        before, after = self.at - low, high - self.at
        found = torch.minimum(before, after) > self.margin
        if self.radius is not None:
            center = (low + high) / 2
            to_start = self.at - (center - self.radius)
            to_end = (center + self.radius) - self.at
            found &= torch.minimum(to_start, to_end) > self.margin
        if self.ranges is None:
            return found, torch.ones_like(found)
        smallest, largest = self.ranges.unbind(-1)
        far = torch.maximum(before, after)
        found &= far <= largest
        return found, far >= smallest


@dataclass(frozen=True)
class PointLimits:
    """Which ground truths each of P points may have.

    1. The point is inside the box, farther from its sides than ``margin``.
    2. Its largest distance to them is in ``ranges``, ends included.
    3. Center sampling: it is also inside the square of half side ``radius``
       round the center of the box, farther from its sides than ``margin``.

    Attributes:
        x: Limits in x, of each point; in grids of each column.
        y: Limits in y, of each point; in grids of each row.
        shapes: Height and width of the grids that the points are, in cells;
            None: they are no grids.
    """

    x: AxisLimits
    y: AxisLimits
    shapes: Sequence[Sequence[int]] | None = None

    @property
    def number(self) -> int:
        """Number P of points."""
        if self.shapes is None:
            return len(self.x.at)
        return sum(map(math.prod, self.shapes))

    def takes(self, boxes: Tensor) -> Tensor:
        """Whether points may have boxes (B, G, 4): (B, G, P) bool."""
        x1, y1, x2, y2 = boxes.unbind(-1)
        in_x, far_x = self.x.takes(x1, x2)
        in_y, far_y = self.y.takes(y1, y2)
        if self.shapes is None:
            return in_x & in_y & (far_x | far_y)
        # columns and rows instead of their points, which are many more
        found = in_x.new_empty(*boxes.shape[:2], self.number)
        heights, widths = zip(*self.shapes, strict=True)
        columns = torch.stack((in_x, far_x)).split(widths, -1)
        rows = torch.stack((in_y, far_y)).split(heights, -1)
        start = 0
        for column, row, shape in zip(columns, rows, self.shapes, strict=True):
            stop = start + math.prod(shape)
            level = found[..., start:stop].unflatten(-1, shape)
            in_x, far_x = column[..., None, :]
            in_y, far_y = row[..., None]
            torch.logical_or(far_x, far_y, out=level)
            level &= in_x
            level &= in_y
            start = stop
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
    x, y = points.xy.unbind(-1)
    reach = radius = None
    if ranges is not None:
        reach = points.xy.new_tensor(ranges)[points.level]
    if center_radius is not None:
        radius = points.stride * center_radius
    sizes = [math.prod(shape) for shape in points.shapes]

    def choose(values: Tensor, of_grids: list[slice]) -> Tensor:
        grids = zip(values.split(sizes), of_grids, strict=True)
        return torch.cat([grid[one] for grid, one in grids])

    def axis(at: Tensor, of_grids: list[slice]) -> AxisLimits:
        return AxisLimits(
            choose(at, of_grids),
            None if reach is None else choose(reach, of_grids),
            None if radius is None else choose(radius, of_grids),
        )

    columns = axis(x, [slice(width) for _, width in points.shapes])
    rows = axis(y, [slice(None, None, width) for _, width in points.shapes])
    return PointLimits(columns, rows, points.shapes)


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
    (batch, num_gts), num_points = mask.shape, limits.number
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    order = area.argsort(stable=True)  # the smallest area first
    rows, known = gather_gts(boxes, order), mask.gather(1, order)
    # the smallest box has the highest rank, G, and no box 0
    dtype = torch.int16 if num_gts < 2**15 else torch.int32
    ranks = torch.arange(num_gts, 0, -1, dtype=dtype, device=order.device)
    ranks = ranks * known
    rank = ranks.new_zeros(batch, num_points)
    for part in gt_chunks(batch, num_gts, num_points, max_elements):
        wins = limits.takes(rows[:, part]).to(dtype)
        rank = torch.maximum(rank, wins.mul_(ranks[:, part, None]).amax(1))
    # from rank to index
    order = F.pad(order, (0, 1), value=NEGATIVE)
    return order.gather(1, num_gts - rank.long())


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
    (batch, num_gts), num_points = mask.shape, limits.number
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
