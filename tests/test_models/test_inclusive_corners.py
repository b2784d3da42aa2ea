"""Heads whose weights were trained on inclusive corners."""

import pytest
import torch
from helpers import BOXES, STRIDES, TINY_RETINA, demo_batch, make_feats
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

TEST_CFG = ConfigDict(
    nms_pre=50,
    score_thr=0.0,
    nms=dict(type='nms', iou_threshold=1.0),
    max_per_img=30,
)
COMMON = dict(num_classes=2, in_channels=8, feat_channels=8, stacked_convs=1)
ANCHOR = TINY_RETINA['anchor_generator'] | dict(
    octave_base_scale=4, scales_per_octave=1, ratios=[1.0]
)
QFL = dict(type='QualityFocalLoss', use_sigmoid=True)
IOU = dict(type='BatchMaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)


def gfl(assigner):
    return dict(
        type='GFLAblationHead',
        norm_cfg=None,
        loss_cls=QFL,
        loss_bbox=dict(type='GIoULoss'),
        anchor_generator=ANCHOR,
        train_cfg=ConfigDict(assigner=dict(type=assigner, topk=9))
        | dict(allowed_border=-1, pos_weight=-1),
    )


HEADS = {
    'fcos': dict(
        type='FCOSAblationHead',
        norm_cfg=None,
        strides=STRIDES,
        regress_ranges=((-1, 64), (64, 128), (128, 1e8)),
    ),
    'gfl': gfl('BatchATSSAssigner'),
    "gfl, mmdet's loss": gfl('ATSSAssigner'),
    'reppoints': dict(
        type='BatchRepPointsHead',
        point_feat_channels=8,
        point_strides=STRIDES,
        train_cfg=ConfigDict(
            init=dict(assigner=dict(type='BatchPointAssigner')),
            refine=dict(assigner=IOU),
        ),
    ),
}


def build(name, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    head = MODELS.build(
        {**COMMON, **HEADS[name], 'test_cfg': TEST_CFG, **options}
    )
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return head


def batch(pixels=0.0):
    boxes = [[x1, y1, x2 - pixels, y2 - pixels] for x1, y1, x2, y2 in BOXES]
    samples = demo_batch([boxes, boxes[:2]])['data_samples']
    return make_feats(STRIDES, 2), samples


@pytest.mark.parametrize('name', HEADS)
def test_trains_on_the_last_pixels(name):
    """Losses and assignment are those of boxes that end a pixel before."""
    plain, inclusive = build(name), build(name, inclusive_corners=True)
    feats, samples = batch()
    found = inclusive.loss(feats, samples)
    assert samples[0].gt_instances.bboxes.tolist() == BOXES
    _, ending = batch(1.0)
    expected = plain.loss(feats, ending)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value)
    outs = plain(feats)
    gts, ended = (unpack_gt_instances(s)[0] for s in (samples, ending))
    metas = [sample.metainfo for sample in samples]
    for one, two in zip(
        inclusive.get_assignment(outs, gts, metas),
        plain.get_assignment(outs, ended, metas),
        strict=True,
    ):
        assert torch.equal(one.assigned_gt, two.assigned_gt)


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize('rescale', [False, True])
def test_detections_get_the_last_pixel(name, rescale):
    """Clipped at the last pixel of the image, a pixel more, then rescaled."""
    feats, samples = batch()
    plain, inclusive = build(name), build(name, inclusive_corners=True)
    factor = 2.0 if rescale else 1.0
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(2.0, 2.0)))
    with torch.no_grad():
        found = inclusive.predict(feats, samples, rescale=rescale)[0].bboxes
        for sample in samples:
            height, width = sample.img_shape
            sample.set_metainfo(dict(img_shape=(height - 1, width - 1)))
        expected = plain.predict(feats, samples, rescale=rescale)[0].bboxes
    pixel = torch.tensor([0, 0, 1, 1]) / factor
    torch.testing.assert_close(found, expected + pixel)
