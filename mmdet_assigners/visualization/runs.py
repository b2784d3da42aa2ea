"""Images of finished training runs: curves, detections."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .canvas import draw_box, draw_tag, new_figure, show_image, write_png
from .colors import distinct_colors

_DPI = 110


def plot_curves(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot mAP over epochs.

    Args:
        results: Label -> result of a run (see `experiments.execute`).
        path: PNG to write.
    """
    figure = new_figure(6, 4, dpi=_DPI, layout='constrained')
    axes = figure.add_subplot()
    colors = distinct_colors(len(results))
    for (label, result), color in zip(results.items(), colors, strict=True):
        curve = result['curve']
        epochs = range(1, len(curve) + 1)
        axes.plot(epochs, curve, marker='o', label=label, color=color)
    data = ', '.join(sorted({r['data'] for r in results.values()}))
    axes.set(xlabel='epoch', ylabel='mAP', title=f'small scale on {data}')
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    write_png(figure, path)


def plot_detections(
    images: Sequence[np.ndarray],
    columns: dict[str, Sequence[Any]],
    classes: Sequence[str],
    path: Path,
) -> None:
    """Draw boxes of several models side by side, a row per image.

    Args:
        images: RGB images, each (H, W, 3) uint8.
        columns: Title -> one ``InstanceData`` per image with ``bboxes``
            (N, 4) in pixels, ``labels`` (N,) and optionally ``scores`` (N,).
        classes: Class names by label.
        path: PNG to write.
    """
    figure = new_figure(
        4 * len(columns), 3.1 * len(images), dpi=_DPI, layout='constrained'
    )
    grid = figure.subplots(len(images), len(columns), squeeze=False)
    for row, image in enumerate(images):
        for axes, (title, per_image) in zip(
            grid[row], columns.items(), strict=True
        ):
            show_image(axes, image)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(textwrap.fill(title, 40), fontsize=10)
            _draw_boxes(axes, per_image[row], classes)
    write_png(figure, path)


def _draw_boxes(axes: Axes, instances: Any, classes: Sequence[str]) -> None:
    colors = distinct_colors(len(classes))
    boxes = np.asarray(instances.bboxes)
    labels = np.asarray(instances.labels)
    scores = instances.get('scores')
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        draw_box(axes, box, edgecolor=colors[label], linewidth=1.5)
        text = classes[label]
        if scores is not None:
            text += f' {float(scores[i]):.2f}'
        top = max(box[1] - 2, 6)
        draw_tag(axes, box[0], top, text, colors[label], fontsize=6)
