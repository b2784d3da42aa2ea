"""Matching, masks and NMS of pairs."""

import pytest
import torch
from mmcv.ops import nms
from mmdet.models.task_modules import MaxIoUAssigner
from mmengine.structures import InstanceData

from mmdet_assigners.methods.pbm.assigner import PairedMaxIoUAssigner
from mmdet_assigners.methods.pbm.boxes import PairedBoxes
from mmdet_assigners.methods.pbm.functional import (
    fit_visible,
    r2nms,
    train_visible_of_negatives,
    visible_mask,
)

RPN = dict(
    pos_iou_thr=0.7,
    neg_iou_thr=0.3,
    visible_thr=0.7,
    min_pos_iou=0.3,
    match_low_quality=True,
)
RCNN = dict(
    pos_iou_thr=0.5, neg_iou_thr=0.5, visible_thr=0.5, visible_metric='iou'
)


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


def random_boxes(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    size = torch.rand(count, 2, generator=generator) * 40 + 10
    return torch.cat((corner, corner + size), 1)


def gts(full, visible=None):
    return InstanceData(
        bboxes=full,
        visible_bboxes=full if visible is None else visible,
        labels=torch.arange(len(full)) % 2,
    )


def same(found, expected):
    assert torch.equal(found.gt_inds, expected.gt_inds)
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.max_overlaps, expected.max_overlaps)


@pytest.mark.parametrize('count', [0, 1, 7])
@pytest.mark.parametrize('regions', [False, True])
def test_with_equal_boxes_it_is_mmdets(count, regions):
    """Visible boxes that are full boxes, and no gate."""
    priors = InstanceData(priors=random_boxes(300))
    targets = gts(random_boxes(count, 1))
    ignored = InstanceData(bboxes=tensor([0, 0, 30, 40]) if regions else [])
    ignored = ignored if regions else None
    rules = dict(RPN, ignore_iof_thr=0.5)
    expected = MaxIoUAssigner(
        **{k: v for k, v in rules.items() if k != 'visible_thr'}
    ).assign(priors, targets, ignored)
    found = PairedMaxIoUAssigner(**dict(rules, visible_thr=0.0)).assign(
        priors, targets, ignored
    )
    assert torch.equal(found.gt_inds, expected.gt_inds)
    assert torch.equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    'rules', [RPN, RCNN, dict(RCNN, half_match='negative')]
)
def test_chunks_change_nothing(rules):
    """Few boxes of a coarse grid, so that overlaps are equal."""
    full = random_boxes(9, 1).div(20).round() * 20
    full[:, 2:] += 20
    visible = torch.cat((full[:, :2], full[:, 2:] - 10), 1)
    priors = random_boxes(300).div(20).round() * 20
    priors[:, 2:] += 20
    inputs = (
        InstanceData(priors=priors),
        gts(full, visible),
        InstanceData(bboxes=tensor([0, 0, 30, 40])),
    )
    assigner = PairedMaxIoUAssigner(**rules, ignore_iof_thr=0.5)
    expected = assigner.assign(*inputs)
    assert expected.gt_inds.unique().numel() > 4
    for size in (1, 600, 1000):
        assigner.max_elements = size
        same(assigner.assign(*inputs), expected)


def test_no_priors():
    found = PairedMaxIoUAssigner(**RPN).assign(
        InstanceData(priors=tensor()), gts(random_boxes(2))
    )
    assert len(found.gt_inds) == len(found.max_overlaps) == 0


def test_anchor_has_to_hold_the_visible_box():
    full = tensor([0, 0, 100, 100])
    for visible, expected in (
        ([0, 0, 100, 50], 1),  # 80 of 100 columns are in the anchor
        ([60, 0, 100, 50], -1),  # 20 of 40: neither positive nor negative
        ([90, 0, 90, 50], -1),  # no area, no share
    ):
        found = PairedMaxIoUAssigner(**dict(RPN, match_low_quality=False))
        assigned = found.assign(
            InstanceData(priors=tensor([0, 0, 80, 100])),
            gts(full, tensor(visible)),
        )
        assert assigned.gt_inds.tolist() == [expected]


