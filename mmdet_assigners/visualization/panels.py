"""The panels of an assignment image: objects, and one pyramid level."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.patches import Rectangle

from ..analysis.rows import AssignmentRow, object_colors

INK, GRAY, DARK = '#1c1f24', '#7a7f87', '#44484f'


def draw_overview(axes: Axes, row: AssignmentRow) -> None:
    """Draw the image with its numbered objects; dashed: no positives."""
    _prepare(axes, row, row.image)
    height, width = row.image.shape[:2]
    axes.set_title(
        f'objects · input {width}x{height}',
        fontsize=8,
        color=INK,
        pad=3,
        loc='left',
    )
    lost = row.counts().sum(1) == 0
    colors = object_colors(len(row.boxes))
    for i, box in enumerate(row.boxes):
        _draw_box(axes, box, colors[i], 1.3, '--' if lost[i] else '-')
    # small objects last: their tags stay readable
    areas = np.prod(row.boxes[:, 2:] - row.boxes[:, :2], axis=1)
    for i in np.argsort(-areas):
        x, y = row.boxes[i, :2]
        axes.text(
            np.clip(x, 2, width * 0.97),
            np.clip(y, 2, height * 0.95),
            str(i),
            fontsize=5.5,
            color='white',
            va='top',
            ha='left',
            weight='bold',
            clip_on=True,
            bbox=dict(fc=colors[i], ec='none', pad=0.8, alpha=0.9),
        )


def draw_level(axes: Axes, row: AssignmentRow, level: int) -> None:
    """Draw the positives and the ignored priors of one level."""
    gray = row.image.astype(np.float32).mean(2, keepdims=True)
    _prepare(axes, row, np.repeat(185 + gray * 0.27, 3, 2).astype(np.uint8))
    here = row.level == level
    positive = here & (row.assigned_gt >= 0)
    stride = row.stride[here][0]
    axes.set_title(
        f'{row.level_names[level]} · stride {stride:g} · '
        f'{positive.sum()} positives',
        fontsize=8,
        color=INK if positive.any() else GRAY,
        pad=3,
        loc='left',
    )
    colors = object_colors(len(row.boxes))
    present = np.unique(row.assigned_gt[positive])
    for i, box in enumerate(row.boxes):
        if i in present:
            _draw_box(axes, box, colors[i], 1.3, '-')
        else:
            _draw_box(axes, box, colors[i], 0.7, (0, (1, 2)), alpha=0.8)
    _draw_priors(axes, row, here)


def _draw_priors(axes: Axes, row: AssignmentRow, here: np.ndarray) -> None:
    """Positives as discs, ignored priors as crosses, all on one level."""
    index = np.flatnonzero(here)
    centers, spread = _spread(row.centers[index], row.stride[index])
    assigned_gt = row.assigned_gt[index]
    width = row.image.shape[1]
    # in px of the image: of the order of a cell, yet always visible
    cell = row.stride[index] * 0.8 / spread
    cell = np.clip(cell, width / 130 / spread, width / 28)

    ignored = assigned_gt == -2
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

    positive = assigned_gt >= 0
    weight = np.clip(row.weight[index][positive], 0, 1)
    size = cell[positive] * np.sqrt(0.15 + 0.85 * weight)
    size = np.maximum(size, width / 220)
    fill = np.column_stack(
        [
            object_colors(len(row.boxes))[assigned_gt[positive]],
            0.4 + 0.6 * weight,
        ]
    )
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
    """Move A priors with one center onto a k x k grid, k = ceil(sqrt(A))."""
    _, inverse, counts = np.unique(
        centers.round(2), axis=0, return_inverse=True, return_counts=True
    )
    inverse = inverse.reshape(-1)  # numpy 2.0 shapes it otherwise
    side = math.ceil(math.sqrt(counts.max(initial=1)))
    if side == 1:
        return centers, 1
    order = np.argsort(inverse, kind='stable')
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank: np.ndarray = np.empty(len(centers), dtype=int)
    rank[order] = np.arange(len(centers)) - np.repeat(first, counts)
    offset = np.column_stack([rank % side, rank // side])
    offset = (offset - (side - 1) / 2) / side * stride[:, None] * 0.85
    return centers + offset, side


def _prepare(axes: Axes, row: AssignmentRow, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    axes.imshow(
        image, extent=(0, width, height, 0), interpolation='antialiased'
    )
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color('#c9ccd1')
        spine.set_linewidth(0.6)
    for x1, y1, x2, y2 in row.ignored_boxes:
        axes.add_patch(
            Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                ec=DARK,
                lw=0.6,
                hatch='////',
                alpha=0.6,
            )
        )


def _draw_box(
    axes: Axes,
    box: np.ndarray,
    color: np.ndarray,
    width: float,
    style: str | tuple,
    alpha: float = 1.0,
) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(
        Rectangle(
            (x1, y1),
            x2 - x1,
            y2 - y1,
            fill=False,
            ec=color,
            lw=width,
            ls=style,
            alpha=alpha,
            zorder=2,
        )
    )
