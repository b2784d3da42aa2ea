"""DR loss: its limits, its gradients, cases worked out by hand."""

import math

import pytest
import torch

from mmdet_assigners.methods.dr_loss.functional import (
    NEG_LAMBDA,
    dr_loss,
    worst_case_score,
)
from mmdet_assigners.methods.dr_loss.loss import DRLoss


def candidates(batch=2, priors=60, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, priors, classes, generator=generator).double()
    labels = torch.randint(classes + 1, (batch, priors), generator=generator)
    labels[:, priors // 4 :] = classes
    ignored = torch.rand(batch, priors, generator=generator) < 0.1
    return logits, labels, ignored


def plain(logits, labels, ignored, detach=False):
    """The definition for one list, entry by entry."""
    scores = logits.sigmoid()
    pos, neg = [], []
    for row, label, out in zip(scores, labels, ignored, strict=True):
        for index, score in enumerate(row):
            if not out:
                (pos if index == label else neg).append(score)

    def expected(values, slope):
        values = torch.stack(values)
        weights = (slope * values).softmax(0)
        if detach:
            weights = weights.detach()
        return (weights * values).sum()

    low = expected(pos, -1.0) if pos else 1.0
    high = expected(neg, 1 / NEG_LAMBDA) if neg else 0.0
    return 4 / 6 * torch.log1p(torch.exp(6 * (high - low + 0.5)))


def gradient_of(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


def test_equals_the_definition():
    logits, labels, ignored = candidates()
    logits.requires_grad_()
    ours = dr_loss(logits, labels, ignored)
    for b in range(2):
        args = logits[b], labels[b], ignored[b]
        expected = plain(*args)
        torch.testing.assert_close(ours[b], expected)
    ours = gradient_of(ours.sum(), logits)
    expected = [plain(logits[b], labels[b], ignored[b]) for b in range(2)]
    expected = gradient_of(sum(expected), logits)
    torch.testing.assert_close(ours, expected)
    assert (ours[ignored] == 0).all()
    constant = [plain(logits[b], labels[b], ignored[b], True) for b in (0, 1)]
    constant = gradient_of(sum(constant), logits)
    assert (ours - constant).abs().max() > 0.1 * ours.abs().max()


def test_numeric_gradient():
    logits, labels, ignored = candidates(1, 12, 3)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: dr_loss(z, labels, ignored), logits
    )


def test_gradient_in_closed_form():
    """Negatives: q (1 + (p - P) / lambda); far below the mean it is < 0."""
    scores = torch.tensor([[0.9, 0.5, 0.1]], dtype=torch.float64)
    scores.requires_grad_()
    mask = torch.ones(1, 3, dtype=torch.bool)
    slope = 12.5
    value = worst_case_score(scores, mask, slope)
    (grad,) = torch.autograd.grad(value.sum(), scores)
    weights = (slope * scores).softmax(1)
    expected = weights * (1 + slope * (scores - value))
    torch.testing.assert_close(grad, expected.detach())
    assert grad[0, 0] > 1 and grad[0, 2] < 0


@pytest.mark.parametrize(
    ('slope', 'expected'), [(1e5, 0.9), (-1e5, 0.1), (1e-6, 0.5)]
)
def test_limits(slope, expected):
    """Small temperatures give the extremes, large ones the mean."""
    scores = torch.tensor([[0.9, 0.5, 0.1, 1.0]])
    mask = torch.tensor([[True, True, True, False]])
    value = worst_case_score(scores, mask, slope)
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_two_scores_by_hand():
    """Slope log(3) / 0.5: the upper score weighs 3 of 4."""
    scores = torch.tensor([[1.0, 0.5]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    value = worst_case_score(scores, mask, math.log(3) / 0.5)
    assert value.item() == pytest.approx(7 / 8)


def test_at_initialization():
    """All probabilities 0.5: tau / L log(1 + exp(L / 2)) = 2.03."""
    labels = torch.tensor([[0, 3, 3]])
    loss = dr_loss(torch.zeros(1, 3, 3), labels)
    assert loss.item() == pytest.approx(2.0324, abs=1e-4)


def test_no_positive_and_no_negative():
    def expected(high, low):
        return 4 / 6 * math.log1p(math.exp(6 * (high - low + 0.5)))

    zeros = torch.zeros(1, 3, 1)
    background = torch.ones(1, 3, dtype=torch.long)
    loss = dr_loss(zeros, background)
    assert loss.item() == pytest.approx(expected(0.5, 1))
    loss = dr_loss(zeros, background - 1)  # all positive, one class
    assert loss.item() == pytest.approx(expected(0, 0.5))
    zeros.requires_grad_()
    everything = torch.ones(1, 3, dtype=torch.bool)
    loss = dr_loss(zeros, background, everything)
    assert loss.item() == pytest.approx(expected(0, 1))
    loss.sum().backward()
    assert torch.equal(zeros.grad, torch.zeros(1, 3, 1))


def test_lists_are_independent():
    logits, labels, ignored = candidates()
    both = dr_loss(logits, labels, ignored)
    changed = logits.clone()
    changed[1] += 1
    again = dr_loss(changed, labels, ignored)
    assert again[0] == both[0] and again[1] != both[1]


def test_order_does_not_matter():
    logits, labels, ignored = candidates()
    order = torch.randperm(labels.shape[1])
    torch.testing.assert_close(
        dr_loss(logits[:, order], labels[:, order], ignored[:, order]),
        dr_loss(logits, labels, ignored),
    )


def test_saturated_scores():
    """Logits of 1e4 in single precision: finite, value and gradient."""
    logits = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]], requires_grad=True)
    loss = dr_loss(logits, torch.tensor([[1, 2]]))
    loss.sum().backward()
    expected = 4 / 6 * math.log1p(math.exp(6 * 1.5))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert logits.grad.isfinite().all()


def test_half_precision_is_computed_in_single():
    logits, labels, ignored = candidates()
    half = logits.bfloat16()
    loss = dr_loss(half, labels, ignored)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, dr_loss(half.float(), labels, ignored))


def test_descent_separates():
    logits, labels, ignored = candidates(1)
    ignored[:] = False
    logits.requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = dr_loss(logits, labels).sum()
        loss.backward()
        optimizer.step()
    scores = logits.detach().sigmoid()
    own = labels.clamp(max=3)[..., None]
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive.scatter_(2, own, (labels < 4)[..., None])
    assert scores[positive].min() - scores[~positive].max() > 0.5


def test_registered_loss_passes_its_options():
    logits, labels, _ = candidates()
    options = dict(margin=0.3, pos_lambda=2.0, neg_lambda=0.2, L=4.0, tau=2.0)
    expected = dr_loss(logits, labels, **options)
    found = DRLoss(**options, per_image=True)(logits, labels)
    torch.testing.assert_close(found, expected.mean())
    assert not torch.allclose(found, DRLoss(per_image=True)(logits, labels))
