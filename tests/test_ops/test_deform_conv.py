import pytest
import torch
import torch.nn.functional as F

from mmdet_assigners.ops.deform_conv import (
    _through_mmcv,
    deform_conv,
    deform_conv_reference,
)


@pytest.mark.parametrize(
    ('size', 'padding'),
    [((13, 9), 0), ((13, 9), 1), ((3, 3), 0), ((2, 1), 1), ((1, 5), 1)],
)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('masked', [False, True])
def test_sampling_equals_mmcv(size, stride, padding, masked):
    """Values and all gradients, with samples far outside the map."""
    torch.manual_seed(0)
    out = [(s + 2 * padding - 3) // stride + 1 for s in size]
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    offset = 3 * torch.randn(2, 18, *out, dtype=torch.float64)
    offset.requires_grad_()
    weight = torch.randn(4, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    leaves = [x, offset, weight]
    mask = None
    if masked:
        mask = torch.rand(2, 9, *out, dtype=torch.float64, requires_grad=True)
        leaves.append(mask)
    results = []
    for function in (deform_conv_reference, _through_mmcv):
        y = function(x, offset, weight, stride, padding, 1, mask)
        cotangent = torch.linspace(-1, 1, y.numel()).double().view_as(y)
        results.append(
            (
                y,
                *torch.autograd.grad((y * cotangent).sum(), leaves),
            )
        )
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_offsets_it_is_a_convolution():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 8, 7), torch.randn(4, 3, 3, 3)
    out = deform_conv(x, torch.zeros(2, 18, 4, 4), weight, 2, 1)
    expected = F.conv2d(x, weight, stride=2, padding=1)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


def test_offset_moves_by_cells_y_first():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = 1  # reads the center tap
    offset = torch.zeros(1, 18, 3, 4)
    offset[:, 8] = 1  # dy of tap 4
    expected = torch.tensor(
        [[4.0, 5, 6, 7], [8, 9, 10, 11], [0, 0, 0, 0]]
    ).view(1, 1, 3, 4)
    torch.testing.assert_close(deform_conv(x, offset, weight, 1, 1), expected)


def test_groups_of_channels_have_their_own_offsets():
    """Two groups equal the sum of two convolutions, and mmcv's kernel."""
    torch.manual_seed(0)
    x = torch.randn(2, 6, 7, 5, dtype=torch.float64)
    offset = torch.randn(2, 36, 7, 5, dtype=torch.float64)
    weight = torch.randn(4, 6, 3, 3, dtype=torch.float64)
    mask = torch.rand(2, 18, 7, 5, dtype=torch.float64)
    found = deform_conv_reference(x, offset, weight, 1, 1, 2, mask)
    parts = [
        deform_conv_reference(
            x[:, 3 * i : 3 * i + 3],
            offset[:, 18 * i : 18 * i + 18],
            weight[:, 3 * i : 3 * i + 3],
            1,
            1,
            mask=mask[:, 9 * i : 9 * i + 9],
        )
        for i in range(2)
    ]
    torch.testing.assert_close(found, sum(parts))
    kernel = _through_mmcv(x, offset, weight, 1, 1, 2, mask)
    torch.testing.assert_close(found, kernel)
