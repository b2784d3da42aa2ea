"""BorderDet: boxes, targets and scores."""

from dataclasses import replace

import pytest
import torch

from mmdet_assigners.methods.borderdet import functional as borderdet
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

SHAPES, STRIDES = [(4, 4), (2, 2)], [8, 16]
RANGES = [(-1, 16), (16, 1e8)]
POINTS = anchor_points(SHAPES, STRIDES, 0.0)


def padded(boxes, labels):
    boxes = [torch.tensor(b).float().reshape(-1, 4) for b in boxes]
    return pad_gts(boxes, [torch.tensor(b, dtype=torch.long) for b in labels])


def targets(coarse, boxes, labels, **kwargs):
    return borderdet.border_targets(
        POINTS, coarse, *padded(boxes, labels), 3, RANGES, **kwargs
    )


def far_boxes(batch=1):
    """Coarse boxes (batch, 20, 4) that overlap nothing."""
    return torch.tensor([900.0, 900, 910, 910]).expand(batch, 20, 4).clone()


def test_literal_boxes():
    xy = torch.tensor([[8.0, 16.0]])
    ltrb = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    box = borderdet.boxes_from_distances(xy, ltrb)
    assert box.tolist() == [[7, 14, 11, 20]]


def test_literal_pooling_boxes():
    """In cells of the level; outside the map they lie on its edge."""
    points = anchor_points([(1, 1), (1, 3)], (16, 8))
    points = replace(points, sizes=torch.tensor([[1, 1], [6, 4]]))
    boxes = torch.tensor(
        [[[8, 4, 20, 28], [8, 4, 20, 28], [-9, -9, 99, 99], [50, 60, 70, 80]]]
    ).float()
    found = borderdet.pooling_boxes(boxes, points, 0.0)
    expected = [[0, 0, 0, 0], [1, 0.5, 2.5, 3], [0, 0, 5, 3], [5, 3, 5, 3]]
    assert found[0].tolist() == expected
    # with points in the middle of cells, half a cell less
    found = borderdet.pooling_boxes(boxes, points, 0.5)
    assert found[0, 1].tolist() == [0.5, 0, 2, 3]


def test_literal_deltas():
    coarse = torch.tensor([10.0, 20, 30, 60])
    box = torch.tensor([12.0, 20, 25, 70])
    deltas = borderdet.encode_deltas(coarse, box, 0.5)
    assert deltas.tolist() == pytest.approx([0.2, 0, -0.5, 0.5])
    found = borderdet.decode_deltas(coarse, deltas, 0.5)
    torch.testing.assert_close(found, box)
    # a box without area stays where it is
    point = torch.tensor([5.0, 6, 5, 6])
    assert borderdet.decode_deltas(point, deltas, 0.5).tolist() == [5, 6, 5, 6]


def test_stages_are_independent():
    """A coarse box far from its point may be positive, and the other way."""
    coarse = far_boxes()
    coarse[0, 0] = torch.tensor([9.0, 9, 23, 23])  # of the point (0, 0)
    found = targets(coarse, [[[8, 8, 24, 24]]], [[2]])
    assert found.labels[0, 0] == 3 and found.border_labels[0, 0] == 2
    # sides 14: (8 - 9) / (14 / 2) and (24 - 23) / (14 / 2)
    expected = [-1 / 7, -1 / 7, 1 / 7, 1 / 7]
    assert found.border_deltas[0, 0].tolist() == pytest.approx(expected)
    middle = 2 * 4 + 2  # (16, 16) is the middle of the object
    assert found.labels[0, middle] == 2
    assert found.ltrb[0, middle].tolist() == [8, 8, 8, 8]
    assert found.centerness[0, middle] == 1
    assert found.border_labels[0, middle] == 3
    assert (found.border_deltas[0, 1:] == 0).all()


