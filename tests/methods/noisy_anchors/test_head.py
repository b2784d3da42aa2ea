"""Noisy Anchors: head, assigner and loss as registered."""

from dataclasses import replace

import pytest
import torch
from helpers import BOXES, TINY_RETINA, demo_batch, make_feats, total_loss
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch.nn.functional import smooth_l1_loss

from mmdet_assigners.engine.hooks.train_progress_hook import TrainProgress
from mmdet_assigners.methods.noisy_anchors import functional as noisy_anchors

STRIDES = [8, 16, 32]
ALPHA, GAMMA = 0.5, 2.0


def build(kind='NoisyAnchorRetinaHead', **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    loss = 'FocalLoss' if kind == 'FlatRetinaHead' else 'SoftFocalLoss'
    config = dict(
        type=kind,
        **TINY_RETINA,
        loss_cls=dict(type=loss, use_sigmoid=True, alpha=ALPHA, gamma=GAMMA),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.1),
        train_cfg=ConfigDict(
            assigner=dict(type='TopNIoUAssigner', topn=9),
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


def flat_of(head, boxes):
    feats, samples = inputs(boxes)
    gts, _, metas = unpack_gt_instances(samples)
    return head.flatten(head(feats), gts, metas)


@pytest.mark.parametrize('boxes', [[BOXES, BOXES[:1]], [BOXES, []]])
def test_switched_off_equals_retina(boxes):
    """Without soft labels and weights only the divisor differs."""
    feats, samples = inputs(boxes)
    grads = []
    for kind, options in (
        ('FlatRetinaHead', {}),
        ('NoisyAnchorRetinaHead', dict(gamma=0.0, soft_labels=False)),
    ):
        head = build(kind, **options)
        losses = head.loss(feats, samples)
        gt = head.assign_flat(flat_of(head, boxes)).gt
        divisor = (gt >= 0).sum(1).clamp(min=1).sum()
        if kind != 'FlatRetinaHead':
            divisor = head.normalizer
        scaled = {name: loss * divisor for name, loss in losses.items()}
        grads.append((scaled, head, divisor))
        total_loss(losses).backward()
    (expected, parent, norm), (ours, head, own) = grads
    for name, loss in expected.items():
        torch.testing.assert_close(ours[name], loss)
    pairs = zip(head.parameters(), parent.parameters(), strict=True)
    for parameter, reference in pairs:
        torch.testing.assert_close(parameter.grad * own, reference.grad * norm)


def test_weights_move_the_gradient_only():
    """Gradient of an anchor: that of the plain loss times r and kappa."""
    results = []
    for gamma in (0.0, 1.0):
        head = build(gamma=gamma)
        flat = flat_of(head, [BOXES, BOXES[:2]])
        cls = flat.cls.detach().requires_grad_()
        flat = type(flat)(**{**vars(flat), 'cls': cls})
        weight = head.cleanliness(flat, head.assign_flat(flat)).weight
        loss = head.loss_flat(flat)['loss_cls']
        loss.backward()
        results.append((loss, cls.grad, weight))
    (plain, plain_grad, ones), (loss, grad, weight) = results
    torch.testing.assert_close(ones, torch.ones_like(ones))
    torch.testing.assert_close(loss, plain)
    expected = plain_grad * weight[..., None]
    kappa = grad.sum() / expected.sum()
    torch.testing.assert_close(grad, expected * kappa)
    assert weight.std() > 0.01


def test_gradient_is_that_of_frozen_labels_and_weights():
    """Finite differences with the soft labels, weights and scales fixed."""
    head = build()
    flat = flat_of(head, [BOXES, BOXES[:2]])
    assignment = head.assign_flat(flat)
    clean = head.cleanliness(flat, assignment)
    labels = head.matched_labels(flat, assignment.gt)
    target = head.encode(flat, head.matched_boxes(flat, assignment.gt))
    positive = (assignment.gt >= 0)[..., None]

    def terms(cls, deltas):
        """Class and box losses of the anchors."""
        loss_cls = noisy_anchors.soft_focal_loss(
            cls.flatten(0, 1),
            labels.flatten(),
            clean.label.flatten(),
            ALPHA,
            GAMMA,
        ).view_as(cls)
        loss_box = smooth_l1_loss(
            deltas, target, reduction='none', beta=0.1
        ).where(positive, 0)
        return loss_cls, loss_box

    leaves = [x.detach() for x in (flat.cls, flat.deltas)]
    weight = clean.weight[..., None]
    scales = [x.sum() / (x * weight).sum() for x in terms(*leaves)]

    def frozen(cls, deltas):
        return sum(
            (x * weight).sum() * scale
            for x, scale in zip(terms(cls, deltas), scales, strict=True)
        )

    for leaf in leaves:
        leaf.requires_grad_()
    moved = replace(flat, cls=leaves[0], deltas=leaves[1])
    total_loss(head.loss_flat(moved)).backward()
    generator = torch.Generator().manual_seed(0)
    for index, leaf in enumerate(leaves):
        step = torch.randn(leaf.shape, generator=generator).double() * 1e-5
        ends = []
        for sign in (1, -1):
            at = [x.detach() for x in leaves]
            at[index] = at[index] + sign * step
            ends.append(frozen(*at))
        expected = (ends[0] - ends[1]) / 2 / head.normalizer
        torch.testing.assert_close(
            (leaf.grad * step).sum(), expected, rtol=1e-4, atol=0
        )


def test_batch_equals_single_images():
    images = [BOXES, BOXES[:2]]
    head = build()
    both = flat_of(head, images)
    whole = head.cleanliness(both, head.assign_flat(both))
    for index, boxes in enumerate(images):
        mask = both.mask[index]
        assert mask.sum() == len(boxes)
        fields = {
            name: getattr(both, name)[index : index + 1]
            for name in ('cls', 'deltas', 'valid', 'boxes', 'labels', 'mask')
        }
        one = type(both)(**{**vars(both), **fields})
        single = head.cleanliness(one, head.assign_flat(one))
        torch.testing.assert_close(whole.label[index], single.label[0])
        torch.testing.assert_close(whole.weight[index], single.weight[0])


def test_best_and_worst_positive():
    head = build()
    flat = flat_of(head, [BOXES])
    assignment = head.assign_flat(flat)
    positive = assignment.gt >= 0
    assert assignment.extra['lists'].sum() == 9 * len(BOXES)
    label = head.cleanliness(flat, assignment).label
    assert label[positive].max() == 1
    assert 0 < label[positive].min() < 1
    assert (label[~positive] == 0).all()


def test_warm_up_looks_at_the_anchors():
    head = build(warmup_iters=10)
    boxes = [BOXES]
    flat = flat_of(head, boxes)
    assignment = head.assign_flat(flat)
    early = head.cleanliness(flat, assignment).label
    progress = dict(fraction=0.0, epoch=0, max_epochs=1, max_iters=100)
    head.set_train_progress(TrainProgress(iter=9, **progress))
    assert torch.equal(head.cleanliness(flat, assignment).label, early)
    head.set_train_progress(TrainProgress(iter=10, **progress))
    later = head.cleanliness(flat, assignment).label
    assert not torch.allclose(later, early)
    # with deltas of 0 the two agree
    still = type(flat)(**{**vars(flat), 'deltas': flat.deltas * 0})
    later = head.cleanliness(still, assignment).label
    torch.testing.assert_close(later, early)


def test_normalizer_is_saved_and_moves_in_training_only():
    head = build(normalizer_init=50)
    feats, samples = inputs([BOXES, []])
    count = (head.assign_flat(flat_of(head, [BOXES, []])).gt >= 0).sum()
    assert head.state_dict()['normalizer'] == 50
    head.loss(feats, samples)
    assert head.normalizer.item() == pytest.approx(45 + 0.1 * count.item())
    head.eval().loss(feats, samples)
    assert head.normalizer.item() == pytest.approx(45 + 0.1 * count.item())


def test_no_object_at_all():
    head = build()
    losses = head.loss(*inputs([[], []]))
    assert losses['loss_bbox'] == 0 and losses['loss_cls'] > 0
    total_loss(losses).backward()
    for name, parameter in head.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_assignment_for_images():
    head = build()
    feats, samples = inputs([BOXES, []])
    gts, _, metas = unpack_gt_instances(samples)
    first, second = head.get_assignment(head(feats), gts, metas)
    positive = first.assigned_gt >= 0
    assert first.weight[positive].max() == 1 > first.weight[positive].min()
    assert (first.weight[~positive] == 1).all()
    assert (second.assigned_gt == -1).all()


def test_assigner_in_mmdets_heads():
    feats, samples = inputs([BOXES, BOXES[:1]])
    head = build('RetinaHead', loss_cls=dict(type='FocalLoss'))
    losses = head.loss(feats, samples)
    assert torch.isfinite(total_loss(losses))
    assigner = TASK_UTILS.build(dict(type='TopNIoUAssigner', topn=1))
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]])
    result = assigner.assign(
        InstanceData(priors=boxes),
        InstanceData(bboxes=boxes[:1], labels=torch.tensor([5])),
    )
    assert result.gt_inds.tolist() == [1, 0, 0]
    assert result.labels.tolist() == [5, -1, -1]
    assert result.get_extra_property('lists').tolist() == [1, 0, 0]


