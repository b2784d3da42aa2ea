"""The table beside the images: positives per object and level."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

_INK, _GRAY, _WARN = '#1c1f24', '#7a7f87', '#c8322b'
_LINE = (0.11, 0.2)  # height of a line in inches, least and most
_NAME_SHARE = 0.38


@dataclass
class CountTable:
    """Positives of G objects on L levels; the legend of the colors.

    Objects are sorted from small to large. Where they don't fit, lines are
    classes instead.

    Attributes:
        counts: Positives (G, L).
        levels: Names of the levels (L,).
        labels: Class of each object (G,).
        class_names: Names by label.
        areas: Area of each object (G,), px^2.
        colors: Color of each object (G, 3).
    """

    counts: np.ndarray
    levels: Sequence[str]
    labels: np.ndarray
    class_names: Sequence[str]
    areas: np.ndarray
    colors: np.ndarray

    def lines(
        self, limit: int
    ) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
        """At most ``limit`` lines: name, counts (L,), color or None."""
        if len(self.labels) <= limit:
            return [
                (
                    f'{i}  {self.class_names[self.labels[i]]}',
                    self.counts[i],
                    self.colors[i],
                )
                for i in np.argsort(self.areas, kind='stable')
            ]
        classes, sizes = np.unique(self.labels, return_counts=True)
        order = np.argsort(-sizes, kind='stable')
        shown, rest = classes[order], classes[:0]
        if len(shown) > limit:
            shown, rest = shown[: limit - 1], shown[limit - 1 :]
        lines: list[tuple[str, np.ndarray, np.ndarray | None]] = []
        for label in shown:
            mine = self.labels == label
            name = f'{self.class_names[label]} x{mine.sum()}'
            lines.append((name, self.counts[mine].sum(0), None))
        if len(rest):
            mine = np.isin(self.labels, rest)
            name = f'{len(rest)} more classes x{mine.sum()}'
            lines.append((name, self.counts[mine].sum(0), None))
        return lines

    def draw(self, axes: Axes, width: float, height: float) -> None:
        """Fill axes that are ``width`` x ``height`` inches."""
        axes.axis('off')
        limit = max(1, int(height / _LINE[0]) - 2)  # head and sum
        lines = self.lines(limit)
        line = float(np.clip(height / (len(lines) + 2), *_LINE))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        size = min(8.0, line * 72 * 0.62)
        start = width * _NAME_SHARE
        step = (width - start) / (len(self.levels) + 1)
        columns = start + step * (np.arange(len(self.levels) + 1) + 0.5)

        def text(x: float, y: float, value: str, **style: Any) -> None:
            style = dict(ha='center', color=_INK, fontsize=size) | style
            axes.text(x, y, value, va='center', fontdict=style)

        middle = line / 2
        text(0, middle, 'object', ha='left', color=_GRAY)
        for x, name in zip(columns, [*self.levels, 'sum'], strict=True):
            text(x, middle, name, color=_GRAY)
        most = max(1, self.counts.max(initial=1))
        for i, (name, counts, color) in enumerate(lines):
            y = line * (i + 1.5)
            if color is not None:
                axes.add_patch(
                    Rectangle(
                        (0, y - line * 0.36),
                        line * 0.72,
                        line * 0.72,
                        fc=color,
                        ec='none',
                    )
                )
            text(line, y, _short(name, start - line, size), ha='left')
            for x, count in zip(columns, counts, strict=False):
                share = np.log1p(count) / np.log1p(most)
                if count:
                    axes.add_patch(
                        Rectangle(
                            (x - step * 0.46, y - line * 0.44),
                            step * 0.92,
                            line * 0.88,
                            ec='none',
                            fc='#5b7fb4' if color is None else color,
                            alpha=0.12 + 0.4 * min(1.0, share),
                        )
                    )
                text(
                    x,
                    y,
                    str(count) if count else '·',
                    color=_INK if count else '#b4b8be',
                )
            total = int(counts.sum())
            text(
                columns[-1],
                y,
                str(total),
                weight='bold',
                color=_INK if total else _WARN,
            )
        y = line * (len(lines) + 1.5)
        axes.plot([0, width], [y - line / 2] * 2, color=_GRAY, lw=0.6)
        text(0, y, 'sum', ha='left', color=_GRAY)
        sums = [*self.counts.sum(0), self.counts.sum()]
        for x, count in zip(columns, sums, strict=True):
            text(x, y, str(count), weight='bold')


def _short(name: str, width: float, size: float) -> str:
    """Cut a name to about ``width`` inches at a font size in points."""
    letters = max(4, int(width * 72 / (size * 0.56)))
    return name if len(name) <= letters else name[: letters - 1] + '…'
