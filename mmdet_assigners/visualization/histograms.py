"""Histograms of one assignment: positives per object, their weights."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..analysis.assignment import ImageAssignment
from ..analysis.statistics import (
    OBJECT_EDGES,
    object_histogram,
    weight_histogram,
)
from .colors import ALERT, GRAY, MAIN


def draw_object_histogram(axes: Axes, assignment: ImageAssignment) -> None:
    """Draw how many objects have how many positives; none in red."""
    counts = object_histogram(assignment.counts().sum(1))
    places = range(len(counts))
    colors = [ALERT, *[MAIN] * (len(counts) - 1)]
    axes.bar(places, counts, color=colors, width=0.85)
    axes.set_xticks(places, [str(edge) for edge in OBJECT_EDGES])
    _style(axes, 'objects by number of positives (at least)')
    for i, count in enumerate(counts):
        if count:
            axes.text(
                i, count, str(count), ha='center', va='bottom', fontsize=6
            )


def draw_weight_histogram(axes: Axes, assignment: ImageAssignment) -> None:
    """Draw how many positives have which weight."""
    edges, counts = weight_histogram(assignment.weight[assignment.positive])
    width = np.diff(edges) * 0.9
    axes.bar(edges[:-1], counts, width, align='edge', color=MAIN)
    axes.set_xlim(0, float(edges[-1]))
    _style(axes, 'positives by weight')


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=7.5, color=GRAY, loc='left', pad=8)
    axes.tick_params(labelsize=6, length=2, color=GRAY)
    axes.margins(y=0.15)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
