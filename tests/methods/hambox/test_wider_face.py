"""The WIDER FACE protocol on hand-made faces."""

import math

import numpy as np
import pytest

from mmdet_assigners.methods.hambox.wider_face import wider_face_ap

NO_DETS, NO_FACES = np.zeros((0, 5)), np.zeros((0, 4))


def faces(*corners):
    return np.array([[x, 0, 10, 10] for x in corners], float).reshape(-1, 4)


def dets(*rows):
    return np.array([[x, 0, 10, 10, s] for x, s in rows], float).reshape(-1, 5)


def ap(detections, boxes, kept, **kwargs):
    kept = [np.array(row, dtype=np.int64) for row in kept]
    return wider_face_ap(detections, boxes, {'s': kept}, **kwargs)['s']


def test_perfect_and_nothing():
    boxes = [faces(0, 50), faces(20)]
    found = [dets((0, 0.9), (50, 0.8)), dets((20, 0.7))]
    assert ap(found, boxes, [[1, 2], [1]]) == 1
    assert ap([NO_DETS] * 2, boxes, [[1, 2], [1]]) == 0


def test_area_by_hand():
    """Hit, miss, hit of 3 faces: 1/3 * 1 + 1/3 * 2/3."""
    found = [dets((0, 0.9), (200, 0.6), (50, 0.3))]
    value = ap(found, [faces(0, 50, 90)], [[1, 2, 3]])
    assert value == pytest.approx(1 / 3 + 2 / 9)


def test_thresholds_join_close_scores():
    """With two thresholds, 0.5 and 0, all but the worst come at once."""
    found = [dets((0, 1.0), (200, 0.6), (50, 0.5), (300, 0.0))]
    value = ap(found, [faces(0, 50)], [[1, 2]], num_thresholds=2)
    assert value == pytest.approx(2 / 3)


def test_scores_are_stretched_over_the_data_set():
    """0.6 and 0.2 become 1 and 0: the thresholds see two steps."""
    found = [dets((0, 0.6)), dets((200, 0.2))]
    boxes, kept = [faces(0), faces(0)], [[1], [1]]
    assert ap(found, boxes, kept, num_thresholds=2) == pytest.approx(0.5)
    both = ap(found[::-1], boxes, kept, num_thresholds=2)
    assert both == pytest.approx(0.5)


def test_faces_outside_the_subset_dont_count():
    """A detection on such a face is dropped, not a false positive."""
    boxes = [faces(0, 50)]
    found = [dets((0, 0.9), (0, 0.8), (50, 0.5), (200, 0.1))]
    assert ap(found, boxes, [[2]]) == 1
    # in the subset the second hit of a face is a false positive
    assert ap(found, boxes, [[1, 2]]) == pytest.approx(1 / 2 + 1 / 3)


def test_only_the_best_face_is_looked_at():
    """The box overlaps both, more the one that doesn't count: dropped."""
    boxes = [faces(0, 4)]
    found = [dets((1, 0.9), (200, 0.1))]
    assert ap(found, boxes, [[2]]) == 0
    assert ap(found, boxes, [[1]]) == 1


def test_iou_counts_a_pixel_more():
    """10 wide boxes have 11 columns: shift 3 is 8 / 14, shift 4 7 / 15."""
    assert ap([dets((3, 0.9), (99, 0.1))], [faces(0)], [[1]]) == 1
    assert ap([dets((4, 0.9), (99, 0.1))], [faces(0)], [[1]]) == 0
    wide = ap([dets((4, 0.9), (99, 0.1))], [faces(0)], [[1]], iou_thr=7 / 15)
    assert wide == 1


def test_an_image_without_any_face_costs_nothing():
    boxes = [faces(0), NO_FACES]
    kept = [[1], []]
    one = ap([dets((0, 0.5)), dets((0, 0.9), (5, 0.8))], boxes, kept)
    assert one == 1
    # one without faces of the subset does
    boxes = [faces(0), faces(50)]
    assert ap([dets((0, 0.5)), dets((0, 0.9))], boxes, kept) == 0.5


def test_degenerate_data_sets():
    assert math.isnan(ap([dets((0, 0.9))], [faces(0)], [[]]))
    assert ap([dets((0, 0.5))], [faces(0)], [[1]]) == 1  # one score only


