"""Recall and ambiguity: counts by hand."""

import math

import pytest
import torch

from mmdet_assigners.analysis import recall_rules as recall
from mmdet_assigners.analysis.recall_rules import AnchorRule, Counts, PointRule


def count(rule, images, labels=None, shape=(64, 64)):
    boxes = [box for image in images for box in image]
    image = [i for i, boxes in enumerate(images) for _ in boxes]
    return recall.count_dataset(
        rule,
        torch.tensor(boxes, dtype=torch.float64).view(-1, 4),
        torch.tensor(labels or [0] * len(boxes), dtype=torch.long),
        torch.tensor(image, dtype=torch.long),
        torch.tensor([shape] * len(images)),
    )


P8 = PointRule(strides=(8,))


def test_points_by_hand():
    """Points at 4, 12, 20, ...; the second box holds four of the first's."""
    images = [[[0, 0, 24, 24], [8, 8, 24, 24]], [[5, 5, 11, 11]]]
    assert count(P8, images) == Counts(2, 3, 9, 4, 0)
    assert count(P8, images, [0, 1, 0]) == Counts(2, 3, 9, 4, 4)


def test_a_box_whose_points_are_all_taken():
    """The larger of two boxes with the same points gets none."""
    images = [[[2, 2, 14, 14], [1, 1, 15, 15]]]
    assert count(P8, images, [0, 1]) == Counts(1, 2, 4, 4, 4)


def test_ranges_and_center_sampling():
    image = [[[0, 0, 64, 64]]]
    ranges = ((-1, 36),)
    assert count(P8, image) == Counts(1, 1, 64, 0, 0)
    narrow = PointRule(strides=(8,), ranges=ranges)
    assert count(narrow, image) == Counts(1, 1, 4, 0, 0)
    center = PointRule(strides=(8,), center_radius=1.5)
    assert count(center, image) == Counts(1, 1, 4, 0, 0)
    # points at the corners 0, 8, ... of the cells; the center is one of them
    corner = PointRule(strides=(8,), center_radius=0.5, offset=0.0)
    assert count(corner, image) == Counts(1, 1, 1, 0, 0)


def test_sizes_are_rounded_up():
    """65 px are nine cells of 8; the last point, 68, is in the box."""
    image = [[[66, 0, 70, 8]]]
    assert count(P8, image, shape=(64, 64)).recalled == 0
    assert count(P8, image, shape=(64, 65)).recalled == 1
    assert recall.level_shapes((65, 64), (8, 128)) == [(9, 8), (1, 1)]


def test_anchors_by_hand():
    rule = AnchorRule(strides=(16,), ratios=(0.25, 1.0), scales_per_octave=2)
    anchors = rule.anchors((16, 32), torch.zeros(0, dtype=torch.float64))
    assert anchors.shape == (2 * 4, 4)
    root = math.sqrt(2)
    expected = [[128, 32], [128 * root, 32 * root], [64, 64]]
    size = anchors[:3, 2:] - anchors[:3, :2]
    torch.testing.assert_close(
        size, torch.tensor(expected, dtype=torch.float64)
    )
    center = (anchors[:, 2:] + anchors[:, :2]) / 2
    assert center[:4].unique().tolist() == [0]
    assert center[4:].tolist() == [[16, 0]] * 4


def test_anchors_are_exact_in_float64():
    """To the last bit, on which ties between anchors depend."""
    rule = AnchorRule(strides=(16,))
    anchors = rule.anchors((16, 16), torch.zeros(0, dtype=torch.float64))
    sides = [64 * 2 ** (k / 3) for k in range(3)]
    width = [s / math.sqrt(r) for r in (0.5, 1.0, 2.0) for s in sides]
    height = [s * math.sqrt(r) for r in (0.5, 1.0, 2.0) for s in sides]
    assert (anchors[:, 2] * 2).tolist() == width
    assert (anchors[:, 3] * 2).tolist() == height


def test_recall_of_anchors():
    """32 x 32 anchors at (0, 0), (8, 0), ...: IoU 1, 0.44 and small."""
    rule = dict(strides=(8,), ratios=(1.0,), scales_per_octave=1)
    images = [
        [[16, 16, 48, 48]],
        [[21.5, 16, 42.5, 37]],  # 21 x 21 in 32 x 32
        [[30, 30, 32, 32]],
    ]
    assert count(AnchorRule(**rule), images) == Counts(1, 3)
    assert count(AnchorRule(**rule, pos_iou_thr=0.4), images) == Counts(2, 3)
    low = AnchorRule(**rule, pos_iou_thr=0.4, low_quality=True)
    assert count(low, images) == Counts(3, 3)


def test_low_quality_goes_to_the_anchors_own_object():
    """Both are best at the same anchors, which belong to the larger one."""
    rule = AnchorRule(
        strides=(32,), ratios=(1.0,), scales_per_octave=1, low_quality=True
    )
    images = [[[0, 0, 64, 64], [8, 8, 24, 24]]]
    assert count(rule, images, shape=(32, 32)) == Counts(1, 2)


def test_batches_of_sizes():
    """Images of two sizes, more than a batch, one without objects."""
    boxes = [[0.0, 0.0, 24.0, 24.0]] * 40
    shapes = [[64, 64], [32, 64]] * 20 + [[16, 16]]
    found = recall.count_dataset(
        P8,
        torch.tensor(boxes),
        torch.zeros(40, dtype=torch.long),
        torch.arange(40),
        torch.tensor(shapes),
    )
    assert found == Counts(40, 40, 360, 0, 0)


def test_no_object_at_all():
    for rule in recall.fcos_rules().values():
        assert count(rule, [[], []]) == Counts()


def test_counts_add_up():
    assert Counts(1, 2, 3, 4, 5) + Counts(1, 1, 1, 1, 1) == (2, 3, 4, 5, 6)
    with pytest.raises(TypeError):
        Counts() + 1


def test_wrong_image_index():
    with pytest.raises(ValueError, match=r'0..1.* got 0..2'):
        recall.count_dataset(
            P8,
            torch.zeros(2, 4),
            torch.zeros(2, dtype=torch.long),
            torch.tensor([0, 2]),
            torch.tensor([[8, 8], [8, 8]]),
        )
