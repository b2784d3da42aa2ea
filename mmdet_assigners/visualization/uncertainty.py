"""Images of uncertainty: boxes with bands, sigma against error and IoU."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ..analysis.uncertainty import MEAN_ABS, Detections, SideErrors, by_decile
from .canvas import draw_box, draw_tag, new_figure, show_image, write_png
from .colors import ALERT, GRAY, INK, PALE, distinct_colors

_MAX_DOTS = 4000
_PANEL = 4.2  # inches, longest side of an image


@dataclass(frozen=True)
class UncertaintyPanel:
    """Detections of one config on one image, to draw.

    Attributes:
        title: Name of the config.
        subtitle: One line about the image and the weights.
        image: (H, W, 3), RGB uint8.
        found: Detections, in px of the image.
        objects: (G, 4) true boxes, in px of the image.
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
    """Draw detections with a band of plus and minus one sigma at each side.

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
    figure = new_figure(
        (width * unit + 0.2) * len(panels) + 0.2,
        height * unit + 0.75,
        layout='constrained',
    )
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
    return write_png(figure, out)


def _draw_panel(
    axes: Axes, panel: UncertaintyPanel, class_names: Sequence[str]
) -> None:
    height, width = panel.image.shape[:2]
    show_image(axes, panel.image, alpha=0.75)
    axes.set_title(panel.title, fontsize=7, color=INK, loc='left', pad=12)
    axes.text(
        0,
        1.01,
        panel.subtitle,
        transform=axes.transAxes,
        fontsize=6,
        color=GRAY,
    )
    for box in panel.objects:
        draw_box(axes, box, edgecolor=INK, linestyle=':', linewidth=1)
    found = panel.found
    colors = distinct_colors(len(class_names))
    for i in range(len(found.boxes))[::-1]:  # the best on top
        box, sigma = found.boxes[i], found.sigmas[i]
        label = int(found.labels[i])
        color = colors[label]
        draw_box(axes, box, edgecolor=color, linewidth=1.3, zorder=3)
        _draw_bands(axes, box, sigma, color)
        # beside the band of the upper side: above, or else inside the box
        above = box[1] - sigma[1] > height * 0.04
        draw_tag(
            axes,
            np.clip(box[0], 1, width * 0.95),
            np.clip(box[1] + (-sigma[1] if above else sigma[1]), 1, height),
            f'{class_names[label]} {found.scores[i]:.2f} '
            f'±{sigma.mean():.3g} px',
            color,
            fontsize=5,
            va='bottom' if above else 'top',
        )


def _draw_bands(
    axes: Axes, box: np.ndarray, sigma: np.ndarray, color: np.ndarray
) -> None:
    """A band from -sigma to +sigma at each of the four sides."""
    for side in range(4):
        band = box.copy()
        # side and the opposite one become the edges of the band
        band[side % 2] = box[side] - sigma[side]
        band[side % 2 + 2] = box[side] + sigma[side]
        draw_box(axes, band, fill=True, color=color, alpha=0.18, linewidth=0)


def draw_reliability(
    errors: Sequence[tuple[str, SideErrors]],
    out: str | Path,
    relative: bool = False,
) -> Path:
    """Plot sigma against error and IoU, a row per config, as PNG.

    Small dots are sides, large dots the means of the deciles of sigma. For a
    calibrated head the large dots are on the line, which is the mean absolute
    error of Gaussians.

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
    figure = new_figure(8.4, 3.3 * len(errors), layout='constrained')
    grid = figure.subplots(len(errors), 2, squeeze=False)
    unit = 'of the size' if relative else 'px'
    for (title, own), (left, right) in zip(errors, grid, strict=True):
        _label(left, title, f'predicted sigma ({unit})', f'|error| ({unit})')
        _label(right, '', f'predicted sigma ({unit})', 'IoU')
        if len(own.iou):
            _draw_errors(left, own)
            _draw_ious(right, own)
        else:
            _say_nothing(left)
            _say_nothing(right)
    return write_png(figure, out)


def _draw_errors(axes: Axes, own: SideErrors) -> None:
    sigma, error, _ = own.side(None)
    axes.set(xscale='log', yscale='log')
    _plain_ticks(axes.xaxis)
    _plain_ticks(axes.yaxis)
    dots = _thin(len(sigma))
    axes.plot(sigma[dots], error[dots], '.', color=PALE, ms=2, zorder=1)
    ends = np.array([sigma.min(), sigma.max()]).clip(1e-9)
    label = 'calibrated Gaussian'
    axes.plot(ends, ends * MEAN_ABS, color=INK, lw=1, label=label, zorder=2)
    # errors near 0 are left out
    bottom = max(np.quantile(error, 0.02), sigma.max() * 1e-4, 1e-9)
    deciles = by_decile(own)
    axes.plot(
        [decile.mean_sigma for decile in deciles],
        [max(decile.mean_error, bottom) for decile in deciles],
        'o',
        color=ALERT,
        ms=5,
        label='deciles of sigma, means',
        zorder=3,
    )
    axes.set_ylim(bottom=bottom)
    axes.legend(fontsize=6, frameon=False, loc='upper left')


def _draw_ious(axes: Axes, own: SideErrors) -> None:
    sigma, _, iou = own.side(None)
    axes.set(xscale='log')
    _plain_ticks(axes.xaxis)
    dots = _thin(len(sigma))
    axes.plot(sigma[dots], iou[dots], '.', color=PALE, ms=2, zorder=1)
    deciles = by_decile(own)
    axes.plot(
        [decile.mean_sigma for decile in deciles],
        [decile.mean_iou for decile in deciles],
        'o-',
        color=ALERT,
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
