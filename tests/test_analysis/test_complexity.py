"""Counts by hand of small networks."""

import functools

import pytest
import torch
from mmcv.ops import (
    DeformConv2dPack,
    ModulatedDeformConv2dPack,
    RoIAlign,
)
from torch import nn

from mmdet_assigners.analysis.complexity import count, count_config
from mmdet_assigners.ops.border_align import border_align
from mmdet_assigners.ops.deform_conv import deform_conv_reference
from mmdet_assigners.ops.deform_roi_pool import deform_roi_pool
from mmdet_assigners.small_scale import load_config


class Apply(nn.Module):
    """A function of the image and the arguments of a detector."""

    def __init__(self, layer, run=None):
        super().__init__()
        self.layer = layer
        self.run = run or (lambda image, layer: layer(image))

    def forward(self, image, data_samples):
        return self.run(image, self.layer)


ONE = functools.partial(nn.Conv2d, 3, 3, 1, bias=False)
CELLS = 8 * 12  # stride 1 of an image (8, 12)
ROIS = torch.tensor([[0.0, 0.0, 0.0, 7.0, 7.0], [0.0, 1.0, 1.0, 4.0, 6.0]])


def align(ratio):
    pool = RoIAlign(2, 1.0, ratio)
    return Apply(ONE(), lambda x, one: pool(one(x), ROIS))


@pytest.mark.parametrize(
    ('layer', 'flops'),
    [
        (Apply(nn.Conv2d(3, 5, 3, padding=1)), CELLS * 5 * 3 * 9),
        # offsets, samples, product
        (
            Apply(DeformConv2dPack(3, 5, 3, padding=1)),
            CELLS * (18 * 3 * 9 + 4 * 3 * 9 + 5 * 3 * 9),
        ),
        (
            Apply(ModulatedDeformConv2dPack(3, 6, 3, padding=1, groups=3)),
            CELLS * (27 * 3 * 9 + 4 * 3 * 9 + 6 * 9),
        ),
        # 2 RoIs, 3 channels, 2 x 2 bins of 3 x 3 samples, 2 x 2 by default
        (align(3), CELLS * 9 + 2 * 3 * 4 * 9 * 4),
        (align(0), CELLS * 9 + 2 * 3 * 4 * 4 * 4),
    ],
)
def test_by_hand(layer, flops):
    found = count(layer, (8, 12))
    assert found.flops == flops
    assert not any('Python' in name for name in found.not_counted)
    assert found.parameters == sum(p.numel() for p in layer.parameters())


def test_ours_as_mmcvs():
    """Our deformable convolution on a CPU is not an operator of its own."""
    offset = torch.zeros(1, 18, 8, 12)
    ours = Apply(
        nn.Conv2d(3, 5, 3, bias=False),
        lambda x, conv: deform_conv_reference(x, offset, conv.weight, 1, 1),
    )
    assert count(ours, (8, 12)).flops == CELLS * (4 * 3 * 9 + 5 * 3 * 9)


def test_border_align():
    boxes = ROIS[None, :, 1:]
    layer = Apply(
        nn.Conv2d(3, 8, 1, bias=False),
        lambda x, conv: border_align(conv(x), boxes, 10),
    )
    # 2 boxes, 2 channels, 4 borders, 11 samples
    assert count(layer, (8, 12)).flops == CELLS * 24 + 2 * 2 * 4 * 11 * 4


def test_our_deformable_roi_pooling():
    """Two samples a quarter of a cell apart share the two cells they need."""
    rois = torch.tensor([[0.0, 1.0, 1.0, 2.0, 2.0]])
    layer = Apply(
        ONE(),
        lambda x, one: deform_roi_pool(one(x), rois, 2, 1.0, sampling_ratio=2),
    )
    # 2 x 2 bins of 4 x 4 places for cells, 3 channels
    assert count(layer, (8, 12)).flops == CELLS * 9 + 4 * 16 * 3


def test_a_two_stage_detector_gets_all_proposals():
    """A quarter of 1000 at small scale; a class and a box for each."""
    cfg = load_config('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco', True)
    found = count_config(cfg, (64, 96))
    assert cfg.model.test_cfg.rpn.max_per_img == 250
    head = cfg.model.roi_head.bbox_head
    width = head.in_channels * 49, head.fc_out_channels
    classes = head.num_classes + 1 + 4 * head.num_classes
    products = width[0] * width[1] + width[1] ** 2 + width[1] * classes
    assert found.by_operator['linear'] == 250 * products
    sampled = 250 * head.in_channels * 49 * 4 * 4
    assert found.by_operator['PythonOp.RoIAlignFunction'] == sampled


def test_an_rpn_counts():
    """Though its proposals are not those that count."""
    names = ('faster_rcnn/faster-rcnn', 'fast_rcnn/fast-rcnn')
    with_rpn, without = (
        count_config(
            load_config(f'mmdet::{name}_r50_fpn_1x_coco', True), (64, 64)
        ).by_operator
        for name in names
    )
    cells = 16**2 + 8**2 + 4**2 + 2**2 + 1
    width, anchors = 64, 3
    products = width * width * 9 + width * anchors * (1 + 4)
    assert with_rpn['conv'] - without['conv'] == cells * products
    assert without['linear']


def test_masks_of_a_cascade():
    """Of 100 RoIs in each of three stages."""
    names = ('mask_rcnn/mask-rcnn', 'cascade_rcnn/cascade-mask-rcnn')
    one, three = (
        count_config(
            load_config(f'mmdet::{name}_r50_fpn_1x_coco', True), (64, 64)
        ).by_operator['conv']
        for name in names
    )
    cfg = load_config('mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco', True)
    head = cfg.model.roi_head.mask_head
    width = head.conv_out_channels
    convs = head.num_convs * width * width * 9 * 14 * 14
    masks = width * width * 4 * 14 * 14 + width * head.num_classes * 28 * 28
    assert three - one == 2 * 100 * (convs + masks)


def test_a_shape_that_does_not_fit():
    model = Apply(nn.Conv2d(3, 5, 9))
    with pytest.raises(ValueError, match=r'shape \(8, 12\) cannot be count'):
        count(model, (8, 12))
    assert 'forward' not in vars(model)
