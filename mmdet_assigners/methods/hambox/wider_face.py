"""Average precision of the WIDER FACE benchmark.

WIDER FACE: A Face Detection Benchmark (CVPR 2016, arXiv 1511.06523). Each
subset (easy, medium, hard) lists faces per image; the other faces count
neither as hits nor as misses.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def wider_face_ap(
    detections: Sequence[NDArray],
    faces: Sequence[NDArray],
    subsets: Mapping[str, Sequence[NDArray]],
    iou_thr: float = 0.5,
    num_thresholds: int = 1000,
) -> dict[str, float]:
    """AP of the official protocol for each subset.

    1. Scores are stretched to [0, 1] over the whole dataset.
    2. Each detection looks only at the face that it overlaps most (ties
       go to the first). If the IoU reaches ``iou_thr`` and that face is
       outside the subset, the detection is dropped.
    3. At each of T thresholds 1 - t / T, t = 1 ... T: precision and recall
       over all images. A face counts once however often it is hit, so
       further hits are false positives.
    4. AP is the area under the envelope of the T points.

    As in the official program, detections in images without any face don't
    count as false positives, though their scores are included in step 1,
    whose minimum is at most 1 and maximum at least 0. Equal scores, undefined
    there, are stretched to 1. Nothing is rounded.

    Args:
        detections: Per image (M, 5) x, y, width, height in pixels, score.
        faces: Per image (N, 4) x, y, width, height of all faces in pixels.
        subsets: Name -> per image the numbers of its faces, from 1 (int).
        iou_thr: Minimum IoU of a hit (official 0.5), widths counted as
            x2 - x1 + 1.
        num_thresholds: T (official 1000).

    Returns:
        dict: Name -> AP in [0, 1]; NaN for a subset without faces.

    Raises:
        ValueError: The lists differ in length, an array has a wrong shape, or
            a subset has a face number that isn't there.
    """
    _check(detections, faces, subsets)
    scores = _stretched([dets[:, 4] for dets in detections])
    hits = [
        _best_face(dets[:, :4], boxes)
        for dets, boxes in zip(detections, faces, strict=True)
    ]
    thresholds = 1 - np.arange(1, num_thresholds + 1) / num_thresholds
    result = {}
    for name, numbers in subsets.items():
        counted, found = [np.zeros(0)], [np.zeros(0)]
        for score, (iou, face), boxes, kept in zip(
            scores, hits, faces, numbers, strict=True
        ):
            if len(boxes) == 0 or len(score) == 0:
                continue
            inside: NDArray = np.zeros(len(boxes), dtype=bool)
            inside[np.asarray(kept, dtype=np.int64).ravel() - 1] = True
            hit = iou >= iou_thr
            counted.append(score[~hit | inside[face]])
            # a face is found at every threshold up to its best score
            best = np.full(len(boxes), -np.inf)
            np.maximum.at(best, face[hit], score[hit])
            found.append(best[inside & (best > -np.inf)])
        total = sum(np.asarray(kept).size for kept in numbers)
        result[name] = _area(
            _at_least(found, thresholds),
            _at_least(counted, thresholds),
            total,
        )
    return result


def _check(
    detections: Sequence[NDArray],
    faces: Sequence[NDArray],
    subsets: Mapping[str, Sequence[NDArray]],
) -> None:
    images = len(faces)
    lengths = {'detections': detections, **subsets}
    for name, rows in lengths.items():
        if len(rows) != images:
            raise ValueError(
                f'{name} must have one entry for each of the {images} images '
                f'of faces, got {len(rows)}'
            )
    for name, rows, width in (
        ('detections', detections, 5),
        ('faces', faces, 4),
    ):
        for index, row in enumerate(rows):
            if row.ndim != 2 or row.shape[1] != width:
                raise ValueError(
                    f'{name}[{index}] must have the shape (N, {width}), got '
                    f'{row.shape}'
                )
    for name, rows in subsets.items():
        for index, (row, boxes) in enumerate(zip(rows, faces, strict=True)):
            kept = np.asarray(row)
            if kept.size and not 1 <= kept.min() <= kept.max() <= len(boxes):
                raise ValueError(
                    f'{name}[{index}] must hold face numbers from 1 to '
                    f'{len(boxes)}, got {kept.ravel().tolist()}'
                )


def _stretched(scores: list[NDArray]) -> list[NDArray]:
    every = np.concatenate([np.zeros(0), *scores])
    low, high = every.min(initial=1.0), every.max(initial=0.0)
    if high <= low:
        return [np.ones_like(score) for score in scores]
    return [(score - low) / (high - low) for score in scores]


def _best_face(dets: NDArray, faces: NDArray) -> tuple[NDArray, NDArray]:
    """IoU (M,) of each box with the face it overlaps most, and its index."""
    if len(faces) == 0:
        return np.zeros(len(dets)), np.zeros(len(dets), dtype=np.int64)
    one, two = dets[:, None], faces[None]
    low = np.maximum(one[..., :2], two[..., :2])
    high = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    overlap = (high - low + 1).clip(min=0).prod(-1)
    area = (one[..., 2:] + 1).prod(-1) + (two[..., 2:] + 1).prod(-1)
    iou = overlap / (area - overlap)
    index = iou.argmax(1)
    return iou[np.arange(len(dets)), index], index


def _at_least(scores: list[NDArray], thresholds: NDArray) -> NDArray:
    """How many of the scores reach each threshold."""
    ordered = np.sort(np.concatenate(scores))
    return len(ordered) - np.searchsorted(ordered, thresholds, side='left')


def _area(found: NDArray, counted: NDArray, total: int) -> float:
    if total == 0:
        return float('nan')
    precision = found / np.maximum(counted, 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(found, prepend=0) / total * envelope).sum())
