"""AP-loss against its definition, and cases worked out by hand."""

import pytest
import torch

from mmdet_assigners.methods.ap_loss.functional import ap_loss, error_driven


def plain(logits, targets, delta=1.0, interpolate=True):
    """The definition, one positive after the other, O(P * N)."""
    positive = (targets == 1).nonzero().squeeze(1)
    negative = (targets == 0).nonzero().squeeze(1)
    positive = positive[logits[positive].argsort()]
    pos, neg = logits[positive], logits[negative]

    def step(x):
        return (x / (2 * delta) + 0.5).clamp(0, 1)

    gradient, best, total = torch.zeros_like(logits), 0.0, 0.0
    for index, score in zip(positive, pos, strict=True):
        rank = 0.5 + step(pos - score).sum()
        pushed = step(neg - score)
        precision = rank / (rank + pushed.sum())
        share = 1.0
        if not interpolate or precision >= best:
            best = precision
        else:
            share = (1 - best) / (1 - precision)
        total += 1 - best
        gradient[index] = best - 1
        gradient[negative] += share * pushed / (rank + pushed.sum())
    count = max(1, len(positive))
    return torch.as_tensor(total / count), gradient / count


def scores(positives, negatives, ignored=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count = positives + negatives + ignored
    logits = 2 * torch.randn(count, generator=generator).double() - 3
    targets = torch.zeros(count, dtype=torch.long)
    targets[:positives] = 1
    logits[:positives] += 2
    targets[positives + negatives :] = -1
    order = torch.randperm(count, generator=generator)
    return logits[order], targets[order]


@pytest.mark.parametrize('interpolate', [True, False])
@pytest.mark.parametrize('delta', [0.05, 0.5, 1.0, 3.0])
@pytest.mark.parametrize('size', [(1, 1), (1, 40), (30, 1), (60, 2000)])
def test_equals_the_definition(size, delta, interpolate):
    logits, targets = scores(*size)
    loss, gradient = error_driven(logits, targets, delta, interpolate)
    expected, reference = plain(logits, targets, delta, interpolate)
    torch.testing.assert_close(loss, expected.double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize('step', [0.5, 1.0, 2.0])
def test_ties(step):
    """Many equal scores, and distances of exactly delta."""
    logits, targets = scores(50, 500)
    logits = (logits / step).round() * step
    loss, gradient = error_driven(logits, targets, 1.0, True)
    expected, reference = plain(logits, targets)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, reference, rtol=0, atol=1e-12)


def test_by_hand():
    """A positive tied with one negative, another above by delta / 2.

    a = 1, b = 1/2 + 3/4, p = 4/9.
    """
    logits = torch.tensor([0.0, 0.0, 0.5, 9.0, -9.0], requires_grad=True)
    targets = torch.tensor([1, 0, 0, -1, 0])
    loss = ap_loss(logits, targets)
    loss.backward()
    assert loss.item() == pytest.approx(5 / 9)
    expected = [-5 / 9, 2 / 9, 3 / 9, 0, 0]
    assert logits.grad.tolist() == pytest.approx(expected)


def test_interpolation_by_hand():
    """Delta tiny, order + - - +: precisions 1, 1/3 + ... -> the better.

    From below: p = 2/4, then p = 1. Of - + - + : 2/3, 1/2 -> 2/3 for both.
    """
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0])
    loss = ap_loss(logits, torch.tensor([1, 0, 0, 1]), 0.1)
    assert loss.item() == pytest.approx(1 - (1 + 1 / 2) / 2)
    targets = torch.tensor([0, 1, 1, 0])  # 2/3 below, then 1/2
    loss = ap_loss(logits, targets, 0.1)
    assert loss.item() == pytest.approx(1 / 3)
    loss = ap_loss(logits, targets, 0.1, interpolate=False)
    assert loss.item() == pytest.approx(1 - (2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize('interpolate', [True, False])
def test_identities(interpolate):
    """Gradients sum to 0; those of each side have the loss as their size."""
    logits, targets = scores(100, 3000)
    loss, gradient = error_driven(logits, targets, 1.0, interpolate)
    assert 0.05 < loss < 0.95
    torch.testing.assert_close(gradient[targets == 0].sum(), loss)
    torch.testing.assert_close(-gradient[targets == 1].sum(), loss)
    assert (gradient[targets == 0] >= 0).all()
    assert (gradient[targets == 1] <= 0).all()
    assert (gradient[targets == -1] == 0).all()


def test_invariances():
    logits, targets = scores(40, 900)
    loss, gradient = error_driven(logits, targets, 1.0, True)
    moved, same = error_driven(logits + 7, targets, 1.0, True)
    torch.testing.assert_close(moved, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(same, gradient, rtol=0, atol=1e-13)
    order = torch.randperm(len(logits))
    mixed, other = error_driven(logits[order], targets[order], 1.0, True)
    torch.testing.assert_close(mixed, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(other, gradient[order], rtol=0, atol=1e-13)
    # negatives below every positive by delta don't matter
    floor = logits[targets == 1].min() - 1
    more = torch.cat((logits, floor - torch.rand(50).double()))
    longer = torch.cat((targets, torch.zeros(50, dtype=torch.long)))
    longer_loss, longer_grad = error_driven(more, longer, 1.0, True)
    torch.testing.assert_close(longer_loss, loss, rtol=1e-12, atol=0)
    assert (longer_grad[-50:].abs() < 1e-12).all()


@pytest.mark.parametrize('target', [0, -1])
def test_nothing_to_rank(target):
    """No positive: negatives aren't pushed down; the graph stays."""
    logits = torch.randn(20, requires_grad=True)
    loss = ap_loss(logits, torch.full((20,), target))
    loss.backward()
    assert loss == 0 and loss.requires_grad
    assert torch.equal(logits.grad, torch.zeros(20))


def test_no_negative():
    logits = torch.randn(20, requires_grad=True)
    loss = ap_loss(logits, torch.ones(20, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert torch.equal(logits.grad, torch.zeros(20))


def test_empty_list():
    logits = torch.zeros(0, requires_grad=True)
    loss = ap_loss(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0


def test_upstream_gradient():
    logits, targets = scores(10, 200)
    logits.requires_grad_()
    (3 * ap_loss(logits, targets)).backward()
    _, gradient = error_driven(logits.detach(), targets, 1.0, True)
    torch.testing.assert_close(logits.grad, 3 * gradient)


def test_single_precision():
    """float32 scores, as in training: the sums are still float64."""
    logits, targets = scores(300, 50_000)
    single = logits.float()
    loss, gradient = error_driven(single, targets, 1.0, True)
    expected, reference = error_driven(single.double(), targets, 1.0, True)
    assert loss.dtype == gradient.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(
        gradient, reference.float(), rtol=1e-5, atol=1e-12
    )
    half = logits.bfloat16().requires_grad_()
    loss = ap_loss(half, targets)
    loss.backward()
    assert loss.dtype == torch.float32
    assert half.grad.isfinite().all() and (half.grad != 0).any()


def test_descent_ranks_everything():
    """Error-driven updates alone bring the loss to 0."""
    logits, targets = scores(20, 200)
    for _ in range(3000):
        loss, gradient = error_driven(logits, targets, 1.0, True)
        if loss == 0:
            break
        logits = logits - 20 * gradient
    assert loss.abs() < 1e-12
    lowest = logits[targets == 1].min()
    assert lowest - logits[targets == 0].max() > 0.99


@pytest.mark.parametrize('place', ['positive', 'negative'])
def test_nan_is_not_hidden(place):
    logits, targets = scores(5, 50)
    index = (targets == (place == 'positive')).nonzero()[2, 0]
    logits[index] = torch.nan
    assert ap_loss(logits, targets).isnan()
    targets[index] = -1
    assert ap_loss(logits, targets).isfinite()


def test_infinite_negatives():
    """Above everything, or below: as very large numbers."""
    logits, targets = scores(10, 100)
    negative = (targets == 0).nonzero().squeeze(1)
    ours = []
    for huge in (torch.inf, 1e4):
        logits[negative[0]], logits[negative[1]] = huge, -huge
        ours.append(error_driven(logits, targets, 1.0, True))
    torch.testing.assert_close(ours[0], ours[1])
    assert ours[0][1].isfinite().all()


@pytest.mark.parametrize(
    ('logits', 'targets', 'delta', 'message'),
    [
        ((2, 3), (2, 3), 1.0, r'same shape \(n,\), got \(2, 3\)'),
        ((4,), (5,), 1.0, r'got \(4,\) and \(5,\)'),
        ((4,), (4,), 0.0, 'delta must be positive, got 0.0'),
    ],
)
def test_bad_input(logits, targets, delta, message):
    with pytest.raises(ValueError, match=message):
        ap_loss(torch.zeros(logits), torch.zeros(targets), delta)