@pytest.mark.parametrize(('width', 'positive'), [(6, True), (5.99, False)])
def test_threshold_is_included(width, positive):
    """IoU 0.6 of a box of width 10."""
    coarse = far_boxes().double()
    coarse[0, 3] = torch.tensor([100.0, 100, 100 + width, 110]).double()
    match = borderdet.match_borders(
        coarse,
        torch.tensor([[[100.0, 100, 110, 110]]]).double(),
        torch.ones(1, 1, dtype=torch.bool),
        0.6,
    )
    assert (match[0, 3] == 0) == positive
    assert (match[0, :3] == -1).all()


def test_first_of_equal_objects_wins():
    coarse = far_boxes()
    coarse[0, 5] = torch.tensor([10.0, 10, 20, 20])
    box = [10, 10, 20, 20]
    found = targets(coarse, [[box, box]], [[1, 0]])
    assert found.border_labels[0, 5] == 1


def test_no_objects_and_no_area():
    """All background, finite, also for coarse boxes that are points."""
    coarse = torch.cat((far_boxes(), POINTS.xy.repeat(1, 2)[None]))
    found = targets(coarse, [[], [[8, 8, 24, 24], [3, 3, 3, 3]]], [[], [1, 1]])
    assert (found.labels[0] == 3).all()
    assert (found.border_labels == 3).all()
    for value in found:
        assert value.isfinite().all()
    assert (found.labels[1] == 1).any()


def test_batch_equals_single_images():
    torch.manual_seed(0)
    coarse = torch.rand(3, 20, 4) * 16
    coarse[..., 2:] += 16
    boxes = [[[2, 3, 28, 29], [6, 6, 26, 20]], [], [[8, 8, 24, 24]]]
    labels = [[0, 1], [], [2]]
    both = targets(coarse, boxes, labels, iou_thr=0.3)
    for index in range(3):
        part = slice(index, index + 1)
        one = targets(coarse[part], boxes[part], labels[part], iou_thr=0.3)
        for value, expected in zip(one, both, strict=True):
            torch.testing.assert_close(value, expected[part])
    assert (both.border_labels < 3).any()


def test_literal_scores():
    logit = torch.tensor([[0.0]])
    first, score = borderdet.stage_scores(logit, logit, logit)
    assert first.item() == pytest.approx(0.5)
    assert score.item() == pytest.approx(0.5)
    first, score = borderdet.stage_scores(
        torch.tensor([[40.0]]), torch.tensor([[40.0]]), torch.tensor([[0.0]])
    )
    assert first.item() == pytest.approx(1)
    assert score.item() == pytest.approx(0.5**0.5)


def test_threshold_acts_on_the_first_stage():
    first = torch.tensor([[0.04, 0.2], [0.6, 0.03]])
    border = torch.tensor([[0.9, 0.05], [0.15, 0.5]])
    logits = first.square().logit(), torch.full((2,), 99.0), border.logit()
    expected = (first * border).sqrt()
    scores, labels, index = borderdet.best_candidates(*logits, 0.05, 10)
    torch.testing.assert_close(scores, expected[[1, 0], [0, 1]])
    assert labels.tolist() == [0, 1] and index.tolist() == [1, 0]
    scores, labels, index = borderdet.best_candidates(*logits, 0.05, 1)
    assert labels.tolist() == [0] and index.tolist() == [1]
    scores, *_ = borderdet.best_candidates(*logits, 0.0, -1)
    everything = expected.flatten().sort(descending=True).values
    torch.testing.assert_close(scores, everything)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_the_limit_of_the_score_is_exact(dtype):
    """No candidate is lost or added where the first score is the limit."""
    cls = torch.linspace(-4, -2, 2000, dtype=dtype)[:, None]
    high = torch.full((2000,), 9.0, dtype=dtype)
    first, _ = borderdet.stage_scores(cls, high[:, None], cls)
    limit = first[1000].item()
    _, _, index = borderdet.best_candidates(cls, high, cls, limit, -1)
    assert set(index.tolist()) == set(
        (first[:, 0] > limit).nonzero()[:, 0].tolist()
    )
