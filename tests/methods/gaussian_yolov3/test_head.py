"""Gaussian YOLOv3's head, and its base against mmdet's YOLOv3."""

import copy

import pytest
import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_assigners.methods.gaussian_yolov3.flat_yolov3_head import (
    FlatYOLOV3Head,
)
from mmdet_assigners.methods.gaussian_yolov3.head import GaussianYOLOV3Head
from mmdet_assigners.small_scale import load_config
from mmdet_assigners.utils import get_config

SIZE = (128, 160)
BCE = dict(type='CrossEntropyLoss', use_sigmoid=True, reduction='sum')
BOXES = [
    [8, 10, 30, 34],
    [40, 20, 100, 90],
    [5, 60, 155, 84],
    [2, 2, 150, 120],
]
MMDET = dict(
    loss_xy=dict(BCE, loss_weight=2.0),
    loss_wh=dict(type='MSELoss', loss_weight=2.0, reduction='sum'),
)
RULES = dict(
    mmdet=dict(
        type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0
    ),
    batch=dict(type='BatchGridAssigner'),
    darknet=dict(type='DarknetGridAssigner'),
)
TEST = ConfigDict(
    nms_pre=100,
    min_bbox_size=0,
    score_thr=0.05,
    conf_thr=0.005,
    nms=dict(type='nms', iou_threshold=0.45),
    max_per_img=20,
)


def build(kind, rule='batch', **options):
    if kind is not GaussianYOLOV3Head:
        options = {**MMDET, **options}
    return MODELS.build(
        dict(
            type=kind,
            num_classes=3,
            in_channels=[2, 2, 2],
            out_channels=[2, 2, 2],
            loss_cls=BCE,
            loss_conf=BCE,
            train_cfg=ConfigDict(assigner=RULES[rule]),
            test_cfg=TEST,
            **options,
        )
    )


def maps(channels, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(batch, 3 * channels, h, w, generator=generator)
        for h, w in ((4, 5), (8, 10), (16, 20))
    )


def yolo_maps(gaussian, classes=3):
    """The maps without the sigmas: what YOLOv3 would have predicted."""
    keep = [0, 2, 4, 6, *range(8, 9 + classes)]
    return tuple(
        x.unflatten(1, (3, -1))[:, :, keep].flatten(1, 2) for x in gaussian
    )


def scene(*images):
    metas = [
        dict(
            img_shape=SIZE,
            pad_shape=SIZE,
            batch_input_shape=SIZE,
            ori_shape=SIZE,
            scale_factor=(2.0, 0.5),
        )
        for _ in images
    ]
    gts = [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float).view(-1, 4),
            labels=torch.arange(len(boxes)) % 3,
        )
        for boxes in images
    ]
    return gts, metas


def total(value):
    return sum(value) if isinstance(value, list) else value


@pytest.mark.parametrize('rule', ['mmdet', 'batch'])
@pytest.mark.parametrize('smooth', [0.0, 0.1])
def test_flat_head_equals_mmdet(rule, smooth):
    theirs = build(YOLOV3Head, 'mmdet', one_hot_smoother=smooth)
    ours = build(FlatYOLOV3Head, rule, one_hot_smoother=smooth)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    preds = maps(8)
    for images in ((BOXES, BOXES[1:3]), (BOXES, []), ([], [])):
        gts, metas = scene(*images)
        expected = theirs.loss_by_feat(preds, gts, metas)
        found = ours.loss_by_feat(preds, gts, metas, None)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, total(expected[name]))


def test_flat_head_predicts_like_mmdet():
    theirs, ours = build(YOLOV3Head), build(FlatYOLOV3Head)
    _, metas = scene([], [])
    for a, b in zip(
        theirs.predict_by_feat(copy.deepcopy(maps(8)), metas, rescale=True),
        ours.predict_by_feat(maps(8), metas, rescale=True),
        strict=True,
    ):
        assert len(a) > 5
        assert torch.equal(a.bboxes, b.bboxes)
        assert torch.equal(a.scores, b.scores)


@pytest.mark.parametrize('rule', ['mmdet', 'batch'])
def test_other_losses_are_those_of_yolov3(rule):
    gts, metas = scene(BOXES, BOXES[:1])
    preds = maps(12)
    found = build(GaussianYOLOV3Head, rule).loss_by_feat(
        preds, gts, metas, None
    )
    expected = build(YOLOV3Head, 'mmdet').loss_by_feat(
        yolo_maps(preds), gts, metas
    )
    assert found.keys() == {'loss_cls', 'loss_conf', 'loss_bbox'}
    for name in ('loss_cls', 'loss_conf'):
        torch.testing.assert_close(found[name], total(expected[name]))


