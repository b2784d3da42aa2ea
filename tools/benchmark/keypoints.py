"""Keypoint detectors: targets, grouping, prediction; one thread on a CPU."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from _harness import Case, main
from mmdet.models.dense_heads import CenterNetHead, CornerHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_assigners.methods.cornernet import CornerPairHead
from mmdet_assigners.methods.extremenet.functional import aggregate_edges
from mmdet_assigners.methods.extremenet.grouping import Peaks, group
from mmdet_assigners.methods.extremenet.points import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
)
from mmdet_assigners.models.dense_heads import CenterPointHead

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
CLASSES = 80
MAP = (128, 128)
INPUT = (512, 512)
OBJECTS = (1, 30, 300)  # per image
SCORE_THR = CENTER_THR = 0.1


def random_peaks(k: int, classes: int) -> tuple[Peaks, Tensor]:
    """Peaks of a crowded image, and the map of the center."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    labels = (draw(4, k) * classes).long()
    cells = (draw(4, k, 2) * MAP[0]).long()
    scores = draw(4, k).sort(1, descending=True).values
    peaks = Peaks(scores, labels, cells, draw(4, k, 2))
    peaks = Peaks(*(part.to(DEVICE) for part in peaks))
    return peaks, draw(CLASSES, *MAP).to(DEVICE)


