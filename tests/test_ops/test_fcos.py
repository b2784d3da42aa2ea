"""Targets of FCOS: hand-made cases and mmdet's head."""

import math
from typing import NamedTuple

import pytest
import torch
from mmdet.models.dense_heads import FCOSHead
from mmengine.structures import InstanceData

from mmdet_assigners.ops import fcos
from mmdet_assigners.ops.anchor_points import (
    MAX_ELEMENTS,
    anchor_points,
    pad_gts,
)

STRIDES = (8, 16)


def grid(side=64, strides=STRIDES):
    shapes = [(side // s, side // s) for s in strides]
    return anchor_points(shapes, strides)


class Found(NamedTuple):
    gt: torch.Tensor
    candidates: torch.Tensor
    mixed: torch.Tensor


def targets(points, boxes, labels, mask, *args, chunk=MAX_ELEMENTS, **kwargs):
    limits = fcos.point_limits(points, *args, **kwargs)
    found = fcos.count_candidates(limits, boxes, labels, mask, chunk)
    return fcos.smallest_match(limits, boxes, mask, chunk), *found


def assign(boxes, labels=None, points=None, **kwargs):
    boxes = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    if labels is None:
        labels = range(len(boxes))
    padded = pad_gts([boxes], [torch.tensor([*labels], dtype=torch.long)])
    points = points or grid()
    return points, Found(*(x[0] for x in targets(points, *padded, **kwargs)))


def test_a_point_on_the_border_is_outside():
    points, found = assign([[4, 4, 20, 12.5]], points=grid(strides=(8,)))
    assert points.xy[found.gt == 0].tolist() == [[12, 4.0 + 8.0]]
    _, found = assign([[4, 4, 20, 12]], points=grid(strides=(8,)))
    assert (found.gt == -1).all()


def test_a_distance_on_the_limit_belongs_to_both_levels():
    """(24, 24) of stride 16 reaches 16, four points of stride 8 reach 20."""
    box = [[8, 8, 40, 40]]

    def chosen(*ranges):
        points, found = assign(box, ranges=ranges)
        positive = found.gt == 0
        return [
            points.xy[positive & (points.level == level)].tolist()
            for level in range(2)
        ]

    inner = [[20, 20], [28, 20], [20, 28], [28, 28]]
    assert chosen((-1, 20), (16, math.inf)) == [inner, [[24, 24]]]
    assert chosen((-1, 19.9), (16.1, math.inf)) == [[], []]
    assert chosen((20, 21), (-1, 16)) == [inner, [[24, 24]]]


def test_least_area_then_first():
    boxes = [[0, 0, 60, 60], [10, 10, 40, 40], [11, 11, 41, 41]]
    points, found = assign(boxes, [0, 1, 1])
    at = (points.xy == 28).all(-1) & (points.level == 0)
    assert found.gt[at].tolist() == [1]
    assert found.candidates[at].tolist() == [3]
    assert found.mixed[at].tolist() == [True]
    _, found = assign(boxes[1:], [1, 1])
    assert found.candidates[at].tolist() == [2]
    assert found.mixed[at].tolist() == [False]


def test_center_sampling_is_clipped_to_the_box():
    # center (32, 10), square of 12 px to each side, box only 8 to 12 high
    points, found = assign(
        [[0, 8, 64, 12.5]], points=grid(strides=(8,)), center_radius=1.5
    )
    assert points.xy[found.gt == 0].tolist() == [
        [28, 12],
        [36, 12],
    ]


def test_chunks_and_batches_change_nothing():
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 9, 2, generator=generator) * 50
    boxes = torch.cat((low, low + torch.rand(2, 9, 2) * 30), -1)
    labels = torch.arange(18).view(2, 9) % 4
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    args = (((-1, 16), (16, 64)), 1.5)
    whole = targets(grid(), boxes, labels, mask, *args)
    parts = targets(grid(), boxes, labels, mask, *args, chunk=1)
    assert all(map(torch.equal, whole, parts))
    _, single = assign(
        boxes[1, :5].tolist(), labels[1, :5], ranges=args[0], center_radius=1.5
    )
    assert all(map(torch.equal, [x[1] for x in whole], single))


@pytest.mark.parametrize('center', [False, True])
def test_equals_mmdet(center):
    """The same labels as FCOSHead, per point and image."""
    ranges = ((-1, 24), (24, 1e8))
    head = FCOSHead(
        9, 8, feat_channels=8, stacked_convs=1, strides=STRIDES,
        regress_ranges=ranges, center_sampling=center, norm_cfg=None,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    low = torch.rand(9, 2, generator=generator) * 50
    size = torch.rand(9, 2, generator=generator) * 40
    boxes = torch.cat((low, low + size), -1).round()
    points = grid()
    split = [points.xy[points.level == i] for i in range(2)]
    objects = InstanceData(bboxes=boxes, labels=torch.arange(9))
    labels, _ = head.get_targets(split, [objects])
    expected = torch.cat(labels)
    _, found = assign(
        boxes.tolist(), ranges=ranges, center_radius=1.5 if center else None
    )
    assert torch.equal(found.gt.where(found.gt >= 0, 9), expected)
    assert (found.gt >= 0).sum() > 10


def test_no_object():
    _, found = assign([])
    assert (found.gt == -1).all()
    assert not found.candidates.any() and not found.mixed.any()


def test_wrong_ranges():
    with pytest.raises(ValueError, match='one pair per level, 2, got 1'):
        assign([[0, 0, 9, 9]], ranges=[(0, 9)])


def test_scores():
    cls = torch.tensor([[0.0, 2.0]])
    # center of a box: centerness 1; a quarter: min/max = 1/3 in x
    ltrb = torch.tensor([[4.0, 5, 4, 5], [2.0, 5, 6, 5], [0.0, 5, 6, 5]])
    factor = fcos.reg_centerness(ltrb).sigmoid()
    torch.testing.assert_close(
        factor, torch.tensor([1.0, math.sqrt(1 / 3), 0.0])
    )
    plain = fcos.ranking_scores(cls, None)
    assert torch.equal(plain, cls.sigmoid())
    both = fcos.ranking_scores(cls, torch.tensor([0.0]))
    torch.testing.assert_close(both, plain / 2)
    root = fcos.ranking_scores(cls, torch.tensor([0.0]), root=True)
    torch.testing.assert_close(root, both.sqrt())


def test_box_loss():
    terms = torch.tensor([1.0, 2.0, 7.0])
    target = torch.tensor([0.5, 1.0, 0.9])
    positive = torch.tensor([True, True, False])
    loss, norm = fcos.box_loss(terms, target, positive, True)
    assert (loss.item(), norm.item()) == (2.5, 1.5)
    loss, norm = fcos.box_loss(terms, target, positive, False)
    assert (loss.item(), norm.item()) == (3, 2)


@pytest.mark.parametrize('radius', [None, 1.5])
@pytest.mark.parametrize('ranges', [None, ((-1, 16), (16, 40), (40, 1e8))])
def test_grids_equal_their_points(ranges, radius):
    """Columns and rows, against each point on its own."""
    points = anchor_points([(7, 13), (4, 7), (1, 2)], (8, 16, 50), 0.25)
    generator = torch.Generator().manual_seed(0)
    corner, size = 90 * torch.rand(2, 2, 40, 2, generator=generator)
    boxes = torch.cat((corner, corner + size), -1).round()
    of_grids = fcos.point_limits(points, ranges, radius)
    reach = torch.tensor(ranges)[points.level] if ranges else None
    near = points.stride * radius if radius else None
    of_points = fcos.PointLimits(
        *(fcos.AxisLimits(at, reach, near) for at in points.xy.unbind(-1))
    )
    assert of_grids.number == of_points.number == len(points.xy)
    found = of_grids.takes(boxes)
    assert found.any() and not found.all()
    assert torch.equal(found, of_points.takes(boxes))
