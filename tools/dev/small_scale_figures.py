"""The figures of docs/small_scale.md, drawn from the summary alone."""

from pathlib import Path

import matplotlib
import numpy as np
from adjustText import adjust_text
from matplotlib import pyplot as plt
from small_scale_page import (
    DATA,
    GAIN_FIGURE,
    IMAGES,
    curve_figure,
    short_label,
    stamp,
)

matplotlib.use('Agg')
STYLES = {'bccd': ('o', '#0b5cad'), 'shapes': ('s', '#b3470b')}
WIDTH = 9  # inches; 900 pixels on a page
DPI = 150


def draw(root: Path, summary: dict, rows: list) -> list[Path]:
    """Write the figures that there are numbers for, and remove the others.

    Args:
        root: Source tree.
        summary: See ``small_scale_stats.summarize``.
        rows: See ``small_scale_page.compared_rows``.

    Returns:
        The files written.
    """
    figures = {GAIN_FIGURE: gain_figure(summary, rows)}
    for data in DATA:
        figures[curve_figure(data)] = curves_figure(summary, rows, data)
    written = []
    for name, figure in figures.items():
        path = root / IMAGES / name
        if figure is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(
            path,
            dpi=DPI,
            metadata={'Description': stamp(summary, rows), 'Software': None},
        )
        plt.close(figure)
        written.append(path)
    return written


def paired(summary: dict, rows: list, data: str) -> list[tuple]:
    """(row, pair) of the rows that have an interval."""
    pairs = {
        (pair['config'], pair['baseline']): pair
        for pair in summary['data'][data]['pairs']
        if pair['low'] is not None
    }
    keys = [(row, (row.config, row.baseline)) for row in rows]
    return [(row, pairs[key]) for row, key in keys if key in pairs]


def gain_figure(summary: dict, rows: list):
    """Small-scale against published gain, a panel per dataset."""
    found = {
        data: [
            (row, pair)
            for row, pair in paired(summary, rows, data)
            if row.gain and 'holm' in pair
        ]
        for data in DATA
    }
    if not any(found.values()):
        return None
    figure, axes = plt.subplots(
        len(DATA),
        figsize=(WIDTH, 7 * len(DATA)),
        sharex=True,
        layout='constrained',
    )
    names = {}
    for axis, (data, points) in zip(axes, found.items(), strict=True):
        marker, color = STYLES[data]
        x = np.array([row.gain.value for row, _ in points])
        y, low, high = (
            100 * np.array([pair[key] for _, pair in points])
            for key in ('difference', 'low', 'high')
        )
        axis.axhline(0, color='0.6', linewidth=0.8)
        axis.errorbar(
            x, y, [y - low, high - y], fmt=marker, color=color,
            elinewidth=0.9, markersize=5,
        )  # fmt: skip
        axis.margins(x=0.15, y=0.1)
        axis.set_title(title(data, summary), loc='left', fontsize=11)
        axis.set_ylabel('difference at small scale, mAP x 100')
        names[axis] = [
            axis.text(*place, short_label(row), fontsize=7)
            for *place, (row, _) in zip(x, y, points, strict=True)
        ]
    axes[-1].set_xlabel('published gain, COCO box AP')
    figure.draw_without_rendering()  # labels need the final places
    figure.set_layout_engine('none')
    for axis, texts in names.items():
        adjust_text(
            texts,
            ax=axis,
            arrowprops=dict(arrowstyle='-', color='0.6'),
            expand=(1.1, 1.5),
            force_text=(0.2, 0.6),
            iter_lim=4000,  # by default a second, too short on a busy machine
        )
    return figure


def title(data: str, summary: dict) -> str:
    """Name of a dataset with its rank correlation."""
    found = summary['data'][data]['correlation']
    if not found:
        return DATA[data]
    return (
        f'{DATA[data]}: rank correlation {found["rho"]:+.2f} '
        f'({found["low"]:+.2f} to {found["high"]:+.2f}), '
        f'{found["points"]} pairs'
    )


def curves_figure(summary: dict, rows: list, data: str):
    """Mean and range over the seeds of every pair, in small panels."""
    models = summary['data'][data]['models']
    found = [
        (row, pair)
        for row, pair in paired(summary, rows, data)
        if len(models[row.config]['curve']) > 1
    ]
    if not found:
        return None
    columns = min(4, len(found))
    lines = -(-len(found) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(WIDTH, 1.65 * lines + 0.5), sharex=True,
        sharey=True, layout='constrained', squeeze=False,
    )  # fmt: skip
    for axis in axes.flat[len(found) :]:
        axis.set_axis_off()
    color = STYLES[data][1]
    for axis, (row, _) in zip(axes.flat, found, strict=False):
        for config, shade, name in (
            (row.baseline, '0.45', 'baseline'),
            (row.config, color, 'method'),
        ):
            curve = np.array(models[config]['curve'])
            epoch, mean, low, high = curve.T
            axis.plot(epoch, mean, color=shade, linewidth=1.3, label=name)
            axis.fill_between(
                epoch, low, high, color=shade, alpha=0.2, linewidth=0
            )
        axis.set_title(row.label, fontsize=8)
        axis.tick_params(labelsize=7)
    figure.legend(
        *axes.flat[0].get_legend_handles_labels(),
        loc='outside upper right', ncols=2, fontsize=8, frameon=False,
    )  # fmt: skip
    figure.supxlabel('epoch', fontsize=9)
    figure.supylabel('mAP', fontsize=9)
    return figure