def group_by_loop(peaks: Peaks, center: Tensor) -> list[tuple]:
    """The best 1000 of all quadruples, tested one by one.

    Args:
        peaks: The best K of each point.
        center: (C, H, W) probabilities.

    Returns:
        list: Score and the four numbers of peaks of each.
    """
    scores, labels = peaks.scores.tolist(), peaks.labels.tolist()
    cells, heat = peaks.cells.tolist(), center.tolist()
    each = range(len(scores[0]))
    found = []
    for t in each:
        tx, ty = cells[TOP][t]
        label, t_score = labels[TOP][t], scores[TOP][t]
        plane = heat[label]
        for i in each:
            lx, ly = cells[LEFT][i]
            l_label, l_score = labels[LEFT][i], scores[LEFT][i]
            for b in each:
                bx, by = cells[BOTTOM][b]
                b_label, b_score = labels[BOTTOM][b], scores[BOTTOM][b]
                for r in each:
                    rx, ry = cells[RIGHT][r]
                    if not label == l_label == b_label == labels[RIGHT][r]:
                        continue
                    if ty > min(ly, by, ry) or by < max(ty, ly, ry):
                        continue
                    if lx > min(tx, bx, rx) or rx < max(tx, bx, lx):
                        continue
                    parts = (t_score, l_score, b_score, scores[RIGHT][r])
                    if min(parts) < SCORE_THR:
                        continue
                    middle = plane[(ty + by) // 2][(lx + rx) // 2]
                    if middle < CENTER_THR:
                        continue
                    score = (sum(parts) + 2 * middle) / 6
                    found.append((score, t, i, b, r))
    found.sort(key=lambda row: -row[0])
    return found[:1000]


def group_at_once(peaks: Peaks, center: Tensor) -> tuple[Tensor, Tensor]:
    """The best 1000 of all quadruples as tensors of K^4 numbers.

    Args:
        peaks: The best K of each point.
        center: (C, H, W) probabilities.

    Returns:
        tuple: Scores (1000,), -1 and less of what is no object, and numbers
        of the quadruples (1000,).
    """

    def spread(rows: Tensor) -> list[Tensor]:
        shapes = [(-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, -1)]
        k = rows.shape[1]
        return [
            row.view(shape).expand(k, k, k, k)
            for row, shape in zip(rows, shapes, strict=True)
        ]

    x, y = spread(peaks.cells[..., 0]), spread(peaks.cells[..., 1])
    labels, parts = spread(peaks.labels), spread(peaks.scores)
    middle = center[
        labels[TOP], (y[TOP] + y[BOTTOM]) // 2, (x[LEFT] + x[RIGHT]) // 2
    ]
    wrong = torch.zeros_like(middle, dtype=torch.bool)
    for point in range(4):
        wrong |= labels[point] != labels[TOP]
        wrong |= y[TOP] > y[point]
        wrong |= y[BOTTOM] < y[point]
        wrong |= x[LEFT] > x[point]
        wrong |= x[RIGHT] < x[point]
        wrong |= parts[point] < SCORE_THR
    wrong |= middle < CENTER_THR
    scores = (sum(parts) + 2 * middle) / 6 - 2.0 * wrong
    return scores.flatten().topk(1000)


def aggregate_by_loop(heatmap: Tensor, weight: float) -> Tensor:
    """Edge aggregation along rows, one column of all rows after the other.

    Args:
        heatmap: (C, H, W) probabilities.
        weight: Of the sums.
    """
    found = heatmap.clone()
    for direction in (1, -1):
        columns = heatmap.unbind(-1)[::direction]
        run = columns[0]
        for i in range(1, len(columns)):
            rises = columns[i] >= columns[i - 1]
            run = columns[i] + run * rises
            place = i if direction == 1 else len(columns) - 1 - i
            found[..., place] += weight * (run - columns[i])
    return found


def check() -> None:
    """All do the same work."""
    peaks, center = random_peaks(12, 1)
    scores = group(peaks, center).scores
    rows = [row[0] for row in group_by_loop(peaks, center)]
    torch.testing.assert_close(scores, torch.tensor(rows, device=DEVICE))
    at_once = group_at_once(peaks, center)[0]
    torch.testing.assert_close(at_once[at_once > 0], scores)
    torch.testing.assert_close(
        aggregate_edges(center, 0.1, -1), aggregate_by_loop(center, 0.1)
    )


def centernet(cls: type[CenterNetHead], **options: Any) -> CenterNetHead:
    """A head of CenterNet."""
    torch.manual_seed(0)
    head = cls(
        64,
        64,
        CLASSES,
        test_cfg=ConfigDict(topk=100, local_maximum_kernel=3, max_per_img=100),
        **options,
    )
    return head.to(DEVICE).eval()


def random_objects(batch: int, objects: int) -> list[list[Tensor]]:
    """Boxes in pixels, and classes, of each image."""
    generator = torch.Generator().manual_seed(0)
    center = torch.rand(batch, objects, 2, generator=generator) * 500 + 6
    half = 3 + torch.rand(batch, objects, 2, generator=generator) ** 3 * 120
    boxes = torch.cat((center - half, center + half), -1).clamp(0, 511)
    labels = torch.randint(0, CLASSES, (batch, objects), generator=generator)
    return [list(part.to(DEVICE)) for part in (boxes, labels)]


def target_case(batch: int, objects: int) -> Case:
    """Targets of random boxes by mmdet's rule."""
    args = random_objects(batch, objects)
    shape = (batch, CLASSES, *MAP)
    ours = centernet(CenterPointHead, gaussian_rule='mmdet')
    theirs = centernet(CenterNetHead)
    return Case(
        f'CenterPointHead targets B={batch} objects={objects}',
        'CenterNetHead.get_targets of mmdet',
        lambda: ours.get_targets(*args, shape, INPUT),
        lambda: theirs.get_targets(*args, shape, INPUT),
    )


def corner_case(batch: int, objects: int) -> Case:
    """Targets of the corners of random boxes by mmdet's rule."""
    args = random_objects(batch, objects)
    shape = (batch, CLASSES, *MAP)
    ours, theirs = CornerPairHead(CLASSES, 8, 1), CornerHead(CLASSES, 8, 1)
    return Case(
        f'CornerPairHead targets B={batch} objects={objects}',
        'CornerHead.get_targets of mmdet',
        lambda: ours.get_targets(*args, shape, INPUT, True),
        lambda: theirs.get_targets(*args, shape, INPUT, True),
    )


def predict_case(batch: int) -> Case:
    """Detections of random maps."""
    torch.manual_seed(0)
    outs = (
        [torch.rand(batch, CLASSES, *MAP, device=DEVICE)],
        [torch.rand(batch, 2, *MAP, device=DEVICE) * 20],
        [torch.rand(batch, 2, *MAP, device=DEVICE)],
    )
    meta = dict(
        batch_input_shape=INPUT,
        img_shape=INPUT,
        border=[0.0, 512.0, 0.0, 512.0],
        scale_factor=(1.0, 1.0),
    )

    def work(head: CenterNetHead) -> Callable[[], list[InstanceData]]:
        def predict() -> list[InstanceData]:
            with torch.no_grad():
                return head.predict_by_feat(*outs, [meta] * batch)

        return predict

    return Case(
        f'CenterPointHead predict B={batch}',
        'CenterNetHead.predict_by_feat of mmdet',
        work(centernet(CenterPointHead)),
        work(centernet(CenterNetHead)),
    )


def cases(quick: bool) -> Iterator[Case]:
    """A row per size; quick: smaller batches."""
    torch.set_num_threads(1)
    check()
    batch = 2 if quick else 16
    for objects in OBJECTS:
        yield target_case(batch, objects)
        yield corner_case(batch, objects)
    yield predict_case(batch)
    center = random_peaks(1, 1)[1]
    yield Case(
        f'ExtremeNet edge aggregation C={CLASSES} {MAP[0]}x{MAP[1]}',
        'loop over the columns',
        lambda: aggregate_edges(center, 0.1, -1),
        lambda: aggregate_by_loop(center, 0.1),
    )
    for classes in (1, CLASSES):
        data = random_peaks(40, classes)
        name = f'ExtremeNet grouping K=40 classes={classes}'
        yield Case(
            name,
            'all quadruples at once',
            lambda data=data: group(*data),
            lambda data=data: group_at_once(*data),
        )
        yield Case(
            name,
            'loop over the quadruples',
            lambda data=data: group(*data),
            lambda data=data: group_by_loop(*data),
        )


if __name__ == '__main__':
    main(cases, __doc__, quick_s=1.0)
