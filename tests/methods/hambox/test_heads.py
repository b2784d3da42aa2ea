"""HAMBox's heads: the loss by hand, their mmdet parents, errors."""

import pytest
import torch
from helpers import BOXES, demo_batch, make_feats, total_loss
from mmdet.models.dense_heads import RetinaHead, RPNHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from mmdet_assigners.methods.hambox.heads import (
    HAMBoxRetinaHead,
    HAMBoxRPNHead,
)
from mmdet_assigners.models.dense_heads import FlatRetinaHead
from mmdet_assigners.ops.anchor_match import IGNORED, pairwise_iou
from mmdet_assigners.utils import get_config

STRIDES = [8, 16, 32]
PARENT = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
OURS = dict(
    type='HAMBoxAssigner',
    pos_iou_thr=0.5,
    neg_iou_thr=0.4,
    match_low_quality=True,
    online_iou_thr=0.5,
    topk=9,
)
OFF = dict(OURS, topk=0, ignore_pred_iou=1.1)
SAMPLER = dict(type='RandomSampler', num=40, pos_fraction=0.5)
SAMPLER['add_gt_as_proposals'] = False


def build(kind, assigner, sampler=None, **options):
    torch.manual_seed(0)
    if issubclass(kind, RetinaHead):
        options.setdefault('loss_cls', dict(type='FocalLoss'))
        options['loss_cls']['use_sigmoid'] = True
        options.update(num_classes=2, stacked_convs=1)
        sampler = sampler or dict(type='PseudoSampler')
    else:
        options['loss_cls'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
        sampler = sampler or SAMPLER
    head = kind(
        in_channels=8,
        feat_channels=8,
        loss_bbox=dict(type='L1Loss'),
        anchor_generator=dict(
            type='AnchorGenerator',
            scales=[4],
            ratios=[0.5, 1.0, 2.0],
            strides=STRIDES,
        ),
        train_cfg=ConfigDict(
            assigner=assigner,
            sampler=sampler,
            allowed_border=-1,
            pos_weight=-1,
        ),
        **options,
    ).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return head


def inputs(boxes):
    feats = make_feats(STRIDES, dtype=torch.float64)
    samples = demo_batch(boxes)['data_samples']
    # the second image is padded on the right
    samples[1].set_metainfo(dict(img_shape=(128, 100), pad_shape=(128, 104)))
    return feats, samples


def run(head, boxes):
    feats, samples = inputs(boxes)
    if isinstance(head, RPNHead):  # as the detectors do
        for sample in samples:
            sample.gt_instances.labels.zero_()
    torch.manual_seed(3)  # of the sampler
    losses = head.loss(feats, samples)
    total_loss(losses).backward()
    sums = {
        name: sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }
    return sums, [parameter.grad for parameter in head.parameters()]


def flat_of(head, boxes):
    feats, samples = inputs(boxes)
    gts, _, metas = unpack_gt_instances(samples)
    return head.flatten(head(feats), gts, metas)


@pytest.mark.parametrize(
    ('parent', 'ours'),
    [(RetinaHead, HAMBoxRetinaHead), (RPNHead, HAMBoxRPNHead)],
)
def test_switched_off_equals_the_parent(parent, ours):
    """Also the random samples are the same."""
    boxes = [BOXES, BOXES[:1]]
    expected, expected_grads = run(build(parent, PARENT), boxes)
    found, grads = run(build(ours, OFF), boxes)
    for name, value in expected.items():
        assert value > 0
        # mmdet keeps some targets and counts in float32
        torch.testing.assert_close(
            found[name].to(value), value, rtol=1e-6, atol=0
        )
    added = {name for name in found if name.endswith('_comp')}
    assert found.keys() - expected.keys() == added | {'num_norm'}
    assert all(found[name] == 0 for name in added)
    for grad, reference in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-5, atol=1e-8)


def test_without_compensation_only_the_ignore_rule_differs():
    """K = 0: FlatRetinaHead's loss minus that of the ignored negatives."""
    boxes = [BOXES, BOXES[:1]]
    head = build(HAMBoxRetinaHead, dict(OURS, topk=0, ignore_pred_iou=0.2))
    losses, _ = run(head, boxes)
    plain, _ = run(build(FlatRetinaHead, PARENT), boxes)
    flat = flat_of(head, boxes)
    ignored = head.assign_flat(flat).extra['ignored']
    assert ignored.any() and losses['num_comp'] == 0
    logits = flat.cls[ignored]
    prob = logits.sigmoid()
    terms = 0.75 * prob**2 * -torch.log(1 - prob)
    expected = plain['loss_cls'] - terms.sum() / losses['num_norm']
    torch.testing.assert_close(losses['loss_cls'], expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        losses['loss_bbox'], plain['loss_bbox'], rtol=1e-6, atol=0
    )


