"""Targets of ExtremeNet, edge aggregation, and what follows the grouping.

Points are in the order top, left, bottom, right; maps of the center are the
fifth. Source: arXiv 1901.08043, xingyizhou/ExtremeNet.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.structures import InstanceData
from pycocotools import mask as rle
from torch import Tensor

from ...ops.heatmaps import draw_gaussians, official_radius
from .points import BOTTOM, LEFT, MIRRORED, RIGHT, TOP

NUM_MAPS = 5  # four extreme points and the center


class ExtremeTargets(NamedTuple):
    """Targets of G objects in B images.

    Attributes:
        heatmaps: (B, 5, C, H, W), 1 at the cells of the points.
        offsets: (B, 4, G, 2) x, y of the extreme points within their cells.
        index: (B, 5, G) int64 cells, y * W + x; 0 where there is no object.
        valid: (B, G) bool, False for padding.
        radius: (B, G) int64 radius of the Gaussians in cells.
    """

    heatmaps: Tensor
    offsets: Tensor
    index: Tensor
    valid: Tensor
    radius: Tensor


def extreme_targets(
    points: Tensor,
    sizes: Tensor,
    labels: Tensor,
    valid: Tensor,
    num_classes: int,
    map_size: tuple[int, int],
    overlap: float = 0.7,
) -> ExtremeTargets:
    """Heat maps and offsets of a batch, drawn at once.

    The center is that of the box that the extreme points span. All five maps
    have the same radius, of the official formula.

    Args:
        points: (B, G, 4, 2) x, y in cells, within the map.
        sizes: (B, G, 2) width and height of the boxes in cells.
        labels: (B, G) int64 classes.
        valid: (B, G) bool, False for padding.
        num_classes: Number C of classes.
        map_size: (H, W).
        overlap: IoU of the formula of the radius.

    Raises:
        ValueError: A class beyond C.
    """
    height, width = map_size
    center = torch.stack(
        (
            (points[:, :, LEFT, 0] + points[:, :, RIGHT, 0]) / 2,
            (points[:, :, TOP, 1] + points[:, :, BOTTOM, 1]) / 2,
        ),
        -1,
    )
    places = torch.cat((points, center[:, :, None]), 2)
    places = places.where(valid[..., None, None], 0).transpose(1, 2)
    cells = places.long()
    sizes = sizes.where(valid[..., None], 0).ceil()
    radius = official_radius(sizes[..., 1], sizes[..., 0], overlap)
    radius = radius.long().clamp(min=0)

    def of_maps(rows: Tensor) -> Tensor:
        return rows[:, None].expand(-1, NUM_MAPS, -1).flatten(0, 1)

    heatmaps = draw_gaussians(
        (NUM_MAPS * len(points), num_classes, height, width),
        of_maps(labels),
        cells.flatten(0, 1),
        of_maps(radius),
        of_maps(valid),
        points.dtype,
    )
    return ExtremeTargets(
        heatmaps=heatmaps.unflatten(0, (-1, NUM_MAPS)),
        offsets=(places - cells)[:, :4],
        index=cells[..., 1] * width + cells[..., 0],
        valid=valid,
        radius=radius,
    )


def rising_sums(values: Tensor, dim: int) -> Tensor:
    """Sum of the values before a place, as long as they rise to it.

    Args:
        values: Not negative, shape (...).
        dim: Along which; the run of a place goes back from it as long as no
            value is smaller than its predecessor.

    Returns:
        Shape (...), without the value of the place itself.
    """
    # few large steps for a GPU, many small ones for a CPU's cache
    return (scan_sums if values.is_cuda else step_sums)(values, dim)


def scan_sums(values: Tensor, dim: int) -> Tensor:
    """`rising_sums` of (...), all places at once."""
    # sums of doubles, so that differences of sums are right to the last digit
    before = values.double().cumsum(dim) - values
    size = values.shape[dim] - 1
    here, last = values.narrow(dim, 1, size), values.narrow(dim, 0, size)
    base = before.clone()
    base.narrow(dim, 1, size).mul_(here < last)  # else the run goes on
    return (before - base.cummax(dim).values).to(values)


def step_sums(values: Tensor, dim: int) -> Tensor:
    """`rising_sums` of (...), one place after the other."""
    first, *rest = values.unbind(dim)
    sums = [torch.zeros_like(first)]
    before = first
    for place in rest:
        sums.append((sums[-1] + before) * (place >= before))
        before = place
    return torch.stack(sums, dim)


def aggregate_edges(heatmap: Tensor, weight: float, dim: int) -> Tensor:
    """Edge aggregation: add what rises to a cell from both sides.

    Args:
        heatmap: Probabilities, shape (..., H, W).
        weight: Of the sums, 0.1 in the paper.
        dim: -1 along rows, for top and bottom points; -2 along columns.

    Returns:
        Shape (..., H, W).
    """
    forth = rising_sums(heatmap, dim)
    back = rising_sums(heatmap.flip(dim), dim).flip(dim)
    return heatmap + weight * (forth + back)


def suppress_ghosts(
    boxes: Tensor, scores: Tensor, multiplier: float = 3.0, gate: float = 0.2
) -> Tensor:
    """Halve the scores of boxes that are made of the points of others.

    One box after the other is tested, with the scores so far: it is a ghost
    if the scores of the boxes inside it, its own included, sum to more than a
    multiple of its own.

    Args:
        boxes: (N, 4) of one class, in the order in which they are tested.
        scores: (N,).
        multiplier: The multiple; 3 in the official test, 4 in the official
            tool.
        gate: Boxes up to this score are not tested.

    Returns:
        Scores (N,).
    """
    # one box depends on those before: on the host, where that is cheap
    device = scores.device
    boxes, scores = boxes.cpu(), scores.cpu().clone()
    low, high = boxes.chunk(2, -1)
    inside = (low[None] >= low[:, None]) & (high[None] <= high[:, None])
    inside = inside.all(-1).to(scores)
    for row in (scores > gate).nonzero().flatten().tolist():
        if inside[row] @ scores > multiplier * scores[row]:
            scores[row] /= 2
    return scores.to(device)


def mirror_rows(
    boxes: Tensor, points: Tensor, width: float
) -> tuple[Tensor, Tensor]:
    """Detections of a mirrored image in the plain one.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.
        points: (..., 4, 2) extreme points.
        width: Of the image or map; x becomes ``width - x``.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    boxes = torch.stack((width - x2, y1, width - x1, y2), -1)
    x, y = points[..., MIRRORED, :].unbind(-1)
    return boxes, torch.stack((width - x, y), -1)


