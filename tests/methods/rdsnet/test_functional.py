"""Masks, their loss and the refinement of boxes, on cases made by hand."""

import pytest
import torch
from torch.nn import functional as F

from mmdet_assigners.methods.rdsnet import functional as rdsnet


def test_correlation_is_a_convolution_with_the_objects_as_kernels():
    torch.manual_seed(0)
    pixels, reps = torch.randn(5, 7, 9), torch.randn(4, 10)
    kernels = reps.view(8, 5, 1, 1)  # background, foreground of each object
    expected = F.conv2d(pixels[None], kernels).view(4, 2, 7, 9)
    found = rdsnet.correlate(pixels, reps)
    torch.testing.assert_close(found, expected.permute(0, 2, 3, 1))
    assert rdsnet.correlate(pixels, reps[:0]).shape == (0, 7, 9, 2)


def test_size_without_padding():
    assert rdsnet.inner_size((16, 24), (50, 96, 3), (64, 96)) == (12, 24)


@pytest.mark.parametrize(
    ('box', 'padding', 'rows', 'columns'),
    [
        # a quarter of 9 x 5 pixels, cut to whole ones: 2.25 and 1.25
        ([10, 8, 18, 12], 0.25, (6, 13), (7, 20)),
        # corners in the other order
        ([18, 12, 10, 8], 0.25, (6, 13), (7, 20)),
        # at least a pixel
        ([10, 8, 12, 9], 0.1, (7, 10), (9, 13)),
        ([-5, -5, 100, 100], 0.25, (0, 20), (0, 30)),
        ([10, 8, 18, 12], 0, (8, 12), (10, 18)),
        ([10, 8, 18, 12], 3, (5, 15), (7, 21)),
        # beyond the map
        ([60, 8, 80, 12], 0.1, (7, 13), (30, 30)),
        # no area
        ([10, 8, 10, 8], 0, (8, 8), (10, 10)),
    ],
)
def test_crop(box, padding, rows, columns):
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[slice(*rows), slice(*columns)] = True
    boxes = torch.tensor([box], dtype=torch.float32)
    (found,) = rdsnet.inside_crop(boxes, padding, 20, 30)
    assert torch.equal(found, expected)


def test_targets_are_more_than_half():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :5] = True
    found = rdsnet.mask_targets(mask, (2, 2))
    # the second column has samples at 5 and 6
    assert found.tolist() == [[[True, False], [False, False]]]
    assert torch.equal(rdsnet.mask_targets(mask, (8, 8)), mask)
    assert rdsnet.mask_targets(mask[:0], (2, 2)).shape == (0, 2, 2)


@pytest.mark.parametrize(('ratio', 'count'), [(0.5, 3), (1, 5), (2, 10)])
def test_as_many_negatives_as_the_ratio_says(ratio, count):
    torch.manual_seed(0)
    losses = torch.rand(1, 40)
    positive = torch.arange(40)[None] < 5
    negative = (torch.arange(40)[None] >= 10) & (losses < 0.9)
    kept = rdsnet.hard_negatives(losses, positive, negative, ratio)
    assert kept.sum() == count
    assert not (kept & ~negative).any()
    assert losses[kept].min() > losses[negative & ~kept].max()


