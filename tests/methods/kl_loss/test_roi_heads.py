"""KL-Loss: box head and RoI head."""

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.models.layers import multiclass_nms
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.ops.var_voting import VotingOptions, var_voting
from mmdet_assigners.utils import config_path

CLASSES = 3
NMS = dict(type='nms', iou_threshold=0.5)
META = dict(img_shape=(100, 100), scale_factor=(2.0, 1.0))


def build(kind='KLBBoxHead', **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        in_channels=4,
        fc_out_channels=8,
        roi_feat_size=2,
        num_classes=CLASSES,
    )
    head = MODELS.build({**config, **options})
    head.init_weights()
    return head


def loss_inputs(count=12, positives=4, agnostic=False):
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


@pytest.mark.parametrize('agnostic', [False, True])
def test_without_variance_it_is_mmdet(agnostic):
    """alpha = 0 is smooth L1, divided by all samples."""
    smooth = dict(type='SmoothL1Loss', beta=1.0)
    expected_in, ours_in = (loss_inputs(agnostic=agnostic) for _ in range(2))
    option = dict(reg_class_agnostic=agnostic)
    parent = build('Shared2FCBBoxHead', loss_bbox=smooth, **option)
    expected = parent.loss(**expected_in)
    alpha = torch.zeros_like(ours_in['bbox_pred'], requires_grad=True)
    ours = build(**option).loss(**ours_in, alpha=alpha)
    assert ours.keys() == expected.keys()
    assert torch.equal(ours['loss_cls'], expected['loss_cls'])
    assert torch.equal(ours['acc'], expected['acc'])
    torch.testing.assert_close(ours['loss_bbox'], expected['loss_bbox'])
    for losses in (expected, ours):
        losses['loss_bbox'].backward()
    grad = ours_in['bbox_pred'].grad
    torch.testing.assert_close(grad, expected_in['bbox_pred'].grad)
    assert (alpha.grad != 0).sum() == 4 * 4  # own columns of 4 positives
    assert (alpha.grad[4:] == 0).all() and (grad[4:] == 0).all()


def test_wild_variances_of_the_background_do_no_harm():
    inputs = loss_inputs(positives=0)
    alpha = torch.full_like(inputs['bbox_pred'], -1e9, requires_grad=True)
    losses = build().loss(**inputs, alpha=alpha)
    assert losses['loss_bbox'] == 0
    losses['loss_bbox'].backward()
    assert (alpha.grad == 0).all()
    assert (inputs['bbox_pred'].grad == 0).all()


def test_network_and_initialization():
    head = build(in_channels=64, fc_out_channels=512)
    assert head.fc_alpha.weight.std().item() == pytest.approx(1e-4, rel=0.1)
    assert head.fc_reg.weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert (head.fc_alpha.bias == 0).all()
    x = torch.randn(5, 64, 2, 2)
    parent = build('Shared2FCBBoxHead', in_channels=64, fc_out_channels=512)
    parent.load_state_dict(head.state_dict(), strict=False)
    outs = head(x)
    assert [*outs.keys()] == ['cls_score', 'bbox_pred', 'alpha']
    assert all(map(torch.equal, list(outs.values())[:2], parent(x)))
    assert outs['alpha'].abs().max() < 0.1
    assert [o.shape for o in head(x[:0]).values()] == [
        (0, 4),
        (0, 12),
        (0, 12),
    ]


def predict_inputs(head, count=40):
    generator = torch.Generator().manual_seed(2)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    corner = torch.rand(count, 2, generator=generator) * 40
    size = torch.rand(count, 2, generator=generator) * 30 + 20
    roi = torch.cat((torch.zeros(count, 1), corner, corner + size), 1)
    columns = head.fc_reg.out_features
    return dict(
        roi=roi,
        cls_score=2 * randn(count, CLASSES + 1),
        bbox_pred=randn(count, columns),
        alpha=randn(count, columns),
    )


def predict(head, inputs, nms, rescale=False, limit=100, **options):
    cfg = ConfigDict(score_thr=0.05, nms=nms, max_per_img=limit)
    return head._predict_by_feat_single(
        **inputs, img_meta=META, rescale=rescale, rcnn_test_cfg=cfg, **options
    )


@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('nms', [NMS, dict(type='soft_nms', min_score=0.05)])
@pytest.mark.parametrize('limit', [9, -1])
def test_other_nms_equals_mmdet(agnostic, nms, limit):
    head = build(reg_class_agnostic=agnostic)
    parent = build(
        'Shared2FCBBoxHead',
        reg_class_agnostic=agnostic,
        bbox_coder=dict(type='CornerDeltaBBoxCoder'),
    )
    inputs = predict_inputs(head)
    found = predict(head, inputs, nms, rescale=True, limit=limit)
    inputs.pop('alpha')
    expected = predict(parent, inputs, nms, rescale=True, limit=limit)
    assert len(expected) > 8
    assert set(found.keys()) == {*expected.keys(), 'box_sigmas'}
    for name in expected.keys():
        assert torch.equal(found[name], expected[name]), name


