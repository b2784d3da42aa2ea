"""Hand-made cases and invariants of the Noisy Anchors functions."""

import pytest
import torch
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

from mmdet_assigners.methods.noisy_anchors import functional as noisy_anchors
from mmdet_assigners.ops.anchor_match import IGNORED, NEGATIVE
from mmdet_assigners.ops.anchor_points import pad_gts

# IoU with (0, 0, 10, 10): 1, 0.8, 0.5, 0.5, 0
PRIORS = torch.tensor(
    [
        [0.0, 0, 10, 10],
        [0, 0, 10, 8],
        [0, 0, 10, 5],
        [0, 0, 5, 10],
        [50, 50, 60, 60],
    ]
)
BOX = [0.0, 0, 10, 10]


def match(boxes, topn, **kwargs):
    """Of images with these boxes."""
    boxes = [torch.tensor(b).reshape(-1, 4) for b in boxes]
    labels = [torch.zeros(len(b), dtype=torch.long) for b in boxes]
    gts, _, mask = pad_gts(boxes, labels)
    return noisy_anchors.topn_match(PRIORS, gts, mask, topn, **kwargs)


@pytest.mark.parametrize(
    ('topn', 'positive'),
    [
        (1, [0]),
        (2, [0, 1]),
        (3, [0, 1, 3]),  # ties: the later
        (4, [0, 1, 2, 3]),
        (5, [0, 1, 2, 3, 4]),
        (50, [0, 1, 2, 3, 4]),
    ],
)
def test_topn_by_hand(topn, positive):
    found = match([[BOX]], topn)
    assert (found.gt[0] >= 0).nonzero().flatten().tolist() == positive
    expected = [1, 0.8, 0.5, 0.5, 0]
    assert found.iou[0].tolist() == pytest.approx(expected)


def test_min_iou_drops_anchors_far_away():
    found = match([[BOX]], 5, min_iou=0.5)
    assert found.gt[0].tolist() == [0, 0, 0, 0, NEGATIVE]
    assert match([[BOX]], 5, min_iou=0.6).lists[0].tolist() == [1, 1, 0, 0, 0]


def test_a_positive_belongs_to_its_own_best_ground_truth():
    """The far box lists all anchors, but takes only the one it overlaps."""
    found = match([[BOX, [50, 50, 60, 58]]], 5)
    assert found.lists[0].tolist() == [2] * 5
    assert found.gt[0].tolist() == [0, 0, 0, 0, 1]
    # its list is anchor 4 and, of four anchors without overlap, the last
    found = match([[[50, 50, 60, 58], BOX]], 2)
    assert found.lists[0].tolist() == [1, 1, 0, 1, 1]
    assert found.gt[0].tolist() == [1, 1, NEGATIVE, 1, 0]


def test_batched_in_chunks_equals_single_images():
    images = [[BOX, [0, 0, 9, 9], [45, 45, 70, 70]], [], [[0, 0, 4, 9]]]
    batched = match(images, 3)
    chunked = match(images, 3, max_elements=1)
    for a, b in zip(batched, chunked, strict=True):
        assert torch.equal(a, b)
    for index, boxes in enumerate(images):
        single = match([boxes], 3)
        for a, b in zip(batched, single, strict=True):
            assert torch.equal(a[index], b[0])
    assert (batched.gt[1] == NEGATIVE).all()


def test_invalid_anchors_are_ignored_and_not_listed():
    valid = torch.tensor([[False, True, True, True, True]])
    found = match([[BOX]], 2, valid=valid)
    assert found.gt[0].tolist() == [IGNORED, 0, NEGATIVE, 0, NEGATIVE]


def table(*rows):
    return [torch.tensor([row], dtype=torch.float64) for row in rows]


def test_cleanliness_by_hand():
    """One anchor is in two lists and counts twice in the means."""
    score, iou = table([0.1, 0.3, 0.2, 0.9], [0.8, 0.4, 0.6, 0.9])
    lists = torch.tensor([[2, 1, 1, 0]])
    label, weight = noisy_anchors.cleanliness(score, iou, lists, 0.75)
    mean_iou, mean_score = 2.6 / 4, 0.7 / 4
    raw = [
        0.75 * i / mean_iou + 0.25 * s / mean_score
        for i, s in ((0.8, 0.1), (0.4, 0.3), (0.6, 0.2))
    ]
    low, high = min(raw), max(raw)
    expected = [
        mean_iou + (x - low) * (1 - mean_iou) / (high - low) for x in raw
    ]
    assert label[0].tolist() == pytest.approx([*expected, 0])
    assert max(expected) == 1 and min(expected) == mean_iou
    by_iou = [1 / 0.2, 1 / 0.6, 1 / 0.4]
    by_score = [1 / 0.9, 1 / 0.7, 1 / 0.8]
    mean_iou = (2 * by_iou[0] + by_iou[1] + by_iou[2]) / 4
    mean_score = (2 * by_score[0] + by_score[1] + by_score[2]) / 4
    expected = [
        0.75 * i / mean_iou + 0.25 * s / mean_score
        for i, s in zip(by_iou, by_score, strict=True)
    ]
    assert weight[0].tolist() == pytest.approx([*expected, 1])
    assert (weight * lists).sum().item() == pytest.approx(4)


