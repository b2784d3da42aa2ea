"""Guided loss, priors, thresholds and range assignment of Sampling-Free."""

import math

import pytest
import torch
from torch import nn

from mmdet_assigners.methods.sampling_free import functional as sampling_free


def scalar(value):
    return torch.tensor(value, requires_grad=True)


def test_guided_loss_by_hand():
    cls, reg = scalar(8.0), scalar(2.0)
    guided = sampling_free.guided_loss(cls, reg, scale=3.0)
    assert guided.item() == 6.0
    guided.backward()
    assert cls.grad.item() == 0.75  # 3 * 2 / 8
    assert reg.grad is None  # no gradient through the ratio


def test_factors_of_the_classification_loss_cancel():
    grads = []
    for factor in (1.0, 1000.0):
        cls = scalar(5.0)
        sampling_free.guided_loss(factor * cls, torch.tensor(0.5)).backward()
        grads.append(cls.grad.item())
    assert grads[0] == pytest.approx(grads[1])


@pytest.mark.parametrize(('cls', 'reg'), [(3.0, 0.0), (0.0, 0.0), (0.0, 2.0)])
def test_guided_loss_of_zeros_is_finite(cls, reg):
    cls, reg = scalar(cls), torch.tensor(reg)
    guided = sampling_free.guided_loss(cls, reg)
    guided.backward()
    assert guided.item() == 0
    assert math.isfinite(cls.grad.item())


def test_totals_make_the_ratio():
    totals = torch.tensor([4.0, 2.0])
    guided = sampling_free.guided_loss(
        scalar(10.0), scalar(7.0), 1.0, totals=totals
    )
    assert guided.item() == 5.0


def test_masked_rows_count_nothing():
    loss = torch.tensor([[1.0, 2], [float('nan'), 4], [5, 6]])
    mask = torch.tensor([True, False, True])
    assert sampling_free.masked_sum(loss, mask).item() == 14
    assert sampling_free.masked_sum(loss[:, 1], mask).item() == 8


def test_prior_minimizes_the_initial_loss():
    """Brute force over constant probabilities."""
    stats = sampling_free.PriorStatistics((3, 1), 396)
    positives, entries = 4, 400 * 2

    def loss(prior):
        wrong = (entries - positives) * math.log(1 - prior)
        return -positives * math.log(prior) - wrong

    grid = [i / 100000 for i in range(1, 5000)]
    assert stats.prior == 4 / 800
    assert min(grid, key=loss) == pytest.approx(stats.prior)
    bias = sampling_free.sigmoid_bias(stats.prior)
    assert torch.tensor(bias).sigmoid().item() == pytest.approx(stats.prior)


def test_thresholds_by_hand():
    stats = sampling_free.PriorStatistics((3, 1), 396)
    assert (stats.positives, stats.candidates) == (4, 400)
    assert stats.foreground_ratio == 0.01
    assert stats.class_thresholds == (3 / 400, 1 / 400)
    assert stats.global_threshold == pytest.approx(0.015)
    # what the official repository ships for RetinaNet on COCO
    coco = sampling_free.PriorStatistics((80,) + (0,) * 79, 100_000 - 80)
    assert coco.prior == pytest.approx(1e-5)
    assert coco.global_threshold == pytest.approx(8.1e-4)


def test_softmax_bias_gives_the_prior():
    bias = sampling_free.softmax_background_bias(0.03, 20)
    scores = torch.tensor([0.0] * 20 + [bias]).softmax(0)
    assert scores[:20].sum().item() == pytest.approx(0.03)


@pytest.mark.parametrize('prior', [0, 1, -0.1, float('nan')])
def test_priors_are_probabilities(prior):
    for function in (
        sampling_free.sigmoid_bias,
        lambda p: sampling_free.softmax_background_bias(p, 3),
    ):
        with pytest.raises(ValueError, match=r'prior must be in \(0, 1\)'):
            function(prior)


def test_class_thresholds_from_a_file(tmp_path):
    path = tmp_path / 'prior.json'
    path.write_text('{"class_score_thr": [0.1, 0]}')
    read = sampling_free.read_class_thresholds
    assert read(str(path), 2) == read([0.1, 0], 2) == (0.1, 0.0)
    with pytest.raises(ValueError, match=r'prior.json has 2 .* 3 classes'):
        read(path, 3)
    with pytest.raises(ValueError, match=r'must be in \[0, 1\]'):
        read([0.1, 2], 2)
    for content in ('{}', '[1]', 'no'):
        path.write_text(content)
        with pytest.raises(ValueError, match=r'statistics, got .*prior\.json'):
            read(path, 2)
    with pytest.raises(ValueError, match=r'got none\.json: .*No such file'):
        read('none.json', 2)


def toy_training(prior, guided, steps=500):
    """Both losses at each step; 5 of 5000 candidates, 20 classes, no sampling.

    One tower serves both branches, as in a detector.
    """
    torch.manual_seed(1)
    features, boxes = torch.randn(5000, 16), torch.randn(5, 4)
    features[:5, :5] += 6 * torch.eye(5)
    target = torch.zeros(5000, 20)
    target[:5, :5] = torch.eye(5)
    tower = nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()
    )
    cls, reg = nn.Linear(32, 20), nn.Linear(32, 4)
    for layer in (cls, reg):
        nn.init.normal_(layer.weight, std=0.01)
    nn.init.constant_(cls.bias, sampling_free.sigmoid_bias(prior))
    network = nn.ModuleList([tower, cls, reg])
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9)
    history = []
    for _ in range(steps):
        x = tower(features)
        loss_cls = nn.functional.binary_cross_entropy_with_logits(
            cls(x), target, reduction='sum'
        )
        loss_cls = loss_cls / 5
        loss_reg = (reg(x[:5]) - boxes).abs().mean()
        history.append((loss_cls.item(), loss_reg.item()))
        if guided:
            loss_cls = sampling_free.guided_loss(loss_cls, loss_reg)
        optimizer.zero_grad()
        (loss_cls + loss_reg).backward()
        optimizer.step()
    return torch.tensor(history)


def test_a_toy_training_lowers_both_losses():
    losses = toy_training(5 / 5000 / 20, guided=True)
    assert losses.isfinite().all()
    cls, reg = losses[-1] / losses[0]
    assert cls < 0.8 and reg < 0.2


def test_a_toy_training_explodes_without_the_pieces():
    """RetinaNet's prior and no guide: the first steps ruin the tower."""
    losses = toy_training(0.01, guided=False)
    assert losses[0, 0] > 10 * toy_training(5e-5, False, steps=1)[0, 0]
    assert losses[:, 0].max() > 1e6
    cls, reg = losses[-1] / losses[0]
    assert not cls < 1 and not reg < 0.5
