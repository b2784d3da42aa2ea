"""Gaussian boxes, their likelihood and their sides."""

import math

import pytest
import torch
from golden_runner import Case, load_adapters

from mmdet_assigners.methods.gaussian_yolov3 import functional as ops

ROOT = math.sqrt(2 * math.pi)


def values(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def test_density_of_the_paper_and_of_the_code():
    mu, sigma, target = values(0.5), values(0.25), values(0.75)
    paper = ops.log_density(mu, sigma, target, sigma_const=0, eps=1e-9)
    expected = math.log(math.exp(-0.5) / (ROOT * 0.25) + 1e-9)
    assert paper.item() == pytest.approx(expected, abs=1e-12)
    code = ops.log_density(mu, sigma, target)
    expected = math.log(math.exp(-0.5) / (ROOT * 0.55) + 1e-9)
    assert code.item() == pytest.approx(expected, abs=1e-12)


def test_density_of_the_code_is_bounded():
    """Below 1.33, however small sigma is."""
    log = ops.log_density(values(0.5), values(1e-12), values(0.5))
    assert log.exp().item() == pytest.approx(1 / (ROOT * 0.3), rel=1e-6)
    assert log.exp().item() < 1.33


def test_loss_weighs_half_of_the_scale():
    mu, sigma, target = (torch.rand(5, 4).double() for _ in range(3))
    one = ops.box_nll(mu, sigma, target, torch.ones(5))
    scale = torch.tensor([0.0, 1, 2, 1.5, 1.9])
    several = ops.box_nll(mu, sigma, target, scale)
    torch.testing.assert_close(several, scale.double()[:, None] * one)
    log = ops.log_density(mu, sigma, target)
    torch.testing.assert_close(one, -0.5 * log)


def test_least_at_the_target_and_at_the_distance():
    grid = torch.linspace(0.01, 0.99, 99).double()
    loss = -ops.log_density(grid, values(0.1), values(0.37), 0)
    assert grid[loss.argmin()].item() == pytest.approx(0.37)
    loss = -ops.log_density(values(0.5), grid, values(0.7), sigma_const=0)
    assert grid[loss.argmin()].item() == pytest.approx(0.2)


@pytest.mark.parametrize('const', [0.0, 0.3])
def test_noisier_boxes_get_larger_sigmas(const):
    """The scale of the noise without the constant, more with it."""
    torch.manual_seed(0)
    scale = torch.tensor([0.05, 0.1, 0.2, 0.3])
    target = 0.5 + scale * torch.randn(4000, 4)
    raw = torch.zeros(8, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        mu, sigma = (x.expand_as(target) for x in ops.split_boxes(raw))
        loss = ops.box_nll(mu, sigma, target, torch.ones(4000), const)
        (loss.sum() / 4000).backward()
        optimizer.step()
    mu, sigma = ops.split_boxes(raw.detach())
    torch.testing.assert_close(mu, torch.full((4,), 0.5), rtol=0, atol=0.02)
    assert (sigma.diff() > 0.02).all()
    if const == 0:
        torch.testing.assert_close(sigma, scale, rtol=0.05, atol=0)
    else:
        assert (sigma > scale).all()


@pytest.mark.parametrize('const', [0.0, 0.3])
def test_gradcheck(const):
    mu = torch.rand(3, 4).double().requires_grad_()
    sigma = (torch.rand(3, 4).double() * 0.5 + 0.2).requires_grad_()
    target, scale = torch.rand(3, 4).double(), torch.rand(3).double()
    assert torch.autograd.gradcheck(
        lambda *x: ops.box_nll(*x, target, scale, const), (mu, sigma)
    )


@pytest.mark.parametrize('const', [0.0, 0.3])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('straight', [False, True])
def test_finite_for_huge_outputs(const, dtype, straight):
    edge = torch.tensor([-200.0, -60, -20, -1, 0, 1, 20, 60, 200])
    raw = torch.cartesian_prod(edge, edge).to(dtype)
    raw = raw.repeat(1, 4).requires_grad_()
    for target in (0.0, 0.5, 1.0, -13.8, 5.0):
        mu, sigma = ops.split_boxes(raw.float(), straight)
        loss = ops.box_nll(
            mu,
            sigma,
            torch.full_like(mu, target),
            torch.ones(len(mu)),
            const,
        )
        assert torch.isfinite(loss).all()
        (gradient,) = torch.autograd.grad(loss.sum(), mu, retain_graph=True)
        assert torch.isfinite(gradient).all()
        (gradient,) = torch.autograd.grad(loss.sum(), raw)
        within = raw.detach().abs().amax(1) <= 20
        assert torch.isfinite(gradient[within].float()).all() or (
            dtype == torch.float16  # 65504 is its largest number
        )
        assert not gradient.isnan().any()


def test_far_target_costs_log_eps_and_teaches_nothing():
    mu = values(0.1).requires_grad_()
    sigma = values(1e-3).requires_grad_()
    loss = ops.box_nll(mu[:, None], sigma[:, None], values(0.9), values(1.0))
    assert loss.item() == pytest.approx(-0.5 * math.log(1e-9))
    loss.sum().backward()
    assert mu.grad.item() == sigma.grad.item() == 0


def test_straight_through_leaves_the_sigmoid_out():
    raw = torch.randn(6, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 8, dtype=torch.float64)
    for straight in (False, True):
        out = ops.split_outputs(raw, straight)
        both = torch.stack([out.mu, out.sigma], -1).flatten(1)
        (gradient,) = torch.autograd.grad((both * weight).sum(), raw)
        slope = both.detach() * (1 - both.detach())
        slope[:, [4, 6]] = 1  # of w and h, which have no sigmoid
        expected = weight if straight else weight * slope
        torch.testing.assert_close(gradient[:, :8], expected)
    plain = ops.split_outputs(raw)
    for name in ('mu', 'sigma', 'objectness', 'cls'):
        assert torch.equal(getattr(out, name), getattr(plain, name))
    assert torch.equal(plain.objectness, raw[:, 8])
    assert torch.equal(plain.cls, raw[:, 9:])


def test_certainty():
    sigma = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([0.75, 1.0])
    torch.testing.assert_close(ops.certainty(sigma), expected)


def test_side_sigmas_of_a_box():
    # center: 0.5 * 8 = 4 and 0.75 * 8 = 6; half sizes: 3 and 8
    sigma = torch.tensor([[0.5, 0.75, 0.1, 0.2]])
    boxes = torch.tensor([[10.0, 20, 70, 100]])
    found = ops.side_sigmas(sigma, boxes, torch.tensor([8.0]))
    torch.testing.assert_close(found, torch.tensor([[5.0, 10, 5, 10]]))


def test_side_sigmas_are_those_of_samples():
    generator = torch.Generator().manual_seed(0)
    mu = torch.tensor([0.4, 0.6, 0.3, -0.2])
    sigma = torch.tensor([0.2, 0.1, 0.05, 0.02])
    draws = mu + sigma * torch.randn(100_000, 4, generator=generator)
    center = (torch.tensor([3.0, 5.0]) + draws[:, :2]) * 16
    half = torch.tensor([62.0, 45.0]) * draws[:, 2:].exp() / 2
    sides = torch.cat([center - half, center + half], 1)
    center = (torch.tensor([3.0, 5.0]) + mu[:2]) * 16
    half = torch.tensor([62.0, 45.0]) * mu[2:].exp() / 2
    box = torch.cat([center - half, center + half])
    found = ops.side_sigmas(sigma, box, torch.tensor(16.0))
    torch.testing.assert_close(found, sides.std(0), rtol=0.01, atol=0)


def test_errors_name_what_is_wrong():
    one = torch.ones(1, 4)
    with pytest.raises(ValueError, match='eps must be at least 0, got -1'):
        ops.log_density(one, one, one, eps=-1)
    with pytest.raises(ValueError, match='sigma_const must be at least 0'):
        ops.log_density(one, one, one, sigma_const=-0.1)
    with pytest.raises(ValueError, match=r'9 \+ num_classes.*\(2, 8\)'):
        ops.split_outputs(torch.ones(2, 8))


def test_without_eps_the_density_is_bare():
    log = ops.log_density(values(0.0), values(0.001), values(1.0), 0, 0)
    expected = -0.5e6 - math.log(ROOT * 0.001)
    assert log.item() == pytest.approx(expected, rel=1e-12)


def test_golden_layer_finds_cells_like_the_c_code():
    """7 of 10 cells: 0.7 in single precision is less, its tenfold isn't."""
    case = Case(
        method='gaussian_yolov3',
        name='border',
        op='gaussian_yolov3.layer',
        params=dict(
            stride=8, ignore_thr=0.5, sigma_const=0.3, eps=1e-9, num_classes=1
        ),
        tolerances={},
        inputs=dict(
            raw=torch.zeros(1, 1, 10, 1, 10).double(),
            truth=torch.tensor([[0.7, 0.5, 0.1, 0.5, 0]]).double(),
            num_truth=torch.tensor([1]),
            anchors=torch.tensor([[8.0, 4.0]]).double(),
            mask=torch.tensor([0]),
        ),
        weights={},
        expected={},
    )
    found = load_adapters()[case.op](case)['grad_raw_official']
    positive = found[0, 0, 8, 0] < 0
    assert positive.nonzero().flatten().tolist() == [7]