def test_ignore_per_class():
    boxes = [BOXES, BOXES[:1]]
    options = dict(OURS, topk=0, ignore_pred_iou=0.2)
    rows, _ = run(build(HAMBoxRetinaHead, options), boxes)
    head = build(HAMBoxRetinaHead, dict(options, ignore_per_class=True))
    per_class, _ = run(head, boxes)
    flat = flat_of(head, boxes)
    extra = head.assign_flat(flat).extra
    # of two classes the other one is trained
    image = torch.arange(2)[:, None]
    other = 1 - flat.labels[image, extra['best_pred_gt']]
    logit = flat.cls.gather(-1, other[..., None])[..., 0][extra['ignored']]
    prob = logit.sigmoid()
    added = (0.75 * prob**2 * -torch.log(1 - prob)).sum()
    torch.testing.assert_close(
        per_class['loss_cls'],
        rows['loss_cls'] + added / rows['num_norm'],
        rtol=1e-6,
        atol=0,
    )


def test_four_terms_by_hand():
    """Compensated anchors: sum of F times focal over N_com, and no more."""
    boxes = [BOXES, BOXES[:2]]
    options = dict(OURS, pos_iou_thr=0.7, match_low_quality=False)
    head = build(HAMBoxRetinaHead, options)
    losses, grads = run(head, boxes)
    flat = flat_of(head, boxes)
    found = head.assign_flat(flat)
    comp = found.extra['comp_gt']
    where = comp >= 0
    assert losses['num_comp'] == where.sum() > 3
    rows, anchors = where.nonzero(as_tuple=True)
    label = flat.labels[rows, comp[where]]
    logits = flat.cls[where]
    target = torch.nn.functional.one_hot(label, 2)
    prob = logits.sigmoid()
    focal = torch.where(
        target == 1,
        -0.25 * (1 - prob) ** 2 * prob.log(),
        -0.75 * prob**2 * (1 - prob).log(),
    )
    weighted = (focal * found.extra['comp_iou'][where][:, None]).sum()
    torch.testing.assert_close(
        losses['loss_cls_comp'], weighted / losses['num_comp']
    )
    encoded = head.bbox_coder.encode(
        flat.anchors[anchors], flat.boxes[rows, comp[where]]
    )
    distance = (flat.deltas[where] - encoded).abs().sum()
    torch.testing.assert_close(
        losses['loss_bbox_comp'], distance / losses['num_comp']
    )
    assert all(grad.isfinite().all() for grad in grads)


def test_joint_normalizer():
    options = dict(OURS, pos_iou_thr=0.7, match_low_quality=False)
    own = run(build(HAMBoxRetinaHead, options), [BOXES, BOXES[:2]])[0]
    head = build(HAMBoxRetinaHead, options, joint_normalizer=True)
    joint = run(head, [BOXES, BOXES[:2]])[0]
    norm, comp = own['num_norm'], own['num_comp']
    assert (norm, comp) == (1, 22)
    for name, count in (
        ('loss_cls', norm),
        ('loss_bbox', norm),
        ('loss_cls_comp', comp),
        ('loss_bbox_comp', comp),
    ):
        torch.testing.assert_close(
            joint[name] * (norm + comp), own[name] * count
        )


@pytest.mark.parametrize(
    ('config', 'joint'),
    [
        ('hambox_retinanet_r50_fpn_1x_coco', True),
        ('hambox_no-ignore_retinanet_r50_fpn_1x_coco', True),
        ('hambox_separate-norm_retinanet_r50_fpn_1x_coco', False),
        ('hambox_r50_fpn_1x_widerface', False),  # the paper's form
    ],
)
def test_normalizer_of_the_configs(config, joint):
    head = MODELS.build(get_config(config).model.bbox_head)
    assert head.joint_normalizer is joint


def test_wild_deltas_of_negatives_do_not_spoil_the_loss():
    head = build(HAMBoxRetinaHead, OURS)
    flat = flat_of(head, [BOXES, BOXES[:1]])
    with torch.no_grad():
        free = head.assign_flat(flat).gt < 0
        flat.deltas[free] = float('nan')
    losses = head.loss_flat(flat)
    assert all(value.isfinite() for value in losses.values())


def test_no_objects():
    for kind in (HAMBoxRetinaHead, HAMBoxRPNHead):
        losses, grads = run(build(kind, OURS), [[], []])
        assert losses['num_norm'] == losses['num_comp'] == 0
        positive = {name for name, value in losses.items() if value > 0}
        assert positive in ({'loss_cls'}, {'loss_rpn_cls'})
        assert all(grad is not None for grad in grads)


