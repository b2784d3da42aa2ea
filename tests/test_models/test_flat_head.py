"""RetinaNet on the batched loss equals mmdet's."""

import pytest
import torch
from helpers import BOXES, TINY_RETINA, demo_batch, make_feats, total_loss
from mmdet.models.dense_heads import RetinaHead
from mmdet.models.utils import unpack_gt_instances
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_assigners.models.dense_heads import FlatRetinaHead

STRIDES = [8, 16, 32]
IOU = dict(type='GIoULoss', loss_weight=1.0)


def build(head, **options):
    torch.manual_seed(0)
    head = head(
        **TINY_RETINA,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        train_cfg=ConfigDict(
            assigner=dict(
                type='MaxIoUAssigner',
                pos_iou_thr=0.5,
                neg_iou_thr=0.4,
                min_pos_iou=0,
                ignore_iof_thr=options.pop('ignore_iof_thr', -1),
            ),
            sampler=options.pop('sampler', dict(type='PseudoSampler')),
            allowed_border=options.pop('allowed_border', -1),
            pos_weight=options.pop('pos_weight', -1),
        ),
        **options,
    ).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return head


def inputs(boxes):
    feats = make_feats(STRIDES, dtype=torch.float64)
    samples = demo_batch(boxes)['data_samples']
    # the second image is padded on the right
    samples[1].set_metainfo(dict(img_shape=(128, 100), pad_shape=(128, 104)))
    return feats, samples


def sum_levels(loss):
    return sum(loss) if isinstance(loss, list) else loss


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(allowed_border=0),
        dict(reg_decoded_bbox=True, loss_bbox=IOU),
        dict(pos_weight=3),
        dict(ignore_iof_thr=0.5),
    ],
    ids=['default', 'inside the image', 'decoded', 'weight', 'regions'],
)
@pytest.mark.parametrize('boxes', [[BOXES, BOXES[:1]], [BOXES, []]])
def test_equals_retina_head(options, boxes):
    feats, samples = inputs(boxes)
    regions = torch.tensor([[60.0, 0, 160, 128], [0, 0, 20, 20]])
    samples[0].ignored_instances = InstanceData(bboxes=regions)
    results = []
    for kind in (RetinaHead, FlatRetinaHead):
        head = build(kind, **dict(options))
        losses = head.loss(feats, samples)
        total_loss(losses).backward()
        grads = [parameter.grad for parameter in head.parameters()]
        sums = {name: sum_levels(loss) for name, loss in losses.items()}
        results.append((sums, grads))
    (expected, expected_grads), (ours, grads) = results
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        # mmdet keeps some targets in float32
        torch.testing.assert_close(ours[name], value, rtol=1e-8, atol=0)
    for grad, reference in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-6, atol=1e-8)


def test_assignment_equals_the_adapter_of_mmdet():
    from mmdet_assigners.analysis.adapters import HeadRun, find_adapter

    feats, samples = inputs([BOXES, BOXES[:2]])
    gts, ignored, metas = unpack_gt_instances(samples)
    found = []
    for kind in (RetinaHead, FlatRetinaHead):
        head = build(kind)
        run = HeadRun(head(feats), gts, metas, ignored, feats)
        found.append(find_adapter(head).read(head, run))
    for expected, ours in zip(*found, strict=True):
        assert torch.equal(ours.assigned_gt, expected.assigned_gt)
        assert torch.equal(ours.level, expected.level)
        assert torch.equal(ours.weight.float(), expected.weight)


def test_sampling_is_refused():
    sampler = dict(type='RandomSampler', num=8, pos_fraction=0.5)
    with pytest.raises(ValueError, match=r'PseudoSampler .* RandomSampler'):
        build(FlatRetinaHead, sampler=sampler)
