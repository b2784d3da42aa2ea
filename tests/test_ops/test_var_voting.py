"""Variance voting against loops, hand-made cases and mmcv's NMS."""

import math
from functools import partial

import pytest
import torch
from mmcv.ops import nms, soft_nms

from mmdet_assigners.ops import var_voting as module
from mmdet_assigners.ops.var_voting import VotingOptions, var_voting


def naive(boxes, scores, sigmas, options):
    """The algorithm in scalars, with the list operations of the original."""
    one = float(options.plus_one)

    def iou(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0]) + one
        height = min(a[3], b[3]) - max(a[1], b[1]) + one
        overlap = max(width, 0) * max(height, 0)
        areas = [(x[2] - x[0] + one) * (x[3] - x[1] + one) for x in (a, b)]
        return overlap / (sum(areas) - overlap)

    items = [
        [box, score, sigma, index]
        for index, (box, score, sigma) in enumerate(
            zip(boxes.tolist(), scores.tolist(), sigmas.tolist(), strict=True)
        )
    ]
    total, out, i = len(items), [], 0
    while i < total:
        best = max(range(i, total), key=lambda k: (items[k][1], -k))
        items[i], items[best] = items[best], items[i]
        box, score, _, index = items[i]
        above, below = [0.0] * 4, [0.0] * 4
        for other, _, sigma, _ in items[i:total]:
            overlap = iou(box, other)
            if overlap > options.neighbor_iou:
                p = math.exp(-((1 - overlap) ** 2) / options.sigma_t)
                for j in range(4):
                    above[j] += p * other[j] / sigma[j] ** 2
                    below[j] += p / sigma[j] ** 2
        voted = [a / b for a, b in zip(above, below, strict=True)]
        out.append(([*voted, score], index))
        k = i + 1
        while k < total:
            overlap = iou(box, items[k][0])
            if overlap > 0:
                if options.mode == 'soft':
                    factor = math.exp(-(overlap**2) / options.soft_sigma)
                    items[k][1] *= factor
                elif overlap > options.iou_threshold:
                    items[k][1] = 0.0
                if items[k][1] < options.min_score:
                    items[k] = items[total - 1]
                    total -= 1
                    continue
            k += 1
        i += 1
    dets = torch.tensor([row for row, _ in out], dtype=boxes.dtype)
    return dets, [index for _, index in out]


def candidates(count, seed=0, ties=False):
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    center = rand(4, 2)[torch.randint(4, (count,), generator=generator)] * 60
    corner = center + rand(count, 2) * 8
    boxes = torch.cat((corner, corner + 12 + rand(count, 2) * 20), 1)
    scores = 0.05 + 0.9 * rand(count)
    if ties:
        scores = 0.1 + (scores * 3).floor() / 10
        boxes[1::3] = boxes[::3][: len(boxes[1::3])]
    return boxes, scores, 0.1 + rand(count, 4)


@pytest.mark.parametrize('mode', ['soft', 'hard'])
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(plus_one=True, sigma_t=0.05, iou_threshold=0.3),
        dict(soft_sigma=0.1, min_score=0.05, neighbor_iou=0.4),
        dict(min_score=0.25, soft_sigma=0.3, sigma_t=0.2),
    ],
)
def test_equals_loops(mode, ties, options):
    options = VotingOptions(mode=mode, **options)
    for seed, count in enumerate((1, 2, 9, 30, 61)):
        boxes, scores, sigmas = candidates(count, seed, ties)
        expected, index = naive(boxes, scores, sigmas, options)
        votes = var_voting(boxes, scores, sigmas, options=options)
        assert votes.index.tolist() == index
        torch.testing.assert_close(votes.boxes, expected[:, :4])
        torch.testing.assert_close(votes.scores, expected[:, 4])


