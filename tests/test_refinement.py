"""Second stages bring boxes closer to the objects, once they are trained.

The toy: feature maps that show two objects of different classes, one of them
partly behind the other, and proposals beside them. A RoI head learns from
random images and is tested on others.
"""

import pytest
import torch
from helpers import box_masks, demo_batch, mini_config, total_loss
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData
from torch.nn.functional import interpolate

from mmdet_assigners.utils import config_path

SIZE = (128, 160)
STRIDES = (4, 8, 16, 32)


def shaken(boxes, generator, share=0.15):
    """Proposals: corners moved by up to a share of the sides."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moves = torch.rand(boxes.shape, generator=generator) * 2 - 1
    return boxes + share * sides * moves


def images(generator, count, copies):
    """Feature maps, proposals and samples of random images."""
    corner = torch.rand(count, 1, 2, generator=generator) * 30 + 4
    sides = torch.rand(count, 2, 2, generator=generator) * 30 + 30
    # the second one starts behind the last corner of the first one
    starts = torch.cat((corner, corner + 0.7 * sides[:, :1]), 1)
    boxes = torch.cat((starts, starts + sides), 2)
    samples = demo_batch(boxes.tolist())['data_samples']
    shown = torch.zeros(count, 64, *SIZE)
    for image, sample in zip(shown, samples, strict=True):
        gts = sample.gt_instances
        front, behind = gts.masks.masks
        gts.masks.masks[1] = behind & ~front.astype(bool)
        image[:2] = torch.from_numpy(gts.masks.masks).float()
        # what PBM sees of an object is its upper half
        gts.visible_bboxes = gts.bboxes.clone()
        gts.visible_bboxes[:, 3] = gts.bboxes[:, 1::2].mean(1)
        upper = box_masks(gts.visible_bboxes.tolist(), SIZE).masks
        image[2:4] = torch.from_numpy(upper).float()
    feats = tuple(
        interpolate(shown, (SIZE[0] // s, SIZE[1] // s), mode='area')
        for s in STRIDES
    )
    proposals = []
    for sample in samples:
        gts = sample.gt_instances
        full, visible = (
            shaken(own.repeat(copies, 1), generator)
            for own in (gts.bboxes, gts.visible_bboxes)
        )
        proposals.append(InstanceData(bboxes=full, visible_bboxes=visible))
    return feats, proposals, samples


def trained(name, steps, copies):
    """The RoI head of a config."""
    torch.manual_seed(0)
    head = MODELS.build(mini_config(config_path(name)).model).roi_head
    head.init_weights()
    head.train()
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        loss = total_loss(head.loss(*images(generator, 2, copies)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    head.test_cfg.score_thr = 0.0
    return head.eval()


def best(found, name):
    """The boxes (B, 2, 4) of the highest score of both classes."""
    boxes = []
    for one in found:
        for label in (0, 1):
            own = one[one.labels == label]
            boxes.append(own[name][own.scores.argmax()])
    return torch.stack(boxes).view(-1, 2, 4)


def quality(boxes, samples, name='bboxes'):
    """Mean IoU of boxes (B, 2, 4) with the objects."""
    gts = torch.stack([sample.gt_instances[name] for sample in samples])
    return bbox_overlaps(boxes, gts, is_aligned=True).mean().item()


@pytest.mark.parametrize(
    ('name', 'steps', 'copies'),
    [
        ('d2det_r50_fpn_2x_coco', 60, 4),
        ('tsd_faster-rcnn_r50_fpn_14e_coco', 40, 4),
        ('pbm_faster-rcnn_r50_fpn_30e_crowdhuman', 150, 8),
        ('mask-refining-rcnn_r50_fpn_1x_coco', 60, 4),
    ],
)
def test_boxes_are_better_than_proposals(name, steps, copies):
    head = trained(name, steps, copies)
    feats, proposals, samples = images(torch.Generator().manual_seed(2), 16, 1)
    between = []
    if hasattr(head, '_refine_roi'):
        refine = head._refine_roi

        def spy(*args, **kwargs):
            between.append(refine(*args, **kwargs))
            return between[-1]

        head._refine_roi = spy
    with torch.no_grad():
        found = head.predict(feats, proposals, samples)
    names = ['bboxes', 'visible_bboxes'][: 1 + name.startswith('pbm')]
    for key in names:
        before = torch.stack([one[key] for one in proposals])
        after = quality(best(found, key), samples, key)
        assert after > quality(before, samples, key) + 0.02
    for rois, *_ in between:  # boxes of the first stage
        first = torch.stack(rois)[..., 1:]
        assert after > quality(first, samples) > quality(before, samples)
