"""Dense local regression of D2Det."""

import math

import pytest
import torch

from mmdet_assigners.methods.d2det import functional as d2det

ROI = torch.tensor([[10.0, 20, 80, 160]])


def test_points():
    points = d2det.cell_points(ROI, 7)
    assert points.shape == (1, 4, 7, 7)
    # row 1, column 2: cells are 10 wide and 20 high
    assert points[0, :, 1, 2].tolist() == [35, 50, 70, 140]


def perfect(rois, gts):
    points = d2det.cell_points(rois, 7)
    reg = d2det.distances(points, gts) / points[:, [2, 2, 3, 3]]
    return points, reg


def test_perfect_distances_give_the_object():
    gts = torch.tensor([[18.0, 10, 95, 150]])
    points, reg = perfect(ROI, gts)
    assert (reg < 0).any()  # some cells are outside
    boxes = d2det.decode(points, reg)
    torch.testing.assert_close(boxes, gts[:, None].expand(-1, 49, -1))
    found, count = d2det.average_boxes(ROI, reg, torch.ones(1, 1, 7, 7))
    torch.testing.assert_close(found, gts, rtol=1e-5, atol=0)
    assert count.tolist() == [49]


def test_only_cells_on_the_object_are_averaged():
    gts = torch.tensor([[18.0, 10, 95, 150]])
    _, reg = perfect(ROI, gts)
    logits = -torch.ones(1, 1, 7, 7)
    logits[0, 0, 3, 3] = 1
    reg[0, :, 0, 0] = 1e3
    found, _ = d2det.average_boxes(ROI, reg, logits)
    torch.testing.assert_close(found, gts, rtol=2e-5, atol=0)
    found, count = d2det.average_boxes(ROI, reg, -torch.ones(1, 1, 7, 7))
    assert found.tolist() == [[0, 0, 0, 0]] and count.tolist() == [0]


def overlap(rois, gts):
    points = d2det.cell_points(rois, 7)
    return d2det.overlap_targets(points, d2det.distances(points, gts))


def test_overlap_is_stricter_than_inside():
    """Cells nearer to a side than 1/6 of the RoI are not on the object."""
    assert overlap(ROI, ROI).sum() == 25
    wide = torch.tensor([[10 - 70 / 6, 20 - 140 / 6, 80 + 70 / 6, 190.0]])
    assert overlap(ROI, wide).sum() == 49


def test_overlap_shrinks_when_the_roi_grows():
    gts = torch.tensor([[40.0, 60, 60, 100]])
    counts = [
        overlap(gts + torch.tensor([-s, -s, s, s]), gts).sum().item()
        for s in (0.0, 10.0, 30.0)
    ]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]


def test_box_losses():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]]])
    found = d2det.box_losses(boxes, torch.tensor([[0.0, 0, 10, 10]]))
    # an IoU of 0 counts as 0.1
    expected = [0, -math.log(0.5), -math.log(0.1 + 1e-6)]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_variants():
    losses = torch.tensor([[1.0, 2, 3, 6]], requires_grad=True)
    on = torch.tensor([[1.0, 0, 0, 1]])
    assert d2det.weigh(losses, on, 'v2').item() == pytest.approx(7 / 4)
    assert d2det.weigh(losses, on, 'v1').item() == pytest.approx(3 * 0.5)
    (grad,) = torch.autograd.grad(d2det.weigh(losses, on, 'v2'), losses)
    assert grad.tolist() == [[0.25, 0, 0, 0.25]]
    (grad,) = torch.autograd.grad(d2det.weigh(losses, on, 'v1'), losses)
    assert (grad != 0).all()


@pytest.mark.parametrize('variant', d2det.VARIANTS)
def test_nothing_to_weigh(variant):
    none = torch.zeros(0, 49, requires_grad=True)
    loss = d2det.weigh(none, none.detach(), variant)
    assert loss == 0
    loss.backward()


def test_jitter():
    still = torch.zeros(1, 4)
    assert torch.equal(d2det.jitter(ROI, still, (400, 400)), ROI)
    noise = torch.tensor([[0.1, -0.1, 0.1, -0.1]])
    # center (45, 90) + (7, -14), sides 77 and 126
    expected = torch.tensor([[52 - 38.5, 76 - 63, 52 + 38.5, 76 + 63.0]])
    found = d2det.jitter(ROI, noise, (400, 400))
    torch.testing.assert_close(found, expected)
    clipped = d2det.jitter(ROI, noise, (100, 60))
    assert clipped[0, 2:].tolist() == [59, 99]


def test_masks():
    masks = torch.zeros(1, 28, 28)
    masks[:, :14] = 1
    # row 3 has two of the middle four rows of its cell, half is too little
    rows = d2det.mask_overlap(masks, 7)[0].sum(1)
    assert rows.tolist() == [7, 7, 7, 0, 0, 0, 0]
    logits = torch.full((1, 28, 28), 0.4)  # positive, below the threshold
    logits[:, 7:14] = 1
    # 7 of 14 rows, half of the instance is outside of the RoI
    found = d2det.mask_ious(logits, masks, torch.tensor([0.5]))
    assert found.item() == pytest.approx(7 / 28)
    loss = d2det.iou_loss(torch.tensor([0.5, 0.5]), torch.tensor([0.05, 0.9]))
    assert loss.item() == pytest.approx(0.16 / 2)
