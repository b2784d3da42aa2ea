"""Images and tables that report on finished runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ..files import replacing

_COLORS = plt.get_cmap('tab10').colors  # type: ignore[attr-defined]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG so that the file is complete or not there; closes it."""
    with replacing(path) as part:
        figure.savefig(part, format='png', dpi=110, bbox_inches='tight')
    plt.close(figure)


def plot_curves(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Plot mAP over epochs.

    Args:
        results: Label -> result of a run (see `experiments.execute`).
        path: PNG to write.
    """
    figure, axes = plt.subplots(figsize=(6, 4))
    for label, result in results.items():
        curve = result['curve']
        axes.plot(range(1, len(curve) + 1), curve, marker='o', label=label)
    data = ', '.join(sorted({r['data'] for r in results.values()}))
    axes.set(xlabel='epoch', ylabel='mAP', title=f'small scale on {data}')
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def result_table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown table, one row per run."""
    lines = [
        '| run | mAP | AP50 | AP75 | s / iter | parameters | epochs |',
        '|---|---|---|---|---|---|---|',
    ]
    for label, r in results.items():
        lines.append(
            f'| {label} | {r["bbox_mAP"]:.3f} | {r["bbox_mAP_50"]:.3f} '
            f'| {r["bbox_mAP_75"]:.3f} | {r["seconds_per_iter"]:.3f} '
            f'| {r["parameters"] / 1e6:.2f} M | {r["epochs"]} |'
        )
    return '\n'.join(lines) + '\n'


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
            (N, 4) in pixels, ``labels`` (N,) and maybe ``scores`` (N,).
        classes: Class names by label.
        path: PNG to write.
    """
    rows = len(images)
    figure, grid = plt.subplots(
        rows,
        len(columns),
        figsize=(4 * len(columns), 3.1 * rows),
        squeeze=False,
    )
    for row, image in enumerate(images):
        for axes, (title, per_image) in zip(
            grid[row], columns.items(), strict=True
        ):
            axes.imshow(image)
            axes.set_axis_off()
            if row == 0:
                axes.set_title(title, fontsize=10)
            _draw_boxes(axes, per_image[row], classes)
    figure.tight_layout(pad=0.4)
    save_figure(figure, path)


def _draw_boxes(axes: Any, instances: Any, classes: Sequence[str]) -> None:
    boxes = np.asarray(instances.bboxes)
    labels = np.asarray(instances.labels)
    scores = instances.get('scores')
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        color = _COLORS[int(label) % len(_COLORS)]
        x1, y1, x2, y2 = box
        axes.add_patch(
            plt.Rectangle(
                (x1, y1), x2 - x1, y2 - y1, fill=False, color=color, lw=1.5
            )
        )
        text = classes[int(label)]
        if scores is not None:
            text += f' {float(scores[i]):.2f}'
        axes.text(
            x1,
            max(y1 - 2, 6),
            text,
            fontsize=6,
            color='white',
            bbox=dict(facecolor=color, edgecolor='none', pad=0.6),
        )
