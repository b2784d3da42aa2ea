"""AlignDet's official targets on hand-made boxes."""

import pytest
import torch
from mmdet.models.losses import FocalLoss, SmoothL1Loss

from mmdet_assigners.methods.aligndet.functional import (
    official_match,
    stage_losses,
)
from mmdet_assigners.ops.anchor_match import max_iou_match

# IoU with the first: 1/2, 7/10, 0; with the second: 0, 0, 1/4
GTS = [[0.0, 0, 10, 10], [100, 0, 110, 10]]
PRIORS = [[0.0, 0, 10, 5], [0, 0, 10, 7], [106, 0, 116, 10]]


def match(priors=PRIORS, gts=GTS, pos=0.7, neg=0.7, least=0.0, **options):
    boxes = torch.tensor(gts, dtype=torch.double).view(1, -1, 4)
    mask = torch.ones(1, len(gts), dtype=torch.bool)
    if not gts:
        boxes, mask = torch.zeros(1, 1, 4).double(), ~torch.ones(1, 1).bool()
    priors = torch.tensor(priors, dtype=torch.double).view(-1, 4)
    options.setdefault('plus_one', False)
    found = official_match(priors, boxes, mask, pos, neg, least, **options)
    return found.label_gt[0].tolist(), found.box_gt[0].tolist()


def test_thresholds():
    # 0.7 itself is positive; the third is the best of the second object
    assert match() == ([-1, 0, 1], [-1, 0, 1])
    assert match(neg=0.4) == ([-2, 0, 1], [-2, 0, 1])
    assert match(least=0.3) == ([-1, 0, -1], [-1, 0, -1])


def test_plus_one_is_inclusive_pixels():
    # 11 x 6 of 11 x 11 pixels: 0.545
    assert match(PRIORS[:1], GTS[:1], pos=0.54, neg=0.54)[0] == [0]
    priors = [[0.0, 0, 10, 5], [0, 0, 10, 10]]
    for plus_one, expected in ((False, -1), (True, 0)):
        labels, _ = match(priors, GTS[:1], 0.52, 0.52, plus_one=plus_one)
        assert labels == [expected, 0]


def test_class_and_box_of_two_objects():
    """Best of both, below the threshold: last class, own best box."""
    gts = [[0, 0, 10, 8], [0, 0, 20, 20]]
    prior = [[0.0, 0, 12, 12]]  # IoU 80/144 and 144/400
    assert match(prior, gts) == ([1], [0])
    # above the threshold the own best gives both
    assert match(prior, gts, pos=0.5, neg=0.5) == ([0], [0])


def test_object_that_overlaps_nothing():
    """It takes all that overlap it as little, with the first one's box."""
    gts = [*GTS, [500.0, 500, 510, 510]]
    assert match(gts=gts) == ([2, 0, 2], [0, 0, 1])
    assert match(gts=gts, least=0.1) == ([-1, 0, 1], [-1, 0, 1])


def test_no_object_and_invalid_priors():
    assert match(gts=[]) == ([-1] * 3, [-1] * 3)
    assert match(gts=[], neg=0.0) == ([-1] * 3, [-1] * 3)
    valid = torch.tensor([[True, False, True]])
    # then the first is the best of the first object
    assert match(valid=valid)[0] == [0, -2, 1]


def test_no_priors():
    assert match([]) == match([], gts=[]) == ([], [])


def test_chunks_and_batches_change_nothing():
    generator = torch.Generator().manual_seed(0)

    def boxes(*shape):
        ends = torch.rand((2, *shape, 2), generator=generator) * 40
        return torch.cat((ends.amin(0), ends.amax(0) + 1), -1)

    priors, gts = boxes(2, 50), boxes(2, 9)
    gts[:, 5] = gts[:, 2]  # a tie
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    whole = official_match(priors, gts, mask, 0.5, 0.4)
    parts = official_match(priors, gts, mask, 0.5, 0.4, max_elements=1)
    for ours, theirs in zip(parts, whole, strict=True):
        assert torch.equal(ours, theirs)
    one = official_match(priors[1], gts[1:, :6], mask[1:, :6], 0.5, 0.4)
    for ours, theirs in zip(one, whole, strict=True):
        assert torch.equal(ours[0], theirs[1])


def test_without_low_quality_equals_max_iou():
    generator = torch.Generator().manual_seed(1)
    ends = torch.rand(2, 1, 60, 2, generator=generator) * 30
    boxes = torch.cat((ends.amin(0), ends.amax(0) + 1), -1)
    mask = torch.ones(1, 8, dtype=torch.bool)
    args = (boxes[0, 8:], boxes[:, :8], mask, 0.4, 0.3)
    found = official_match(*args, min_pos_iou=1.1, plus_one=False)
    assert torch.equal(found.label_gt, max_iou_match(*args).gt)


def test_losses_by_hand():
    logits = torch.zeros(1, 3, 1, dtype=torch.double)
    deltas = torch.zeros(1, 3, 4, dtype=torch.double)
    labels = torch.tensor([[0, 1, -1]])
    targets = torch.zeros_like(deltas)
    targets[0, 0] = torch.tensor([0.11, 0, 0, 1.0])
    targets[0, 1:] = 5.0  # are excluded
    cls, box = stage_losses(
        FocalLoss(), SmoothL1Loss(beta=0.11), logits, deltas, labels, targets
    )
    log2 = torch.tensor(2.0).double().log()
    # one positive, so the sums are halved
    torch.testing.assert_close(cls, 0.25 * log2 / 2)
    expected = (0.055 + 1 - 0.055) / 2
    assert box.item() == pytest.approx(expected)


def test_losses_without_positives_keep_the_graph():
    logits = torch.zeros(2, 3, 2, requires_grad=True)
    deltas = torch.zeros(2, 3, 4, requires_grad=True)
    cls, box = stage_losses(
        FocalLoss(),
        SmoothL1Loss(),
        logits,
        deltas,
        torch.full((2, 3), -1),
        torch.zeros(2, 3, 4),
    )
    assert cls == 0 and box == 0
    (cls + box).backward()
    assert (logits.grad == 0).all() and (deltas.grad == 0).all()
