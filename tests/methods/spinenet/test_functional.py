"""Tensor functions of SpineNet on cases worked out by hand."""

import pytest
import torch

from mmdet_assigners.methods.spinenet.functional import (
    drop_block,
    drop_connect_rates,
    max_pool,
)


def test_rates():
    assert drop_connect_rates(0.3, 3) == pytest.approx([0.1, 0.2, 0.3])
    assert drop_connect_rates(0.0, 2) == [0, 0]


def test_same_pad_literal():
    """TensorFlow pads an even size at the end, an odd one on both sides."""
    x = torch.tensor([-5.0, -3, -4, -1, -2, -6]).view(1, 1, 1, 6)
    same = max_pool(x, 3, 2, same_pad=True).flatten().tolist()
    assert same == [-3, -1, -2]
    symmetric = max_pool(x, 3, 2).flatten().tolist()
    assert symmetric == [-3, -1, -1]
    odd = max_pool(x[..., :5], 3, 2, same_pad=True).flatten().tolist()
    assert odd == [-3, -1, -1]


@pytest.mark.parametrize('size', [(5, 8), (1, 1), (16, 3), (7, 13)])
@pytest.mark.parametrize(('kernel', 'stride'), [(3, 2), (5, 4), (5, 8)])
def test_same_pad_sizes(size, kernel, stride):
    out = max_pool(torch.rand(1, 2, *size) - 2, kernel, stride, same_pad=True)
    assert out.shape[2:] == tuple(-(-n // stride) for n in size)
    assert torch.isfinite(out).all()


def test_drop_block():
    torch.manual_seed(0)
    x = torch.ones(4, 8, 20, 30)
    out = drop_block(x, 0.1, 5)
    dropped = out == 0
    assert 0.05 < dropped.float().mean() < 0.12
    torch.testing.assert_close(out.mean(), torch.tensor(1.0))
    # squares inside of the map: each zero lies in one of 25 zeros
    full = torch.nn.functional.avg_pool2d(dropped.float(), 5, 1) == 1
    cover = torch.nn.functional.max_pool2d(
        torch.nn.functional.pad(full.float(), [2] * 4), 5, 1, 2
    )
    assert torch.equal(cover.bool(), dropped)
    assert not torch.equal(dropped[0, 0], dropped[0, 1])


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (4, 4), (5, 5)])
def test_drop_block_of_small_maps(size):
    torch.manual_seed(0)
    out = drop_block(torch.ones(2, 64, *size), 0.3, 7)
    assert torch.isfinite(out).all()
    assert 0 < (out == 0).float().mean() < 1
    assert torch.isfinite(drop_block(out, 1.0, 7)).all()
