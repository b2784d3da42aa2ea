"""Numbers about the assignments of several methods over a dataset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .rows import AssignmentRow

SIZES = {'small': (0, 32**2), 'medium': (32**2, 96**2), 'large': (96**2, None)}
_CELLS = 2**16
_STRIDES = 2**12


@dataclass
class Statistics:
    """What one method assigned, image by image.

    Attributes:
        title: Name of the method.
        counts: Per image the positives of its objects by level (G, L).
        areas: Per image the areas of its objects (G,) in px^2.
        levels: Names of the L levels.
        positives: Number of positive priors.
        ambiguous: Those whose center lies in the boxes of several objects.
        seconds: Time of each assignment.
    """

    title: str
    counts: list[np.ndarray] = field(default_factory=list)
    areas: list[np.ndarray] = field(default_factory=list)
    levels: list[str] = field(default_factory=list)
    positives: int = 0
    ambiguous: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(
        self, row: AssignmentRow, areas: Sequence[float], seconds: float
    ) -> None:
        """Add one image.

        Args:
            row: Its assignment.
            areas: Area of each object in px^2 of the image's file.
            seconds: Time of the assignment.

        Raises:
            ValueError: Not one area per object.
        """
        if len(areas) != len(row.boxes):
            raise ValueError(
                f'{len(areas)} areas for {len(row.boxes)} objects'
            )
        self.counts.append(row.counts())
        self.areas.append(np.asarray(areas, dtype=float))
        self.levels = row.level_names
        self.seconds.append(seconds)
        centers = row.centers[row.assigned_gt >= 0]
        self.positives += len(centers)
        self.ambiguous += int((inside_count(centers, row.boxes) > 1).sum())

    def lines(self) -> list[dict[str, str]]:
        """Column -> text, for all objects and for each size that occurs."""
        counts, areas = np.concatenate(self.counts), np.concatenate(self.areas)
        lines = []
        for size, (low, high) in {'all': (0, None), **SIZES}.items():
            mine = (areas >= low) & (areas < (high or np.inf))
            if size != 'all' and not mine.any():
                continue
            totals = counts[mine].sum(1)
            line = dict(
                config=self.title,
                size=size,
                objects=str(len(totals)),
                mean=_number(totals, np.mean, '.2f'),
                median=_number(totals, np.median, 'g'),
            )
            line['none %'] = _number(100 * (totals == 0), np.mean, '.2f')
            for name, column in zip(self.levels, counts[mine].T, strict=True):
                line[name] = _number(column, np.mean, '.2f')
            if size == 'all':
                share = 100 * self.ambiguous / max(1, self.positives)
                line['ambiguous %'] = f'{share:.2f}'
                line['s / image'] = f'{np.median(self.seconds):.4f}'
            lines.append(line)
        return lines


def _number(values: np.ndarray, reduce: Callable[..., Any], form: str) -> str:
    return format(float(reduce(values)), form) if len(values) else '-'


def inside_count(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """In how many of G boxes (G, 4) each point of (N, 2) lies, (N,)."""
    low = points[:, None] > boxes[None, :, :2]
    high = points[:, None] < boxes[None, :, 2:]
    return (low & high).all(2).sum(1)


def positive_cells(row: AssignmentRow) -> np.ndarray:
    """Sorted keys of (object, stride, cell) with a positive prior.

    Anchors of one cell count once, so that heads on anchors and on points
    can be compared; centers at the corner of a cell belong to it.
    """
    positive = row.assigned_gt >= 0
    stride = row.stride[positive].astype(np.int64)
    centers = row.centers[positive] / stride[:, None]
    # cells outside the image too
    cells = np.floor(centers + 1e-3).astype(np.int64) + _CELLS // 2
    key = row.assigned_gt[positive].astype(np.int64) * _STRIDES + stride
    return np.unique((key * _CELLS + cells[:, 0]) * _CELLS + cells[:, 1])


class Agreement:
    """Jaccard index of the positive cells of M methods over a dataset.

    Args:
        methods: Number M of methods.
    """

    def __init__(self, methods: int) -> None:
        self._both: np.ndarray = np.zeros((methods, methods), dtype=np.int64)
        self._any: np.ndarray = np.zeros_like(self._both)
        self._comparable: np.ndarray = np.ones_like(self._both, dtype=bool)

    def add(self, rows: Sequence[AssignmentRow]) -> None:
        """Add one image.

        Args:
            rows: Its assignment by each method.
        """
        cells = [positive_cells(row) for row in rows]
        for i, first in enumerate(cells):
            for j, second in enumerate(cells):
                both = len(np.intersect1d(first, second, assume_unique=True))
                self._both[i, j] += both
                self._any[i, j] += len(first) + len(second) - both
                same = np.array_equal(rows[i].boxes, rows[j].boxes)
                self._comparable[i, j] &= same

    def table(self) -> np.ndarray:
        """(M, M) in [0, 1]; NaN where nothing is positive.

        NaN, too, where two methods see images in different sizes.
        """
        share = self._both / np.maximum(1, self._any)
        return np.where((self._any > 0) & self._comparable, share, np.nan)
