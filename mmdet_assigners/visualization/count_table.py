"""The table beside the panels: positives per object and level."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ..analysis.assignment import ImageAssignment
from .canvas import draw_box
from .colors import ALERT, GRAY, INK, LIGHT, MAIN, distinct_colors

_LINE = (0.11, 0.2)  # height of a line in inches, minimum and maximum
_NAME_SHARE = 0.38


class Line(NamedTuple):
    """One line of the table.

    Attributes:
        name: Of the object, or of its class.
        counts: Positives (L,).
        color: Of the object (3,); None for a class.
    """

    name: str
    counts: np.ndarray
    color: np.ndarray | None = None


def table_lines(
    assignment: ImageAssignment, class_names: Sequence[str], limit: int
) -> list[Line]:
    """The objects from small to large, or their classes if there are many.

    Args:
        assignment: G objects, L levels.
        class_names: Names of the classes, by label.
        limit: Maximum number of lines.
    """
    counts, labels = assignment.counts(), assignment.labels
    if len(labels) <= limit:
        colors = distinct_colors(len(labels))
        return [
            Line(f'{i}  {class_names[labels[i]]}', counts[i], colors[i])
            for i in np.argsort(assignment.areas, kind='stable')
        ]
    classes, sizes = np.unique(labels, return_counts=True)
    shown = classes[np.argsort(-sizes, kind='stable')]
    rest = shown[:0]
    if len(shown) > limit:
        shown, rest = shown[: limit - 1], shown[limit - 1 :]
    lines = []
    for label in shown:
        own = labels == label
        name = f'{class_names[label]} x{own.sum()}'
        lines.append(Line(name, counts[own].sum(0)))
    if len(rest):
        own = np.isin(labels, rest)
        name = f'{len(rest)} more classes x{own.sum()}'
        lines.append(Line(name, counts[own].sum(0)))
    return lines


def draw_count_table(
    axes: Axes,
    assignment: ImageAssignment,
    class_names: Sequence[str],
    width: float,
    height: float,
) -> None:
    """Draw the table, which is also the legend of the colors.

    Args:
        axes: Where to draw.
        assignment: G objects, L levels.
        class_names: Names of the classes, by label.
        width: Of the axes in inches.
        height: Of the axes in inches.
    """
    axes.axis('off')
    axes.set(xlim=(0, width), ylim=(height, 0))
    limit = max(1, int(height / _LINE[0]) - 2)  # two are header and sum
    lines = table_lines(assignment, class_names, limit)
    levels, counts = assignment.level_names, assignment.counts()
    # inches: height of a line, left side and width of the columns
    line = float(np.clip(height / (len(lines) + 2), *_LINE))
    start = width * _NAME_SHARE
    step = (width - start) / (len(levels) + 1)
    columns = start + step * (np.arange(len(levels) + 1) + 0.5)
    size = min(8.0, line * 72 * 0.62)

    def text(x: float, y: float, value: str, **style: Any) -> None:
        style = dict(ha='center', color=INK, fontsize=size) | style
        axes.text(x, y, value, va='center', fontdict=style)

    text(0, line / 2, 'object', ha='left', color=GRAY)
    for x, name in zip(columns, [*levels, 'sum'], strict=True):
        text(x, line / 2, name, color=GRAY)
    largest = max(1, counts.max(initial=1))
    for i, own in enumerate(lines):
        y = line * (i + 1.5)
        if own.color is not None:
            _fill(axes, 0, y, line * 0.72, line * 0.72, fc=own.color)
        text(line, y, _short(own.name, start - line, size), ha='left')
        color = MAIN if own.color is None else own.color
        for x, count in zip(columns[:-1], own.counts, strict=True):
            if not count:
                text(x, y, '·', color=LIGHT)
                continue
            share = min(1.0, np.log1p(count) / np.log1p(largest))
            left, alpha = x - step * 0.46, 0.12 + 0.4 * share
            _fill(
                axes, left, y, step * 0.92, line * 0.88, fc=color, alpha=alpha
            )
            text(x, y, str(count))
        total = own.counts.sum()
        color = INK if total else ALERT
        text(columns[-1], y, str(total), weight='bold', color=color)
    y = line * (len(lines) + 1.5)
    axes.plot([0, width], [y - line / 2] * 2, color=GRAY, lw=0.6)
    text(0, y, 'sum', ha='left', color=GRAY)
    for x, count in zip(columns, [*counts.sum(0), counts.sum()], strict=True):
        text(x, y, str(count), weight='bold')


def _fill(
    axes: Axes,
    left: float,
    y: float,
    width: float,
    height: float,
    **style: Any,
) -> None:
    """A filled box whose vertical center is ``y``."""
    box = np.array([left, y - height / 2, left + width, y + height / 2])
    draw_box(axes, box, fill=True, ec='none', **style)


def _short(name: str, width: float, size: float) -> str:
    """Cut a name to about ``width`` inches at a font size in points."""
    letters = max(4, int(width * 72 / (size * 0.56)))
    return name if len(name) <= letters else name[: letters - 1] + '…'
