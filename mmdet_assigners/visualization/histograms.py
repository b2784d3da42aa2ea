"""Histograms of one assignment: positives per object, their weights."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..analysis.rows import AssignmentRow

_BAR, _WARN, _GRAY = '#5b7fb4', '#c8322b', '#7a7f87'
EDGES = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_BINS = 10


def object_histogram(totals: np.ndarray) -> np.ndarray:
    """Objects by their number of positives.

    Args:
        totals: Positives of each object (G,).

    Returns:
        Objects from each of ``EDGES`` to the next: with 0, 1, 2 to 3, 4 to
        7, ..., and 128 or more positives.
    """
    return np.histogram(totals, [*EDGES, np.inf])[0]


def weight_histogram(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives by weight.

    Args:
        weights: Of the positives (N,), at least 0.

    Returns:
        Edges of ten bins from 0 to 1, or to the largest weight if that is
        more, and the number in each.
    """
    top = max(1.0, float(weights.max(initial=0)))
    counts, edges = np.histogram(weights, _BINS, (0, top))
    return edges, counts


def draw_object_histogram(axes: Axes, row: AssignmentRow) -> None:
    """Draw how many objects have how many positives; none in red."""
    counts = object_histogram(row.counts().sum(1))
    places = range(len(EDGES))
    colors = [_WARN, *[_BAR] * (len(EDGES) - 1)]
    axes.bar(places, counts, color=colors, width=0.85)
    axes.set_xticks(places, [str(edge) for edge in EDGES])
    _style(axes, 'objects by number of positives (at least)')
    for i, count in enumerate(counts):
        if count:
            axes.text(
                i, count, str(count), ha='center', va='bottom', fontsize=6
            )


def draw_weight_histogram(axes: Axes, row: AssignmentRow) -> None:
    """Draw how many positives have which weight."""
    edges, counts = weight_histogram(row.weight[row.assigned_gt >= 0])
    axes.bar(
        edges[:-1], counts, np.diff(edges) * 0.9, align='edge', color=_BAR
    )
    axes.set_xlim(0, float(edges[-1]))
    _style(axes, 'positives by weight')


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=7.5, color=_GRAY, loc='left', pad=8)
    axes.tick_params(labelsize=6, length=2, color=_GRAY)
    axes.margins(y=0.15)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