@pytest.mark.parametrize(
    ('half_match', 'expected'), [('negative', 0), ('ignore', -1)]
)
def test_proposal_that_fits_only_the_full_box(half_match, expected):
    full = tensor([0, 0, 100, 100])
    pairs = PairedBoxes.of(
        full.repeat(3, 1),
        tensor([0, 0, 50, 100], [0, 50, 100, 100], [0, 0, 40, 40]),
    )
    assigner = PairedMaxIoUAssigner(**RCNN, half_match=half_match)
    found = assigner.assign(
        InstanceData(priors=pairs), gts(full, tensor([0, 0, 50, 100]))
    )
    assert found.gt_inds.tolist() == [1, expected, expected]


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(visible_metric='giou'), "visible_metric must be.*got 'giou'"),
        (dict(half_match='x'), 'half_match must be one of ignore, negative'),
        (dict(visible_thr=2), 'visible_thr must be 0 to 1, got 2'),
        (dict(neg_iou_thr=(0.3, 0.7)), 'neg_iou_thr must be 0 to 1'),
        (dict(neg_iou_thr=0.8), 'neg_iou_thr must be at most pos_iou_thr=0.7'),
    ],
)
def test_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        PairedMaxIoUAssigner(**{**RPN, **options})


def test_one_pair_member_missing():
    assigner = PairedMaxIoUAssigner(**RPN)
    priors = InstanceData(priors=random_boxes(3))
    targets = InstanceData(bboxes=random_boxes(2), labels=torch.zeros(2))
    with pytest.warns(UserWarning, match='no visible_bboxes, so full boxes'):
        assigner.assign(priors, targets)
    targets = InstanceData(bboxes=random_boxes(2), labels=torch.zeros(2))
    targets.set_field(torch.zeros(2, 2), 'visible_bboxes')
    with pytest.raises(ValueError, match=r'the shape of bboxes, \(2, 4\)'):
        assigner.assign(priors, targets)


def test_people_in_a_crowd():
    """Two of 70 % overlap whose visible parts are apart; duplicates."""
    full = tensor([0, 0, 100, 200], [18, 0, 118, 200])
    visible = tensor([0, 0, 40, 200], [60, 0, 118, 200])
    scores = torch.tensor([0.9, 0.8])
    assert len(nms(full, scores, 0.5)[1]) == 1
    kept, numbers = r2nms(full, visible, scores, 0.5)
    assert torch.equal(kept, full) and numbers.tolist() == [0, 1]
    full = full[:1] + torch.arange(3.0)[:, None]
    _, numbers = r2nms(
        full, visible[:1].repeat(3, 1), torch.tensor([0.5, 0.7, 0.6]), 0.5
    )
    assert numbers.tolist() == [1]


def test_r2nms_of_equal_boxes_is_nms():
    boxes, scores = random_boxes(60), torch.rand(60)
    for one, other in zip(
        r2nms(boxes, boxes, scores, 0.4)[1:],
        nms(boxes, scores, 0.4)[1:],
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize('rule', ['center', 'area'])
def test_mask(rule):
    full = tensor(*([[0, 0, 70, 140]] * 4))
    visible = tensor(
        [0, 0, 70, 140], [80, 0, 90, 140], [0, 0, 36, 140], [0, 150, 70, 200]
    )
    mask = visible_mask(full, visible, (7, 7), rule)
    assert mask.shape == (4, 1, 7, 7)
    assert (mask[0] == 1).all()
    assert (mask[1] == 0).all() and (mask[3] == 0).all()
    # 36 of 70 pixels: three bins, and 6 of 10 pixels of the next
    part = 1.0 if rule == 'center' else 0.6
    row = torch.tensor([1, 1, 1, part, 0, 0, 0])
    torch.testing.assert_close(mask[2, 0], row.expand(7, 7))


def test_mask_of_boxes_without_area():
    flat = tensor([10, 10, 10, 10])
    for rule in ('center', 'area'):
        assert torch.isfinite(visible_mask(flat, flat, (7, 7), rule)).all()


def test_visible_boxes_fit():
    full = tensor(*([[0, 0, 10, 10]] * 5))
    visible = tensor(
        [1, 2, 3, 4],
        [-5, 2, 30, 4],  # reaches outside
        [20, 20, 30, 30],  # outside
        [5, 5, 5, 9],  # no area
        [torch.nan] * 4,  # none
    )
    whole = [0, 0, 10, 10]
    expected = tensor([1, 2, 3, 4], [0, 2, 10, 4], whole, whole, whole)
    assert torch.equal(fit_visible(full, visible), expected)


def test_negatives_shrink():
    targets, weights = torch.ones(3, 8), torch.zeros(3, 8)
    negative = torch.tensor([False, True, False])
    found, shown = train_visible_of_negatives(
        targets, weights, negative, (0, 0, -3, -3)
    )
    assert found[1].tolist() == [1, 1, 1, 1, 0, 0, -3, -3]
    assert shown[1].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (found[[0, 2]] == 1).all() and (shown[[0, 2]] == 0).all()
