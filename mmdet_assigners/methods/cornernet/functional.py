"""Targets, embedding loss and pairing of CornerNet, for whole batches.

The top-left corner comes first, the bottom-right one second.
Source: arXiv 1808.01244, princeton-vl/CornerNet.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...models.checks import pick
from ...ops.heatmaps import (
    cell_owners,
    draw_gaussians,
    exact_radius,
    gather_cells,
    official_radius,
    peaks,
)

# formula of the radius, its overlap, and how far from the end of the input
# the last place of a corner is, in pixels
RULES = {
    'mmdet': (exact_radius, 0.3, 0),
    'official': (official_radius, 0.7, 1),
}


class CornerTargets(NamedTuple):
    """Targets of G objects in B images.

    Attributes:
        heatmaps: (B, 2, C, H, W), 1 at the cells of the corners.
        offsets: (B, 2, G, 2) x, y of the corners within their cells.
        index: (B, 2, G) int64 cells, y * W + x; 0 where there is no object.
        valid: (B, G) bool, False for padding and boxes without area.
        radius: (B, G) int64 radius of the Gaussians in cells.
    """

    heatmaps: Tensor
    offsets: Tensor
    index: Tensor
    valid: Tensor
    radius: Tensor


class Pairs(NamedTuple):
    """N pairs of corners in each of B images, by descending score.

    Attributes:
        boxes: (B, N, 4) x1, y1, x2, y2 in cells.
        scores: (B, N), -1 for what is no pair.
        labels: (B, N) int64 classes.
        corner_scores: (B, N, 2) of the top-left and bottom-right corners.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    corner_scores: Tensor


def corner_targets(
    boxes: Tensor,
    labels: Tensor,
    valid: Tensor,
    num_classes: int,
    map_size: tuple[int, int],
    input_size: tuple[int, int],
    rule: str = 'mmdet',
) -> CornerTargets:
    """Heat maps and offsets of a batch, drawn at once.

    Boxes are clipped to the input; those without area are left out.

    Args:
        boxes: (B, G, 4) x1, y1, x2, y2 in pixels of the input.
        labels: (B, G) int64 classes.
        valid: (B, G) bool, False for padding.
        num_classes: Number C of classes.
        map_size: (H, W).
        input_size: Height and width of the input in pixels.
        rule: ``'mmdet'`` or ``'official'``, see ``RULES``.

    Raises:
        ValueError: A class beyond C, or no such rule.
    """
    height, width = map_size
    radius_of, overlap, last = pick(RULES, rule, 'rule')
    limit = boxes.new_tensor((input_size[1] - last, input_size[0] - last))
    ratio = boxes.new_tensor((width / input_size[1], height / input_size[0]))
    corners = boxes.unflatten(-1, (2, 2)).clamp(min=0).minimum(limit)
    valid = valid & (corners[:, :, 1] > corners[:, :, 0]).all(-1)
    corners = corners.where(valid[..., None, None], 0) * ratio
    sides = (corners[:, :, 1] - corners[:, :, 0]).ceil()
    radius = radius_of(sides[..., 1], sides[..., 0], overlap)
    radius = radius.long().clamp(min=0)
    corners = corners.transpose(1, 2)
    # a corner may be at the end of the map
    cells = corners.minimum(corners.new_tensor((width - 1, height - 1))).long()

    def of_corners(rows: Tensor) -> Tensor:
        return rows[:, None].expand(-1, 2, -1).flatten(0, 1)

    heatmaps = draw_gaussians(
        (2 * len(boxes), num_classes, height, width),
        of_corners(labels),
        cells.flatten(0, 1),
        of_corners(radius),
        of_corners(valid),
        boxes.dtype,
    )
    return CornerTargets(
        heatmaps=heatmaps.unflatten(0, (-1, 2)),
        offsets=corners - cells,
        index=cells[..., 1] * width + cells[..., 0],
        valid=valid,
        radius=radius,
    )


def last_of_cells(index: Tensor, valid: Tensor, cells: int) -> Tensor:
    """Which objects are the last of their cells.

    Args:
        index: (B, G) int64 cells.
        valid: (B, G) bool, False for objects without a cell.
        cells: Number P of cells.

    Returns:
        Shape (B, G), bool.
    """
    owner = cell_owners(index, valid, cells).gather(1, index)
    order = torch.arange(index.shape[1], device=index.device)
    return valid & (owner == order)


