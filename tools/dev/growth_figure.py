"""Draws docs/images/growth.png from docs/results/benchmark/growth.json."""

import hashlib
import json
from pathlib import Path

import matplotlib
from growth_page import AXES, FIGURE, curves
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, StrMethodFormatter

matplotlib.use('Agg')
ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / 'docs/results/benchmark/growth.json'
IMAGE = ROOT / 'docs/images' / FIGURE


def digest() -> str:
    """Of the rows; the image carries it, so that a test sees an old one."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()


def draw(rows: list[dict]) -> plt.Figure:
    """A row per head, a column per size that grows; log-log.

    Args:
        rows: Of ``tools/benchmark/growth.py``.
    """
    found = curves(rows)
    slugs = sorted({slug for slug, _ in found})
    figure, axes = plt.subplots(
        len(slugs),
        len(AXES),
        figsize=(9, 1.5 * len(slugs)),
        squeeze=False,
        layout='constrained',
    )
    for line, slug in zip(axes, slugs, strict=True):
        for ax, (key, name) in zip(line, AXES.items(), strict=True):
            points = found.get((slug, key), [])
            if not points:
                ax.set_axis_off()
                continue
            sizes = [size for size, _ in points]
            for side, label, style in (
                ('ours_s', 'ours', 'o-'),
                ('peer_s', 'baseline', 's--'),
            ):
                times = [row[side] for _, row in points]
                ax.plot(sizes, times, style, label=label, markersize=3)
            ax.set(xscale='log', yscale='log')
            ax.set_xticks(sizes, map(str, sizes))
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            ax.yaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
            ax.minorticks_off()
            if slug == slugs[0]:
                work = 'prediction' if key == 'classes' else 'loss'
                ax.set_title(f'{work} over {name}', fontsize=9)
            ax.tick_params(which='both', labelsize=6)
        line[0].set_ylabel(f'{slug}, s', fontsize=7)
    axes[0, 0].legend(fontsize=7)
    return figure


if __name__ == '__main__':
    content = json.loads(SOURCE.read_text(encoding='utf-8'))
    about = {'Software': None, 'Comment': digest()}
    draw(content['rows']).savefig(IMAGE, dpi=100, metadata=about)
