"""Draw heat maps: a row per class, targets and predictions of each map."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.heatmaps import ImageHeatmaps
from .canvas import DPI, draw_box, new_figure, show_image, write_png
from .colors import GRAY, INK, LIGHT, distinct_colors

MAX_CLASSES = 4
SHOWN = 0.3  # score of the detections that are drawn
# inches
_WIDTH, _TITLE, _HEADER, _MARGIN, _GAP = 2.6, 0.24, 0.5, 0.2, 0.1


def draw_heatmaps(
    row: ImageHeatmaps, class_names: list[str] | tuple, out: str | Path
) -> Path:
    """Draw the heat maps of an image and write them as PNG.

    The first line has the objects, and the detections above a score of 0.3:
    boxes, and the quadrilateral of their extreme points where they have some.
    Below it there are two lines for each class of the image, with all maps:
    targets, and predictions; at most for the four classes with most objects.
    Crosses mark the corners, extreme points and
    centers of the objects.

    Args:
        row: Heat maps of the image.
        class_names: Names of the classes, by label.
        out: PNG file; written completely or not at all.

    Returns:
        Path of the file.

    Raises:
        ValueError: ``out`` doesn't end in ``.png``.
    """
    return write_png(render(row, class_names), out)


def render(
    row: ImageHeatmaps, class_names: list[str] | tuple, dpi: int = DPI
) -> Figure:
    """The figure of :func:`draw_heatmaps`.

    Args:
        row: Heat maps of the image.
        class_names: Names of the classes, by label.
        dpi: Pixels per inch.
    """
    labels, counts = np.unique(row.labels, return_counts=True)
    classes = len(labels)
    labels = labels[np.argsort(-counts, kind='stable')][:MAX_CLASSES]
    columns, lines = max(2, len(row.maps)), 1 + 2 * len(labels)
    height = _WIDTH * row.image.shape[0] / row.image.shape[1]
    step = _TITLE + height + _GAP
    total = (
        2 * _MARGIN + columns * (_WIDTH + _GAP),
        2 * _MARGIN + _HEADER + lines * step,
    )
    figure = new_figure(*total, dpi=dpi)

    def place(line: int, column: int) -> Axes:
        x = _MARGIN + column * (_WIDTH + _GAP)
        y = _MARGIN + _HEADER + line * step + _TITLE
        bottom = 1 - (y + height) / total[1]
        return figure.add_axes(
            (x / total[0], bottom, _WIDTH / total[0], height / total[1])
        )

    weights = 'given weights' if row.trained else 'an UNTRAINED network'
    left, top = _MARGIN / total[0], 1 - _MARGIN / total[1]
    style: dict[str, Any] = dict(va='top', color=INK)
    figure.text(left, top, row.name, fontsize=8.5, weight='bold', **style)
    style = style | dict(color=GRAY)
    top -= 0.2 / total[1]
    note = f'predictions of {weights}'
    if classes > MAX_CLASSES:
        note += f'; maps of {MAX_CLASSES} of {classes} classes'
    figure.text(left, top, note, fontsize=7.5, **style)
    _draw_objects(place(0, 0), row, class_names)
    _draw_detections(place(0, 1), row, class_names)
    for i, label in enumerate(labels):
        name = class_names[label]
        for j, title in enumerate(row.maps):
            for k, (kind, maps) in enumerate(
                (('target', row.targets), ('predicted', row.predictions))
            ):
                heat = maps[j, label]
                text = f'{name} · {title} · {kind}, max {heat.max():.2f}'
                axes = place(1 + 2 * i + k, j)
                _draw_map(axes, row, heat, text)
                _mark(axes, row.points[j][row.labels == label])
    return figure


def _prepare(axes: Axes, row: ImageHeatmaps, title: str, pale: bool) -> None:
    image = row.image
    if pale:
        gray = image.astype(np.float32).mean(2, keepdims=True)
        image = np.repeat(185 + gray * 0.27, 3, 2).astype(np.uint8)
    show_image(axes, image)
    axes.set_title(title, fontsize=6.5, color=INK, pad=3, loc='left')
    for spine in axes.spines.values():
        spine.set_color(LIGHT)


def _draw_objects(
    axes: Axes, row: ImageHeatmaps, class_names: list[str] | tuple
) -> None:
    height, width = row.image.shape[:2]
    title = f'{len(row.boxes)} objects · input {width}x{height}'
    _prepare(axes, row, title, False)
    colors = distinct_colors(len(class_names))
    for box, label in zip(row.boxes, row.labels, strict=True):
        draw_box(axes, box, ec=colors[label], lw=1.2)
    for points in row.points:
        _mark(axes, points)


def _draw_detections(
    axes: Axes, row: ImageHeatmaps, class_names: list[str] | tuple
) -> None:
    shown = np.flatnonzero(row.found['scores'] >= SHOWN)
    _prepare(axes, row, f'{len(shown)} detections from {SHOWN}', False)
    colors = distinct_colors(len(class_names))
    for i in shown[::-1]:  # the best on top
        color = colors[row.found['labels'][i]]
        draw_box(axes, row.found['bboxes'][i], ec=color, lw=1.2)
        if 'extreme_points' in row.found:
            # top, left, bottom, right: once around
            points = row.found['extreme_points'][i]
            axes.fill(
                *points.T, fill=False, ec=color, lw=0.9, ls='--', zorder=3
            )
            axes.scatter(
                points[:, 0], points[:, 1], s=7, color=[color], zorder=4
            )


def _draw_map(
    axes: Axes, row: ImageHeatmaps, heat: np.ndarray, title: str
) -> None:
    _prepare(axes, row, title, True)
    height, width = row.size
    limits = axes.get_xlim(), axes.get_ylim()
    axes.imshow(
        heat,
        extent=(0, width, height, 0),
        cmap='inferno',
        vmin=0,
        vmax=1,
        # what is zero leaves the image as it is
        alpha=np.clip(heat * 3, 0, 0.85),
        interpolation='nearest',
    )
    axes.set(xlim=limits[0], ylim=limits[1])


def _mark(axes: Axes, points: np.ndarray) -> None:
    """Crosses at points (G, 2)."""
    x, y = points.T
    axes.scatter(x, y, s=9, c='white', marker='+', linewidths=1.4)
    axes.scatter(x, y, s=6, c=GRAY, marker='+', linewidths=0.5)
