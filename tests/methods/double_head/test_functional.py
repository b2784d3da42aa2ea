"""Tensor functions of Double-Head-Ext."""

import pytest
import torch

from mmdet_assigners.methods.double_head.functional import (
    fuse_scores,
    grouped_nonlocal,
    task_weights,
)
from mmdet_assigners.methods.double_head.layers import GroupNonLocal2d


@pytest.mark.parametrize('softmax', [False, True])
@pytest.mark.parametrize('groups', [1, 2, 6])
def test_every_group_for_itself(groups, softmax):
    torch.manual_seed(0)
    theta, phi, g = torch.randn(3, 2, 6, 2, 3)
    found = grouped_nonlocal(theta, phi, g, groups, softmax)
    width = 6 // groups
    for n in range(2):
        for c in range(6):
            own = slice(c // width * width, c // width * width + width)
            for i in range(6):
                query = theta[n, own].flatten(1)[:, i]
                weights = query @ phi[n, own].flatten(1)
                weights = weights.softmax(0) if softmax else weights / 6
                expected = (weights * g[n, c].flatten()).sum()
                torch.testing.assert_close(found[n, c].flatten()[i], expected)


def test_block_starts_as_relu():
    block = GroupNonLocal2d(8, 4, groups=2).eval()
    block.bn.bias.data.uniform_(-1, 1)
    x = torch.randn(2, 8, 3, 3)
    shifted = x + block.bn.bias[:, None, None]
    torch.testing.assert_close(block(x), shifted.relu())


@pytest.mark.parametrize('groups', [0, 3])
def test_groups_divide_the_channels(groups):
    with pytest.raises(ValueError, match='inter_channels must be a multiple'):
        GroupNonLocal2d(8, 4, groups=groups)


def test_fused_scores():
    torch.manual_seed(0)
    first, second = torch.randn(2, 5, 4)
    fused = fuse_scores(first, second)
    assert torch.equal(fused, fuse_scores(second, first))
    best = first.softmax(1).maximum(second.softmax(1))
    assert (fused >= best).all()
    assert (fused <= 1).all()
    # 1/2 and 1/4: 1 - 1/2 * 3/4
    logits = torch.tensor([[[1.0, 1.0]], [[1.0, 3.0]]]).log()
    torch.testing.assert_close(
        fuse_scores(*logits), torch.tensor([[0.625, 0.875]])
    )


def test_official_weights():
    weights = task_weights(0.7, 0.8, 2.0, 2.5)
    assert weights == pytest.approx(
        dict(
            loss_cls_fc=1.4,
            loss_bbox_fc=0.6,
            loss_cls_conv=0.5,
            loss_bbox_conv=2.0,
        )
    )
