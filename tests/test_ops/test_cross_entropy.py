import math

import pytest
import torch

from mmdet_assigners.ops.cross_entropy import log_loss


def test_values_are_bounded():
    prob = torch.tensor([0.0, math.exp(-2), 1.0])
    assert log_loss(prob, 1).tolist() == pytest.approx([100, 2, 0])
    assert log_loss(1 - prob, 0).tolist() == pytest.approx([100, 2, 0])


def test_nan_stays_nan():
    prob = torch.tensor([0.5, math.nan], requires_grad=True)
    loss = log_loss(prob, 1)
    assert loss.isnan().tolist() == [False, True]
    loss.sum().backward()
    assert prob.grad[0] == -2