@pytest.mark.parametrize('units', ['normalized', 'pixel'])
@pytest.mark.parametrize('swapped', [False, True])
def test_voting_equals_the_function(units, swapped):
    """Each class by itself; sigmas worked out here, column by column."""
    head = build()
    inputs = predict_inputs(head)
    nms = dict(
        type='var_voting', sigma_units=units, official_column_order=swapped
    )
    found = predict(head, inputs, nms, rescale=True)
    raw = predict_raw(head, inputs)
    roi = inputs['roi'][:, 1:]
    width, height = (roi[:, 2:] - roi[:, :2]).T / 10
    sigma = (inputs['alpha'].view(-1, CLASSES, 4) / 2).exp()
    x1, x2, y1, y2 = sigma.unbind(-1)
    if units == 'pixel':
        # the original image is half as wide
        x1, x2 = (x * width[:, None] / 2 for x in (x1, x2))
        y1, y2 = (y * height[:, None] for y in (y1, y2))
    order = (x1, x2, y1, y2) if swapped else (x1, y1, x2, y2)
    sigma = torch.stack(order, -1)
    expected = []
    for label in range(CLASSES):
        keep = raw.scores[:, label] > 0.05
        votes = var_voting(
            raw.bboxes.view(-1, CLASSES, 4)[keep, label],
            raw.scores[keep, label],
            sigma[keep, label],
        )
        rows = torch.cat((votes.boxes, votes.scores[:, None]), 1)
        expected += [(row.tolist(), label) for row in rows]
    expected = sorted(expected, key=lambda item: -item[0][4])[:100]
    assert found.labels.tolist() == [label for _, label in expected]
    rows = torch.cat((found.bboxes, found.scores[:, None]), 1)
    torch.testing.assert_close(
        rows, torch.tensor([row for row, _ in expected])
    )


def predict_raw(head, inputs):
    return head._predict_by_feat_single(
        **inputs, img_meta=META, rescale=True, rcnn_test_cfg=None
    )


def test_raw_result_has_sigmas():
    head = build()
    raw = predict_raw(head, predict_inputs(head))
    assert raw.box_sigmas.shape == raw.bboxes.shape == (40, 4 * CLASSES)
    dets, _ = multiclass_nms(raw.bboxes, raw.scores, 0.05, NMS, 100)
    assert len(dets)


def test_options_reach_the_voting():
    head = build()
    inputs = predict_inputs(head)
    voting = dict(type='var_voting')
    soft = predict(head, inputs, voting)
    hard = predict(head, inputs, dict(voting, mode='hard'))
    assert len(hard) < len(soft)
    limited = predict(head, inputs, voting, limit=5)
    assert torch.equal(limited.scores, soft.scores[:5])
    plain = predict(head, inputs, NMS)
    assert torch.equal(plain.scores, hard.scores)
    assert not torch.equal(plain.bboxes, hard.bboxes)
    with pytest.raises(TypeError, match='var_voting has no key sigma;'):
        predict(head, inputs, dict(voting, sigma=0.5))
    with pytest.raises(ValueError, match='sigma_units must be one of'):
        predict(head, inputs, dict(voting, sigma_units='meter'))
    with pytest.raises(ValueError, match='mode must be one of'):
        predict(head, inputs, dict(voting, mode='none'))
    assert VotingOptions().mode == 'soft'


@pytest.mark.parametrize('nms', [NMS, dict(type='var_voting')])
def test_no_candidates(nms):
    head = build()
    inputs = predict_inputs(head)
    inputs['cls_score'][:, -1] = 99  # all background
    for count in (40, 0):
        part = {name: value[:count] for name, value in inputs.items()}
        found = predict(head, part, nms)
        assert found.bboxes.shape == found.box_sigmas.shape == (0, 4)
        assert found.labels.dtype == torch.long


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        (
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder')),
            TypeError,
            'bbox_coder must be a CornerDeltaBBoxCoder',
        ),
        (
            dict(loss_bbox=dict(type='L1Loss')),
            TypeError,
            'loss_bbox must be a KLLoss, got L1Loss',
        ),
        (dict(with_reg=False), ValueError, 'with_reg must be True'),
        (dict(reg_decoded_bbox=True), ValueError, 'reg_decoded_bbox must be'),
    ],
)
def test_refuses(options, error, text):
    with pytest.raises(error, match=text):
        build(**options)


@pytest.fixture(scope='module', params=['faster', 'mask'])
def detector(request):
    name = f'kl-loss_{request.param}-rcnn_r50_fpn_2x_coco'
    torch.manual_seed(0)
    model = MODELS.build(mini_config(config_path(name)).model)
    model.init_weights()
    return model.eval()


@pytest.mark.parametrize('counts', [(5, 8), (0, 8), (0, 0)])
def test_sigmas_are_rescaled_with_boxes(detector, counts):
    samples = demo_batch([BOXES, BOXES])['data_samples']
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(2.0, 4.0), ori_shape=(32, 80)))
    generator = torch.Generator().manual_seed(4)
    feats = tuple(
        torch.randn(2, 64, 128 // s, 160 // s, generator=generator)
        for s in (4, 8, 16, 32, 64)
    )

    def run(rescale):
        proposals = []
        for count in counts:
            boxes = torch.tensor(BOXES * 2).float() + torch.arange(8)[:, None]
            proposals.append(InstanceData(bboxes=boxes[:count]))
        with torch.no_grad():
            return detector.roi_head.predict(
                feats, proposals, samples, rescale
            )

    scale = torch.tensor([2.0, 4, 2, 4])
    for small, large in zip(run(True), run(False), strict=True):
        assert small.keys() == large.keys()
        assert small.box_sigmas.shape == small.bboxes.shape
        torch.testing.assert_close(small.box_sigmas * scale, large.box_sigmas)
        torch.testing.assert_close(
            small.bboxes * scale, large.bboxes, rtol=1e-4, atol=1e-3
        )


def test_a_step_trains_the_variances(detector):
    detector.train()
    head = detector.roi_head.bbox_head
    detector.zero_grad()
    batch = demo_batch([BOXES, []])
    total_loss(losses_of(detector, batch)).backward()
    assert head.fc_alpha.weight.grad.abs().sum() > 0
    detector.zero_grad()
    total_loss(losses_of(detector, demo_batch([[], []]))).backward()
    assert (head.fc_alpha.weight.grad == 0).all()
    detector.eval()