def test_negatives_at_the_limits():
    losses = torch.ones(3, 4)
    positive = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    negative = torch.tensor([[0, 0, 1, 0], [1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    kept = rdsnet.hard_negatives(losses, positive, negative, 1)
    # fewer than asked for, none without positives, ties to the first
    assert kept.tolist() == [
        [False, False, True, False],
        [False] * 4,
        [False, False, True, False],
    ]


def plain_loss(logits, box, target, padding, ratio):
    """Of one object, pixel by pixel."""
    inside = rdsnet.inside_crop(box[None], padding, *target.shape)[0]
    terms = logits.log_softmax(-1)
    kept, others = [], []
    for y, x in inside.nonzero().tolist():
        if target[y, x]:
            kept.append(-terms[y, x, 1])
        else:
            others.append(-terms[y, x, 0])
    others.sort(reverse=True)
    if ratio is not None:
        others = others[: ratio * len(kept)]
    return sum([*kept, *others]) / (len(kept) + len(others) + 1)


@pytest.mark.parametrize('ratio', [None, 1, 2])
def test_loss_of_each_object(ratio):
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 11, 2, dtype=torch.float64)
    boxes = torch.tensor([[2.0, 2, 6, 6], [0, 0, 10, 8]], dtype=torch.float64)
    target = torch.zeros(2, 9, 11, dtype=torch.bool)
    target[0, 3:5, 3:6] = True
    target[1, :3, 5:] = True
    found = rdsnet.mask_losses(
        logits, boxes, target, 0.25, ratio is not None, ratio or 1
    )
    expected = [
        plain_loss(*each, 0.25, ratio)
        for each in zip(logits, boxes, target, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_an_object_without_foreground_has_no_loss():
    logits = torch.randn(1, 6, 6, 2)
    target = torch.zeros(1, 6, 6, dtype=torch.bool)
    box = torch.tensor([[1.0, 1, 4, 4]])
    assert rdsnet.mask_losses(logits, box, target).tolist() == [0]
    assert rdsnet.mask_losses(logits, box, target, ohem=False) > 0


def test_foreground_is_the_softmax_of_enlarged_logits():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 6, 2)
    maps = F.interpolate(logits.permute(0, 3, 1, 2), (16, 24), mode='bilinear')
    maps = maps[..., :15, :20]
    found = rdsnet.foreground(logits, (16, 24, 3), (15, 20, 3))
    torch.testing.assert_close(found, maps.softmax(1)[:, 1])
    maps = F.interpolate(maps, (30, 40), mode='bilinear', align_corners=True)
    found = rdsnet.foreground(logits, (16, 24), (15, 20), (30, 40))
    torch.testing.assert_close(found, maps.softmax(1)[:, 1])
    empty = rdsnet.foreground(logits[:0], (16, 24), (15, 20), (30, 40))
    assert empty.shape == (0, 30, 40)


def test_objects_of_the_same_class_are_separated_by_cropping():
    """Two squares that look the same, with the same representation."""
    torch.manual_seed(0)
    target = torch.zeros(2, 16, 24, dtype=torch.bool)
    target[0, 4:10, 3:9] = True
    target[1, 5:11, 14:20] = True
    boxes = torch.tensor([[3.0, 4, 9, 10], [14, 5, 20, 11]])
    pixels = torch.randn(4, 16, 24).mul(0.1).requires_grad_()
    rep = torch.randn(1, 8).requires_grad_()
    optimizer = torch.optim.Adam([pixels, rep], 0.1)
    for _ in range(60):
        logits = rdsnet.correlate(pixels, rep.expand(2, -1))
        loss = rdsnet.mask_losses(logits, boxes, target).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    logits = rdsnet.correlate(pixels, rep.expand(2, -1))
    masks = rdsnet.foreground(logits, (16, 24), (16, 24)) > 0.4
    # one map, which shows both objects: the crop makes two masks of it
    assert torch.equal(masks[0], masks[1])
    assert (masks[0] & target.any(0)).sum() == target.sum()
    inside = rdsnet.inside_crop(boxes, 0.1, 16, 24)
    assert torch.equal(masks & inside, target)


def test_prior():
    found = rdsnet.border_prior(
        torch.tensor([3.0]), torch.tensor([1.0]), 9, 0.0044
    )
    expected = [0, 0.1353, 0.6065, 1, 0.6065, 0.1353, 0.0111, 0, 0]
    expected[0] = 0.0111
    torch.testing.assert_close(
        found, torch.tensor([expected]), atol=1e-4, rtol=0
    )


def test_a_border_without_a_posterior_stays():
    masks = torch.ones(1, 20, 20)
    boxes = torch.tensor([[-50.0, 2, 90, 10]])
    weight, bias = torch.zeros(1, 1, 3), torch.zeros(1)
    found = rdsnet.border_posteriors(masks, boxes, weight, bias, gamma=0.0)
    assert [row.sum().round().item() for row in found] == [0, 1, 0, 1]
    refined = rdsnet.refined_boxes(found, boxes)
    assert refined.tolist() == [[-50, 2, 90, 10]]


def test_gradients():
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 6, 2, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[1.0, 1, 4, 4], [0, 0, 3, 3]])
    target = torch.rand(2, 5, 6) > 0.5
    torch.autograd.gradcheck(
        lambda x: rdsnet.mask_losses(x, boxes, target), logits
    )
    masks = torch.rand(2, 8, 9, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(1, 1, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda *x: rdsnet.border_posteriors(x[0], boxes.double(), *x[1:]),
        (masks, weight, bias),
    )