def test_box_loss_of_one_object():
    """By hand: center (95, 62.5), anchor (62, 45) of stride 16."""
    head = build(GaussianYOLOV3Head, 'darknet')
    preds = tuple(torch.zeros_like(x) for x in maps(12, 1))
    gts, metas = scene([[64, 40, 126, 85]])
    # all outputs are zero: mu = (0.5, 0.5, 0, 0), sigma = 0.5
    target = torch.tensor([95 / 16 - 5, 62.5 / 16 - 3, 0.0, 0.0])
    distance = target - torch.tensor([0.5, 0.5, 0, 0])
    density = torch.exp(-(distance**2) / (2 * 0.25)) / (
        (2 * torch.pi) ** 0.5 * 0.8
    )
    omega = 2 - 62 * 45 / (128 * 160)
    expected = -omega / 2 * (density + 1e-9).log().sum()
    losses = head.loss_by_feat(preds, gts, metas, None)
    torch.testing.assert_close(losses['loss_bbox'], expected)
    # one positive with 3 classes at probability 1/2
    torch.testing.assert_close(losses['loss_cls'], 3 * torch.tensor(2.0).log())


@pytest.mark.parametrize('rule', [*RULES])
@pytest.mark.parametrize('images', [([], []), (BOXES, []), (BOXES, BOXES)])
def test_every_output_stays_in_the_graph(rule, images):
    head = build(GaussianYOLOV3Head, rule)
    preds = tuple(x.requires_grad_() for x in maps(12))
    losses = head.loss_by_feat(preds, *scene(*images), None)
    loss = sum(losses.values())
    assert torch.isfinite(loss)
    for gradient in torch.autograd.grad(loss, preds):
        assert torch.isfinite(gradient).all()
    if not any(images):
        assert losses['loss_bbox'] == losses['loss_cls'] == 0


def test_straight_through_gradient():
    gts, metas = scene(BOXES, BOXES[:2])
    gradients = []
    for straight in (False, True):
        head = build(GaussianYOLOV3Head, straight_through=straight)
        preds = tuple(x.requires_grad_() for x in maps(12))
        losses = head.loss_by_feat(preds, gts, metas, None)
        grads = torch.autograd.grad(losses['loss_bbox'], preds)
        gradients.append([g.unflatten(1, (3, -1)) for g in grads])
    for raw, chain, straight in zip(maps(12), *gradients, strict=True):
        raw = raw.unflatten(1, (3, -1)).sigmoid()
        slope = raw * (1 - raw)
        slope[:, :, [4, 6]] = 1
        torch.testing.assert_close(
            chain[:, :, :8], (straight * slope)[:, :, :8]
        )
        assert not chain[:, :, 8:].any()


def predict(head, preds, **options):
    _, metas = scene(*[[]] * len(preds[0]))
    return head.predict_by_feat(preds, metas, **options)


def test_without_sigma_it_is_yolov3():
    preds = tuple(x.unflatten(1, (3, -1)) for x in maps(12))
    for x in preds:
        x[:, :, 1:8:2] = -200
    preds = tuple(x.flatten(1, 2) for x in preds)
    found = predict(build(GaussianYOLOV3Head), preds, rescale=True)
    expected = predict(build(YOLOV3Head), yolo_maps(preds), rescale=True)
    for a, b in zip(found, expected, strict=True):
        assert len(a) == len(b) > 5
        torch.testing.assert_close(a.bboxes, b.bboxes)
        torch.testing.assert_close(a.scores, b.scores)
        assert torch.equal(a.labels, b.labels)
        assert not a.box_sigmas.any()


def single_cell(sigmas, cls):
    """One confident anchor (62, 45) in cell (2, 3) of stride 16."""
    preds = tuple(torch.full_like(x, -50.0) for x in maps(12, 1))
    box = torch.zeros(12)
    box[1:8:2] = torch.tensor(sigmas).logit()
    box[8], box[9:] = torch.tensor(0.8).logit(), torch.tensor(cls).logit()
    preds[1][0, 12:24, 3, 2] = box
    return preds


@pytest.mark.parametrize(
    ('options', 'score'),
    [
        ({}, 0.8 * 0.9 * 0.75),
        (dict(uncertainty_score=False), 0.8 * 0.9),
        (dict(threshold_product=True), 0.8 * 0.9 * 0.75),
    ],
)
def test_score_and_sigmas_of_one_box(options, score):
    head = build(GaussianYOLOV3Head, **options)
    preds = single_cell([0.1, 0.2, 0.3, 0.4], [0.9, 0.01, 0.01])
    (found,) = predict(head, preds)
    assert len(found) == 1
    assert found.scores.item() == pytest.approx(score, rel=1e-5)
    box = torch.tensor([[40 - 31, 56 - 22.5, 40 + 31, 56 + 22.5]])
    torch.testing.assert_close(found.bboxes, box)
    x = (1.6**2 + (62 * 0.3 / 2) ** 2) ** 0.5
    y = (3.2**2 + (45 * 0.4 / 2) ** 2) ** 0.5
    sides = torch.tensor([[x, y, x, y]])
    torch.testing.assert_close(found.box_sigmas, sides)
    (small,) = predict(head, preds, rescale=True)
    unit = torch.tensor([2.0, 0.5, 2.0, 0.5])
    torch.testing.assert_close(small.bboxes, box / unit)
    torch.testing.assert_close(small.box_sigmas, sides / unit)