@pytest.mark.parametrize('mode', ['soft', 'hard'])
@pytest.mark.parametrize('ties', [False, True])
@pytest.mark.parametrize('min_score', [0.0, 0.05])
def test_single_precision_picks_the_same(mode, ties, min_score, monkeypatch):
    """Float32 is picked by mmcv, unless scores or sizes are too small."""
    used = []

    def spy(options):
        used.append(1)
        return real(options)

    real = module._mmcv_picker
    monkeypatch.setattr(module, '_mmcv_picker', spy)
    options = VotingOptions(mode, min_score=min_score, plus_one=ties)
    boxes, scores, sigmas = candidates(61, 1, ties)
    inputs = boxes.float(), scores.float(), sigmas.float()
    votes = var_voting(*inputs, options=options)
    assert used == [1]
    index = votes.index.tolist()
    with monkeypatch.context() as patch:
        slow = partial(module._pick_in_list, options=options)
        patch.setattr(module, '_mmcv_picker', lambda _: slow)
        slow = var_voting(*inputs, options=options)
    assert slow.index.tolist() == index
    torch.testing.assert_close(votes.boxes, slow.boxes)
    torch.testing.assert_close(votes.scores, slow.scores)
    # a box of low score that meets no other one stays
    alone = torch.tensor([[500.0, 500, 510, 510]])
    inputs = [
        torch.cat((one, more))
        for one, more in zip(
            inputs,
            (alone, torch.tensor([min_score / 2]), torch.ones(1, 4)),
            strict=True,
        )
    ]
    votes = var_voting(*inputs, options=options)
    assert len(used) == (2 if min_score == 0 else 1)
    assert 61 in votes.index.tolist()
    votes = var_voting(
        torch.tensor([[0.0, 0, 9, 9], [3, 3, 2, 2]]),
        torch.tensor([0.5, 0.4]),
        torch.ones(2, 4),
        options=VotingOptions(mode),
    )
    assert votes.index.tolist() == [0, 1]
    assert len(used) == (2 if min_score == 0 else 1)


def test_classes_do_not_meet_and_rows_keep_their_index():
    boxes, scores, sigmas = candidates(40)
    labels = torch.arange(40) % 7 % 5  # classes of different sizes
    labels[3] = 60
    votes = var_voting(boxes, scores, sigmas, labels)
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        alone = var_voting(boxes[rows], scores[rows], sigmas[rows])
        mine = labels[votes.index] == label
        assert votes.index[mine].tolist() == rows[alone.index].tolist()
        torch.testing.assert_close(votes.boxes[mine], alone.boxes)
        torch.testing.assert_close(votes.scores[mine], alone.scores)


