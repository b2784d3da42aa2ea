"""Sampling-Free: R-CNN head and sampler."""

import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

CLASSES = 3


def build(kind='SamplingFreeBBoxHead', **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        in_channels=4,
        fc_out_channels=8,
        roi_feat_size=2,
        num_classes=CLASSES,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
    )
    return MODELS.build({**config, **options})


def targets(count=12, positives=4, agnostic=False):
    torch.manual_seed(1)
    labels = torch.full((count,), CLASSES)
    labels[:positives] = torch.arange(positives) % CLASSES
    boxes = 4 if agnostic else 4 * CLASSES
    return dict(
        cls_score=torch.randn(count, CLASSES + 1, requires_grad=True),
        bbox_pred=torch.randn(count, boxes, requires_grad=True),
        rois=torch.zeros(count, 5),
        labels=labels,
        label_weights=torch.ones(count),
        bbox_targets=torch.randn(count, 4),
        bbox_weights=(labels < CLASSES).float()[:, None].expand(-1, 4),
    )


@pytest.mark.parametrize('pos_weight', [1.0, 3.0])
@pytest.mark.parametrize('agnostic', [False, True])
def test_unguided_equals_mmdet(agnostic, pos_weight):
    """The box loss is the mean over positives instead of all proposals."""
    option = dict(reg_class_agnostic=agnostic)
    expected_in, ours_in = (targets(agnostic=agnostic) for _ in range(2))
    for given in (expected_in, ours_in):
        given['label_weights'][:4] = pos_weight
    expected = build('Shared2FCBBoxHead', **option).loss(**expected_in)
    ours = build(guided=False, **option).loss(**ours_in)
    assert ours.keys() == expected.keys()
    torch.testing.assert_close(ours['loss_cls'], expected['loss_cls'])
    torch.testing.assert_close(
        ours['loss_bbox'], expected['loss_bbox'] * 12 / (4 * 4)
    )
    torch.testing.assert_close(ours['acc'], expected['acc'])
    for losses in (expected, ours):
        losses['loss_bbox'].backward()
    torch.testing.assert_close(
        ours_in['bbox_pred'].grad, expected_in['bbox_pred'].grad * 12 / 16
    )


def test_guided_loss_is_twice_the_box_loss():
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=2.0)
    given = targets()
    losses = build(loss_cls=loss).loss(**given)
    torch.testing.assert_close(losses['loss_cls'], 2 * losses['loss_bbox'])
    synced = build(loss_cls=loss, sync=True).loss(**targets())  # 1 process
    torch.testing.assert_close(synced['loss_cls'], losses['loss_cls'])
    losses['loss_cls'].backward()
    assert given['bbox_pred'].grad is None
    assert (given['cls_score'].grad != 0).all()


@pytest.mark.parametrize('count', [12, 0])
def test_no_positives(count):
    given = targets(count, 0)
    losses = build().loss(**given)
    assert set(losses) == {'loss_cls', 'loss_bbox', 'acc'}
    total = losses['loss_cls'] + losses['loss_bbox']
    assert total.item() == 0
    total.backward()
    assert (given['cls_score'].grad == 0).all()
    assert (given['bbox_pred'].grad == 0).all()


def test_proposals_of_weight_zero_take_no_part():
    given = targets()
    given['label_weights'][-1] = 0
    build(guided=False).loss(**given)['loss_cls'].backward()
    assert (given['cls_score'].grad[-1] == 0).all()
    assert (given['cls_score'].grad[:-1] != 0).all()


def test_softmax_prior():
    head = build(prior_prob=0.05)
    head.init_weights()
    scores = head.fc_cls.bias.softmax(0)
    assert scores[:CLASSES].sum().item() == pytest.approx(0.05)
    head = build()
    head.init_weights()
    assert (head.fc_cls.bias == 0).all()


