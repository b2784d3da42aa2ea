"""Hand-made cases and invariants of the Guided Anchoring functions."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import GuidedAnchorHead
from mmdet.models.losses import BoundedIoULoss
from mmdet.models.task_modules import AnchorGenerator
from mmengine.structures import InstanceData

from mmdet_assigners.methods.guided_anchoring import functional as ga
from mmdet_assigners.methods.guided_anchoring.loss import GAShapeLoss
from mmdet_assigners.ops.anchor_points import pad_gts

STRIDES = (4, 8, 16)
SHAPES = [(24, 32), (12, 16), (6, 8)]


def targets(images, **options):
    boxes = [torch.tensor(b, dtype=torch.float32).view(-1, 4) for b in images]
    labels = [torch.zeros(len(b), dtype=torch.long) for b in boxes]
    boxes, _, mask = pad_gts(boxes, labels)
    options = dict(scale=4) | options
    return ga.location_targets(boxes, mask, SHAPES, STRIDES, **options)


def loops_of_mmdet(images):
    head = SimpleNamespace(
        approx_anchor_generator=AnchorGenerator(
            strides=list(STRIDES),
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[1.0],
        ),
        train_cfg=dict(center_ratio=0.2, ignore_ratio=0.5),
    )
    gts = [
        InstanceData(bboxes=torch.tensor(b, dtype=torch.float32).view(-1, 4))
        for b in images
    ]
    target, weight, _ = GuidedAnchorHead.ga_loc_targets(head, gts, SHAPES)
    return [
        torch.cat([x.flatten(1) for x in maps], 1) for maps in (target, weight)
    ]


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(count, 2, generator=generator) * 150 - 20
    wh = torch.exp(torch.rand(count, 2, generator=generator) * 5)
    return torch.cat((xy, xy + wh), 1).tolist()


@pytest.mark.parametrize('max_elements', [2**22, 1, 5000])
def test_location_targets_equal_mmdets_loops(max_elements):
    """Overlapping boxes of all sizes, also outside of the image."""
    images = [random_boxes(40, 0), [], random_boxes(7, 1)]
    images[2] += [[-50, -50, -10, -10], [200, 10, 300, 50], [5, 5, 6, 6]]
    found = targets(images, max_elements=max_elements)
    target, weight = loops_of_mmdet(images)
    assert torch.equal(found.target, target)
    torch.testing.assert_close(found.weight, weight)
    assert found.target.sum() > 20


def test_location_targets_by_hand():
    """A box of 32 px at scale 4: level floor(log2(32 / 16) + 0.5) = 1."""
    found = targets([[[32, 32, 64, 64]]])
    level0, level1, level2 = found.weight[0].split([768, 192, 48])
    center = found.target[0].nonzero().flatten() - 768
    # cells 4..8: center 5.6..6.4 is the cell (6, 6)
    assert center.tolist() == [6 * 16 + 6]
    # ignored 5..7
    expected = torch.full((12, 16), 0.1)
    expected[5:8, 5:8] = 0
    expected[6, 6] = 1
    torch.testing.assert_close(level1.view(12, 16), expected)
    expected = torch.full((24, 32), 0.1)
    expected[10:15, 10:15] = 0
    torch.testing.assert_close(level0.view(24, 32), expected)
    expected = torch.full((6, 8), 0.1)
    # 2.5 and 3.5 round to the even number
    expected[2:5, 2:5] = 0
    torch.testing.assert_close(level2.view(6, 8), expected)


def test_last_box_decides_about_the_weight():
    big, small = [32, 32, 64, 64], [40, 40, 72, 72]
    cell = 768 + 6 * 16 + 6  # center of the first, ignored by the second
    assert targets([[big, small]]).weight[0, cell] == 0
    assert targets([[small, big]]).weight[0, cell] == 1
    assert targets([[big, small]]).target[0, cell] == 1


def test_no_boxes():
    found = targets([[], []])
    assert (found.target == 0).all()
    torch.testing.assert_close(
        found.weight, torch.full_like(found.weight, 0.1)
    )


def test_masked_conv_uses_the_mask_of_each_image():
    torch.manual_seed(0)
    x, loc = torch.randn(3, 4, 5, 6), torch.randn(3, 1, 5, 6)
    weight, bias = torch.randn(2, 4, 3, 3), torch.randn(2)
    mask = ga.location_mask(loc, 0.5)
    assert torch.equal(mask, loc >= 0)
    out = ga.masked_conv(x, mask, weight, bias, 1)
    dense = F.conv2d(x, weight, bias, padding=1)
    inside = mask.expand_as(out)
    assert torch.equal(out[inside], dense[inside])
    assert (out[~inside] == 0).all() and (~inside).any()
    for i in range(3):
        part = slice(i, i + 1)
        alone = ga.masked_conv(x[part], mask[part], weight, bias, 1)
        torch.testing.assert_close(alone, out[part])
    with pytest.raises(ValueError, match=r'shape \(3, 1, 5, 6\), .*1, 5, 6'):
        ga.masked_conv(x, mask[0], weight, bias, 1)


def test_shape_loss_by_hand():
    """Half the width: miss 0.5; the exact height: 0; beta 0.2."""
    pred = torch.tensor([[10.0, 30.0], [40.0, 30.0], [19.0, 30.0]])
    gt = torch.tensor([20.0, 30.0]).expand(3, 2)
    loss = ga.shape_loss(pred, gt, 0.2)
    quadratic = 0.5 * 0.05**2 / 0.2
    assert loss.tolist() == pytest.approx([0.4, 0.4, quadratic])


def boxes_of(seed=0):
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(20, 2, generator=generator) * 100
    half = torch.rand(20, 2, generator=generator) * 40 + 10
    return torch.cat((center - half, center + half), 1).double()


def test_shape_loss_has_the_gradient_of_bounded_iou():
    """With respect to the sides; mmdet adds 1e-3 to the denominators."""
    gt, sides = boxes_of(), boxes_of(1)[:, 2:] - boxes_of(1)[:, :2]
    anchor_center = boxes_of(2)[:, :2]
    grads = []
    for loss in (GAShapeLoss(beta=0.2), BoundedIoULoss(beta=0.2)):
        wh = sides.clone().requires_grad_()
        pred = torch.cat((anchor_center - wh / 2, anchor_center + wh / 2), 1)
        weight = torch.ones_like(pred)
        loss(pred, gt, weight, avg_factor=20).backward()
        grads.append(wh.grad)
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-6)


def test_shape_loss_module():
    pred, gt = boxes_of(), boxes_of(1)
    plain = GAShapeLoss(reduction='none')(pred, gt)
    weight = torch.zeros(20, 4).double()
    weight[3] = 1
    mean = GAShapeLoss(loss_weight=2.0)(pred, gt, weight, avg_factor=4)
    torch.testing.assert_close(mean, plain[3] / 2)
    # no positive, sides of zero: zero, with a finite gradient
    zero = torch.zeros(5, 4, requires_grad=True)
    loss = GAShapeLoss()(zero, torch.zeros(5, 4), zero * 0, avg_factor=1)
    loss.backward()
    assert loss == 0 and zero.grad.isfinite().all()
    assert math.isfinite(GAShapeLoss()(zero, torch.zeros(5, 4)).item())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(beta=0), 'beta must be positive, got 0'),
        (dict(reduction='max'), "reduction must be .* got 'max'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        GAShapeLoss(**options)