def test_threshold_on_the_product():
    """The class alone, 0.075, passes 0.05; the product is 0.045."""
    preds = single_cell([0.25] * 4, [0.075, 0.01, 0.01])
    assert len(predict(build(GaussianYOLOV3Head), preds)[0]) == 1
    head = build(GaussianYOLOV3Head, threshold_product=True)
    (found,) = predict(head, preds)
    assert len(found) == 0
    assert found.box_sigmas.shape == (0, 4)


def test_boxes_may_vote():
    head = build(GaussianYOLOV3Head)
    head.test_cfg = ConfigDict({**TEST, 'nms': dict(type='var_voting')})
    for found in predict(head, maps(12)):
        assert len(found) > 5
        assert found.box_sigmas.shape == found.bboxes.shape


def test_assignment_for_images():
    gts, metas = scene(BOXES, [])
    for rule, uses in (('mmdet', False), ('batch', False), ('darknet', True)):
        head = build(GaussianYOLOV3Head, rule)
        assert head.assignment_uses_predictions is uses
        one, none = head.get_assignment((maps(12),), gts, metas)
        assert set(range(4)) <= set(one.assigned_gt.tolist())
        assert one.priors.shape == (1260, 4)
        assert (none.assigned_gt == -1).all()


def test_initial_bias():
    theirs, ours = build(YOLOV3Head), build(GaussianYOLOV3Head)
    theirs.init_weights()
    ours.init_weights()
    for a, b in zip(theirs.convs_pred, ours.convs_pred, strict=True):
        a, b = a.bias.view(3, -1), b.bias.view(3, -1)
        assert torch.equal(a[:, 4:], b[:, 8:])
        assert not b[:, :8].any()
    assert ours.num_attrib == 12


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r'loss_wh is not used.*_delete_'):
        build(GaussianYOLOV3Head, loss_wh=dict(type='MSELoss'))
    with pytest.raises(TypeError, match='must be a GaussianNLLLoss'):
        build(GaussianYOLOV3Head, loss_bbox=dict(type='MSELoss'))
    with pytest.raises(TypeError, match='gaussian'):
        build(GaussianYOLOV3Head, gaussian=True)


@pytest.mark.parametrize(
    ('name', 'threshold'),
    [
        ('gaussian-yolov3-off_d53_512-458e_bdd100k', 0.001),
        ('gaussian-yolov3_d53_512-458e_bdd100k', 0.001),
        ('gaussian-yolov3-released_d53_512-458e_bdd100k', 0.005),
    ],
)
def test_official_thresholds_on_bdd(name, threshold):
    cfg = get_config(name).model.test_cfg
    assert cfg.score_thr == cfg.conf_thr == threshold


def test_loss_class():
    loss = MODELS.build(dict(type='GaussianNLLLoss', loss_weight=3.0))
    mu, sigma, target = (torch.rand(5, 4) for _ in range(3))
    weight = torch.rand(5)
    terms = loss(mu, sigma, target, weight, reduction_override='none')
    assert terms.shape == (5, 4)
    torch.testing.assert_close(loss(mu, sigma, target, weight), terms.sum())
    mean = MODELS.build(dict(type='GaussianNLLLoss', reduction='mean'))
    torch.testing.assert_close(
        mean(mu, sigma, target, weight, avg_factor=2.0), terms.sum() / 6
    )
    torch.testing.assert_close(
        loss(mu, sigma, target),
        loss(mu, sigma, target, torch.full((5,), 2.0)),
    )
    for wrong, text in (
        (dict(sigma_const=-1), 'sigma_const must be at least 0, got -1'),
        (dict(eps=0), 'eps must be above 0, got 0'),
        (dict(reduction='max'), "got 'max'"),
    ):
        with pytest.raises(ValueError, match=text):
            MODELS.build(dict(type='GaussianNLLLoss', **wrong))
    with pytest.raises(ValueError, match='reduction_override'):
        loss(mu, sigma, target, reduction_override='max')
    with pytest.raises(ValueError, match=r'sigma.*\(5, 4\), \(5, 1\)'):
        loss(mu, sigma[:, :1], target)
    with pytest.raises(ValueError, match=r'per box, \(5,\), got \(5, 4\)'):
        loss(mu, sigma, target, mu)


@pytest.mark.parametrize('prefix', ['gaussian-yolov3', 'gaussian-yolov3-off'])
def test_the_overlay_alone_drops_the_augmentation(prefix):
    """Both models of the pair are trained on the same flipped images."""
    name = f'{prefix}_d53_ms-608-273e_coco'
    steps = load_config(name, mini=True).train_dataloader.dataset.pipeline
    assert [(step.type, step.get('scale')) for step in steps] == [
        ('LoadImageFromFile', None),
        ('LoadAnnotations', None),
        ('Resize', (320, 320)),
        ('RandomFlip', None),
        ('PackDetInputs', None),
    ]
    full = get_config(name).train_dataloader.dataset.pipeline
    added = {'Expand', 'MinIoURandomCrop', 'PhotoMetricDistortion'}
    assert added < {step.type for step in full}
