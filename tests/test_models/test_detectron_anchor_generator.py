"""Anchors of Detectron."""

import pytest
import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmdet.registry import TASK_UTILS

from mmdet_assigners.models.task_modules.prior_generators import (
    DetectronAnchorGenerator,
)


def test_anchors_of_faster_rcnn():
    """The nine of py-faster-rcnn, a table that its source prints."""
    generator = TASK_UTILS.build(
        dict(
            type='DetectronAnchorGenerator',
            strides=[16],
            ratios=[0.5, 1.0, 2.0],
            scales=[8, 16, 32],
        )
    )
    inclusive = [
        [-84, -40, 99, 55],
        [-176, -88, 191, 103],
        [-360, -184, 375, 199],
        [-56, -56, 71, 71],
        [-120, -120, 135, 135],
        [-248, -248, 263, 263],
        [-36, -80, 51, 95],
        [-80, -168, 95, 183],
        [-168, -344, 183, 359],
    ]
    last = torch.tensor([0, 0, 1, 1])
    anchors = generator.base_anchors[0] - last
    assert anchors.tolist() == inclusive
    cells = generator.grid_priors([(2, 3)], device='cpu')[0]
    assert torch.equal(cells[9:18], cells[:9] + torch.tensor([16, 0, 16, 0]))


def test_octaves_are_not_rounded():
    """maskrcnn-benchmark's RetinaNet, stride 8, ratio 0.5: 11 x 6 cells."""
    generator = DetectronAnchorGenerator(
        strides=[8],
        ratios=[0.5],
        octave_base_scale=4,
        scales_per_octave=3,
    )
    boxes = generator.base_anchors[0].double()
    sides = boxes[:, 2:] - boxes[:, :2]
    for side, power in zip(sides, (0, 1 / 3, 2 / 3), strict=True):
        expected = torch.tensor([11.0, 6.0]).double() * 4 * 2**power
        torch.testing.assert_close(side, expected, rtol=0, atol=1e-5)
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (centers - 4).abs().max() < 1e-5


@pytest.mark.parametrize('scale_major', [True, False])
def test_squares_are_those_of_mmdet(scale_major):
    options = dict(
        strides=[8, 32],
        ratios=[1.0, 1.0],
        scales=[4, 8],
        center_offset=0.5,
        scale_major=scale_major,
    )
    ours = DetectronAnchorGenerator(**options).base_anchors
    theirs = AnchorGenerator(**options).base_anchors
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def test_centers():
    generator = DetectronAnchorGenerator(
        strides=[8],
        ratios=[1.0],
        scales=[1],
        centers=[(0.0, 2.0)],
        center_offset=0.0,
    )
    assert generator.base_anchors[0].tolist() == [[-4.0, -2.0, 4.0, 6.0]]