def test_class_thresholds_before_nms():
    """Equal thresholds are score_thr; the others concern their class only."""
    head = build()
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(40, 2, generator=generator) * 50
    roi = torch.cat((torch.zeros(40, 1), corner, corner + 30), 1)
    outs = (
        torch.randn(40, CLASSES + 1, generator=generator),
        torch.randn(40, 4 * CLASSES, generator=generator) * 0.1,
    )

    def detect(max_per_img=100, **test_cfg):
        cfg = ConfigDict(
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=max_per_img,
            **test_cfg,
        )
        meta = dict(img_shape=(100, 100))
        return head._predict_by_feat_single(roi, *outs, meta, False, cfg)

    expected = detect(score_thr=0.3)
    same = detect(score_thr=0.9, class_score_thr=[0.3] * 3)
    assert len(expected) > 5
    for name in ('bboxes', 'scores', 'labels'):
        assert torch.equal(same[name], expected[name])
    some = detect(score_thr=0.3, class_score_thr=[1.0, 0.3, 0.3])
    keep = expected.labels != 0
    assert torch.equal(some.bboxes, expected.bboxes[keep])
    # what is dropped takes no place among the first
    first = detect(2, score_thr=0.3, class_score_thr=[1.0, 0.3, 0.3])
    assert torch.equal(first.bboxes, some.bboxes[:2])
    raw = head._predict_by_feat_single(
        roi[:0], *(x[:0] for x in outs), dict(img_shape=(9, 9)), False,
        ConfigDict(class_score_thr=[0, 0, 0]),
    )  # fmt: skip
    assert len(raw.bboxes) == 0


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        (dict(loss_bbox=dict(type='GIoULoss')), TypeError, 'loss_bbox'),
        (dict(prior_prob=2), ValueError, 'prior_prob must be in'),
        (dict(reg_decoded_bbox=True), ValueError, 'reg_decoded_bbox'),
        (
            dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)),
            TypeError,
            'use_sigmoid=False',
        ),
    ],
)
def test_wrong_options(options, error, text):
    with pytest.raises(error, match=text):
        build(**options)


def test_reduction_override_is_refused():
    with pytest.raises(ValueError, match="got 'none'"):
        build().loss(**targets(), reduction_override='none')


def sample(gt_inds, gts, **options):
    init_default_scope('mmdet')
    priors = torch.arange(len(gt_inds) * 4.0).view(-1, 4)
    boxes = torch.arange(gts * 4.0).view(-1, 4) + 100
    gt_inds = torch.tensor(gt_inds)
    labels = (gt_inds + 4).where(gt_inds > 0, -1)
    assigned = AssignResult(gts, gt_inds, torch.rand(len(priors)), labels)
    sampler = TASK_UTILS.build(
        dict(type='FullSampler', **options),
        default_args=dict(context=None),
    )
    result = sampler.sample(
        assigned,
        InstanceData(priors=priors),
        InstanceData(bboxes=boxes, labels=torch.arange(gts) + 5),
        feats=[],
    )
    return priors, boxes, result


def test_full_sampler_keeps_all_and_adds_ground_truths():
    priors, boxes, result = sample([0, 2, -1, 0, 1], 2)
    assert torch.equal(result.pos_priors[:2], boxes)
    assert torch.equal(result.pos_priors[2:], priors[[1, 4]])
    assert torch.equal(result.neg_priors, priors[[0, 3]])
    assert result.pos_is_gt.tolist() == [1, 1, 0, 0]
    assert result.pos_assigned_gt_inds.tolist() == [0, 1, 1, 0]
    assert result.pos_gt_labels.tolist() == [5, 6, 6, 5]


def test_full_sampler_without_ground_truths():
    priors, _, result = sample([0, 2, 0], 2, add_gt_as_proposals=False)
    assert torch.equal(result.pos_priors, priors[[1]])
    assert result.pos_is_gt.tolist() == [0]
    priors, _, result = sample([0, 0], 0)
    assert torch.equal(result.priors, priors)


def test_full_sampler_takes_no_number():
    with pytest.raises(TypeError, match='num'):
        sample([0], 1, num=512)
