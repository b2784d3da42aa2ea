"""IoU matching of whole batches."""

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from mmdet_assigners.ops.anchor_match import (
    IGNORED,
    NEGATIVE,
    gather_gts,
    max_iou_match,
    pairwise_iou,
)
from mmdet_assigners.ops.anchor_points import pad_gts


def random_boxes(count, seed, size=200.0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size
    sides = torch.rand(count, 2, generator=generator) * 80 + 2
    return torch.cat((corner, corner + sides), -1)


def padded(*boxes):
    labels = [torch.zeros(len(b), dtype=torch.long) for b in boxes]
    return pad_gts(list(boxes), labels)


def test_pairwise_iou_equals_mmdet():
    boxes = torch.stack([random_boxes(5, 0), random_boxes(5, 1)])
    priors = random_boxes(40, 2)
    ours = pairwise_iou(boxes, priors)
    for row, box in zip(ours, boxes, strict=True):
        torch.testing.assert_close(row, bbox_overlaps(box, priors))
    own = priors.expand(2, -1, -1)  # priors of each image
    assert torch.equal(pairwise_iou(boxes, own), ours)


def test_boxes_without_area_overlap_nothing():
    boxes = torch.tensor([[[5.0, 5, 5, 5], [8, 8, 2, 2]]])
    priors = torch.tensor([[0.0, 0, 10, 10], [5, 5, 5, 5]])
    assert pairwise_iou(boxes, priors).tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize('max_elements', [2**22, 1])
@pytest.mark.parametrize('low_quality', [None, 'gt'])
def test_equals_mmdet(low_quality, max_elements):
    """With mmdet's rule the indices are mmdet's, in one chunk or many."""
    priors = random_boxes(300, 3)
    gts = [random_boxes(9, 4), random_boxes(4, 5), torch.zeros(0, 4)]
    boxes, labels, mask = padded(*gts)
    match = max_iou_match(
        priors,
        boxes,
        mask,
        0.5,
        0.4,
        low_quality,
        max_elements=max_elements,
    )
    peer = MaxIoUAssigner(
        0.5, 0.4, match_low_quality=low_quality is not None, min_pos_iou=0
    )
    for b, gt in enumerate(gts):
        expected = peer.assign(
            InstanceData(priors=priors),
            InstanceData(bboxes=gt, labels=labels[b, : len(gt)]),
        )
        assert torch.equal(match.gt[b] + 1, expected.gt_inds)
        torch.testing.assert_close(match.iou[b], expected.max_overlaps)


def test_thresholds_and_low_quality_by_hand():
    priors = torch.tensor(
        [
            [0.0, 0, 10, 10],  # the first object itself
            [0, 0, 10, 4.5],  # IoU 0.45 with it: between
            [30, 30, 40, 40],  # IoU 0.25 with the second
            [35, 30, 45, 40],  # the same: a tie
            [90, 90, 99, 99],  # nothing
        ]
    )
    boxes, _, mask = padded(
        torch.tensor([[0.0, 0, 10, 10], [30, 25, 45, 45], [200, 0, 210, 9]])
    )
    plain = max_iou_match(priors, boxes, mask, 0.5, 0.4)
    assert plain.gt.tolist() == [[0, IGNORED, NEGATIVE, NEGATIVE, NEGATIVE]]
    for rule in ('gt', 'own'):
        match = max_iou_match(priors, boxes, mask, 0.5, 0.4, rule)
        # the third object overlaps nothing and takes nothing
        assert match.gt.tolist() == [[0, IGNORED, 1, 1, NEGATIVE]]
    strict = max_iou_match(priors, boxes, mask, 0.5, 0.4, 'own', 0.4)
    assert strict.gt.tolist() == plain.gt.tolist()


def test_own_and_gt_differ_where_a_prior_is_best_for_the_worse_object():
    priors = torch.tensor([[0.0, 0, 10, 10]])
    boxes, _, mask = padded(torch.tensor([[0.0, 0, 10, 9], [0, 0, 10, 8]]))
    own = max_iou_match(priors, boxes, mask, 0.5, 0.4, 'own')
    assert own.gt.tolist() == [[0]]
    assert max_iou_match(priors, boxes, mask, 0.5, 0.4, 'gt').gt.tolist() == [
        [1]
    ]


def test_invalid_priors_are_ignored_and_match_nothing():
    priors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    boxes, _, mask = padded(torch.tensor([[0.0, 0, 10, 10]]))
    valid = torch.tensor([[False, True]])
    match = max_iou_match(priors, boxes, mask, 0.95, 0.4, 'own', valid=valid)
    assert match.gt.tolist() == [[IGNORED, 0]]


@pytest.mark.parametrize('low_quality', [None, 'own', 'gt'])
def test_no_priors(low_quality):
    boxes, _, mask = padded(torch.tensor([[0.0, 0, 10, 10]]))
    match = max_iou_match(boxes[0, :0], boxes, mask, 0.5, 0.4, low_quality)
    assert [len(x[0]) for x in match] == [0, 0, 0]


def test_unknown_rule():
    boxes, _, mask = padded(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="'own' or 'gt', got 'all'"):
        max_iou_match(torch.zeros(1, 4), boxes, mask, 0.5, 0.4, 'all')


def test_gather():
    values = torch.tensor([[10, 11], [20, 21]])
    index = torch.tensor([[1, NEGATIVE, 0], [IGNORED, 1, 1]])
    assert gather_gts(values, index).tolist() == [[11, 10, 10], [20, 21, 21]]
