"""Definitions of positives: boxes made by hand, and mmdet's assigners."""

import pytest
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner, MaxIoUAssigner
from mmengine.structures import InstanceData

from mmdet_assigners.methods.atss import functional as atss
from mmdet_assigners.ops.anchor_match import IGNORED, NEGATIVE
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

STRIDES = (8, 16, 32, 64, 128)
SIZES = (320, 80, 20, 6, 2)
SHAPES = ((16, 20), (8, 10), (4, 5), (2, 3), (1, 2))


def grid(scale=8, per_location=1):
    """Square anchors of a 128x160 image, location-major."""
    points = anchor_points(SHAPES, STRIDES)
    half = points.stride[:, None, None] * scale / 2
    half = half * 2 ** (torch.arange(per_location)[:, None] / per_location)
    xy = points.xy[:, None]
    return torch.cat((xy - half, xy + half), -1).flatten(0, 1)


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 120 - 10
    sides = torch.rand(count, 2, generator=generator) * 100 + 3
    return torch.cat((corner, corner + sides), -1)


def padded(*images):
    boxes = [torch.as_tensor(b).float().reshape(-1, 4) for b in images]
    labels = [torch.zeros(len(b), dtype=torch.long) for b in boxes]
    boxes, _, mask = pad_gts(boxes, labels)
    return boxes, mask


def row(*centers, side=8.0):
    """Anchors in a row at y = 0."""
    x = torch.tensor(centers)[:, None]
    half = side / 2
    return torch.cat((x - half, x * 0 - half, x + half, x * 0 + half), -1)


RULES = {
    'atss': lambda a, b, m, **k: atss.atss_match(a, b, m, SIZES, **k),
    'topk': atss.topk_match,
    'ssc': lambda a, b, m, **k: atss.ssc_match(a, b, m, ranges(), **k),
    'iou': atss.center_iou_match,
}


def ranges():
    bounds = torch.tensor([-1, 64, 128, 256, 512, float('inf')])
    pairs = torch.stack((bounds[:-1], bounds[1:]), -1)
    return pairs.repeat_interleave(torch.tensor(SIZES), 0)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('per_location', [1, 3])
def test_atss_equals_mmdet(seed, per_location):
    anchors = grid(4, per_location)
    sizes = [size * per_location for size in SIZES]
    gts = random_boxes(3 * seed + 1, seed)
    expected = ATSSAssigner(topk=7).assign(
        InstanceData(priors=anchors),
        sizes,
        InstanceData(bboxes=gts, labels=torch.zeros(len(gts)).long()),
    )
    assert seed == 0 or (expected.gt_inds > 0).any()
    ours = atss.atss_match(anchors, *padded(gts), sizes, 7)
    assert torch.equal(ours.gt[0] + 1, expected.gt_inds)
    positive = ours.gt[0] >= 0
    torch.testing.assert_close(
        ours.iou[0][positive], expected.max_overlaps[positive]
    )
    assert (ours.iou[0][~positive] == 0).all()


def test_atss_by_hand():
    """Two candidates of five; threshold = mean + unbiased deviation."""
    anchors = row(-20.0, 0.0, 2.0, 9.0, 40.0)
    boxes, mask = padded([[-4, -4, 4, 4]])
    # IoU of the three nearest: 1, 0.6 and 0; their centers 0, 2, 9
    threshold = torch.tensor([1, 0.6, 0.0])
    assert threshold.mean() + threshold.std() > 1
    claims = atss.atss_match(anchors, boxes, mask, [5], 3)
    assert claims.gt.tolist() == [[-1] * 5]
    # with all five the mean is 0.32 and the deviation 0.46
    claims = atss.atss_match(anchors, boxes, mask, [5], 9)
    assert claims.gt.tolist() == [[-1, 0, -1, -1, -1]]
    assert claims.iou.tolist() == [[0, 1, 0, 0, 0]]


