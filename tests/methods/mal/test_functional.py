"""Schedules, masks, bags and losses of MAL by hand."""

import math

import pytest
import torch

from mmdet_assigners.methods.mal import functional as mal

F64 = torch.float64


def test_official_schedule_changes_at_the_boundaries():
    # boundaries belong to the next of the twelve intervals
    ratios = [mal.depression_ratio(5, t, 1200) for t in (1, 99, 100, 199, 200)]
    assert ratios == [0, 0, 0.1, 0.1, 0.2]
    ratios = [mal.depression_ratio(5, 50 + 100 * k, 1200) for k in range(12)]
    up = [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert ratios == up + up[::-1]
    assert mal.depression_ratio(5, 1200, 1200) == 0
    assert mal.depression_ratio(5, 9999, 1200) == 0


def test_other_schedules_at_a_quarter_and_at_the_end():
    quarter = [mal.depression_ratio(r, 30, 120) for r in range(9)]
    sigmoid = 1 / (1 + math.exp(2.5)) / 2
    expected = [0.5, 0.1, 0.125, math.log(3.25) / 2, sigmoid, 0.3]
    expected += [0.25, math.log(5.5) / 2, sigmoid]
    assert quarter == pytest.approx(expected)
    end = [mal.depression_ratio(r, 120, 120) for r in range(9)]
    low, high = (1 / (1 + math.exp(x)) / 2 for x in (5, -5))
    expected = [0.5, 0.5, 0.5, math.log(10) / 2, high, 0, 0, 0, low]
    assert end == pytest.approx(expected)


def test_schedule_refuses():
    with pytest.raises(ValueError, match=r'schedule must be in 0\.\.8, got 9'):
        mal.depression_ratio(9, 1, 2)
    with pytest.raises(ValueError, match='got 1 and 0'):
        mal.depression_ratio(5, 1, 0)


def test_activation_by_hand():
    feat = torch.tensor([[[[1.0, 3.0]], [[-2.0, 4.0]]]])
    # means 2 and 1
    assert mal.activation_map(feat).tolist() == [[[0.0, 10.0]]]


@pytest.mark.parametrize('ratio', [0, 0.1, 0.3, 0.5, 1.2])
def test_number_of_depressed_positions(ratio):
    for size in [(1, 1), (3, 4), (7, 5)]:
        feat = torch.randn(3, 6, *size, dtype=F64)
        kept = mal.kept_positions(feat, ratio)
        count = size[0] * size[1]
        expected = min(int(count * ratio), count - 1)
        assert (~kept).sum((1, 2, 3)).tolist() == [expected] * 3
        active = mal.activation_map(feat)
        for image, mask in zip(active, kept[:, 0], strict=True):
            if expected:
                assert image[~mask].min() > image[mask].max()


def test_constant_map_is_kept():
    for channels in range(1, 40):
        feat = torch.randn(2, channels, 1, 1).expand(-1, -1, 9, 13)
        assert mal.kept_positions(feat, 0.5).all()


def test_channels_of_largest_mean():
    feat = torch.zeros(1, 4, 1, 4, dtype=F64)
    feat[0, 1] = 2
    feat[0, 3, 0, 2] = 8  # mean 2 too; the position of largest activation
    kept = mal.kept_positions(feat, 0.25, 'channel_spatial')
    # of the four channels one may go, but two share the largest mean
    expected = torch.ones(1, 4, 1, 4, dtype=torch.bool)
    expected[..., 2] = False
    assert torch.equal(kept, expected)
    feat[0, 1] = 2.5
    kept = mal.kept_positions(feat, 0.25, 'channel_spatial')
    expected[0, 1] = False
    assert torch.equal(kept, expected)


def test_depressed_gradient():
    feat = torch.randn(1, 2, 2, 2, requires_grad=True)
    kept = torch.tensor([[True, False], [True, True]])
    out = mal.depress(feat, kept)
    assert torch.equal(out[..., 0, 1], feat[..., 0, 1] / 4)
    assert torch.equal(out[..., 1, :], feat[..., 1, :])
    out.sum().backward()
    assert feat.grad[0].tolist() == [[[1, 0.25], [1, 1]]] * 2


def test_mask_refuses():
    with pytest.raises(ValueError, match="got 'channel'"):
        mal.kept_positions(torch.zeros(1, 1, 2, 2), 0.1, 'channel')
    with pytest.raises(ValueError, match=r'at least 0, got -0\.1'):
        mal.kept_positions(torch.zeros(1, 1, 2, 2), -0.1)


def test_mean_max():
    same = torch.full((3, 5), 0.3, dtype=F64)
    assert torch.allclose(mal.mean_max(same), same[:, 0])
    scores = torch.rand(50, 7, dtype=F64)
    mixed = mal.mean_max(scores)
    assert ((mixed > scores.mean(1)) & (mixed < scores.amax(1))).all()
    # weights 1 / 0.8 and 1 / 0.5
    pair = torch.tensor([0.2, 0.5], dtype=F64)
    assert mal.mean_max(pair).item() == pytest.approx(1.25 / 3.25)
    sure = torch.tensor([1.0, 0.5], dtype=F64)
    assert mal.mean_max(sure).item() == pytest.approx(1)


def test_mean_max_gradient_where_it_is_clamped():
    def gradient(clamp_gradient):
        scores = torch.tensor([1.0, 0.5], dtype=F64, requires_grad=True)
        mal.mean_max(scores, clamp_gradient).backward()
        return scores.grad[0].item()

    assert gradient(False) == pytest.approx(1)
    # plus dw (s - mean) / sum(w) with w = 1e12, dw = w^2, s - mean = 1 / w
    assert gradient(True) == pytest.approx(2, rel=1e-3)


def test_annealed_size():
    sizes = [mal.annealed_size(20, x) for x in (0, 0.1, 0.5, 0.9, 1)]
    assert sizes == [20, 18, 11, 3, 1]
    assert mal.annealed_size(1, 0.5) == 1
    assert mal.annealed_size(8, 1.5) == 1


def test_annealed_selection_is_mean_then_maximum():
    scores = torch.rand(4, 9, dtype=F64, requires_grad=True)
    best = mal.mean_of_best(scores, mal.annealed_size(9, 0))
    assert torch.allclose(best, scores.mean(1))
    best = mal.mean_of_best(scores, mal.annealed_size(9, 1))
    assert torch.equal(best, scores.amax(1))
    best.sum().backward()
    assert (scores.grad.sum(1) == 1).all()
    assert ((scores.grad == 1).sum(1) == 1).all()


ANCHORS = torch.tensor(
    [[0, 0, 10, 10], [0, 0, 10, 20], [50, 50, 60, 60], [0, 0, 12, 10.0]]
)
BOXES = torch.tensor([[[0, 0, 10, 10], [50, 50, 60, 62.0]]])
BOTH = torch.tensor([[True, True]])


def test_bags():
    bags = mal.anchor_bags(ANCHORS, BOXES, BOTH, 2).sort().values
    assert bags[0, 0].tolist() == [0, 3]
    assert bags[0, 1, 1:].tolist() == [2] or 2 in bags[0, 1]
    assert mal.anchor_bags(ANCHORS, BOXES, BOTH, 9).shape == (1, 2, 4)
    apart = mal.anchor_bags(ANCHORS, BOXES, BOTH, 2, max_elements=1)
    assert torch.equal(apart.sort().values, bags)


def test_box_probability_by_hand():
    # IoU with the first box 1, 0.5, 0, 10/12, with the second 0, 0, 10/12, 0
    labels = torch.tensor([[2, 2]])
    prob = mal.box_probability(ANCHORS[None], BOXES, labels, BOTH, 3, 0.6)
    linear = (10 / 12 - 0.6) / 0.4
    assert prob[0, :, 2].tolist() == pytest.approx([1, 0, 1, linear])
    assert (prob[0, :, :2] == 0).all()
    labels = torch.tensor([[2, 0]])
    prob = mal.box_probability(
        ANCHORS[None], BOXES, labels, BOTH, 3, 0.6, max_elements=1
    )
    assert prob[0, 2].tolist() == pytest.approx([1, 0, 0])
    none = torch.zeros(1, 2, dtype=torch.bool)
    prob = mal.box_probability(ANCHORS[None], BOXES, labels, none, 3, 0.6)
    assert (prob == 0).all()


@pytest.mark.parametrize('dtype', [torch.float32, F64])
def test_best_iou_at_the_threshold(dtype):
    # 10x12 in 10x20: 0.6 up to rounding
    pred = torch.tensor([[[0, 0, 10, 12], [0, 0, 10, 5]]], dtype=dtype)
    box = torch.tensor([[[0, 0, 10, 20]]], dtype=dtype)
    prob = mal.box_probability(
        pred, box, torch.zeros(1, 1).long(), BOTH[:, :1], 1, 0.6
    )
    assert torch.isfinite(prob).all()
    assert prob[0, 1] == 0


def test_negative_loss_by_hand():
    prob = torch.tensor([[[0.5, 0.8], [0.4, 1.0]]], dtype=F64)
    box_prob = torch.tensor([[[0, 0.5], [1, 0.0]]], dtype=F64)
    loss = mal.negative_bag_loss(prob, box_prob)
    expected = -0.25 * math.log(0.5) - 0.16 * math.log(0.6) + 100
    assert loss.item() == pytest.approx(expected)


def test_best_bag():
    bags = torch.tensor([[[0, 2], [2, 3], [1, 4]]])
    weight = torch.tensor([[[1.0, 0.5], [0.5, 0.0], [1, 1]]])
    mask = torch.tensor([[True, True, False]])
    gt, value = mal.best_bag(bags, weight, mask, 5)
    assert gt.tolist() == [[0, -1, 0, 1, -1]]
    assert value.tolist() == [[1, 1, 0.5, 0, 1]]


@pytest.mark.parametrize('gamma', [0.5, 2.0])
def test_negative_gradient_is_finite(gamma):
    prob = torch.tensor([[[0.0, 0.5, 1.0]]], requires_grad=True)
    box_prob = torch.tensor([[[0.0, 1, 0]]])
    mal.negative_bag_loss(prob, box_prob, gamma).backward()
    assert torch.isfinite(prob.grad).all()
