"""SSD on the batched loss equals mmdet's, and it can predict."""

import pytest
import torch
from helpers import BOXES, demo_batch, make_feats, total_loss
from mmdet.models.dense_heads import SSDHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_assigners.models.dense_heads import FlatSSDHead


def build(head, **options):
    torch.manual_seed(0)
    train_cfg = dict(
        assigner=dict(
            type=options.pop('assigner', 'MaxIoUAssigner'),
            pos_iou_thr=0.4,
            neg_iou_thr=0.4,
            min_pos_iou=0.0,
            gt_max_assign_all=False,
            ignore_iof_thr=options.pop('ignore_iof_thr', -1),
        ),
        sampler=options.pop('sampler', dict(type='PseudoSampler')),
        allowed_border=options.pop('allowed_border', -1),
        pos_weight=options.pop('pos_weight', -1),
        neg_pos_ratio=options.pop('neg_pos_ratio', 3),
        smoothl1_beta=0.5,
    )
    head = head(
        num_classes=2,
        in_channels=(8, 8, 8),
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            strides=[8, 16, 32],
            ratios=[[2], [2, 3], [2]],
            min_sizes=[12, 30, 70],
            max_sizes=[30, 70, 130],
        ),
        train_cfg=ConfigDict(train_cfg),
        **options,
    ).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return head


def inputs(boxes):
    feats = make_feats([8, 16, 32], dtype=torch.float64)
    samples = demo_batch(boxes)['data_samples']
    # the second image is padded on the right
    samples[1].set_metainfo(dict(img_shape=(128, 100), pad_shape=(128, 104)))
    return feats, samples


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(allowed_border=0),
        dict(pos_weight=3),
        dict(neg_pos_ratio=1),
        dict(neg_pos_ratio=10_000),  # more than there are
        dict(ignore_iof_thr=0.5),
        dict(reg_decoded_bbox=True),
    ],
)
@pytest.mark.parametrize('boxes', [[BOXES, BOXES[:1]], [BOXES, []], [[], []]])
def test_losses_and_gradients_are_those_of_mmdet(options, boxes):
    feats, samples = inputs(boxes)
    if 'ignore_iof_thr' in options:
        region = InstanceData(bboxes=torch.tensor([[0.0, 0, 80, 128]]))
        samples[0].ignored_instances = region
    results = []
    for cls in (SSDHead, FlatSSDHead):
        head = build(cls, **options)
        losses = head.loss(feats, samples)
        total_loss(losses).backward()
        sums = {
            key: total_loss({key: value}).sum()
            for key, value in losses.items()
        }
        results.append((sums, [p.grad for p in head.parameters()]))
    torch.testing.assert_close(results[1], results[0])


def test_predicts_what_mmdet_would():
    """Its own head has no ``loss_cls``, which its ``predict`` asks for."""
    feats, samples = inputs([BOXES, BOXES])
    test_cfg = ConfigDict(
        nms_pre=100,
        nms=dict(type='nms', iou_threshold=0.45),
        score_thr=0.02,
        max_per_img=20,
    )
    feats = [feat.float() for feat in feats]
    theirs = build(SSDHead, test_cfg=test_cfg).float()
    ours = build(FlatSSDHead, test_cfg=test_cfg).float()
    theirs.loss_cls = ours.loss_cls
    with torch.no_grad():
        found = ours.predict(feats, samples)
        expected = theirs.predict(feats, samples)
    for one, other in zip(found, expected, strict=True):
        assert len(one) == 20
        for key, value in other.items():
            assert torch.equal(one[key], value)


def test_random_sampling_is_refused():
    sampler = dict(type='RandomSampler', num=8, pos_fraction=0.5)
    with pytest.raises(ValueError, match='FlatSSDHead trains on all anchors'):
        build(FlatSSDHead, sampler=sampler)