def test_atss_of_one_candidate_has_no_deviation():
    """mmdet and the official code get NaN here, and no positive."""
    boxes, mask = padded([[-4, -4, 4, 4]])
    claims = atss.atss_match(row(1.0), boxes, mask, [1])
    assert claims.gt.tolist() == [[0]]


def test_atss_conflict_goes_to_the_highest_iou():
    anchors = row(-40.0, 0.0, 40.0)
    boxes, mask = padded([[-9, -4, 5, 4], [-4, -4, 5, 4], [-4, -4, 5, 4]])
    claims = atss.atss_match(anchors, boxes, mask, [3], 3)
    assert claims.gt.tolist() == [[-1, 1, -1]]  # ; ties go to the first
    torch.testing.assert_close(claims.iou[0, 1], torch.tensor(64 / 72))


def test_atss_center_must_lie_in_the_box():
    """At a side it is outside, farther than the margin inside."""
    anchors = row(0.0, 100.0, 200.0, 300.0)
    for left, found in ((0.0, -1), (-0.005, -1), (-0.02, 0)):
        boxes, mask = padded([[left, -4, 9, 4]])
        claims = atss.atss_match(anchors, boxes, mask, [4], 4)
        assert claims.gt[0, 0] == found
    boxes, mask = padded([[-0.005, -4, 9, 4]])
    claims = atss.atss_match(anchors, boxes, mask, [4], 4, margin=0.0)
    assert claims.gt[0, 0] == 0


def test_topk_takes_the_nearer_of_equal_ious():
    """Both anchors contain the box: same IoU, other distance."""
    anchors = row(3.0, 1.0, 50.0, 1.5, side=20.0)
    boxes, mask = padded([[-4, -4, 4, 4]])
    one = atss.topk_match(anchors, boxes, mask, 1).gt
    assert one.tolist() == [[-1, 0, -1, -1]]
    two = atss.topk_match(anchors, boxes, mask, 2).gt
    assert two.tolist() == [[-1, 0, -1, 0]]
    many = atss.topk_match(anchors, boxes, mask, 99).gt
    assert many.tolist() == [[0, 0, -1, 0]]


def test_ssc_takes_the_least_area_and_both_ends_of_the_range():
    anchors = row(0.0, 0.0)
    limits = torch.tensor([[-1.0, 8], [8, 20]])
    boxes, mask = padded(
        [[-8, -8, 8, 8], [-8, -4, 8, 4], [-4, -8, 4, 8], [-9, -1, 1, 1]]
    )
    # the first three reach 8 exactly and count on both levels; the last,
    # with the smallest area, reaches 9
    found = atss.ssc_match(anchors, boxes, mask, limits).gt
    assert found.tolist() == [[1, 3]]
    found = atss.ssc_match(anchors, boxes[:, :3], mask[:, :3], limits).gt
    assert found.tolist() == [[1, 1]]  # equal areas: the first


def test_ssc_center_sampling():
    anchors = row(0.0, 5.0, 9.0, 13.0)
    boxes, mask = padded([[-40, -40, 40, 40]])
    limits = torch.tensor([-1, 1e8]).expand(4, 2)
    radius = torch.tensor([8.0, 8, 8, 16])
    found = atss.ssc_match(anchors, boxes, mask, limits, radius=radius).gt
    assert found.tolist() == [[0, 0, -1, 0]]


@pytest.mark.parametrize(
    ('outside', 'expected'),
    [('ignore', IGNORED), ('negative', NEGATIVE), ('keep', 0)],
)
def test_what_happens_outside(outside, expected):
    """IoU 1/2, but the center lies at the side of the box."""
    anchors = row(0.0, 100.0)
    boxes, mask = padded([[0, -4, 4, 4]])
    found = atss.center_iou_match(anchors, boxes, mask, outside=outside).gt
    assert found.tolist() == [[expected, NEGATIVE]]


