"""RoIConv: offsets against hand-made boxes, values against RoIAlign."""

import pytest
import torch
from mmcv.ops import RoIAlign

from mmdet_assigners.methods.aligndet.roi_conv import RoIConv
from mmdet_assigners.methods.aligndet.roi_conv_functional import (
    boxes_to_offsets,
    roi_conv,
)
from mmdet_assigners.methods.aligndet.stage_head import AlignStageHead


def cell_boxes(height, width, stride, side):
    """Boxes of ``side`` pixels centered on the cells, (1, H W, 4)."""
    y = (torch.arange(height, dtype=torch.double) + 0.5) * stride
    x = (torch.arange(width, dtype=torch.double) + 0.5) * stride
    y, x = torch.meshgrid(y, x, indexing='ij')
    center = torch.stack((x, y), -1).view(1, -1, 2)
    return torch.cat((center - side / 2, center + side / 2), -1)


def random_boxes(batch, height, width, stride, seed=0):
    """Boxes whose taps stay inside the map."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor([width, height]).double() * stride
    shape = (2, batch, height * width, 2)
    ends = torch.rand(shape, generator=generator).double() * (size - 2)
    low, high = ends.amin(0), ends.amax(0)
    return torch.cat((low, high + 1), -1)


@pytest.mark.parametrize('kernel', [1, 3, 5, 7])
def test_box_over_the_kernel_has_no_offset(kernel):
    boxes = cell_boxes(4, 6, 8, kernel * 8)
    offsets = boxes_to_offsets(boxes, (4, 6), kernel, 8)
    assert offsets.shape == (1, 2 * kernel**2, 4, 6)
    assert offsets.abs().max() < 1e-12


def test_offsets_of_one_box():
    """3 x 3 bins of a 24 x 48 box in cell (1, 0), by hand."""
    boxes = torch.zeros(1, 4, 4)
    boxes[0, 2] = torch.tensor([8.0, 0, 32, 48])
    offsets = boxes_to_offsets(boxes, (2, 2), 3, 8)
    dy, dx = offsets[0, :, 1, 0].view(9, 2).unbind(1)
    # x: 0.5 + (1, 3, 5) / 2 = 1, 2, 3 against -1, 0, 1
    assert dx.tolist() == [2.0] * 9
    # y: -0.5 + (1, 3, 5) = 0.5, 2.5, 4.5 against 0, 1, 2
    assert dy.tolist() == [0.5] * 3 + [1.5] * 3 + [2.5] * 3


def test_legacy_form_adds_one_cell():
    boxes = random_boxes(1, 3, 3, 16)
    wider = boxes + boxes.new_tensor([0, 0, 16, 16])
    torch.testing.assert_close(
        boxes_to_offsets(boxes, (3, 3), 3, 16, legacy_plus_one=True),
        boxes_to_offsets(wider, (3, 3), 3, 16),
    )


def test_several_anchors_are_blocks_of_channels():
    boxes = random_boxes(2, 3, 4, 8)
    other = random_boxes(2, 3, 4, 8, seed=1)
    both = torch.stack((boxes, other), 2).flatten(1, 2)
    offsets = boxes_to_offsets(both, (3, 4), 3, 8, num_anchors=2)
    first, second = offsets.chunk(2, 1)
    assert torch.equal(first, boxes_to_offsets(boxes, (3, 4), 3, 8))
    assert torch.equal(second, boxes_to_offsets(other, (3, 4), 3, 8))


@pytest.mark.parametrize('kernel', [3, 7])
def test_equals_roi_align_and_linear(kernel):
    stride, height, width = 8, 6, 9
    x = torch.randn(2, 5, height, width).double()
    boxes = random_boxes(2, height, width, stride)
    # all samples inside: RoIAlign clamps at the border, convolutions don't
    boxes = boxes.clamp(min=stride / 2)
    limit = boxes.new_tensor([width, height] * 2) * stride - stride / 2
    boxes = boxes.minimum(limit)
    layer = RoIConv(5, 4, kernel).double()
    found = layer(x, boxes, stride)
    index = torch.arange(2).repeat_interleave(height * width)[:, None]
    align = RoIAlign(kernel, 1 / stride, 1, 'avg', True)
    rois = torch.cat((index.double(), boxes.flatten(0, 1)), 1)
    samples = align(x, rois)
    expected = torch.nn.functional.linear(
        samples.flatten(1), layer.conv.weight.flatten(1), layer.conv.bias
    )
    expected = expected.view(2, height, width, 4).permute(0, 3, 1, 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('max_samples', [1, 2 * 3 * 9 * 5 * 2])
def test_tiles_change_nothing(max_samples):
    x = torch.randn(2, 3, 7, 5, dtype=torch.double)
    weight = torch.randn(4, 3, 3, 3, dtype=torch.double)
    boxes = random_boxes(2, 7, 5, 8)
    offset = boxes_to_offsets(boxes, (7, 5), 3, 8)
    runs = []
    for bound in (10**9, max_samples):
        leaves = [t.clone().requires_grad_() for t in (x, weight)]
        out = roi_conv(leaves[0], offset, leaves[1], bound)
        out.square().sum().backward()
        with torch.no_grad():
            torch.testing.assert_close(roi_conv(x, offset, weight, bound), out)
        runs.append((out, *[leaf.grad for leaf in leaves]))
    for whole, tiled in zip(*runs, strict=True):
        torch.testing.assert_close(whole, tiled)


def test_gradients_of_features_and_none_of_boxes():
    x = torch.randn(1, 2, 4, 4, dtype=torch.double, requires_grad=True)
    boxes = random_boxes(1, 4, 4, 8).requires_grad_()
    layer = RoIConv(2, 2, 3).double()
    # inputs alone: the gradient of the boxes is zero by design
    assert torch.autograd.gradcheck(lambda x: layer(x, boxes, 8), (x,))
    layer(x, boxes, 8).sum().backward()
    assert boxes.grad is None


def test_degenerate_boxes_are_finite():
    x = torch.randn(1, 2, 4, 4)
    boxes = torch.zeros(1, 16, 4)
    boxes[0, 1:] = torch.tensor([-1e4, 5, 1e4, 5])
    for legacy in (False, True):
        layer = RoIConv(2, 3, 3, legacy_plus_one=legacy)
        out = layer(x, boxes, 8)
        out.sum().backward()
        assert torch.isfinite(out).all()
        assert torch.isfinite(layer.conv.weight.grad).all()
    # a box without area: all taps read the same place, here the corner
    layer = RoIConv(1, 1, 3)
    plane = torch.ones(1, 1, 4, 4)
    expected = layer.conv.weight.sum() * 0.25 + layer.conv.bias
    out = layer(plane, boxes, 8)[0, :, 0, 0]
    torch.testing.assert_close(out, expected.view(1))


def test_without_alignment_a_plain_convolution():
    x, boxes = torch.randn(1, 2, 4, 5), random_boxes(1, 4, 5, 8)
    layer = RoIConv(2, 3, 3, align=False)
    assert torch.equal(layer(x, boxes, 8), layer.conv(x))


def test_first_level_has_its_own_tower():
    torch.manual_seed(0)
    x, boxes = torch.randn(1, 4, 4, 5), random_boxes(1, 4, 5, 8)
    head = AlignStageHead(3, 4, mid_channels=8, first_kernel_size=3)
    assert [t.align1.kernel_size for t in head.towers] == [7, 3]
    cls, reg = head(x, boxes.float(), 8, first=True)
    assert cls.shape == (1, 3, 4, 5) and reg.shape == (1, 4, 4, 5)
    cls.sum().backward()
    grads = [t.align1.conv.weight.grad is None for t in head.towers]
    assert grads == [True, False]
    plain = AlignStageHead(3, 4, mid_channels=8)
    assert len(plain.towers) == 1
    first, other = (plain(x, boxes.float(), 8, f)[0] for f in (True, False))
    assert torch.equal(first, other)


@pytest.mark.parametrize(
    ('call', 'text'),
    [
        (
            lambda b: boxes_to_offsets(b, (2, 2), 4, 8),
            'kernel must be odd and positive, got 4',
        ),
        (
            lambda b: boxes_to_offsets(b, (2, 3), 3, 8),
            r'boxes must be \(B, 6, 4\).*got \(1, 4, 4\)',
        ),
        (
            lambda b: boxes_to_offsets(b, (2, 2), 3, 0),
            'stride must be positive, got 0',
        ),
        (lambda b: RoIConv(2, 2, 2), 'kernel_size must be odd .* got 2'),
        (
            lambda b: RoIConv(2, 2, 3, max_samples=0),
            'max_samples must be at least 1, got 0',
        ),
        (
            lambda b: roi_conv(b[None], b, b[None], 0),
            'max_samples must be at least 1, got 0',
        ),
    ],
)
def test_wrong_arguments(call, text):
    with pytest.raises(ValueError, match=text):
        call(torch.zeros(1, 4, 4))
