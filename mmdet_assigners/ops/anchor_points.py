"""Anchor points: locations of a feature pyramid that predict distances.

Shared by the point-based methods. All levels are concatenated to P points,
the ground truths of a batch are padded to (B, G), and work on (B, G, P)
tensors is done in chunks of ground truths, so memory stays bounded with
thousands of them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

MAX_ELEMENTS = 2**22
"""Elements of the largest (B, G, P) tensor of one chunk."""

Inside = Callable[[slice], Tensor]
"""Slice of the G boxes -> which points belong to them, (B, slice, P) bool."""


@dataclass(frozen=True)
class AnchorPoints:
    """The points of L levels, level-major, then row-major.

    Attributes:
        xy: (P, 2) locations in pixels.
        stride: (P,) stride of the point's level in pixels.
        level: (P,) int64 index of the level.
        strides: (L,) stride of each level in pixels.
        sizes: (L, 2) int64 width and height of each level in cells.
        shapes: L pairs of height and width in cells, on the host.
    """

    xy: Tensor
    stride: Tensor
    level: Tensor
    strides: Tensor
    sizes: Tensor
    shapes: Sequence[Sequence[int]]


def anchor_points(
    shapes: Sequence[Sequence[int]],
    strides: Sequence[int],
    offset: float = 0.5,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> AnchorPoints:
    """Points of all levels; cell (i, j) lies at stride * (j + o, i + o).

    Args:
        shapes: Height and width of each of the L levels in cells.
        strides: Stride of each level in pixels.
        offset: Location o of the point in its cell: 0.5 center, 0 corner.
        device: Where the tensors are put.
        dtype: Floating type of locations and strides.

    Returns:
        AnchorPoints: P = sum of height * width points.

    Raises:
        ValueError: As many shapes as strides are expected.
    """
    if len(shapes) != len(strides):
        raise ValueError(
            f'shapes has {len(shapes)} levels but strides has {len(strides)}'
        )
    grids, counts = [], []
    for (height, width), stride in zip(shapes, strides, strict=True):
        y = (
            torch.arange(height, device=device, dtype=dtype) + offset
        ) * stride
        x = (torch.arange(width, device=device, dtype=dtype) + offset) * stride
        y, x = torch.meshgrid(y, x, indexing='ij')
        grids.append(torch.stack((x, y), -1).view(-1, 2))
        counts.append(height * width)
    stride_of = torch.tensor(strides, device=device, dtype=dtype)
    # not by repeat_interleave, which torch.onnx can't give a size
    levels = [
        torch.full((count,), number, device=device)
        for number, count in enumerate(counts)
    ]
    level = torch.cat(levels)
    sizes = [[width, height] for height, width in shapes]
    return AnchorPoints(
        xy=torch.cat(grids),
        stride=stride_of[level],
        level=level,
        strides=stride_of,
        sizes=torch.tensor(sizes, device=device),
        shapes=shapes,
    )


def flatten_levels(
    levels: Sequence[Tensor], priors: int | None = None
) -> Tensor:
    """L maps (B, A_l * K, H_l, W_l) as one tensor (B, P, K).

    Args:
        levels: Maps of all levels, prior-major in their channels.
        priors: Number P of priors, the sum of A_l * H_l * W_l; None: one per
            location.

    Returns:
        Tensor: In float32 or finer.
    """
    dtype = torch.promote_types(levels[0].dtype, torch.float32)
    channels = levels[0].shape[1]
    if priors is not None:
        channels = sum(x.shape[1:].numel() for x in levels) // priors
    flat = [
        x.permute(0, 2, 3, 1).reshape(len(x), -1, channels) for x in levels
    ]
    return torch.cat(flat, 1).to(dtype)


def pad_gts(
    boxes: Sequence[Tensor], labels: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Ground truths of B images, padded to the same number G >= 1.

    Args:
        boxes: B tensors (G_b, 4); (0,) is one without boxes.
        labels: B tensors (G_b,).

    Returns:
        tuple: Boxes (B, G, 4), labels (B, G) and the mask of the real ones
        (B, G); padding is zero.
    """
    padded = pad_rows([rows.reshape(-1, 4) for rows in boxes])
    count = padded.new_tensor([len(b) for b in boxes], dtype=torch.long)
    index = torch.arange(padded.shape[1], device=padded.device)
    classes = pad_rows([rows.long() for rows in labels])
    return padded, classes, index < count[:, None]


def pad_rows(rows: list[Tensor]) -> Tensor:
    """Stack B tensors (G_b, ...) to (B, G, ...), G >= 1, zero padded."""
    padded = pad_sequence(rows, batch_first=True)
    if padded.shape[1] == 0:
        padded = F.pad(padded, (0, 0) * (padded.dim() - 2) + (0, 1))
    return padded


