"""RepPoints: points to boxes, and the assignment of locations."""

import torch
from torch import Tensor

from ...ops.anchor_points import MAX_ELEMENTS, gt_chunks

METHODS = ('moment', 'minmax', 'partial_minmax')


def points_to_boxes(
    points: Tensor, method: str = 'moment', log_scale: Tensor | None = None
) -> Tensor:
    """The box of a set of points.

    'minmax': the extremes of all points. 'partial_minmax': of the first four.
    'moment': the mean plus and minus ``exp(log_scale)`` standard deviations
    (unbiased); the gradient of a deviation of 0 is taken as 0.

    Paper: RepPoints, ICCV 2019, arXiv 1904.11490, section 3.3.

    Args:
        points: (..., n, 2) x, y.
        method: One of ``METHODS``.
        log_scale: (2,) for x and y; only for 'moment'.

    Returns:
        Tensor: (..., 4) x1, y1, x2, y2.

    Raises:
        ValueError: ``method`` is unknown, or 'moment' comes without
            ``log_scale``.
    """
    if method not in METHODS:
        raise ValueError(
            f'method must be one of {", ".join(METHODS)}, got {method!r}'
        )
    if method != 'moment':
        if method == 'partial_minmax':
            points = points[..., :4, :]
        # min(dim), not amin: one of several equal points gets the gradient
        low, high = points.min(-2).values, points.max(-2).values
        return torch.cat((low, high), -1)
    if log_scale is None:
        raise ValueError("log_scale is None, but 'moment' needs it")
    mean = points.mean(-2)
    var = (points - mean[..., None, :]).square().sum(-2)
    var = var / (points.shape[-2] - 1)
    half = var.clamp(min=torch.finfo(var.dtype).tiny).sqrt() * log_scale.exp()
    return torch.cat((mean - half, mean + half), -1)


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """The same values; their gradient is multiplied by a factor.

    Args:
        x: (...).
        factor: 0 detaches, 1 changes nothing.

    Returns:
        Tensor: (...).
    """
    return factor * x + (1 - factor) * x.detach()


def nearest_points(
    xy: Tensor,
    stride: Tensor,
    boxes: Tensor,
    mask: Tensor,
    scale: float = 4.0,
    pos_num: int = 1,
    valid: Tensor | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Give each ground truth the nearest locations of its level.

    The level of a ground truth is the integer part of
    ``(log2(w / scale) + log2(h / scale)) / 2``, clamped to those that exist.
    The distance of a location is ``|(p - c) / (w, h)|`` with the center c. A
    location that several want goes to the nearest ground truth; ties go to the
    first. With ``pos_num=1`` ties between locations go to the first too.

    Paper: RepPoints, ICCV 2019, arXiv 1904.11490, section 4.2.

    Args:
        xy: (P, 2) locations in pixels.
        stride: (P,) in pixels; log2 of it is the level.
        boxes: (B, G, 4) ground truths in pixels.
        mask: (B, G) bool, False for padding.
        scale: Side of an object of level 0 in pixels; 4 in the paper.
        pos_num: Locations per ground truth; 1 in the paper.
        valid: (B, P) bool; others are not given.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, P) int64 index of the ground truth, -1 without one.
    """
    batch, num_gts = mask.shape
    points = len(xy)
    if points == 0:
        return mask.new_full((batch, 0), -1, dtype=torch.long)
    # level of each ground truth by its size
    level = stride.log2().int()
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=1e-6)
    own = ((size / scale).log2().sum(-1) / 2).int()
    own = own.clamp(min=level.min(), max=level.max())
    best = xy.new_full((batch, points), float('inf'))
    found = torch.full((batch, points), -1, device=xy.device)
    taken = min(pos_num, points)
    for part in gt_chunks(batch, num_gts, points, max_elements):
        # distance to the locations of its level, in sizes of the box
        offset = (xy - center[:, part, None]) / size[:, part, None]
        distance = offset.norm(dim=-1)  # (B, part, P)
        usable = (own[:, part, None] == level) & mask[:, part, None]
        if valid is not None:
            usable = usable & valid[:, None]
        distance = distance.masked_fill(~usable, float('inf'))
        # the nearest ones
        if taken == 1:
            near, where = distance.min(-1, keepdim=True)
        else:
            near, where = distance.topk(taken, largest=False)
        near, where = near.flatten(1), where.flatten(1)
        index = torch.arange(part.start, part.stop, device=xy.device)
        index = index.repeat_interleave(taken).expand_as(where)
        # at each location the nearest ground truth, of several the first
        closest = torch.full_like(best, float('inf'))
        closest = closest.scatter_reduce(1, where, near, 'amin')
        winner = (near == closest.gather(1, where)) & near.isfinite()
        first = torch.full_like(found, num_gts).scatter_reduce(
            1, where, index.where(winner, num_gts), 'amin'
        )
        better = closest < best  # ties go to the earlier chunk
        found = torch.where(better, first, found)
        best = torch.minimum(best, closest)
    return found
