"""Numbers about assignments: positives per object and agreement."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .assignment import ImageAssignment, assign
from .detectors import Detector

# of COCO: px^2 of the file
SIZES = {
    'all': (0, np.inf),
    'small': (0, 32**2),
    'medium': (32**2, 96**2),
    'large': (96**2, np.inf),
}
OBJECT_EDGES = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_WEIGHT_BINS = 10
# bounds of the parts of a cell's key, see `positive_cells`
_MAX_CELLS = 2**16
_MAX_STRIDE = 2**12


class SizeSummary(NamedTuple):
    """What a detector assigns to the objects of one size.

    Numbers without any value are NaN.

    Attributes:
        size: 'all', 'small', 'medium' or 'large', as COCO defines them, by
            the area of the box in the file.
        objects: Number of objects.
        mean: Mean number of positives per object.
        median: Median number of positives per object.
        without: Share of the objects without positives, in [0, 1].
        per_level: Level -> mean number of positives per object.
    """

    size: str
    objects: int
    mean: float
    median: float
    without: float
    per_level: dict[str, float]


class Statistics:
    """Accumulates the assignments of one detector, image by image."""

    def __init__(self) -> None:
        self._counts: list[np.ndarray] = []
        self._areas: list[np.ndarray] = []
        self._seconds: list[float] = []
        self._levels: list[str] = []
        self._positives = 0
        self._in_several = 0

    def add(self, assignment: ImageAssignment) -> None:
        """Add one image."""
        self._counts.append(assignment.counts())
        self._areas.append(assignment.areas)
        self._seconds.append(assignment.seconds)
        self._levels = assignment.level_names
        centers = assignment.centers[assignment.positive]
        inside = inside_count(centers, assignment.boxes)
        self._positives += len(centers)
        self._in_several += int((inside > 1).sum())

    @property
    def in_several(self) -> float:
        """Share of the positives whose center lies in several boxes."""
        return self._in_several / max(1, self._positives)

    @property
    def seconds(self) -> float:
        """Median time of the assignment of one image, without the network."""
        return float(np.median(self._seconds))

    def by_size(self) -> list[SizeSummary]:
        """The summary of all objects, then of each size that occurs.

        Raises:
            ValueError: No image was added.
        """
        if not self._counts:
            raise ValueError('there are no images to summarize')
        counts = np.concatenate(self._counts).astype(float)
        areas = np.concatenate(self._areas)
        found = []
        for size, (low, high) in SIZES.items():
            own = counts[(areas >= low) & (areas < high)]
            if len(own) or size == 'all':
                found.append(self._summary(size, own))
        return found

    def _summary(self, size: str, counts: np.ndarray) -> SizeSummary:
        number = len(counts)
        if not number:
            counts = np.full((1, len(self._levels)), np.nan)
        totals = counts.sum(1)
        return SizeSummary(
            size=size,
            objects=number,
            mean=float(totals.mean()),
            median=float(np.median(totals)),
            without=float((totals == 0).mean()) if number else np.nan,
            per_level=dict(zip(self._levels, counts.mean(0), strict=True)),
        )


def inside_count(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """In how many of G boxes (G, 4) each point of (N, 2) lies, (N,)."""
    low = points[:, None] > boxes[None, :, :2]
    high = points[:, None] < boxes[None, :, 2:]
    return (low & high).all(2).sum(1)


class Agreement:
    """Jaccard index of the positive cells of M detectors over a dataset.

    Args:
        detectors: Number M of detectors.
    """

    def __init__(self, detectors: int) -> None:
        shape = (detectors, detectors)
        self._both: np.ndarray = np.zeros(shape, dtype=np.int64)
        self._any: np.ndarray = np.zeros(shape, dtype=np.int64)
        self._comparable: np.ndarray = np.ones(shape, dtype=bool)

    def add(self, assignments: Sequence[ImageAssignment]) -> None:
        """Add one image.

        Args:
            assignments: Its assignment by each of the M detectors.
        """
        cells = [positive_cells(assignment) for assignment in assignments]
        for i, first in enumerate(cells):
            for j, second in enumerate(cells):
                both = len(np.intersect1d(first, second, assume_unique=True))
                self._both[i, j] += both
                self._any[i, j] += len(first) + len(second) - both
                self._comparable[i, j] &= np.array_equal(
                    assignments[i].boxes, assignments[j].boxes
                )

    def table(self) -> np.ndarray:
        """The index (M, M), in [0, 1].

        NaN where nothing is positive, and between detectors that see the
        images in different sizes.
        """
        share = self._both / np.maximum(1, self._any)
        return np.where((self._any > 0) & self._comparable, share, np.nan)


def positive_cells(assignment: ImageAssignment) -> np.ndarray:
    """Sorted keys (N,) of the (object, stride, cell) that have a positive.

    Anchors of one cell count once, so that heads on anchors and on points
    can be compared; a center at the corner of a cell belongs to it.
    """
    positive = assignment.positive
    stride = assignment.stride[positive].astype(np.int64)
    centers = assignment.centers[positive] / stride[:, None]
    # column and row, shifted because cells outside the image are negative
    cells = np.floor(centers + 1e-3).astype(np.int64) + _MAX_CELLS // 2
    # (object, stride, column, row) as the digits of one integer
    key = assignment.assigned_gt[positive].astype(np.int64)
    key = key * _MAX_STRIDE + stride
    for digit in cells.T:
        key = key * _MAX_CELLS + digit
    return np.unique(key)


def compare(
    detectors: Sequence[Detector], images: Iterable[dict[str, Any]]
) -> tuple[list[Statistics], Agreement]:
    """Assign images with several detectors and accumulate the numbers.

    Args:
        detectors: M detectors, each with a dense head that has an adapter.
        images: Records, see :mod:`.images`.

    Returns:
        tuple: The statistics of each detector, and their agreement.

    Raises:
        TypeError: A detector has no dense head, or the head no adapter.
        ValueError: A file is not an image.
    """
    statistics = [Statistics() for _ in detectors]
    agreement = Agreement(len(detectors))
    for info in images:
        assignments = [assign(detector, info) for detector in detectors]
        for own, assignment in zip(statistics, assignments, strict=True):
            own.add(assignment)
        agreement.add(assignments)
    return statistics, agreement


def object_histogram(totals: np.ndarray) -> np.ndarray:
    """Objects by their number of positives.

    Args:
        totals: Number of positives of each object (G,).

    Returns:
        np.ndarray: Number of objects from each of ``OBJECT_EDGES`` to the
        next: with 0, 1, 2 to 3, 4 to 7, ..., and 128 or more positives.
    """
    return np.histogram(totals, [*OBJECT_EDGES, np.inf])[0]


def weight_histogram(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positives by weight.

    Args:
        weights: Weights of the positives (N,), 0 or more.

    Returns:
        tuple: Edges (11,) of ten bins from 0 to 1, or to the largest weight
        if that is greater, and the number of positives in each bin (10,).
    """
    top = max(1.0, float(weights.max(initial=0)))
    counts, edges = np.histogram(weights, _WEIGHT_BINS, (0, top))
    return edges, counts
