"""Columns of the class of a row."""

import torch

from mmdet_assigners.ops.own_columns import own_columns


def test_own_columns():
    values = torch.arange(24.0).view(2, 12)
    labels = torch.tensor([1, 3])  # 3: background, any column
    found = own_columns(values, labels)
    assert found[0].tolist() == [4, 5, 6, 7]
    assert found.shape == (2, 4)
    agnostic = own_columns(values[:, :4], labels)
    assert torch.equal(agnostic, values[:, :4])