def test_formulas_of_the_paper():
    score, iou = table([0.5, 0.2], [0.5, 0.8])
    label, weight = noisy_anchors.cleanliness(
        score, iou, torch.ones(1, 2).long(), 0.75, 2.0, 'paper', 'paper'
    )
    assert label[0].tolist() == pytest.approx([0.5, 0.65])
    first, second = 2.0**2, (0.75 * 5 + 0.25 * 1.25) ** 2
    mean = (first + second) / 2
    assert weight[0].tolist() == pytest.approx([first / mean, second / mean])


def test_gamma_zero_means_no_weights():
    score, iou = torch.rand(2, 3, 50)
    lists = torch.randint(0, 3, (3, 50))
    _, weight = noisy_anchors.cleanliness(score, iou, lists, 0.75, 0.0)
    torch.testing.assert_close(weight, torch.ones(3, 50))


@pytest.mark.parametrize(
    ('scores', 'ious', 'label'),
    [
        ([0.3, 0.3], [0.4, 0.4], [0.4, 0.4]),  # equal: the lower end
        ([0.0, 0.0], [0.0, 0.0], [0, 0]),
        ([1.0, 1.0], [1.0, 1.0], [1, 1]),
        ([1.0, 0.1], [1.0, 0.5], [1, 0.75]),
    ],
)
def test_degenerate_scores_are_finite(scores, ious, label):
    score, iou = table(scores, ious)
    found = noisy_anchors.cleanliness(
        score, iou, torch.ones(1, 2).long(), 0.75
    )
    assert found.label[0].tolist() == pytest.approx(label)
    assert torch.isfinite(found.weight).all()


def test_images_without_positives():
    score, iou = torch.rand(2, 2, 4)
    found = noisy_anchors.cleanliness(
        score, iou, torch.zeros(2, 4).long(), 0.75
    )
    assert (found.label == 0).all() and (found.weight == 1).all()


def test_means_are_per_image():
    score, iou = torch.rand(2, 3, 20, dtype=torch.float64)
    lists = torch.randint(0, 3, (3, 20))
    both = noisy_anchors.cleanliness(score, iou, lists, 0.6)
    for index in range(3):
        one = slice(index, index + 1)
        single = noisy_anchors.cleanliness(
            score[one], iou[one], lists[one], 0.6
        )
        for a, b in zip(both, single, strict=True):
            torch.testing.assert_close(a[one], b)


def test_hard_labels_give_the_focal_loss():
    logits = torch.randn(40, 5, dtype=torch.float64)
    labels = torch.randint(0, 6, (40,))
    ours = noisy_anchors.soft_focal_loss(
        logits, labels, torch.ones(40).double(), 0.25, 1.5
    )
    one_hot = torch.nn.functional.one_hot(labels, 6)[:, :5].double()
    expected = py_sigmoid_focal_loss(
        logits, one_hot, gamma=1.5, alpha=0.25, reduction='none'
    )
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_extreme_logits_are_finite(gamma):
    logits = torch.tensor([[-1e4, 1e4, 0.0]] * 3, requires_grad=True)
    labels = torch.tensor([0, 1, 3])
    loss = noisy_anchors.soft_focal_loss(
        logits, labels, torch.full((3,), 0.5), 0.5, gamma
    )
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()


def test_reweighting_keeps_the_sum():
    loss = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    weight = torch.tensor([3.0, 1.0, 0.5])
    total = noisy_anchors.reweighted_sum(loss, weight)
    assert total.item() == pytest.approx(7)
    total.backward()
    assert loss.grad.tolist() == pytest.approx([3.0, 1.0, 0.5])  # 7 / 7
    nothing = torch.zeros(3, requires_grad=True)
    total = noisy_anchors.reweighted_sum(nothing, weight)
    total.backward()
    assert total.item() == 0
    assert nothing.grad.tolist() == weight.tolist()


def test_normalizer_approaches_a_constant_count():
    value = torch.tensor(100.0)
    for step in range(1, 6):
        value = noisy_anchors.update_normalizer(value, torch.tensor(20.0))
        share = 0.9**step
        assert value.item() == pytest.approx(100 * share + 20 * (1 - share))
