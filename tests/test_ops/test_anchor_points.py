"""Hand-made cases of the point helpers."""

import pytest
import torch

from mmdet_assigners.ops.anchor_points import (
    anchor_points,
    assign_smallest_area,
    box_distances,
    centerness,
    distance_iou,
    gt_chunks,
    inside_regions,
    pad_gts,
)

# level 0: 2 x 3 cells of 8 px, level 1: 1 x 2 cells of 16 px
POINTS = anchor_points([(2, 3), (1, 2)], [8, 16])


def boxes_of(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def test_points_are_level_major_then_row_major():
    expected = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    expected += [[8, 8], [24, 8]]
    assert POINTS.xy.tolist() == expected
    assert POINTS.stride.tolist() == [8] * 6 + [16] * 2
    assert POINTS.level.tolist() == [0] * 6 + [1] * 2
    assert POINTS.sizes.tolist() == [[3, 2], [2, 1]]  # width, height


def test_offset_zero_puts_points_on_corners():
    points = anchor_points([(1, 3)], [4], offset=0)
    assert points.xy.tolist() == [[0, 0], [4, 0], [8, 0]]


def test_points_need_a_stride_per_level():
    with pytest.raises(
        ValueError, match=r'shapes has 2 levels.*strides has 1'
    ):
        anchor_points([(2, 3), (1, 2)], [8])


def test_pad_gts():
    boxes, labels, valid = pad_gts(
        [torch.ones(1, 4), torch.zeros(0, 4), torch.ones(2, 4)],
        [torch.tensor([3]), torch.zeros(0).long(), torch.tensor([1, 2])],
    )
    assert boxes.shape == (3, 2, 4)
    assert labels.tolist() == [[3, 0], [0, 0], [1, 2]]
    assert valid.tolist() == [[True, False], [False, False], [True, True]]


def test_pad_gts_without_any_keeps_one_invalid_row():
    boxes, labels, valid = pad_gts(
        [torch.zeros(0, 4)], [torch.zeros(0).long()]
    )
    assert boxes.tolist() == [[[0, 0, 0, 0]]]
    assert labels.tolist() == [[0]]
    assert valid.tolist() == [[False]]


def test_chunks_cover_all_gts_within_the_bound():
    parts = list(gt_chunks(batch=2, num_gts=10, points=100, max_elements=800))
    assert parts == [slice(0, 4), slice(4, 8), slice(8, 10)]
    # a single ground truth is the smallest chunk
    assert len(list(gt_chunks(2, 3, 100, max_elements=1))) == 3


def test_box_distances_are_signed():
    xy = torch.tensor([[4.0, 4.0], [12.0, 4.0]])
    ltrb = box_distances(xy, boxes_of([0, 1, 10, 9]))
    assert ltrb.tolist() == [[4, 3, 6, 5], [12, 3, -2, 5]]


def test_centerness_by_hand():
    ltrb = torch.tensor(
        [
            [4.0, 3.0, 6.0, 5.0],  # 4/6 * 3/5 = 0.4
            [5.0, 5.0, 5.0, 5.0],  # the middle
            [12.0, 3.0, -2.0, 5.0],  # outside
            [0.0, 0.0, 0.0, 0.0],  # a box without area
        ]
    )
    torch.testing.assert_close(
        centerness(ltrb, 1.0), torch.tensor([0.4, 1, 0, 0])
    )
    torch.testing.assert_close(
        centerness(ltrb, 2.0), torch.tensor([0.16, 1, 0, 0])
    )
    torch.testing.assert_close(
        centerness(ltrb), torch.tensor([0.4**0.5, 1, 0, 0])
    )
    assert centerness(ltrb, 0.0).tolist() == [1, 1, 1, 1]


def test_distance_iou_by_hand():
    pred = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    same = torch.tensor([[1.0, 1.0, 1.0, 1.0]])
    half = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    apart = torch.tensor([[0.0, 0.0, 0.0, 0.0]])
    assert distance_iou(pred, same).item() == pytest.approx(1)
    assert distance_iou(pred, half).item() == pytest.approx(0.5)
    assert distance_iou(pred, apart).item() == pytest.approx(1e-7 / 4)
    assert distance_iou(apart, apart).item() == 1


def test_distance_iou_gradient():
    torch.manual_seed(0)
    pred = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    target = torch.rand(5, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: distance_iou(p, target), pred)


def test_border_of_a_region_is_outside():
    region = boxes_of([4, 0, 20, 12])[None, :, None]  # B, G, 1, 4
    inside = inside_regions(POINTS, region)[0, 0]
    assert inside.nonzero().flatten().tolist() == [1, 6]


def test_regions_may_differ_by_level():
    regions = boxes_of([0, 0, 10, 10], [20, 0, 30, 10])[None, None]
    inside = inside_regions(POINTS, regions)[0, 0]
    assert inside.nonzero().flatten().tolist() == [0, 7]


def assign(boxes, candidates=None, **kwargs):
    boxes = boxes[None]
    if candidates is None:
        candidates = torch.ones(1, boxes.shape[1], 2, dtype=torch.bool)
    return assign_smallest_area(
        POINTS, boxes, boxes[:, :, None], candidates, **kwargs
    )[0].tolist()


NESTED = boxes_of([0, 0, 32, 16], [0, 0, 16, 16], [16, 0, 32, 16])


def test_least_area_wins_and_the_first_of_equals():
    # points 0, 1, 3, 4, 6 in the left half, 2, 5, 7 in the right half
    assert assign(NESTED) == [1, 1, 2, 1, 1, 2, 1, 2]
    assert assign(NESTED[[0, 0]]) == [0] * 8
    assert assign(NESTED[[1, 0]]) == [0, 0, 1, 0, 0, 1, 0, 1]


def test_candidates_by_level():
    candidates = torch.tensor([[[True, True], [False, True], [True, False]]])
    assert assign(NESTED, candidates) == [0, 0, 2, 0, 0, 2, 1, 0]
    nobody = torch.zeros_like(candidates)
    assert assign(NESTED, nobody) == [-1] * 8


def test_clipped_area():
    """Outside of its box a point sees clipped distances, so another area."""
    boxes = boxes_of([5, 5, 11, 11], [3, 3, 12, 8])[None]
    regions = torch.tensor([0.0, 0, 8, 8]).expand(1, 2, 1, 4)
    candidates = torch.ones(1, 2, 2, dtype=torch.bool)
    args = (POINTS, boxes, regions, candidates)
    # at (4, 4): 36 and 45; clipped: (0 + 7) * (0 + 7) = 49 and 45
    assert assign_smallest_area(*args)[0, 0] == 0
    assert assign_smallest_area(*args, clipped_area=True)[0, 0] == 1


def test_chunks_give_the_same_assignment():
    torch.manual_seed(0)
    xy = torch.rand(40, 2) * 20
    boxes = torch.cat([xy, xy + torch.rand(40, 2) * 20], 1)
    boxes = torch.cat([boxes, boxes[:5]])  # ties across chunks
    assert assign(boxes, max_elements=1) == assign(boxes)
    assert max(assign(boxes)) < 40
