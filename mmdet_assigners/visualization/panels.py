"""The panels of an assignment image: the objects, and one pyramid level."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection

from ..analysis.assignment import ImageAssignment
from ..ops.anchor_match import IGNORED
from .canvas import draw_box, draw_boxes, draw_tag, show_image
from .colors import DARK, GRAY, INK, LIGHT, distinct_colors

_MAX_NUMBERS = 300
_DOTTED: dict[str, Any] = dict(lw=0.7, ls=(0, (1, 2)), alpha=0.8)


def draw_overview(axes: Axes, assignment: ImageAssignment) -> None:
    """Draw the image with its objects; dashed: no positives.

    They are numbered, unless there are so many that the numbers would hide
    them.
    """
    height, width = assignment.image.shape[:2]
    title = f'objects · input {width}x{height}'
    _prepare(axes, assignment, assignment.image, title, INK)
    boxes = assignment.boxes
    lost = assignment.counts().sum(1) == 0
    colors = distinct_colors(len(boxes))
    for own, style in ((lost, '--'), (~lost, '-')):
        draw_boxes(axes, boxes[own], colors[own], lw=1.3, ls=style, zorder=2)
    if len(boxes) > _MAX_NUMBERS:
        return
    # small objects last: their tags stay readable
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for i in np.argsort(-areas):
        draw_tag(
            axes,
            np.clip(boxes[i, 0], 2, width * 0.97),
            np.clip(boxes[i, 1], 2, height * 0.95),
            str(i),
            colors[i],
            fontsize=5.5,
            weight='bold',
            va='top',
        )


def draw_level(axes: Axes, assignment: ImageAssignment, level: int) -> None:
    """Draw the positives and the ignored priors of one level."""
    here = assignment.level == level
    positive = here & assignment.positive
    stride = assignment.stride[here][0]
    title = (
        f'{assignment.level_names[level]} · stride {stride:g} · '
        f'{positive.sum()} positives'
    )
    gray = assignment.image.astype(np.float32).mean(2, keepdims=True)
    pale = np.repeat(185 + gray * 0.27, 3, 2).astype(np.uint8)
    _prepare(axes, assignment, pale, title, INK if positive.any() else GRAY)
    colors = distinct_colors(len(assignment.boxes))
    present = assignment.counts()[:, level] > 0
    for own, style in ((~present, _DOTTED), (present, dict(lw=1.3))):
        draw_boxes(axes, assignment.boxes[own], colors[own], zorder=2, **style)
    _draw_priors(axes, assignment, here)


def _draw_priors(
    axes: Axes, assignment: ImageAssignment, here: np.ndarray
) -> None:
    """Positives as discs, ignored priors as crosses, of the priors ``here``.

    Args:
        axes: Where to draw.
        assignment: P priors.
        here: (P,) bool, the priors of one level.
    """
    stride = assignment.stride[here]
    centers, spread = _spread(assignment.centers[here], stride)
    assigned_gt = assignment.assigned_gt[here]
    width = assignment.image.shape[1]
    # diameter in px of the image: about a cell, but always visible
    cell = np.clip(stride * 0.8 / spread, width / 130 / spread, width / 28)

    # crosses, whose size is given in points
    ignored = assigned_gt == IGNORED
    inches = axes.get_window_extent().width / axes.figure.dpi
    to_points = inches * 72 / width
    sizes = np.clip(cell[ignored] * to_points * 0.7, 1.1, 4.5)
    axes.scatter(
        centers[ignored, 0],
        centers[ignored, 1],
        s=sizes**2,
        c=DARK,
        marker='x',
        linewidths=np.where(sizes < 2, 0.3, 0.5),
        alpha=0.6,
        zorder=3,
    )

    # discs, whose size and opacity grow with the weight; the largest last
    positive = assigned_gt >= 0
    weight = np.clip(assignment.weight[here][positive], 0, 1)
    size = cell[positive] * np.sqrt(0.15 + 0.85 * weight)
    size = np.maximum(size, width / 220)
    color = distinct_colors(len(assignment.boxes))[assigned_gt[positive]]
    fill = np.column_stack([color, 0.4 + 0.6 * weight])
    order = np.argsort(weight)
    axes.add_collection(
        EllipseCollection(
            size[order],
            size[order],
            np.zeros(len(order)),
            units='xy',
            offsets=centers[positive][order],
            offset_transform=axes.transData,
            facecolors=fill[order],
            edgecolors='white',
            linewidths=np.where(size[order] > width / 90, 0.5, 0.0),
            zorder=4,
        )
    )


def _spread(centers: np.ndarray, stride: np.ndarray) -> tuple[np.ndarray, int]:
    """Move A priors with one center onto a k x k grid, k = ceil(sqrt(A)).

    Args:
        centers: (N, 2) in px.
        stride: (N,) size of the cells in px.

    Returns:
        tuple: The moved centers (N, 2), and k.
    """
    # (N,) index of the place of each prior
    _, place, counts = np.unique(
        centers.round(2), axis=0, return_inverse=True, return_counts=True
    )
    place = place.reshape(-1)  # numpy 2.0 returns another shape
    side = math.ceil(math.sqrt(counts.max(initial=1)))
    if side == 1:
        return centers, 1
    # (N,) number of each prior within its place
    order = np.argsort(place, kind='stable')
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank: np.ndarray = np.empty(len(centers), dtype=int)
    rank[order] = np.arange(len(centers)) - np.repeat(first, counts)
    # column and row of this number in the grid, around 0
    offset = np.column_stack([rank % side, rank // side])
    offset = (offset - (side - 1) / 2) / side * stride[:, None] * 0.85
    return centers + offset, side


def _prepare(
    axes: Axes,
    assignment: ImageAssignment,
    image: np.ndarray,
    title: str,
    color: str,
) -> None:
    show_image(axes, image)
    axes.set_title(title, fontsize=8, color=color, pad=3, loc='left')
    for spine in axes.spines.values():
        spine.set_color(LIGHT)
        spine.set_linewidth(0.6)
    for box in assignment.ignored_boxes:
        draw_box(axes, box, ec=DARK, lw=0.6, hatch='////', alpha=0.6)
