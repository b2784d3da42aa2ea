"""Extreme points of annotations: polygons, masks and boxes.

Source: arXiv 1901.08043, tools of xingyizhou/ExtremeNet.
"""

import functools
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from pycocotools import mask as rle
from torch import Tensor

TOLERANCE = 0.02  # of the box, within which vertices are on one edge
TOP, LEFT, BOTTOM, RIGHT = range(4)
# the points after a flip
MIRRORED = [TOP, RIGHT, BOTTOM, LEFT]
UPSIDE_DOWN = [BOTTOM, LEFT, TOP, RIGHT]


def extreme_points(
    vertices: np.ndarray, tolerance: float = TOLERANCE
) -> np.ndarray:
    """Extreme points of an outline.

    Each is the middle of the run of vertices around the first most extreme
    one that are almost as extreme.

    Args:
        vertices: (K, 2) x, y in pixels, K >= 1; polygons of several parts one
            after the other.
        tolerance: What is almost, relative to the box.

    Returns:
        Shape (4, 2), int32, x, y of the top, left, bottom and right point.
    """
    low, high = vertices.min(0), vertices.max(0)
    near = tolerance * (high - low + 1)
    # the outline is closed by one vertex on each side
    ring = np.concatenate((vertices[-1:], vertices, vertices[:1]))
    points = np.empty((4, 2))
    for point, axis, sign in (
        (TOP, 1, 1),
        (LEFT, 0, 1),
        (BOTTOM, 1, -1),
        (RIGHT, 0, -1),
    ):
        distance = sign * ring[:, axis]
        first = distance.argmin()
        outside = np.flatnonzero(distance - distance[first] > near[axis])
        start, stop = np.searchsorted(outside, first) + np.array([-1, 0])
        start = outside[start] + 1 if start >= 0 else 0
        stop = outside[stop] if stop < len(outside) else len(ring)
        run = ring[start:stop, 1 - axis]
        points[point, axis] = ring[first, axis]
        points[point, 1 - axis] = (run.max() + run.min()) // 2
    return points.astype(np.int32)


def outline(segmentation: Any) -> np.ndarray | None:
    """Vertices of a segmentation in COCO format.

    Args:
        segmentation: A list of polygons, each a flat list x, y, x, y, ... in
            pixels; or an RLE dict.

    Returns:
        Vertices (K, 2), of an RLE all pixels; None if there is nothing.

    Raises:
        TypeError: It is something else.
        ValueError: A polygon is not pairs of finite numbers, or a key of the
            RLE is missing.
    """
    if isinstance(segmentation, Mapping):
        if not {'size', 'counts'} <= segmentation.keys():
            raise ValueError(
                "an RLE must have 'size' and 'counts', got "
                f'{list(segmentation)}'
            )
        if isinstance(segmentation['counts'], list):
            segmentation = rle.frPyObjects(
                dict(segmentation), *segmentation['size']
            )
        rows, columns = np.nonzero(rle.decode(dict(segmentation)))
        vertices = np.stack((columns, rows), 1)
    elif isinstance(segmentation, list):
        parts = [_vertices(part) for part in segmentation]
        vertices = np.concatenate(parts) if parts else np.empty((0, 2))
    else:
        raise TypeError(
            'a segmentation must be a list of polygons or an RLE dict, got '
            f'{type(segmentation).__name__}'
        )
    return vertices if len(vertices) else None


def _vertices(polygon: Any) -> np.ndarray:
    """Vertices (K, 2) of one part."""
    numbers = np.asarray(polygon, float)
    if numbers.size % 2 or not np.isfinite(numbers).all():
        raise ValueError(
            'a polygon must be finite numbers x, y, x, y, ..., got '
            f'{numbers.size}: {numbers.ravel()[:8].tolist()}'
        )
    return numbers.reshape(-1, 2)


def edge_midpoints(boxes: Tensor) -> Tensor:
    """Middles of the sides of boxes, where there are no extreme points.

    Args:
        boxes: (..., 4) x1, y1, x2, y2.

    Returns:
        Shape (..., 4, 2), x, y of the top, left, bottom and right one.
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    rows = (x, y1, x1, y, x, y2, x2, y)
    return torch.stack(rows, -1).unflatten(-1, (4, 2))


@functools.cache
def warn_of_midpoints() -> None:
    """Say once what takes the place of extreme points."""
    print_log(
        'objects without a mask are trained on the middles of the sides of '
        'their boxes, not on extreme points: this is not the supervision of '
        'ExtremeNet (LoadExtremePoints needs segmentations)',
        logger='current',
        level=logging.WARNING,
    )