def maps_of_objects(boxes):
    """8 channels per place: offset and size of the nearest object."""
    boxes = torch.tensor(boxes, dtype=torch.float64)
    maps = []
    for s in STRIDES:
        grids = torch.arange(128 // s) * s, torch.arange(160 // s) * s
        y, x = torch.meshgrid(*grids, indexing='ij')
        place = torch.stack((x, y), -1)[None, :, :, None]
        size = (boxes[..., 2:] - boxes[..., :2])[:, None, None]
        offset = (boxes[..., :2] + boxes[..., 2:])[:, None, None] / 2 - place
        near = (offset / size).abs().amax(-1, keepdim=True).argmin(-2)
        near = near[..., None].expand(-1, -1, -1, 1, 2)
        offset = offset.gather(3, near).squeeze(3) / s
        size = size.expand(-1, *x.shape, -1, -1).gather(3, near).squeeze(3) / s
        channels = (
            offset.clamp(-8, 8) / 4,
            size.log(),
            (offset.abs() * 2 / size).clamp(max=3),
            torch.ones_like(offset),
        )
        maps.append(torch.cat(channels, -1).permute(0, 3, 1, 2))
    return maps


def fit(boxes, topk):
    """Train a head; num_comp of each step and objects with score 0.2."""
    options = dict(topk=topk, match_low_quality=False)
    head = build(HAMBoxRetinaHead, dict(OURS, **options))
    torch.nn.init.constant_(head.retina_cls.bias, -4.6)
    feats = maps_of_objects(boxes)
    samples = demo_batch(boxes)['data_samples']
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    counts = []
    for _ in range(150):
        losses = head.loss(feats, samples)
        counts.append(int(losses['num_comp']))
        optimizer.zero_grad()
        total_loss(losses).backward()
        optimizer.step()
    gts, _, metas = unpack_gt_instances(samples)
    with torch.no_grad():
        flat = head.flatten(head(feats), gts, metas)
        iou = pairwise_iou(flat.boxes, head.decode(flat))
    own = flat.labels[..., None].expand(iou.shape)
    scores = flat.cls.sigmoid().transpose(1, 2).gather(1, own)
    return counts, int(((iou >= 0.5) & (scores >= 0.2)).any(-1).sum())


def test_training_compensates_and_finds_more():
    """Squares of 20 to 22 px, which no anchor of 32 px matches by IoU."""

    def squares(*rows):
        return [[x - s, y - s, x + s, y + s] for x, y, s in rows]

    boxes = [
        squares((32, 32, 16), (96, 32, 12.5), (132, 96, 10), (36, 92, 10),
                (80, 100, 11)),
        squares((32, 96, 13), (120, 96, 18), (36, 28, 10), (100, 36, 10.5),
                (76, 70, 11)),
    ]  # fmt: skip
    _, without = fit(boxes, topk=0)
    counts, recalled = fit(boxes, topk=9)
    assert recalled == 10 > without
    assert counts[0] < 10
    assert set(counts[100:]) == {60}  # all that is missing


def test_the_image_shows_compensated_anchors():
    head = build(HAMBoxRetinaHead, dict(OURS, pos_iou_thr=0.7))
    feats, samples = inputs([BOXES, BOXES[:1]])
    gts, _, metas = unpack_gt_instances(samples)
    found = head.assign_flat(head.flatten(head(feats), gts, metas))
    shown = head.get_assignment(head(feats), gts, metas)
    for b, image in enumerate(shown):
        assert torch.equal(image.assigned_gt, found.gt[b])
        comp = found.extra['comp_gt'][b] >= 0
        assert (image.assigned_gt[comp] >= 0).all()
        expected = found.extra['comp_iou'][b][comp]
        torch.testing.assert_close(image.weight[comp], expected)
        assert (image.weight[found.gt[b] == IGNORED] == 0).all()
    assert (found.extra['comp_gt'] >= 0).any()


def test_rpn_uses_the_samples_and_all_compensated_anchors():
    head = build(HAMBoxRPNHead, OURS)
    found = head.assign_flat(flat_of(head, [BOXES, BOXES[:1]]))
    comp = found.extra['comp_gt'] >= 0
    assert comp.any()
    assert (found.gt[comp] >= 0).all()
    sampled = ((found.gt != IGNORED) & ~comp).sum(1)
    assert sampled.tolist() == [40, 40]
    assert not ((found.gt == -1) & found.extra['ignored']).any()


@pytest.mark.parametrize('kind', [HAMBoxRetinaHead, HAMBoxRPNHead])
def test_another_assigner_is_refused(kind):
    with pytest.raises(ValueError, match='HAMBoxAssigner, got MaxIoUAssigner'):
        build(kind, PARENT)


def test_other_samplers_are_refused():
    with pytest.raises(ValueError, match=r'PseudoSampler .* RandomSampler'):
        build(HAMBoxRetinaHead, OURS, SAMPLER)
    adding = dict(SAMPLER, add_gt_as_proposals=True)
    with pytest.raises(ValueError, match='add_gt_as_proposals must be False'):
        build(HAMBoxRPNHead, OURS, adding)