def test_iou_rows_low_quality_rule_is_an_option():
    """Anchor 0 is the best of box 1, but its own best is box 0."""
    anchors = row(0.0, 100.0)
    boxes, mask = padded([[-4, -4, 5, 4], [-4, -4, 16, 4]])
    own = atss.center_iou_match(anchors, boxes, mask).gt
    assert own.tolist() == [[0, NEGATIVE]]
    theirs = atss.center_iou_match(anchors, boxes, mask, low_quality='gt')
    assert theirs.gt.tolist() == [[1, NEGATIVE]]


def test_iou_row_without_the_constraint_equals_mmdet():
    anchors, gts = grid(), random_boxes(9, 3)
    expected = MaxIoUAssigner(0.5, 0.4, min_pos_iou=0).assign(
        InstanceData(priors=anchors),
        InstanceData(bboxes=gts, labels=torch.zeros(len(gts)).long()),
    )
    ours = atss.center_iou_match(
        anchors, *padded(gts), low_quality='gt', outside='keep'
    )
    inds = torch.where(ours.gt[0] == IGNORED, -1, ours.gt[0] + 1)
    assert torch.equal(inds, expected.gt_inds)
    assert torch.equal(ours.iou[0], expected.max_overlaps)


def test_outside_is_checked():
    with pytest.raises(ValueError, match=r"outside .* got 'drop'"):
        atss.center_iou_match(grid(), *padded([[0, 0, 9, 9]]), outside='drop')


@pytest.mark.parametrize('rule', RULES)
def test_batched_and_chunked_equals_single(rule):
    match, anchors = RULES[rule], grid()
    images = [random_boxes(n, n) for n in (4, 0, 9)]
    whole = match(anchors, *padded(*images))
    assert (whole.gt[0] >= 0).any() and (whole.gt[2] >= 0).any()
    chunked = match(anchors, *padded(*images), max_elements=2000)
    assert torch.equal(whole.gt, chunked.gt)
    assert torch.equal(whole.iou, chunked.iou)
    for b, boxes in enumerate(images):
        single = match(anchors, *padded(boxes))
        assert torch.equal(whole.gt[b], single.gt[0])
        assert torch.equal(whole.iou[b], single.iou[0])


@pytest.mark.parametrize('rule', RULES)
def test_invalid_anchors_are_as_if_they_were_not_there(rule):
    match, anchors = RULES[rule], grid()
    valid = torch.rand(2, len(anchors), generator=torch.Generator()) > 0.3
    gts = random_boxes(6, 5)
    ours = match(anchors, *padded(gts, gts), valid=valid).gt
    assert (ours[~valid] == IGNORED).all()
    for b, keep in enumerate(valid):
        sizes = [int(part.sum()) for part in keep.split(SIZES)]
        if rule == 'atss':
            kept = atss.atss_match(anchors[keep], *padded(gts), sizes)
        elif rule == 'ssc':
            kept = atss.ssc_match(anchors[keep], *padded(gts), ranges()[keep])
        else:
            kept = match(anchors[keep], *padded(gts))
        assert torch.equal(ours[b, keep], kept.gt[0])


@pytest.mark.parametrize('rule', RULES)
def test_awkward_boxes(rule):
    """None, without area, and far outside: no positive, no error."""
    match, anchors = RULES[rule], grid()
    none = match(anchors, *padded([]))
    assert (none.gt == NEGATIVE).all()
    assert (none.iou == 0).all()
    odd = [[30, 30, 30, 30], [50, 20, 50, 90], [9e3, 9e3, 9.1e3, 9.1e3]]
    claims = match(anchors, *padded(odd))
    assert (claims.gt < 0).all()
    assert torch.isfinite(claims.iou).all()


def test_a_tiny_box_has_a_positive_only_with_a_center_in_it():
    anchors = grid()  # centers at 4, 12, 20, ...
    boxes, mask = padded([[11.5, 11.5, 12.5, 12.5], [15.5, 15.5, 16.5, 16.5]])
    gt = atss.atss_match(anchors, boxes, mask, SIZES).gt[0]
    assert (gt == 0).any()
    # 16, 16 is a center of stride 32, whose anchor is far too large
    assert not (gt == 1).any()