def test_other_assigners_count_each_positive_once():
    head = build(
        train_cfg=ConfigDict(
            assigner=dict(
                type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4
            )
        )
    )
    flat = flat_of(head, [BOXES])
    assignment = head.assign_flat(flat)
    positive = assignment.gt >= 0
    weight = head.cleanliness(flat, assignment).weight[positive]
    assert weight.mean().item() == pytest.approx(1)
    assert torch.isfinite(total_loss(head.loss_flat(flat)))


def test_soft_focal_loss_module():
    init_default_scope('mmdet')
    pred, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 3, 3])
    config = dict(type='SoftFocalLoss', alpha=0.25, loss_weight=2.0)
    soft, hard = MODELS.build(config), MODELS.build(dict(type='FocalLoss'))
    for weight in (None, torch.rand(6)):
        torch.testing.assert_close(
            soft(pred, labels, weight, avg_factor=3.0),
            2 * hard(pred, labels, weight, avg_factor=3.0),
        )
    scores = torch.full((6,), 0.5)
    none = soft(pred, (labels, scores), reduction_override='none')
    assert none.shape == (6, 3)
    assert not torch.allclose(none.sum(), soft(pred, labels) * 18)
    half = soft(pred.bfloat16(), labels)
    assert half.dtype == torch.float32


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        (dict(alpha=1.5), ValueError, r'alpha must be in \[0, 1\], got 1.5'),
        (dict(gamma=-1), ValueError, 'gamma must be at least 0, got -1'),
        (dict(weight_mode='x'), ValueError, "weight_mode .* got 'x'"),
        (dict(soft_label_mode=0), ValueError, 'soft_label_mode .* got 0'),
        (dict(loss_bbox=dict(type='L1Loss')), TypeError, 'got L1Loss'),
        (dict(loss_cls=dict(type='FocalLoss')), TypeError, 'got FocalLoss'),
        (dict(reg_decoded_bbox=True), ValueError, 'reg_decoded_bbox'),
        (dict(alpa=0.5), TypeError, 'alpa'),
    ],
)
def test_wrong_options(options, error, text):
    with pytest.raises(error, match=text):
        build(**options)


@pytest.mark.parametrize(
    ('config', 'text'),
    [
        (dict(type='TopNIoUAssigner', topn=0), 'topn must be at least 1'),
        (dict(type='TopNIoUAssigner', min_iou=2), 'min_iou .* got 2'),
        (
            dict(type='BatchMaxIoUAssigner', pos_iou_thr=0.4, neg_iou_thr=0.5),
            'in this order, got 0.5 and 0.4',
        ),
    ],
)
def test_wrong_options_of_assigners(config, text):
    init_default_scope('mmdet')
    with pytest.raises(ValueError, match=text):
        TASK_UTILS.build(config)


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(use_sigmoid=False), 'use_sigmoid=True'),
        (dict(alpha=-1), 'alpha must be'),
        (dict(reduction='avg'), "got 'avg'"),
    ],
)
def test_wrong_options_of_the_loss(options, text):
    init_default_scope('mmdet')
    with pytest.raises(ValueError, match=text):
        MODELS.build(dict(type='SoftFocalLoss', **options))
