"""The converter of Noisy Anchors on random weights of official shapes."""

import torch
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from official_weights import DETECTRON2, assert_loads, detectron2

from mmdet_assigners.methods.noisy_anchors.convert import ratio_major

SAME = {'bbox_head.cls_convs.2.conv.weight': 'head.cls_subnet.4.weight'}


def official():
    state = detectron2(dict(cls_score=720, bbox_pred=36), norm=False)
    state['anchor_generator.cell_anchors.0'] = torch.zeros(9, 4)
    return state


def test_loads_strictly():
    theirs = official()
    ours, _ = assert_loads('noisy_anchors', theirs, DETECTRON2 | SAME)
    # first ratio, second size: block 1 of ours, block 3 of theirs
    for our, their, width in (
        ('retina_cls', 'cls_score', 80),
        ('retina_reg', 'bbox_pred', 4),
    ):
        for part in ('weight', 'bias'):
            new = ours[f'bbox_head.{our}.{part}']
            old = theirs[f'head.{their}.{part}']
            block = slice(3 * width, 4 * width)
            assert torch.equal(new[width : 2 * width], old[block])


def test_order_of_the_anchors():
    def anchors(scale_major):
        return AnchorGenerator(
            strides=[8],
            ratios=[0.5, 1.0, 2.0],
            octave_base_scale=4,
            scales_per_octave=3,
            scale_major=scale_major,
        ).base_anchors[0]

    # mmdet's scale_major=False counts as detectron2 does, size by size
    reordered = ratio_major(anchors(False).flatten()).view(9, 4)
    assert torch.equal(reordered, anchors(True))