def test_order_of_equal_scores_and_of_detections_does_not_matter():
    rng = np.random.default_rng(0)
    boxes = [faces(*rng.uniform(0, 60, 12)) for _ in range(4)]
    found = [
        dets(*zip(rng.uniform(0, 60, 30), rng.integers(1, 9, 30), strict=True))
        for _ in range(4)
    ]
    kept = [rng.permutation(12)[:6] + 1 for _ in range(4)]
    shuffled = [rng.permutation(rows) for rows in found]
    assert 0 < ap(found, boxes, kept) < 1
    assert ap(shuffled, boxes, kept) == ap(found, boxes, kept)


def protocol(detections, boxes, kept, thresholds):
    """The protocol in loops over detections and thresholds."""
    every = np.concatenate([rows[:, 4] for rows in detections])
    low, high = min(every.min(), 1), max(every.max(), 0)
    counted, found = np.zeros(thresholds), np.zeros(thresholds)
    for rows, image, numbers in zip(detections, boxes, kept, strict=True):
        if len(rows) == 0 or len(image) == 0:
            continue
        state = dict.fromkeys(range(len(image)), 'free')
        events = []  # score, proposals and faces found so far
        proposals = 0
        for x, y, w, h, score in sorted(rows.tolist(), key=lambda r: -r[4]):
            ious = []
            for fx, fy, fw, fh in image.tolist():
                width = max(0, min(x + w, fx + fw) - max(x, fx) + 1)
                height = max(0, min(y + h, fy + fh) - max(y, fy) + 1)
                inter = width * height
                area = (w + 1) * (h + 1) + (fw + 1) * (fh + 1)
                ious.append(inter / (area - inter))
            best = ious.index(max(ious))
            if ious[best] >= 0.5 and best + 1 not in numbers:
                state[best] = 'dropped'
            else:
                proposals += 1
                if ious[best] >= 0.5:
                    state[best] = 'found'
            hits = sum(value == 'found' for value in state.values())
            events.append(((score - low) / (high - low), proposals, hits))
        for t in range(thresholds):
            seen = [e for e in events if e[0] >= 1 - (t + 1) / thresholds]
            if seen:
                counted[t] += seen[-1][1]
                found[t] += seen[-1][2]
    recall = found / sum(len(numbers) for numbers in kept)
    precision = found / np.maximum(counted, 1)
    area, last = 0.0, 0.0
    for t in range(thresholds):
        area += (recall[t] - last) * precision[t:].max()
        last = recall[t]
    return area


@pytest.mark.parametrize('seed', range(3))
def test_equals_the_protocol_in_loops(seed):
    rng = np.random.default_rng(seed)
    boxes, found, kept = [], [], []
    for count, faces_of in ((20, 9), (0, 5), (7, 0), (30, 14)):
        image = rng.integers(0, 60, (faces_of, 4)).astype(float)
        image[:, 2:] = image[:, 2:] / 3 + 4
        source = image if faces_of else rng.uniform(5, 40, (3, 4))
        near = source[rng.integers(0, len(source), count)]
        near = near + rng.normal(0, 1.5, near.shape)
        scores = rng.integers(1, 20, (count, 1)) / 20  # ties
        boxes.append(image)
        found.append(np.concatenate((near, scores), 1))
        numbers = rng.permutation(faces_of) + 1
        kept.append(numbers[: faces_of // 2].tolist())
    expected = protocol(found, boxes, kept, 100)
    assert 0.05 < expected < 0.95
    value = ap(found, boxes, kept, num_thresholds=100)
    assert value == pytest.approx(expected)


@pytest.mark.parametrize(
    ('detections', 'boxes', 'kept', 'message'),
    [
        ([], [NO_FACES], [[]], 'detections must have one entry .* 1 images'),
        ([NO_DETS], [NO_FACES], [[], []], 's must have one entry .* got 2'),
        ([NO_FACES], [NO_FACES], [[]], r'detections\[0\] must .* \(N, 5\)'),
        ([NO_DETS], [faces(0)], [[0]], r'face numbers from 1 to 1, got \[0\]'),
        ([NO_DETS], [faces(0)], [[2]], r'face numbers from 1 to 1, got \[2\]'),
    ],
)
def test_bad_input(detections, boxes, kept, message):
    with pytest.raises(ValueError, match=message):
        ap(detections, boxes, kept)