def dense_offsets(targets: CornerTargets, height: int, width: int) -> Tensor:
    """Maps of the offsets of the last object of each cell.

    Args:
        targets: Of a batch.
        height: Of the map.
        width: Of the map.

    Returns:
        Shape (B, 2, 2, H, W), corner, then x, y.
    """
    offsets = targets.offsets.flatten(0, 1)
    index = targets.index.flatten(0, 1)
    valid = targets.valid[:, None].expand(-1, 2, -1).flatten(0, 1)
    last = last_of_cells(index, valid, height * width)
    # all others write beyond the map
    place = index.where(last, height * width)[:, None].expand(-1, 2, -1)
    maps = offsets.new_zeros(len(offsets), 2, height * width + 1)
    maps.scatter_(2, place, offsets.transpose(1, 2))
    return maps[..., :-1].reshape(-1, 2, 2, height, width)


def embedding_losses(
    first: Tensor, second: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Pull and push losses of associative embeddings, summed over images.

    Pull: mean over objects of the squared distances of both corners from
    their mean. Push: mean over pairs of objects of what their means lack to
    a distance of 1. An image with one object pushes nothing.

    Args:
        first: (B, G) embeddings of the top-left corners.
        second: (B, G) of the bottom-right corners.
        valid: (B, G) bool, False for padding.

    Returns:
        tuple: Two scalars.
    """
    count = valid.sum(1)
    mean = (first + second) / 2
    pull = (first - mean) ** 2 + (second - mean) ** 2
    pull = (pull * valid).sum(1) / count.clamp(min=1)
    lack = (1 - (mean[:, None] - mean[:, :, None]).abs()).relu()
    pairs = valid[:, None] & valid[:, :, None]
    itself = torch.eye(valid.shape[1], dtype=torch.bool, device=valid.device)
    push = (lack * (pairs & ~itself)).sum((1, 2))
    push = push / (count * (count - 1)).clamp(min=1)
    return pull.sum(), push.sum()


def pair_corners(
    heatmaps: Tensor,
    embeddings: Tensor,
    offsets: Tensor,
    k: int = 100,
    kernel: int = 3,
    max_distance: float = 0.5,
    num_dets: int = 1000,
) -> Pairs:
    """The best pairs of a top-left and a bottom-right corner.

    Corners are a pair if their classes are the same, their embeddings are
    near, and the first is above and left of the second. The score is the
    mean of both.

    Args:
        heatmaps: (B, 2, C, H, W) probabilities.
        embeddings: (B, 2, 1, H, W).
        offsets: (B, 2, 2, H, W) x, y in cells.
        k: Corners of each type that are paired.
        kernel: Side of the window in which a corner is the maximum, in cells.
        max_distance: Largest distance of the embeddings of a pair.
        num_dets: Largest number N of pairs.
    """
    scores, index, labels, cells = peaks(heatmaps.flatten(0, 1), k, kernel)
    near = gather_cells(embeddings.flatten(0, 1), index)[..., 0]
    places = cells + gather_cells(offsets.flatten(0, 1), index)

    def corners(rows: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, 1, ...) and (B, 1, K, ...)."""
        both = rows.unflatten(0, (-1, 2))
        return both[:, 0, :, None], both[:, 1, None]

    def distinct(rows: Tensor) -> Tensor:
        return corners(rows)[0] != corners(rows)[1]

    low, high = corners(places)
    first, second = corners(near)
    wrong = distinct(labels) | ((first - second).abs() > max_distance)
    wrong |= (high <= low).any(-1)
    mean = sum(corners(scores)) / 2
    mean = mean.where(~wrong, -1).flatten(1)
    best, order = mean.topk(min(num_dets, mean.shape[1]))
    shape = wrong.shape

    def pick(rows: Tensor) -> Tensor:
        flat = rows.expand(*shape, *rows.shape[3:]).flatten(1, 2)
        if flat.dim() == 2:
            return flat.gather(1, order)
        return flat.gather(1, order[..., None].expand(-1, -1, flat.shape[2]))

    return Pairs(
        boxes=torch.cat((pick(low), pick(high)), -1),
        scores=best,
        labels=pick(corners(labels)[0]),
        corner_scores=torch.stack(list(map(pick, corners(scores))), -1),
    )


def mirror_boxes(boxes: Tensor, width: float) -> Tensor:
    """Boxes of a mirrored image in the plain one; x becomes ``width - x``.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.
        width: Of the image or map.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((width - x2, y1, width - x1, y2), -1)
