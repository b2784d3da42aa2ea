"""Images of uncertainty: boxes with bands, sigma against error and IoU."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..analysis.rows import object_colors
from ..analysis.uncertainty import Detections, SideErrors, deciles
from .draw import DPI, write_png
from .panels import GRAY, INK

_DOT, _MEAN, _LINE = '#8fa9cf', '#c8322b', '#1c1f24'
_MAX_DOTS = 4000
_PANEL = 4.2  # inches, longest side of an image


@dataclass(frozen=True)
class UncertaintyPanel:
    """Detections of one config on one image.

    Attributes:
        title: Name of the config.
        subtitle: About its weights.
        image: (H, W, 3) uint8 RGB.
        found: Detections to draw.
        objects: (G, 4) true boxes.
    """

    title: str
    subtitle: str
    image: np.ndarray
    found: Detections
    objects: np.ndarray


def draw_uncertainty(
    panels: Sequence[UncertaintyPanel],
    class_names: Sequence[str],
    out: str | Path,
) -> Path:
    """Draw detections with a band of two sigmas around each side, as PNG.

    The true boxes are dotted. The text at a box is its class, score and the
    mean of its four sigmas.

    Args:
        panels: One per config, next to each other.
        class_names: Names of the classes, by label.
        out: PNG file.

    Returns:
        Path of the file.

    Raises:
        ValueError: There are no panels.
    """
    if not panels:
        raise ValueError('panels is empty: nothing to draw')
    height, width = panels[0].image.shape[:2]
    unit = _PANEL / max(height, width)
    figure = Figure(
        figsize=(
            (width * unit + 0.2) * len(panels) + 0.2,
            height * unit + 0.75,
        ),
        dpi=DPI,
        layout='constrained',
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, panel in zip(axes, panels, strict=True):
        _draw_panel(place, panel, class_names)
    figure.text(
        0.01,
        0.0,
        'bands: each side plus and minus one standard deviation; dotted: '
        'true boxes',
        fontsize=6,
        color=GRAY,
        va='bottom',
    )
    write_png(figure, Path(out))
    return Path(out)


def _draw_panel(
    axes: Axes, panel: UncertaintyPanel, class_names: Sequence[str]
) -> None:
    height, width = panel.image.shape[:2]
    axes.imshow(panel.image, alpha=0.75)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.set_title(panel.title, fontsize=7, color=INK, loc='left', pad=12)
    axes.text(
        0,
        1.01,
        panel.subtitle,
        transform=axes.transAxes,
        fontsize=6,
        color=GRAY,
    )
    for x1, y1, x2, y2 in panel.objects:
        axes.add_patch(
            Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                edgecolor=INK,
                linestyle=':',
                linewidth=1,
            )
        )
    found = panel.found
    colors = object_colors(len(class_names))
    for i in range(len(found.boxes))[::-1]:  # the best on top
        label = int(found.labels[i])
        color = tuple(colors[label % len(colors)])
        _draw_bands(axes, found.boxes[i], found.sigmas[i], color)
        x1, y1 = found.boxes[i, :2]
        axes.text(
            np.clip(x1, 1, width * 0.95),
            np.clip(y1, height * 0.04, height),
            f'{class_names[label]} {found.scores[i]:.2f} '
            f'±{found.sigmas[i].mean():.3g} px',
            fontsize=5,
            color='white',
            va='bottom',
            clip_on=True,
            bbox=dict(facecolor=color, edgecolor='none', pad=0.6),
        )


def _draw_bands(
    axes: Axes, box: np.ndarray, sigma: np.ndarray, color: tuple
) -> None:
    x1, y1, x2, y2 = box
    axes.add_patch(
        Rectangle(
            (x1, y1),
            x2 - x1,
            y2 - y1,
            fill=False,
            edgecolor=color,
            linewidth=1.3,
            zorder=3,
        )
    )
    bands = [
        (x1 - sigma[0], y1, 2 * sigma[0], y2 - y1),
        (x1, y1 - sigma[1], x2 - x1, 2 * sigma[1]),
        (x2 - sigma[2], y1, 2 * sigma[2], y2 - y1),
        (x1, y2 - sigma[3], x2 - x1, 2 * sigma[3]),
    ]
    for x, y, w, h in bands:
        axes.add_patch(
            Rectangle((x, y), w, h, facecolor=color, alpha=0.18, linewidth=0)
        )


def draw_reliability(
    errors: Sequence[tuple[str, SideErrors]],
    out: str | Path,
    relative: bool = False,
) -> Path:
    """Plot sigma against error and IoU, a row per config, as PNG.

    Dots are sides, large dots the means of the deciles of sigma. A calibrated
    head has its large dots on the line: errors of Gaussians of these sigmas.

    Args:
        errors: Name and matched detections of each config.
        out: PNG file.
        relative: Whether the errors are shares of the object's size.

    Returns:
        Path of the file.

    Raises:
        ValueError: There is nothing to plot.
    """
    if not errors:
        raise ValueError('errors is empty: nothing to plot')
    figure = Figure(
        figsize=(8.4, 3.3 * len(errors)), dpi=DPI, layout='constrained'
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(errors), 2, squeeze=False)
    unit = 'of the size' if relative else 'px'
    for (title, own), (left, right) in zip(errors, grid, strict=True):
        _draw_errors(left, title, own, unit)
        _draw_ious(right, own, unit)
    write_png(figure, Path(out))
    return Path(out)


def _draw_errors(axes: Axes, title: str, own: SideErrors, unit: str) -> None:
    _label(axes, title, f'predicted sigma ({unit})', f'|error| ({unit})')
    sigma, error, iou = own.side(None)
    if not len(sigma):
        _say_nothing(axes)
        return
    least = max(np.quantile(error, 0.02), sigma.max() * 1e-4, 1e-9)
    axes.set(xscale='log', yscale='log')
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    dots = _thin(len(sigma))
    axes.plot(sigma[dots], error[dots], '.', color=_DOT, ms=2, zorder=1)
    ends = np.array([sigma.min(), sigma.max()]).clip(1e-9)
    axes.plot(
        ends,
        ends * np.sqrt(2 / np.pi),
        color=_LINE,
        lw=1,
        label='calibrated Gaussian',
        zorder=2,
    )
    parts = deciles(sigma, error, iou)
    axes.plot(
        [s.mean() for s, _, _ in parts],
        [max(e.mean(), least) for _, e, _ in parts],
        'o',
        color=_MEAN,
        ms=5,
        label='deciles of sigma, means',
        zorder=3,
    )
    axes.set_ylim(bottom=least)  # errors of nearly 0 are left out
    axes.legend(fontsize=6, frameon=False, loc='upper left')


def _draw_ious(axes: Axes, own: SideErrors, unit: str) -> None:
    _label(axes, '', f'predicted sigma ({unit})', 'IoU')
    sigma, error, iou = own.side(None)
    if not len(sigma):
        _say_nothing(axes)
        return
    dots = _thin(len(sigma))
    axes.set(xscale='log')
    _plain_ticks(axes.xaxis)
    axes.plot(sigma[dots], iou[dots], '.', color=_DOT, ms=2, zorder=1)
    parts = deciles(sigma, error, iou)
    axes.plot(
        [s.mean() for s, _, _ in parts],
        [i.mean() for _, _, i in parts],
        'o-',
        color=_MEAN,
        ms=5,
        lw=1,
        zorder=3,
    )


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=8, color=INK, loc='left')
    axes.set_xlabel(x, fontsize=7)
    axes.set_ylabel(y, fontsize=7)
    axes.tick_params(labelsize=6)
    axes.spines[['top', 'right']].set_visible(False)


def _plain_ticks(axis: Axis) -> None:
    """Numbers such as 0.5 at 1, 2 and 5 of each power of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    axis.set_minor_formatter(NullFormatter())


def _say_nothing(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(
        0.5,
        0.5,
        'no matched detection',
        ha='center',
        transform=axes.transAxes,
        fontsize=8,
        color=GRAY,
    )


def _thin(count: int) -> np.ndarray:
    """Indices of the dots that are drawn, evenly spread."""
    return np.unique(
        np.linspace(0, count - 1, min(count, _MAX_DOTS)).astype(int)
    )
