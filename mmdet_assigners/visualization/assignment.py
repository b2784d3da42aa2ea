"""Draw assignments: a row per config, a panel per pyramid level."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..analysis.assignment import ImageAssignment
from ..ops.anchor_match import IGNORED
from .canvas import DPI, new_figure, write_png
from .colors import GRAY, INK
from .count_table import draw_count_table
from .histograms import draw_object_histogram, draw_weight_histogram
from .panels import draw_level, draw_overview

# inches
_PANEL = (3.3, 2.9)  # maximum width and height
_SINGLE_PANEL = (4.4, 3.9)
_MIN_WIDTH = 2.0  # room for the title of a panel
_TABLE_WIDTH = 3.5
_HISTOGRAM = (2.5, 1.5)  # width and maximum height
_MARGIN, _GAP = 0.2, 0.1
_HEADER, _PANEL_TITLE, _FOOTER = 0.7, 0.24, 0.34


def draw_assignments(
    rows: Sequence[ImageAssignment],
    class_names: Sequence[str],
    out: str | Path,
) -> Path:
    """Draw the assignments of one image and write them as PNG.

    One config fills a grid of three columns; several are drawn below each
    other, one row each. Positives are discs at the centers of their priors in
    the color of their object, larger and more opaque with their weight;
    ignored priors are gray crosses. A box is solid on the levels where its
    object has positives and dotted elsewhere. Priors that share a center are
    spread over a small grid around it. The counts and two histograms are on
    the right.

    Args:
        rows: One entry per config.
        class_names: Names of the classes, by label.
        out: PNG file; written completely or not at all.

    Returns:
        Path of the file.

    Raises:
        ValueError: There are no rows, or ``out`` doesn't end in ``.png``.
    """
    return write_png(render(rows, class_names), out)


def render(
    rows: Sequence[ImageAssignment],
    class_names: Sequence[str],
    dpi: int = DPI,
) -> Figure:
    """The figure of :func:`draw_assignments`.

    Args:
        rows: One entry per config.
        class_names: Names of the classes, by label.
        dpi: Pixels per inch.

    Raises:
        ValueError: There are no rows.
    """
    if not rows:
        raise ValueError('rows is empty: nothing to draw')
    # inches: panels, then the block of each row, then the whole image
    panels = max(row.num_levels for row in rows) + 1
    columns = min(panels, 3) if len(rows) == 1 else panels
    width = _panel_width(rows)
    lines = [math.ceil((row.num_levels + 1) / columns) for row in rows]
    heights = [width * r.image.shape[0] / r.image.shape[1] for r in rows]
    blocks = [
        _HEADER + n * (_PANEL_TITLE + h + _GAP)
        for n, h in zip(lines, heights, strict=True)
    ]
    total_width = 2 * _MARGIN + columns * (width + _GAP)
    total_width += _TABLE_WIDTH + _HISTOGRAM[0]
    total_height = 2 * _MARGIN + sum(blocks) + _FOOTER
    figure = new_figure(total_width, total_height, dpi=dpi)

    def place(x: float, top: float, w: float, h: float) -> Axes:
        """Axes by their upper left corner, in inches from the top left."""
        box = (
            x / total_width,
            1 - (top + h) / total_height,
            w / total_width,
            h / total_height,
        )
        return figure.add_axes(box)

    # each row: header, panels, then count table and histograms on the right
    top = _MARGIN
    for row, block, height in zip(rows, blocks, heights, strict=True):
        _draw_header(place(_MARGIN, top, total_width, _HEADER), row)
        for i in range(row.num_levels + 1):
            line, column = divmod(i, columns)
            x = _MARGIN + column * (width + _GAP)
            y = top + _HEADER + line * (_PANEL_TITLE + height + _GAP)
            axes = place(x, y + _PANEL_TITLE, width, height)
            if i == 0:
                draw_overview(axes, row)
            else:
                draw_level(axes, row, i - 1)
        x = _MARGIN + columns * (width + _GAP) + _GAP
        y, h = top + _HEADER, block - _HEADER - _GAP
        table = place(x, y, _TABLE_WIDTH - _GAP, h)
        draw_count_table(table, row, class_names, _TABLE_WIDTH - _GAP, h)
        x += _TABLE_WIDTH + 3 * _GAP
        _draw_histograms(place, x, y, h, row)
        top += block
    _draw_footer(place(_MARGIN, top, total_width, _FOOTER))
    return figure


def _draw_histograms(
    place: Callable[[float, float, float, float], Axes],
    x: float,
    y: float,
    height: float,
    row: ImageAssignment,
) -> None:
    """Two histograms below each other, ``height`` inches in all."""
    width = _HISTOGRAM[0] - 4 * _GAP
    each = min(_HISTOGRAM[1], height / 2 - 0.56)
    if each < 0.3:
        return  # too flat
    draw_object_histogram(place(x, y + 0.24, width, each), row)
    draw_weight_histogram(place(x, y + 0.8 + each, width, each), row)


def _panel_width(rows: Sequence[ImageAssignment]) -> float:
    """Width in inches, smaller for upright images."""
    width, height = _SINGLE_PANEL if len(rows) == 1 else _PANEL
    aspect = max(row.image.shape[1] / row.image.shape[0] for row in rows)
    return max(min(width, height * aspect), _MIN_WIDTH)


def _draw_header(axes: Axes, row: ImageAssignment) -> None:
    axes.axis('off')
    place: dict[str, Any] = dict(va='top', transform=axes.transAxes)
    axes.text(
        0, 0.78, row.name, fontsize=12, weight='bold', color=INK, **place
    )
    ignored = int((row.assigned_gt == IGNORED).sum())
    facts = (
        f'{row.headline()} · {ignored} ignored · {len(row.priors)} priors · '
        f'{row.description}'
    )
    axes.text(0, 0.34, facts, fontsize=8.5, color=GRAY, **place)


def _draw_footer(axes: Axes) -> None:
    axes.axis('off')
    text = (
        'Discs: positive priors in the color of their object, larger and '
        'stronger with their loss weight (several anchors of one place side '
        'by side). Crosses: ignored. Boxes: solid where the object has '
        'positives on this level, dotted where not; hatched: ignored region.'
    )
    axes.text(
        0,
        0.5,
        text,
        fontsize=7.5,
        color=GRAY,
        va='center',
        transform=axes.transAxes,
    )
