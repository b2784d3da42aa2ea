"""Boxes from peaks of extreme points, by geometry alone.

Source: arXiv 1901.08043, xingyizhou/ExtremeNet.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.heatmaps import gather_cells, local_maxima, peaks
from .functional import aggregate_edges, mirror_rows
from .points import BOTTOM, LEFT, RIGHT, TOP


class Peaks(NamedTuple):
    """The K best peaks of each extreme point in one image.

    Attributes:
        scores: (4, K).
        labels: (4, K) int64 classes.
        cells: (4, K, 2) int64 x, y.
        offsets: (4, K, 2) x, y of the points within their cells.
    """

    scores: Tensor
    labels: Tensor
    cells: Tensor
    offsets: Tensor


class Groups(NamedTuple):
    """Objects of one image, by descending score.

    Attributes:
        boxes: (N, 4) x1, y1, x2, y2 in cells.
        scores: (N,).
        labels: (N,) int64 classes.
        points: (N, 4, 2) x, y in cells.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    points: Tensor


def find_peaks(
    heatmaps: Tensor,
    offsets: Tensor,
    k: int = 40,
    kernel: int = 3,
    aggr_weight: float = 0.1,
) -> list[Peaks]:
    """Peaks of extreme points, after edge aggregation.

    Args:
        heatmaps: (B, 4, C, H, W) probabilities of the extreme points.
        offsets: (B, 4, 2, H, W) in cells.
        k: Peaks of each point, over all classes.
        kernel: Side of the window of a peak in cells.
        aggr_weight: Of edge aggregation; 0: there is none.

    Returns:
        list: The peaks of each image.
    """
    found = []
    for point in (TOP, LEFT, BOTTOM, RIGHT):
        maps = heatmaps[:, point]
        if aggr_weight > 0:
            dim = -1 if point in (TOP, BOTTOM) else -2
            maps = aggregate_edges(maps, aggr_weight, dim)
        maxima = local_maxima(maps, kernel).clamp(max=1)
        scores, index, labels, cells = peaks(maxima, k, kernel=1)
        places = gather_cells(offsets[:, point], index)
        found.append((scores, labels, cells.long(), places))
    columns = [torch.stack(column, 1) for column in zip(*found, strict=True)]
    return [Peaks(*image) for image in zip(*columns, strict=True)]


def group(
    found: Peaks,
    center: Tensor,
    score_thr: float = 0.1,
    center_thr: float = 0.1,
    max_groups: int = 1000,
) -> Groups:
    """All quadruples of peaks with a center: the objects of one image.

    The four peaks have one class, each is the outermost of the four in its
    direction, and the score of the center between them reaches a threshold.
    Pairs of top and bottom, and of left and right, are made first, and only
    of what can be an object; the two lists are joined.

    Args:
        found: Peaks of the image.
        center: (C, H, W) probabilities of the center.
        score_thr: Smallest score of a peak.
        center_thr: Smallest score of the center.
        max_groups: How many are returned at most.
    """
    labels, cells = found.labels, found.cells
    good = found.scores >= score_thr

    def pairs(first: int, second: int, axis: int) -> tuple[Tensor, Tensor]:
        ahead = cells[first, :, None, axis] <= cells[second, :, axis]
        same = labels[first][:, None] == labels[second]
        both = good[first][:, None] & good[second]
        rows, columns = (ahead & same & both).nonzero(as_tuple=True)
        return rows, columns

    top, bottom = pairs(TOP, BOTTOM, 1)
    left, right = pairs(LEFT, RIGHT, 0)
    # what the other pair must be within
    highest, lowest = cells[TOP, top], cells[BOTTOM, bottom]
    leftmost, rightmost = cells[LEFT, left], cells[RIGHT, right]
    y_low = torch.minimum(leftmost[:, 1], rightmost[:, 1])
    y_high = torch.maximum(leftmost[:, 1], rightmost[:, 1])
    x_low = torch.minimum(highest[:, 0], lowest[:, 0])
    x_high = torch.maximum(highest[:, 0], lowest[:, 0])
    fits = labels[TOP, top][:, None] == labels[LEFT, left]
    fits &= highest[:, None, 1] <= y_low
    fits &= lowest[:, None, 1] >= y_high
    fits &= leftmost[:, 0] <= x_low[:, None]
    fits &= rightmost[:, 0] >= x_high[:, None]
    first, second = fits.nonzero(as_tuple=True)
    columns = (top[first], left[second], bottom[first], right[second])
    quad = torch.stack(columns, 1)
    x = (leftmost[second, 0] + rightmost[second, 0]) // 2
    y = (highest[first, 1] + lowest[first, 1]) // 2
    classes = labels[TOP, quad[:, TOP]]
    middle = center[classes, y, x]
    points = torch.arange(4, device=quad.device)
    parts = found.scores[points, quad].unbind(1)
    scores = (parts[0] + parts[1] + parts[2] + parts[3] + 2 * middle) / 6
    keep = (middle >= center_thr) & (scores > 0)
    quad, scores, classes = quad[keep], scores[keep], classes[keep]
    # ties in the order of the peaks
    k = labels.shape[1]
    place = quad.new_tensor([k**3, k**2, k, 1])
    order = (quad * place).sum(1).argsort()
    best = scores[order].sort(descending=True, stable=True).indices
    order = order[best[:max_groups]]
    quad = quad[order]
    places = (cells + found.offsets)[points, quad]
    return Groups(
        boxes=boxes_of(places),
        scores=scores[order],
        labels=classes[order],
        points=places,
    )


def boxes_of(points: Tensor) -> Tensor:
    """Boxes (N, 4) that extreme points (N, 4, 2) span."""
    return torch.stack(
        (
            points[:, LEFT, 0],
            points[:, TOP, 1],
            points[:, RIGHT, 0],
            points[:, BOTTOM, 1],
        ),
        1,
    )


def both_directions(plain: Groups, mirrored: Groups, width: int) -> Groups:
    """Objects of an image and then those of its mirror image, in cells.

    Args:
        plain: Of the image.
        mirrored: Of the mirror image, in its own cells.
        width: Of the map.
    """
    boxes, points = mirror_rows(mirrored.boxes, mirrored.points, width)
    mirrored = mirrored._replace(boxes=boxes, points=points)
    return Groups(*map(torch.cat, zip(plain, mirrored, strict=True)))