def gt_chunks(
    batch: int, num_gts: int, points: int, max_elements: int = MAX_ELEMENTS
) -> Iterator[slice]:
    """Slices over G such that (B, slice, P) stays below ``max_elements``."""
    size = max(1, max_elements // max(1, batch * points))
    for start in range(0, num_gts, size):
        yield slice(start, min(start + size, num_gts))


def move_ends(boxes: Tensor, pixels: float) -> Tensor:
    """Move the right and the bottom side, between corner conventions.

    Args:
        boxes: (..., 4) x1, y1, x2, y2 in pixels; more numbers may precede.
        pixels: 1 from inclusive corners, whose x2 is the last pixel, to
            exclusive ones; -1 back.
    """
    return torch.cat((boxes[..., :-2], boxes[..., -2:] + pixels), -1)


def box_distances(xy: Tensor, boxes: Tensor) -> Tensor:
    """Signed distances of points to the sides of boxes.

    Args:
        xy: (..., 2) locations in pixels.
        boxes: (..., 4) x1, y1, x2, y2 in pixels, broadcast against ``xy``.

    Returns:
        Tensor: (..., 4) left, top, right, bottom in pixels, negative outside.
    """
    return torch.cat((xy - boxes[..., :2], boxes[..., 2:] - xy), -1)


def centerness(ltrb: Tensor, power: float = 0.5) -> Tensor:
    """Generalized centerness of points in boxes.

    ``(min(l, r) min(t, b) / (max(l, r) max(t, b))) ** power``; power 0.5 is
    the centerness of FCOS, power 0 is one everywhere.

    Args:
        ltrb: (..., 4) distances; negative ones count as zero.
        power: Exponent, at least 0.

    Returns:
        Tensor: (...) in [0, 1]; 0 for boxes without area.
    """
    left, top, right, bottom = ltrb.clamp(min=0).unbind(-1)
    low = torch.minimum(left, right) * torch.minimum(top, bottom)
    high = torch.maximum(left, right) * torch.maximum(top, bottom)
    tiny = torch.finfo(ltrb.dtype).tiny
    return (low / high.clamp(min=tiny)).pow(power)


def distance_iou(pred: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU of two boxes given by their distances from the same point.

    Args:
        pred: (..., 4) left, top, right, bottom, at least 0.
        target: (..., 4) in the same units, broadcast against ``pred``.
        eps: Added to intersection and union, so the IoU is never 0.

    Returns:
        Tensor: (...) in (0, 1].
    """
    pl, pt, pr, pb = pred.unbind(-1)
    tl, tt, tr, tb = target.unbind(-1)
    width = torch.minimum(pl, tl) + torch.minimum(pr, tr)
    height = torch.minimum(pt, tt) + torch.minimum(pb, tb)
    overlap = width * height
    union = (pl + pr) * (pt + pb) + (tl + tr) * (tt + tb) - overlap
    return (overlap + eps) / (union + eps)


def inside_regions(points: AnchorPoints, regions: Tensor) -> Tensor:
    """Which points lie strictly inside regions that differ by level.

    Args:
        points: P points of L levels.
        regions: (B, G, L, 4) x1, y1, x2, y2 in pixels; L may be 1 if the
            regions of all levels are the same.

    Returns:
        Tensor: (B, G, P) bool.
    """
    if regions.shape[2] == 1:
        bounds = regions
    else:
        bounds = regions[:, :, points.level]
    x, y = points.xy.unbind(-1)
    x1, y1, x2, y2 = bounds.unbind(-1)
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)


def members(
    points: AnchorPoints, regions: Tensor | Inside, part: slice
) -> Tensor:
    """Which points belong to a slice of the boxes.

    Args:
        points: P points of L levels.
        regions: (B, G, L or 1, 4) regions in pixels, for
            :func:`inside_regions`, or a function of the slice.
        part: Slice of the G boxes.

    Returns:
        Tensor: (B, slice, P) bool.
    """
    if callable(regions):
        return regions(part)
    return inside_regions(points, regions[:, part])


def assign_smallest_area(
    points: AnchorPoints,
    boxes: Tensor,
    regions: Tensor | Inside,
    candidates: Tensor,
    clipped_area: bool = False,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Give each point the smallest box among those whose region holds it.

    1. A box is a candidate of a point if ``candidates`` says so for the level
       of the point and the point belongs to the box's region.
    2. Of several candidates the one with the smallest area wins; ties go to
       the first.

    Args:
        points: P points of L levels.
        boxes: (B, G, 4) xyxy pixels.
        regions: (B, G, L, 4) or (B, G, 1, 4) regions in pixels, or a function
            that gives the membership (B, part, P) of a slice of the boxes.
        candidates: (B, G, L) bool, boxes that may win on a level; False for
            padding.
        clipped_area: Compare (l + r)(t + b) of distances clipped at 0, which
            differs from the box's area where a region reaches out of its box.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, P) int64 index of the box, -1 where there is none.
    """
    batch, num_gts = boxes.shape[:2]
    shape = (batch, len(points.xy))
    best = boxes.new_full(shape, float('inf'))
    assigned = torch.full(shape, -1, device=boxes.device)
    for part in gt_chunks(batch, num_gts, shape[1], max_elements):
        wins = members(points, regions, part)
        wins = wins & candidates[:, part, points.level]
        chunk = boxes[:, part, None]
        sides = chunk[..., 2:] - chunk[..., :2]
        if clipped_area:
            ltrb = box_distances(points.xy, chunk).clamp(min=0)
            sides = ltrb[..., :2] + ltrb[..., 2:]
        area = sides.prod(-1).where(wins, float('inf'))
        smallest, index = area.min(dim=1)
        # strictly smaller: ties go to the earlier chunk
        assigned = torch.where(smallest < best, index + part.start, assigned)
        best = torch.minimum(best, smallest)
    return assigned
