"""Progressive constraint and shifted proposals of TSD."""

import pytest
import torch
from mmdet.models.task_modules import DeltaXYWHBBoxCoder

from mmdet_assigners.methods.tsd import functional as tsd

STDS = (0.1, 0.1, 0.2, 0.2)


@pytest.fixture
def coder():
    return DeltaXYWHBBoxCoder(target_stds=STDS)


def boxes(seed, count=20):
    generator = torch.Generator().manual_seed(seed)
    corner = 100 * torch.rand(count, 2, generator=generator)
    side = 10 + 50 * torch.rand(count, 2, generator=generator)
    return torch.cat((corner, corner + side), 1).double()


def shifted(proposals, delta_r):
    """Equation 3: the same vector is added to both corners."""
    move = 0.1 * delta_r * (proposals[:, 2:] - proposals[:, :2])
    return proposals + move.repeat(1, 2)


def test_no_shift(coder):
    proposals = boxes(0)
    move = tsd.shift_deltas(torch.zeros(20, 2).double(), STDS)
    torch.testing.assert_close(coder.decode(proposals, move), proposals)


def test_deltas_of_the_shifted_proposal(coder):
    """Boxes and targets relative to P_r, from those relative to P."""
    proposals, gts = boxes(0), boxes(1)
    delta_r = torch.randn(20, 2).double()
    deltas = torch.randn(20, 4).double()
    moved = shifted(proposals, delta_r)
    move = tsd.shift_deltas(delta_r, STDS)
    torch.testing.assert_close(coder.decode(proposals, move), moved)
    torch.testing.assert_close(
        coder.decode(proposals, deltas + move), coder.decode(moved, deltas)
    )
    # mmdet encodes in float32
    torch.testing.assert_close(
        coder.encode(proposals, gts) - move.float(), coder.encode(moved, gts)
    )


def test_deficit():
    sibling = torch.tensor([0.5, 0.5, 0.9, 0.9, 0.2], requires_grad=True)
    own = torch.tensor([0.9, 0.6, 0.9, 1.0, 0.0], requires_grad=True)
    found = tsd.deficit(sibling, own, 0.3)
    # beaten by the margin; by less; the margin is 0.1 where 0.9 is reached
    expected = torch.tensor([0, 0.2, 0.1, 0, 0.5])
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert sibling.grad is None
    assert own.grad.tolist() == [0, -1, -1, 0, -1]


def test_margin_of_zero():
    own = torch.tensor([0.4, 0.6])
    found = tsd.deficit(torch.tensor([0.5, 0.5]), own, 0.0)
    torch.testing.assert_close(found, torch.tensor([0.1, 0.0]))


def test_mean_over_images():
    """Image 1 has no positive: one 0 in place of its RoIs; image 2 no RoI."""
    image = torch.tensor([0, 0, 0, 1, 1])
    positive = torch.tensor([True, False, False, False, False])
    values = torch.tensor([1.0, 2, 3, 100, 100])
    having = tsd.images_with(positive, image, 3)
    assert having.tolist() == [True, False, False]
    everyone = torch.ones_like(positive)
    mean = tsd.mean_over_images(values, everyone, having, image)
    assert mean.item() == pytest.approx((1 + 2 + 3 + 0 + 0) / 5)
    mean = tsd.mean_over_images(values, positive, having, image)
    assert mean.item() == pytest.approx((1 + 0 + 0) / 3)


def test_mean_of_nothing():
    none = torch.zeros(0, dtype=torch.int64)
    having = tsd.images_with(none.bool(), none, 2)
    values = torch.zeros(0, requires_grad=True)
    mean = tsd.mean_over_images(values, none.bool(), having, none)
    assert mean.item() == 0
    mean.backward()
