"""The inclusive corners of older code."""

import pytest
import torch

from mmdet_assigners.models.task_modules.assigners import BatchMaxIoUAssigner
from mmdet_assigners.models.task_modules.assigners._base import AssignInputs


def assign(priors, boxes, **options):
    options = dict(pos_iou_thr=0.5, neg_iou_thr=0.4) | options
    boxes = torch.tensor([boxes])
    inputs = AssignInputs(
        priors=torch.tensor(priors),
        boxes=boxes,
        labels=torch.zeros(boxes.shape[:2], dtype=torch.long),
        mask=torch.ones(boxes.shape[:2], dtype=torch.bool),
    )
    return BatchMaxIoUAssigner(**options).assign_batch(inputs)


def test_legacy_plus_one():
    """[0, 9] has 10 pixels, [0, 4] 5: IoU 1/2 and not 4/9 squared."""
    priors, boxes = [[0.0, 0, 9, 4]], [[0.0, 0, 4, 4]]
    options = dict(low_quality=None)
    exclusive = assign(priors, boxes, **options)
    assert exclusive.gt.tolist() == [[-2]]
    assert exclusive.iou.item() == pytest.approx(4 / 9)
    inclusive = assign(priors, boxes, legacy_plus_one=True, **options)
    assert inclusive.gt.tolist() == [[0]]
    assert inclusive.iou.item() == pytest.approx(1 / 2)
    assert inclusive.iou.dtype == torch.float32


def test_a_point_overlaps_itself():
    box = [[3.0, 3, 3, 3]]
    assert assign(box, box).gt.tolist() == [[-1]]
    assert assign(box, box, legacy_plus_one=True).gt.tolist() == [[0]]
