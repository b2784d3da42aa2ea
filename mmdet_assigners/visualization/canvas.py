"""Figures without a window, boxes on them, and PNG files."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..files import replacing

DPI = 165


def new_figure(width: float, height: float, **style: Any) -> Figure:
    """A white figure of this size in inches, without pyplot's global state.

    Args:
        width: In inches.
        height: In inches.
        **style: Of matplotlib's ``Figure``.
    """
    figure = Figure(figsize=(width, height), **(dict(dpi=DPI) | style))
    FigureCanvasAgg(figure)
    return figure


def write_png(figure: Figure, out: str | Path) -> Path:
    """Write an image so that the file is complete or absent.

    Args:
        figure: Cleared afterward.
        out: PNG file.

    Returns:
        Path: The file.

    Raises:
        ValueError: ``out`` doesn't end in ``.png``.
    """
    out = Path(out)
    if out.suffix.lower() != '.png':
        raise ValueError(f'out {str(out)!r}: expected a file ending in .png')
    try:
        with replacing(out) as part:
            figure.savefig(part, format='png')
    finally:
        figure.clear()
    return out


def show_image(axes: Axes, image: np.ndarray, alpha: float = 1.0) -> None:
    """Fill axes with an image; their units are its pixels.

    Args:
        axes: Where to draw.
        image: (H, W, 3), RGB uint8.
        alpha: Opacity in [0, 1].
    """
    height, width = image.shape[:2]
    axes.imshow(
        image,
        extent=(0, width, height, 0),
        interpolation='antialiased',
        alpha=alpha,
    )
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])


def draw_box(axes: Axes, box: np.ndarray, **style: Any) -> None:
    """Draw a box, by default its outline.

    Args:
        axes: Where to draw.
        box: (4,) x1, y1, x2, y2 in the units of the axes.
        **style: Of matplotlib's ``Rectangle``.
    """
    x1, y1, x2, y2 = box
    options = dict(fill=False) | style
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **options))


def draw_boxes(
    axes: Axes, boxes: np.ndarray, colors: np.ndarray, **style: Any
) -> None:
    """Draw the outlines of many boxes at once.

    Args:
        axes: Where to draw.
        boxes: (N, 4) x1, y1, x2, y2 in the units of the axes.
        colors: (N, 3) of the outlines.
        **style: Of matplotlib's ``PolyCollection``.
    """
    corners = list(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
    outlines = PolyCollection(
        corners, facecolors='none', edgecolors=colors, **style
    )
    axes.add_collection(outlines, autolim=False)


def draw_tag(
    axes: Axes, x: float, y: float, text: str, color: Any, **style: Any
) -> None:
    """Write white text on a colored background.

    Args:
        axes: Where to draw.
        x: Left side of the text, in the units of the axes.
        y: Bottom of the text, or its top with ``va='top'``.
        text: The text.
        color: Of the background.
        **style: Of matplotlib's ``Text``.
    """
    options: dict[str, Any] = dict(color='white', va='bottom', clip_on=True)
    box = dict(facecolor=color, edgecolor='none', pad=0.6)
    axes.text(x, y, text, bbox=box, **(options | style))
