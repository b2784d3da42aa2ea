"""Assigners and coder of the ATSS ladder as registered classes."""

import pytest
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from mmdet_assigners.methods.atss.atss_assigner import BatchATSSAssigner
from mmdet_assigners.methods.atss.center_in_gt_assigner import (
    CenterInGTMaxIoUAssigner,
)
from mmdet_assigners.methods.atss.ssc_assigner import SSCAssigner
from mmdet_assigners.methods.atss.topk_iou_assigner import TopkIoUAssigner
from mmdet_assigners.models.task_modules.assigners._base import AssignInputs
from mmdet_assigners.models.task_modules.coders import AnchorPointCoder
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

KINDS = [
    BatchATSSAssigner,
    CenterInGTMaxIoUAssigner,
    SSCAssigner,
    TopkIoUAssigner,
]
SIZES = (320, 80, 20, 6, 2)
BOXES = torch.tensor([[8.0, 10, 30, 34], [40, 20, 100, 90], [5, 60, 155, 84]])


def anchors():
    points = anchor_points(
        ((16, 20), (8, 10), (4, 5), (2, 3), (1, 2)), (8, 16, 32, 64, 128)
    )
    half = points.stride[:, None] * 4
    return torch.cat((points.xy - half, points.xy + half), -1)


def ground_truths():
    return InstanceData(bboxes=BOXES, labels=torch.tensor([5, 6, 7]))


def inputs(**options):
    boxes, labels, mask = pad_gts([BOXES], [torch.tensor([5, 6, 7])])
    return AssignInputs(anchors(), boxes, labels, mask, **options)


@pytest.mark.parametrize('kind', KINDS)
def test_in_heads_of_mmdet(kind):
    """The call of ATSSHead, by name from the registry."""
    assigner = TASK_UTILS.build(dict(type=f'mmdet.{kind.__name__}'))
    result = assigner.assign(
        InstanceData(priors=anchors()), list(SIZES), ground_truths(), None
    )
    positive = result.gt_inds > 0
    assert positive.any()
    expected = result.gt_inds[positive] + 4
    assert torch.equal(result.labels[positive], expected)
    assert (result.labels[~positive] == -1).all()
    batched = assigner.assign_batch(inputs(level_sizes=SIZES))
    assert torch.equal(batched.gt[0] + 1, result.gt_inds)


def test_batch_atss_is_the_assigner_of_mmdet():
    args = InstanceData(priors=anchors()), list(SIZES), ground_truths()
    expected = ATSSAssigner(topk=9).assign(*args)
    ours = BatchATSSAssigner(topk=9).assign(*args)
    assert torch.equal(ours.gt_inds, expected.gt_inds)
    assert torch.equal(ours.labels, expected.labels)


def test_topk_counts_locations():
    """Three anchors each: k locations are 3 k anchors."""
    per_level = (5, 4)
    priors = torch.arange(9.0)[:, None, None] * 10
    half = torch.tensor([3.0, 4, 5])[None, :, None]
    priors = torch.cat((priors - half, priors + half), -1)
    priors = torch.cat((priors, priors), -1)[..., [0, 0, 1, 1]].flatten(0, 1)
    boxes, labels, mask = pad_gts(
        [torch.tensor([[-5.0, -5, 25, 25]])], [torch.tensor([0])]
    )
    sizes = tuple(3 * size for size in per_level)

    def assign(anchors_per_location, **options):
        return BatchATSSAssigner(**options).assign_batch(
            AssignInputs(
                priors,
                boxes,
                labels,
                mask,
                sizes,
                anchors_per_location=anchors_per_location,
            )
        )

    assert torch.equal(assign(3, topk=2).gt, assign(1, topk=6).gt)
    assert not torch.equal(assign(3, topk=2).gt, assign(1, topk=2).gt)
    plain = assign(3, topk=2, topk_per_location=False).gt
    assert torch.equal(plain, assign(1, topk=2).gt)


@pytest.mark.parametrize('kind', [BatchATSSAssigner, SSCAssigner])
def test_level_sizes_are_needed(kind):
    with pytest.raises(ValueError, match=f'{kind.__name__} needs num_level'):
        kind().assign_batch(inputs())
    with pytest.raises(ValueError, match=r'\(320, 80\) must add up .* 428'):
        kind().assign_batch(inputs(level_sizes=(320, 80)))


def test_ssc_needs_a_range_per_level():
    assigner = SSCAssigner(regress_ranges=((-1, 64), (64, 1e8)))
    with pytest.raises(ValueError, match='has 2 levels but the priors have 5'):
        assigner.assign_batch(inputs(level_sizes=SIZES))


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        (BatchATSSAssigner, dict(topk=0), 'topk .* at least 1, got 0'),
        (TopkIoUAssigner, dict(topk=0), 'topk .* at least 1, got 0'),
        (SSCAssigner, dict(regress_ranges=((9, 1),)), r'got \(9, 1\)'),
        (SSCAssigner, dict(center_radius=0), 'center_radius .* got 0'),
        (
            SSCAssigner,
            dict(center_radius=1.5, strides=(8, 16)),
            'strides has 2 levels but regress_ranges has 5',
        ),
        (
            CenterInGTMaxIoUAssigner,
            dict(pos_iou_thr=0),
            r'pos_iou_thr must be in \(0, 1\], got 0',
        ),
        (
            CenterInGTMaxIoUAssigner,
            dict(neg_iou_thr=0.6),
            'neg_iou_thr and pos_iou_thr .* got 0.6 and 0.5',
        ),
        (
            CenterInGTMaxIoUAssigner,
            dict(outside='drop'),
            "outside must be one of .* got 'drop'",
        ),
        (AnchorPointCoder, dict(octave_base_scale=0), 'positive, got 0'),
    ],
)
def test_wrong_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_coder_by_hand():
    """An anchor of 8 strides of 4 x 2 pixels, center (20, 10)."""
    anchor = torch.tensor([[4.0, 2, 36, 18]])
    box = torch.tensor([[12.0, 4, 40, 30]])
    coder = AnchorPointCoder()
    assert coder.encode(anchor, box).tolist() == [[2, 3, 5, 10]]
    assert torch.equal(coder.decode(anchor, coder.encode(anchor, box)), box)
    scaled = AnchorPointCoder(octave_base_scale=4)
    assert scaled.encode(anchor, box).tolist() == [[1, 1.5, 2.5, 5]]


def test_coder_clips_and_wraps():
    anchor = torch.tensor([[4.0, 2, 36, 18]]).expand(2, 3, 1, 4)
    far = torch.full((2, 3, 1, 4), 100.0)
    clipped = AnchorPointCoder().decode(anchor, far, max_shape=(40, 90))
    assert clipped.shape == far.shape
    assert clipped[1, 2, 0].tolist() == [0, 0, 90, 40]
    whole = AnchorPointCoder(clip_border=False).decode(anchor, far, (40, 90))
    assert whole[0, 0, 0].tolist() == [-380, -190, 420, 210]
    wrapped = AnchorPointCoder(use_box_type=True)
    boxes = wrapped.decode(HorizontalBoxes(anchor[0, :, 0]), far[0, :, 0])
    assert isinstance(boxes, HorizontalBoxes)
