"""The functions of GFL: special cases, hand-made values, edges."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from mmdet.models.losses.gfocal_loss import (
    distribution_focal_loss,
    quality_focal_loss,
)

from mmdet_assigners.methods.gfl import functional as gfl

LN2 = math.log(2)


def rand(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return x.requires_grad_()


def unified(logits, y, left, right, beta):
    log_left, log_right = logits.log_softmax(-1).unbind(-1)
    return gfl.generalized_focal_loss(
        log_left, log_right, y, left, right, beta
    )


def assert_same(ours, theirs, *inputs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    grads = (torch.autograd.grad(x.sum(), inputs) for x in (ours, theirs))
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_unified_literal():
    """Support 2 to 6, equal probabilities: expectation 4, label 3."""
    loss = unified(torch.zeros(2).double(), torch.tensor(3.0), 2, 6, 2)
    assert loss.item() == pytest.approx(1 * (3 * LN2 + 1 * LN2))


@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0, 2.5])
def test_unified_is_focal_loss(gamma):
    logits = rand(20, 3)
    labels = torch.arange(20) % 4
    scores = torch.ones(20).double()
    ours = gfl.quality_focal_loss(logits, labels, scores, gamma)
    target = F.one_hot(labels, 4)[:, :3]
    theirs = 2 * py_sigmoid_focal_loss(
        logits, target, gamma=gamma, alpha=0.5, reduction='none'
    )
    assert_same(ours, theirs, logits)


@pytest.mark.parametrize('beta', [0.0, 1.0, 2.0, 2.5, 4.0])
def test_unified_is_mmdets_qfl(beta):
    logits = rand(20, 3)
    labels = torch.arange(20) % 4
    scores = torch.rand(20, generator=torch.Generator().manual_seed(1))
    scores = scores.double()
    scores[0] = 0  # a positive whose box missed
    ours = gfl.quality_focal_loss(logits, labels, scores, beta).sum(1)
    theirs = quality_focal_loss(
        logits, (labels, scores), beta=beta, reduction='none'
    )
    assert_same(ours, theirs, logits)


def test_unified_is_mmdets_dfl():
    logits = rand(20, 9)
    target = torch.linspace(0, 7.9, 20).double()
    ours = gfl.distribution_focal_loss(logits, target)
    theirs = distribution_focal_loss(logits, target, reduction='none')
    assert_same(ours, theirs, logits)


@pytest.mark.parametrize('beta', [0.0, 1.5, 2.0])
def test_gradcheck(beta):
    logits = rand(5, 2)
    y = torch.tensor([0.1, 0.4, 1.2, 0.9, 2.0]).double()
    assert torch.autograd.gradcheck(
        lambda x: unified(x, y, 0.0, 2.5, beta), logits
    )


@pytest.mark.parametrize('beta', [0.0, 0.5, 1.0, 2.0])
def test_minimum(beta):
    """Over p_right in (0, 1), support 1 to 3, label 1.6: at 0.3."""
    right = torch.linspace(0.001, 0.999, 999).double()
    y = torch.tensor(1.6).double()
    loss = gfl.generalized_focal_loss(
        (1 - right).log(), right.log(), y, 1, 3, beta
    )
    assert right[loss.argmin()].item() == pytest.approx(0.3, abs=2e-3)
    entropy = -1.4 * math.log(0.7) - 0.6 * math.log(0.3)
    expected = entropy if beta == 0 else 0
    assert loss.min().item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('beta', [0.0, 0.5, 1.0, 2.0])
def test_modulation_at_zero(beta):
    x = torch.tensor([0.0, -2.0], requires_grad=True)
    factor = gfl.modulation(x, beta)
    expected = [1.0, 1.0] if beta == 0 else [0.0, 2**beta]
    assert factor.tolist() == pytest.approx(expected)
    (grad,) = torch.autograd.grad(factor.sum() + 0 * x.sum(), x)
    assert grad.tolist() == pytest.approx(
        [0, -beta * 2 ** (beta - 1) if beta else 0]
    )


def test_qfl_literal():
    logits = torch.zeros(2, 2)
    loss = gfl.quality_focal_loss(
        logits, torch.tensor([0, 2]), torch.tensor([1.0, 0.0]), 2
    )
    assert loss.flatten().tolist() == pytest.approx([LN2 / 4] * 4)
    # the perfect score costs nothing
    loss = gfl.quality_focal_loss(
        logits, torch.tensor([1, 2]), torch.tensor([0.5, 0.0]), 2
    )
    assert loss[0, 1] == 0


def test_extreme_logits_are_finite():
    logits = torch.tensor([[300.0, -300.0]], requires_grad=True)
    loss = gfl.quality_focal_loss(
        logits, torch.tensor([1]), torch.tensor([0.7])
    )
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(logits.grad).all()


def test_dfl_weights_the_two_nearest_bins():
    probs = torch.tensor([0.1, 0.2, 0.3, 0.4])
    for y, expected in [
        (1.25, -0.75 * math.log(0.2) - 0.25 * math.log(0.3)),
        (2.0, -math.log(0.3)),  # on a bin: that bin alone
        (0.0, -math.log(0.1)),
        (3.0, -math.log(0.4)),  # the last bin
    ]:
        loss = gfl.distribution_focal_loss(probs.log(), torch.tensor(y))
        assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_clamp_distances():
    distances = torch.tensor([-1.0, 3.0, 7.99, 100.0])
    clamped = gfl.clamp_distances(distances, 16, 0.5)
    assert clamped.tolist() == pytest.approx([0, 3, 7.95, 7.95])
    # twice the bins of half the width reach as far
    assert gfl.clamp_distances(distances, 32, 0.5, 0.2).tolist() == (
        gfl.clamp_distances(distances, 16, 1.0, 0.1).tolist()
    )


@pytest.mark.parametrize('delta', [0.5, 1.0, 4.0])
def test_distributions(delta):
    """Certain: the bin. Two peaks at 2 and 6: mean 4, deviation 2."""
    logits = torch.full((2, 9), -1e4)
    logits[0, 5] = 0
    logits[1, [2, 6]] = 0
    mean = gfl.expected_distance(logits, delta)
    spread = gfl.distance_spread(logits, delta)
    assert mean.tolist() == pytest.approx([5 * delta, 4 * delta])
    assert spread.tolist() == pytest.approx([0, 2 * delta])


def test_ambiguous_target_gives_two_peaks():
    """DFL on targets 2 and 6 in turn: peaks there, the mean between."""
    logits = torch.zeros(9, requires_grad=True)
    target = torch.tensor([2.0, 6.0])
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = gfl.distribution_focal_loss(logits.expand(2, 9), target)
        loss.sum().backward()
        optimizer.step()
    assert sorted(logits.topk(2).indices.tolist()) == [2, 6]
    assert gfl.expected_distance(logits).item() == pytest.approx(4, abs=0.1)
    assert gfl.distance_spread(logits).item() == pytest.approx(2, abs=0.1)


def test_gaussian_without_variance_is_smooth_l1():
    mean, target = rand(6, 4), rand(6, 4, seed=1)
    ours = gfl.gaussian_distance_loss(mean, torch.zeros_like(mean), target)
    theirs = F.smooth_l1_loss(mean, target, reduction='none')
    assert_same(ours, theirs, mean, target)


def test_gaussian_literal_and_minimum():
    """Error 3: smooth L1 2.5; the best log variance is log(2 * 2.5)."""
    alpha = torch.linspace(-1, 4, 5001)
    loss = gfl.gaussian_distance_loss(
        torch.tensor(1.0), alpha, torch.tensor(4.0)
    )
    assert loss[1000].item() == pytest.approx(2.5)  # alpha 0
    assert loss[2000].item() == pytest.approx(2.5 / math.e + 0.5)
    best = alpha[loss.argmin()].item()
    assert best == pytest.approx(math.log(5), abs=2e-3)


def test_guided_losses():
    losses = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    labels = torch.tensor([1, 0, 2])
    quality = torch.tensor([0.5, 0.2, 0.0])
    guided = gfl.guided_losses(losses, labels, quality)
    expected = torch.tensor([[1.0, 1.0], [0.6, 4.0], [5.0, 6.0]])
    torch.testing.assert_close(guided, expected)
    squared = gfl.guided_losses(losses, labels, quality, eta=2)
    assert squared[0, 1] == 0.5
    for same in (
        gfl.guided_losses(losses, labels, quality, eta=0),
        gfl.guided_losses(losses, labels, torch.ones(3)),
    ):
        assert torch.equal(same, losses)


def test_guided_losses_normalized():
    """Positives sum to 5 before and 1.6 after: scaled back."""
    losses = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    labels, quality = torch.tensor([1, 0]), torch.tensor([0.5, 0.2])
    guided = gfl.guided_losses(losses, labels, quality, normalize=True)
    expected = [1.0, 5 / 1.6, 0.6 * 5 / 1.6, 4.0]
    assert guided.flatten().tolist() == pytest.approx(expected)
    guided.sum().backward()
    assert losses.grad[0, 1].item() == pytest.approx(0.5 * 5 / 1.6)
    # no positive, or only worthless ones: finite
    for label, q in ((2, 0.5), (0, 0.0)):
        guided = gfl.guided_losses(
            losses[:1],
            torch.tensor([label]),
            torch.tensor([q]),
            normalize=True,
        )
        assert torch.isfinite(guided).all()


def test_guide_carries_no_gradient():
    quality = torch.tensor([0.5], requires_grad=True)
    losses = torch.ones(1, 2, requires_grad=True)
    gfl.guided_losses(losses, torch.tensor([0]), quality).sum().backward()
    assert quality.grad is None


def test_nothing():
    none = torch.zeros(0, 3)
    labels = torch.zeros(0, dtype=torch.long)
    assert gfl.quality_focal_loss(none, labels, none[:, 0]).shape == (0, 3)
    assert gfl.guided_losses(none, labels, none[:, 0]).shape == (0, 3)
    assert gfl.distribution_focal_loss(none, none[:, 0]).shape == (0,)
    assert gfl.distance_spread(none).shape == (0,)
