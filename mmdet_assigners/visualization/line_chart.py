"""Line charts as SVG, colored by the style sheet of their page."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from .colors import SERIES_DARK, SERIES_LIGHT

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 22, 12, 40
_COLORS = len(SERIES_LIGHT)
_DASHES = ('', '6 4', '2 3', '10 3 2 3')

STYLE = (
    """
svg { width: 100%; max-width: 640px; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--gray); }
svg .grid { stroke: var(--light); stroke-width: 1; }
svg polyline { fill: none; stroke-width: 2; stroke: var(--line); }
svg circle { fill: var(--line); }
.legend { list-style: none; margin: 4px 0 0; padding: 0; font-size: 13px; }
.legend li { display: inline-flex; align-items: center; gap: 6px;
  margin: 2px 16px 2px 0; overflow-wrap: anywhere; }
.legend svg { width: 26px; height: 8px; flex: none; }
"""
    + '\n'.join(
        f'.s{i} {{ --line: {color}; }}' for i, color in enumerate(SERIES_LIGHT)
    )
    + '\n@media (prefers-color-scheme: dark) {\n'
    + '\n'.join(
        f'.s{i} {{ --line: {color}; }}' for i, color in enumerate(SERIES_DARK)
    )
    + '\n}\n'
)


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        name: In the legend.
        x: Where.
        y: Values; None leaves a gap.
        mark: Whether the points are marked.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    mark: bool = True


def line_chart(series: Sequence[Series], x_label: str, y_label: str) -> str:
    """An SVG with its legend; empty if there is nothing to draw.

    Args:
        series: The lines; colors and dashes follow their order.
        x_label: Name of the axis.
        y_label: Name of the axis.
    """
    points = [
        (x, y)
        for one in series
        for x, y in zip(one.x, one.y, strict=True)
        if y is not None
    ]
    if not points:
        return ''
    x_ticks = _ticks([x for x, _ in points], whole=True)
    y_ticks = _ticks([y for _, y in points])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return (
            round(_LEFT + across * (_WIDTH - _LEFT - _RIGHT), 1),
            round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1),
        )

    parts = []
    for tick in y_ticks:
        left, y = place(x_ticks[0], tick)
        parts.append(
            f'<line class="grid" x1="{left}" x2="{_WIDTH - _RIGHT}" y1="{y}" '
            f'y2="{y}"/><text x="{left - 6}" y="{y + 4}" '
            f'text-anchor="end">{tick:g}</text>'
        )
    for tick in x_ticks:
        x, bottom = place(tick, y_ticks[0])
        parts.append(
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">'
            f'{tick:g}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f'{html.escape(x_label)}</text>'
    )
    for index, one in enumerate(series):
        parts += _line(index, one, place)
    label = html.escape(f'{y_label} over {x_label}')
    svg = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )
    title = f'<figcaption>{html.escape(y_label)}</figcaption>'
    return f'<figure>{title}{svg}{_legend(series)}</figure>'


def _line(index: int, one: Series, place) -> list[str]:  # type: ignore[no-untyped-def]
    parts, run = [], []
    for x, y in [*zip(one.x, one.y, strict=True), (0, None)]:
        if y is not None:
            run.append((x, y))
            continue
        if len(run) > 1:
            text = ' '.join('{},{}'.format(*place(*point)) for point in run)
            parts.append(f'<polyline points="{text}"{_dash(index)}/>')
        for point in run if one.mark or len(run) == 1 else ():
            cx, cy = place(*point)
            tip = html.escape(f'{one.name}: {point[1]:.4g} at {point[0]:g}')
            parts.append(
                f'<circle cx="{cx}" cy="{cy}" r="3"><title>{tip}</title>'
                '</circle>'
            )
        run = []
    return [f'<g class="s{index % _COLORS}">', *parts, '</g>']


def _dash(index: int) -> str:
    dash = _DASHES[index // _COLORS % len(_DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ''


def _legend(series: Sequence[Series]) -> str:
    items = ''.join(
        f'<li class="s{i % _COLORS}"><svg viewBox="0 0 26 8" '
        f'aria-hidden="true"><polyline points="0,4 26,4"{_dash(i)}/></svg>'
        f'{html.escape(one.name)}</li>'
        for i, one in enumerate(series)
    )
    return f'<ul class="legend">{items}</ul>'


def _ticks(values: Sequence[float], whole: bool = False) -> list[float]:
    """Round numbers at equal distances around values."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (1 if whole else 0.5), high + (1 if whole else 0.5)
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    step = max(step, 1) if whole else step
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]