@pytest.mark.parametrize('mode', ['soft', 'hard'])
def test_small_chunks_change_nothing(mode, monkeypatch):
    inputs = *candidates(50), torch.arange(50) % 7 % 5
    expected = var_voting(*inputs, VotingOptions(mode))
    monkeypatch.setattr(module, '_TABLE', 60)
    monkeypatch.setattr(module, '_BLOCK', 15)
    for ours, theirs in zip(
        var_voting(*inputs, VotingOptions(mode)), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_votes_by_hand():
    """Two boxes of IoU 0.8: p = exp(-0.04 / sigma_t); equal sigmas."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]])
    scores, sigmas = torch.tensor([0.9, 0.8]), torch.ones(2, 4)
    options = VotingOptions('hard', sigma_t=0.04)
    votes = var_voting(boxes, scores, sigmas, options=options)
    p = math.exp(-1)
    assert votes.boxes[0].tolist() == pytest.approx(
        [0, 0, 10, (10 + 8 * p) / (1 + p)]
    )
    assert votes.scores.tolist() == pytest.approx([0.9])
    # a side of small sigma decides
    sigmas[1, 3] = 1e-4
    votes = var_voting(boxes, scores, sigmas, options=options)
    assert votes.boxes[0].tolist() == pytest.approx([0, 0, 10, 8])
    # soft: the second stays, with less, and the picked one no longer votes
    votes = var_voting(
        boxes, scores, sigmas, options=VotingOptions(sigma_t=0.04)
    )
    assert votes.boxes[1].tolist() == [0, 0, 10, 8]
    assert votes.scores[1].item() == pytest.approx(0.8 * math.exp(-0.64 / 0.5))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_predictions_with_gradient(dtype):
    inputs = [one.to(dtype) for one in candidates(20)]
    expected = var_voting(*inputs)
    votes = var_voting(*(one.clone().requires_grad_() for one in inputs))
    torch.testing.assert_close(votes.boxes.detach(), expected.boxes)
    assert votes.boxes.requires_grad


def test_single_and_disjoint_boxes_are_unchanged():
    boxes = torch.tensor([[0.1, 0.2, 7.3, 9.7], [20.3, 0.7, 33.1, 9.9]])
    scores = torch.tensor([0.3, 0.7])
    sigmas = torch.rand(2, 4) + 0.1
    votes = var_voting(boxes, scores, sigmas)
    assert votes.index.tolist() == [1, 0]
    assert torch.equal(votes.boxes, boxes[[1, 0]])
    assert torch.equal(votes.scores, scores[[1, 0]])
    votes = var_voting(boxes[:1], scores[:1], sigmas[:1])
    assert torch.equal(votes.boxes, boxes[:1])


def test_order_of_input_does_not_matter():
    boxes, scores, sigmas = candidates(30)
    expected = var_voting(boxes, scores, sigmas)
    order = torch.randperm(30)
    votes = var_voting(boxes[order], scores[order], sigmas[order])
    assert torch.equal(order[votes.index], expected.index)
    torch.testing.assert_close(votes.boxes, expected.boxes)


def test_no_temperature_is_plain_nms():
    boxes, scores, sigmas = (x.float() for x in candidates(60))
    options = VotingOptions('hard', sigma_t=1e-9)
    votes = var_voting(boxes, scores, sigmas, options=options)
    dets, keep = nms(boxes, scores, 0.5)
    assert votes.index.tolist() == keep.tolist()
    assert torch.equal(votes.boxes, boxes[keep])
    dets, keep = soft_nms(
        boxes, scores, sigma=0.5, min_score=0.001, method='gaussian'
    )
    options = VotingOptions('soft', sigma_t=1e-9)
    votes = var_voting(boxes, scores, sigmas, options=options)
    assert votes.index.tolist() == keep.tolist()
    torch.testing.assert_close(votes.boxes, boxes[keep])
    torch.testing.assert_close(votes.scores, dets[:, 4])


def test_awkward_boxes_and_sigmas_are_finite():
    boxes = torch.tensor(
        [[5.0, 5, 5, 5], [5, 5, 5, 5], [9, 9, 3, 3], [0, 0, 10, 10]]
    )
    scores = torch.full((4,), 0.5)
    sigmas = torch.tensor([[0.0] * 4, [torch.inf] * 4, [1.0] * 4, [1e-30] * 4])
    for mode in ('soft', 'hard'):
        votes = var_voting(boxes, scores, sigmas, options=VotingOptions(mode))
        assert len(votes.boxes) == 4
        assert votes.boxes.isfinite().all()


def test_no_boxes():
    votes = var_voting(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 4))
    assert votes.boxes.shape == (0, 4)
    assert votes.scores.shape == votes.index.shape == (0,)
    assert votes.index.dtype == torch.long


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(mode='linear'), 'mode must be one of soft, hard'),
        (dict(sigma_t=0), 'sigma_t must be positive'),
        (dict(soft_sigma=-1), 'soft_sigma must be positive'),
        (dict(iou_threshold=1.5), r'iou_threshold must be in \[0, 1\]'),
        (dict(min_score=-0.1), r'min_score must be in \[0, 1\]'),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(ValueError, match=text):
        VotingOptions(**options)