def octagons(boxes: Tensor, points: Tensor, share: float = 0.25) -> Tensor:
    """Octagons around extreme points: a coarse mask.

    On each side of the box there is a segment around the extreme point, cut
    off at the corners; their ends are the vertices.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        points: (N, 4, 2) extreme points.
        share: Length of a segment relative to the side.

    Returns:
        Vertices (N, 8, 2) around the octagon, from the top to the left.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    half = (high - low) * share / 2
    ends = []
    for point, axis, sign in (
        (TOP, 0, -1),  # against the clock
        (LEFT, 1, 1),
        (BOTTOM, 0, 1),
        (RIGHT, 1, -1),
    ):
        side = points[:, point]
        edge = torch.zeros_like(half)
        edge[:, axis] = half[:, axis]
        ends += [side - sign * edge, side + sign * edge]
    found = torch.stack(ends, 1)
    return found.clamp(low[:, None], high[:, None])


def octagon_masks(found: InstanceData, shape: Sequence[int]) -> Tensor:
    """Masks (N, height, width), bool, of octagons around extreme points.

    Args:
        found: ``bboxes`` (N, 4) and ``extreme_points`` (N, 4, 2) in pixels.
        shape: Height and width of the masks.
    """
    masks: np.ndarray = np.zeros((len(found), *shape), bool)
    shapes = octagons(found.bboxes, found.extreme_points)
    for mask, vertices in zip(masks, shapes.cpu().numpy(), strict=True):
        (code,) = rle.frPyObjects([vertices.ravel().tolist()], *shape)
        mask[:] = rle.decode(code)
    return torch.from_numpy(masks).to(found.bboxes.device)
