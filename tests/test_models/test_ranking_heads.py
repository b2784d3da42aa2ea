"""Heads under AP-loss and DR loss."""

import pytest
import torch
from helpers import (
    BOXES,
    demo_batch,
    losses_of,
    make_feats,
    mini_model,
    total_loss,
)
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

from mmdet_assigners.utils import config_path

STRIDES = [8, 16, 32]
MAX_IOU = dict(type='BatchMaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
OWN = {
    'RankingRetinaHead': 'FlatRetinaHead',
    'RankingATSSHead': 'ATSSHead',
    'RankingFCOSHead': 'FCOSHead',
}
HEADS = pytest.mark.parametrize('kind', OWN)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
IMAGES = pytest.mark.parametrize('boxes', [[BOXES, BOXES[:1]], [BOXES, []]])


def build(kind, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        loss_cls=FOCAL
        if kind in OWN.values()
        else dict(type='APLoss', use_sigmoid=True),
        test_cfg=ConfigDict(
            nms_pre=1000,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=1000,
        ),
    )
    if 'FCOS' in kind:
        config |= dict(
            strides=STRIDES,
            regress_ranges=((-1, 64), (64, 128), (128, 1e8)),
            norm_cfg=None,
        )
    else:
        anchors = dict(type='AnchorGenerator', strides=STRIDES)
        if 'ATSS' in kind:
            config['norm_cfg'] = None
            anchors |= dict(
                octave_base_scale=8, scales_per_octave=1, ratios=[1.0]
            )
            ours = dict(type='BatchATSSAssigner', topk=9)
            theirs = dict(type='ATSSAssigner', topk=9)
            assigner = theirs if kind == 'ATSSHead' else ours
            config['loss_bbox'] = dict(type='GIoULoss', loss_weight=2.0)
        else:
            anchors |= dict(
                octave_base_scale=4, scales_per_octave=2, ratios=[0.5, 1.0]
            )
            assigner = MAX_IOU
        config |= dict(
            anchor_generator=anchors,
            train_cfg=ConfigDict(
                assigner=assigner,
                sampler=dict(type='PseudoSampler'),
                allowed_border=-1,
                pos_weight=-1,
            ),
        )
    head = MODELS.build({**config, **options}).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return head


def inputs(boxes):
    feats = make_feats(STRIDES, len(boxes), dtype=torch.float64)
    samples = demo_batch(boxes)['data_samples']
    for sample in samples:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.double()
    return feats, samples


@HEADS
@IMAGES
def test_other_losses_are_the_parents(kind, boxes):
    """Box and centerness, value and gradient; RetinaNet up to its divisor."""
    feats, samples = inputs(boxes)
    # mmdet's targets are in single precision
    feats = [feat.float() for feat in feats]
    for sample in samples:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.float()
    found = []
    for name in (kind, OWN[kind]):
        head = build(name).float()
        losses = head.loss(feats, samples)
        losses.pop('loss_cls')
        losses = {
            k: sum(v) if isinstance(v, list) else v for k, v in losses.items()
        }
        if 'Retina' in name:
            gts, _, metas = unpack_gt_instances(samples)
            flat = head.flatten(head(feats), gts, metas)
            positive = head.assign_flat(flat).gt >= 0
            losses['loss_bbox'] *= head.count_positives(positive)
        total_loss(losses).backward()
        grads = {k: p.grad for k, p in head.named_parameters()}
        found.append((losses, grads))
    (ours, grads), (expected, references) = found
    assert ours.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(ours[name], loss, rtol=1e-5, atol=0)
    for name, reference in references.items():
        if reference is not None:
            torch.testing.assert_close(
                grads[name], reference, rtol=1e-4, atol=1e-6
            )


def test_divisor_counts_the_batch():
    """An empty image counts none, a batch without positives one."""
    head = build('RankingRetinaHead')
    positive = torch.zeros(2, 9, dtype=torch.bool)
    assert head.count_positives(positive) == 1
    positive[0, :3] = True
    assert head.count_positives(positive) == 3


@HEADS
@pytest.mark.parametrize('loss', ['APLoss', 'DRLoss'])
def test_class_loss_sees_all_levels_and_images(kind, loss):
    """The head's value is that of the loss on one joint list."""
    config = dict(type=loss, use_sigmoid=True, per_image=False)
    head = build(kind, loss_cls=config)
    feats, samples = inputs([BOXES, BOXES[:2]])
    outs = head(feats)
    gts, _, metas = unpack_gt_instances(samples)
    labels, weights = [], []
    for gt, found in zip(
        gts, head.get_assignment(outs, gts, metas), strict=True
    ):
        index = found.assigned_gt
        label = gt.labels[index.clamp(min=0)]
        labels.append(label.where(index >= 0, 2))
        weights.append(index != -2)
    logits = [x.permute(0, 2, 3, 1).reshape(2, -1, 2) for x in outs[0]]
    expected = head.loss_cls(
        torch.cat(logits, 1).flatten(0, 1),
        torch.cat(labels),
        torch.cat(weights),
    )
    assert (torch.cat(labels) < 2).sum() > 5
    ours = head.loss_by_feat(*outs, gts, metas, None)['loss_cls']
    torch.testing.assert_close(ours, expected)


@HEADS
def test_threshold_per_level(kind):
    """A list cuts each level by its own value; the rest stays."""
    head = build(kind).eval()
    feats, samples = inputs([BOXES])
    metas = [s.metainfo for s in samples]
    outs = head(feats)

    def scores(thr, level=None):
        head.test_cfg.score_thr = thr
        kept = outs
        if level is not None:
            kept = [
                [
                    x if i == level or j else torch.full_like(x, -torch.inf)
                    for i, x in enumerate(maps)
                ]
                for j, maps in enumerate(outs)
            ]
        found = head.predict_by_feat(
            *kept, batch_img_metas=metas, with_nms=False
        )[0]
        return found.scores.sort().values

    parts = [0.52, 0.55, 0.0]
    expected = torch.cat([scores(t, i) for i, t in enumerate(parts)])
    torch.testing.assert_close(scores(parts), expected.sort().values)
    assert len(scores(0.0)) > len(expected) > len(scores(0.55)) > 0
    assert torch.equal(scores([0.5] * 3), scores(0.5))
    with pytest.raises(ValueError, match=r'one per level, 3, got \[0.1'):
        scores([0.1, 0.2])


def test_own_best_object():
    """Low-quality anchors keep the class of their own best object."""
    found = []
    for rule in ('own', 'gt'):
        head = build('RankingRetinaHead')
        head.assigner.low_quality = rule
        # a small object inside a large one on which an anchor fits
        boxes = [[10, 10, 60, 60], [30, 30, 36, 36]]
        feats, samples = inputs([boxes])
        gts, _, metas = unpack_gt_instances(samples)
        (result,) = head.get_assignment(head(feats), gts, metas)
        found.append(result.assigned_gt)
    own, given = found
    assert ((own == 0) & (given == 1)).any()
    assert torch.equal(own >= 0, given >= 0)


@HEADS
def test_wrong_loss(kind):
    with pytest.raises(TypeError, match=r'APLoss or DRLoss, got FocalLoss'):
        build(kind, loss_cls=FOCAL)
    with pytest.raises(ValueError, match='must have use_sigmoid=True'):
        build(kind, loss_cls=dict(type='APLoss'))


def test_wrong_assigner():
    train_cfg = ConfigDict(assigner=dict(type='ATSSAssigner', topk=9))
    with pytest.raises(ValueError, match=r'BatchATSSAssigner, got ATSSAss'):
        build('RankingATSSHead', train_cfg=train_cfg)


@pytest.mark.parametrize('loss', ['ap', 'dr'])
def test_initial_scores(loss):
    """AP-loss starts at the prior 0.01, DR loss at bias 0."""
    model = mini_model(config_path(f'{loss}-loss_retinanet_r50_fpn_1x_coco'))
    bias = model.bbox_head.retina_cls.bias
    expected = {'ap': -4.59512, 'dr': 0.0}[loss]
    torch.testing.assert_close(bias, torch.full_like(bias, expected))
    value = losses_of(model, demo_batch([BOXES]))['loss_cls']
    if loss == 'dr':
        assert value.item() == pytest.approx(2.03, abs=0.1)


def test_official_recipe_starts_with_small_boxes():
    name = 'ap-loss_retinanet_r50-caffe_fpn_512-100e_coco'
    head = mini_model(config_path(name)).bbox_head
    assert head.retina_reg.weight.std().item() == pytest.approx(0.001, rel=0.1)
