"""Sampling-Free: RetinaNet, RPN and FCOS heads and the prior statistics."""

import json

import pytest
import torch
from helpers import BOXES, demo_batch, make_feats, total_loss
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.sampling_free import prior_statistics
from mmdet_assigners.methods.sampling_free.functional import PriorStatistics

STRIDES = [8, 16, 32]
CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=True)
TEST_CFG = dict(
    nms_pre=10000,
    min_bbox_size=0,
    score_thr=0.3,
    nms=dict(type='nms', iou_threshold=0.5),
    max_per_img=10000,
)


def build(kind='SamplingFreeRetinaHead', random=True, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = dict(
        type=kind,
        in_channels=8,
        feat_channels=8,
        loss_cls=CROSS_ENTROPY,
        test_cfg=ConfigDict(TEST_CFG),
    )
    if 'FCOS' in kind:
        config.update(
            num_classes=2,
            strides=STRIDES,
            regress_ranges=((-1, 30), (30, 60), (60, 1e8)),
            norm_cfg=None,
        )
    else:
        config.update(
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[4],
                ratios=[0.5, 1.0],
                strides=STRIDES,
            ),
            loss_bbox=dict(type='SmoothL1Loss', beta=0.11),
            train_cfg=ConfigDict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=0.5,
                    neg_iou_thr=0.2,
                    min_pos_iou=0.1,
                ),
                sampler=options.pop('sampler', None),
                allowed_border=-1,
                pos_weight=-1,
            ),
        )
    if 'Retina' in kind:
        config.update(num_classes=2, stacked_convs=1)
    head = MODELS.build({**config, **options})
    if random:
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    else:
        head.init_weights()
    return head.double()


def inputs(boxes, kind=''):
    feats = make_feats(STRIDES, len(boxes), dtype=torch.float64)
    samples = demo_batch(boxes)['data_samples']
    for sample in samples:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.double()
        if 'RPN' in kind:
            sample.gt_instances.labels *= 0
    return feats, samples


@pytest.mark.parametrize(
    ('kind', 'layer'),
    [
        ('SamplingFreeRetinaHead', 'retina_cls'),
        ('SamplingFreeRPNHead', 'rpn_cls'),
        ('SamplingFreeFCOSHead', 'conv_cls'),
    ],
)
def test_initial_scores_are_the_prior(kind, layer):
    head = build(kind, random=False, prior_prob=1e-3)
    bias = getattr(head, layer).bias
    torch.testing.assert_close(
        bias.sigmoid(), torch.full_like(bias, 1e-3), rtol=1e-5, atol=0
    )
    scores = torch.cat([x.flatten() for x in head(inputs([[]])[0])[0]])
    assert scores.sigmoid().mean().item() == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize('scale', [1.0, 3.0])
@pytest.mark.parametrize(
    'kind',
    ['SamplingFreeRetinaHead', 'SamplingFreeRPNHead', 'SamplingFreeFCOSHead'],
)
def test_classification_loss_equals_the_box_loss(kind, scale):
    loss = dict(CROSS_ENTROPY, loss_weight=scale)
    head = build(kind, loss_cls=loss)
    losses = head.loss(*inputs([BOXES, []], kind))
    (_, cls), (_, reg) = losses.items()
    assert reg > 0
    torch.testing.assert_close(cls, scale * reg)
    plain = build(kind, guided=False, loss_cls=loss)
    (_, plain), _ = plain.loss(*inputs([BOXES, []], kind)).items()
    assert not torch.isclose(plain, cls)


@pytest.mark.parametrize(
    ('kind', 'options', 'trained'),
    [
        ('SamplingFreeRetinaHead', {}, True),
        ('SamplingFreeRetinaHead', dict(ignored_as_negative=False), False),
        ('SamplingFreeRPNHead', {}, False),
    ],
)
def test_ignored_anchors(kind, options, trained):
    head = build(kind, **options)
    feats, samples = inputs([BOXES], kind)
    gts, _, metas = unpack_gt_instances(samples)
    flat = head.flatten(head(feats), gts, metas)
    cls = flat.cls.detach().requires_grad_()
    flat = type(flat)(**{**vars(flat), 'cls': cls})
    total_loss(head.loss_flat(flat)).backward()
    ignored = head.assign_flat(flat).gt == -2
    assert 0 < ignored.sum() < ignored.numel()
    assert (cls.grad[ignored] != 0).any() == trained
    assert (cls.grad[~ignored] != 0).all()


@pytest.mark.parametrize('kind', ['Retina', 'RPN'])
def test_switched_off_equals_mmdet(kind):
    """Without guide and with the ignored zone only the divisors differ."""
    off = dict(guided=False)
    if kind == 'Retina':
        off['ignored_as_negative'] = False
    names = (f'{kind}Head', f'SamplingFree{kind}Head')
    parent, ours = (
        build(name, sampler=dict(type='PseudoSampler'), **options)
        for name, options in zip(names, ({}, off), strict=True)
    )
    ours.load_state_dict(parent.state_dict())
    grads = []
    for head in (parent, ours):
        losses = head.loss(*inputs([BOXES, BOXES[:2]], kind))
        rows = []
        for loss in losses.values():
            value = sum(loss) if isinstance(loss, list) else loss
            found = torch.autograd.grad(
                value,
                list(head.parameters()),
                retain_graph=True,
                materialize_grads=True,
            )
            row = [grad.flatten() for grad in found]
            rows.append(torch.cat([*row, value.detach().view(1)]))
        grads.append(rows)
    for expected, row in zip(*grads, strict=True):
        factor = row[-1] / expected[-1]
        torch.testing.assert_close(row, expected * factor)
        assert factor > 0.05


@pytest.mark.parametrize(
    'kind',
    ['SamplingFreeRetinaHead', 'SamplingFreeRPNHead', 'SamplingFreeFCOSHead'],
)
def test_sync_of_one_process_changes_nothing(kind):
    feats, samples = inputs([BOXES, BOXES[:1]], kind)
    own, synced = (
        build(kind, sync=sync).loss(feats, samples) for sync in (False, True)
    )
    for name, value in own.items():
        torch.testing.assert_close(synced[name], value)


def test_no_positive_trains_nothing():
    for kind in ('SamplingFreeRetinaHead', 'SamplingFreeRPNHead'):
        head = build(kind)
        losses = head.loss(*inputs([[], []], kind))
        assert [loss.item() for loss in losses.values()] == [0, 0]
        total_loss(losses).backward()
        assert all((p.grad == 0).all() for p in head.parameters())


@pytest.mark.parametrize(
    'kind', ['SamplingFreeRetinaHead', 'SamplingFreeFCOSHead']
)
def test_class_thresholds(kind):
    feats, samples = inputs([BOXES])
    metas = [sample.metainfo for sample in samples]

    def detect(**test_cfg):
        head = build(kind, test_cfg=ConfigDict(TEST_CFG, **test_cfg)).float()
        outs = head([x.float() for x in feats])
        return head.predict_by_feat(*outs, batch_img_metas=metas)[0]

    expected = detect()
    same = detect(score_thr=0.9, class_score_thr=[0.3, 0.3])
    assert set(expected.labels.tolist()) == {0, 1}
    assert torch.equal(same.bboxes, expected.bboxes)
    first = detect(class_score_thr=[0.3, 1.0])
    keep = expected.labels == 0
    assert torch.equal(first.bboxes, expected.bboxes[keep])
    with pytest.raises(ValueError, match='has 3 thresholds'):
        detect(class_score_thr=[0, 0, 0])


def test_fcos_has_no_centerness():
    head = build('SamplingFreeFCOSHead')
    assert not any('centerness' in name for name in head.state_dict())
    parent = build('FCOSHead')
    state = {
        name: value
        for name, value in parent.state_dict().items()
        if 'centerness' not in name
    }
    head.load_state_dict(state)
    feats, _ = inputs([[]])
    for ours, theirs in zip(head(feats), parent(feats)[:2], strict=True):
        assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize('norm', [False, True])
def test_fcos_box_loss_is_the_mean_over_positives(norm):
    """In both units of distances; mmdet's targets as reference."""
    head = build('SamplingFreeFCOSHead', norm_on_bbox=norm)
    feats, samples = inputs([BOXES])
    losses = head.loss(feats, samples)
    cls, reg = head(feats)
    sizes = [x.shape[-2:] for x in cls]
    points = head.prior_generator.grid_priors(
        sizes, dtype=torch.float64, device='cpu'
    )
    labels, targets = head.get_targets(points, [samples[0].gt_instances])
    scale = STRIDES if norm else [1, 1, 1]
    pred, target = (
        torch.cat([x * s for x, s in zip(levels, scale, strict=True)])
        for levels in (
            [x.permute(0, 2, 3, 1).reshape(-1, 4) for x in reg],
            targets,
        )
    )
    positive = torch.cat(labels) < 2
    pairs = [
        head.bbox_coder.decode(torch.cat(points)[positive], x[positive])
        for x in (pred, target)
    ]
    torch.testing.assert_close(losses['loss_bbox'], head.loss_bbox(*pairs))


def test_fcos_assignment_for_images():
    head = build('SamplingFreeFCOSHead')
    feats, samples = inputs([BOXES, []])
    gts, _, metas = unpack_gt_instances(samples)
    first, second = head.get_assignment(head(feats), gts, metas)
    assert set(first.assigned_gt.tolist()) == {-1, 0, 1, 2, 3}
    assert (second.assigned_gt == -1).all()
    assert first.priors.shape == (16 * 20 + 8 * 10 + 4 * 5, 2)


@pytest.mark.parametrize(
    ('kind', 'options', 'error', 'text'),
    [
        ('Retina', dict(prior_prob=0), ValueError, 'prior_prob must be in'),
        ('Retina', dict(regress_norm=0), ValueError, 'regress_norm must be'),
        (
            'Retina',
            dict(loss_cls=dict(type='FocalLoss', use_sigmoid=True)),
            TypeError,
            'got FocalLoss',
        ),
        (
            'FCOS',
            dict(loss_cls=dict(CROSS_ENTROPY, class_weight=[1.0, 2.0])),
            ValueError,
            'class_weight',
        ),
        ('RPN', dict(reg_decoded_bbox=True), ValueError, 'reg_decoded_bbox'),
        (
            'RPN',
            dict(sampler=dict(type='RandomSampler', num=8, pos_fraction=0.5)),
            ValueError,
            'got RandomSampler',
        ),
        ('FCOS', dict(prior_prob=1.0), ValueError, 'prior_prob must be in'),
        ('FCOS', dict(guide=True), TypeError, 'guide'),
    ],
)
def test_wrong_options(kind, options, error, text):
    with pytest.raises(error, match=text):
        build(f'SamplingFree{kind}Head', **options)


@pytest.mark.parametrize('low_quality', ['gt', None])
def test_batch_assigner_equals_mmdet(low_quality):
    init_default_scope('mmdet')
    ours = TASK_UTILS.build(
        dict(
            type='BatchMaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0.01,
            low_quality=low_quality,
        )
    )
    theirs = MaxIoUAssigner(
        0.5, 0.4, min_pos_iou=0.01, match_low_quality=low_quality == 'gt'
    )
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(300, 2, generator=generator) * 100
    sides = torch.rand(300, 2, generator=generator) * 60 + 5
    boxes = torch.cat((corner, corner + sides), -1)
    gts = InstanceData(bboxes=boxes[:7] + 3, labels=torch.arange(7))
    priors = InstanceData(priors=boxes)
    first, second = ours.assign(priors, gts), theirs.assign(priors, gts)
    assert torch.equal(first.gt_inds, second.gt_inds)
    assert torch.equal(first.labels, second.labels)
    assert (first.gt_inds > 0).sum() >= 7


def toy_config(tmp_path, kind='SamplingFreeRetinaHead'):
    """Two images of 320x256 with boxes, one without, in COCO's format."""
    boxes = [(1, 8, 10, 60, 70, 1), (1, 200, 100, 64, 64, 2)]
    boxes += [(2, 30, 40, 128, 100, 1)]
    content = dict(
        images=[
            dict(id=i, file_name=f'{i}.jpg', width=320, height=256)
            for i in (1, 2, 3)
        ],
        annotations=[
            dict(
                id=index,
                image_id=image,
                bbox=[x, y, w, h],
                area=w * h,
                iscrowd=0,
                category_id=label,
            )
            for index, (image, x, y, w, h, label) in enumerate(boxes)
        ],
        categories=[dict(id=1, name='a'), dict(id=2, name='b')],
    )
    path = tmp_path / 'train.json'
    path.write_text(json.dumps(content))
    dataset = dict(
        type='CocoDataset',
        ann_file=str(path),
        data_prefix=dict(img=''),
        metainfo=dict(classes=('a', 'b')),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=[dict(type='Resize', scale=(160, 128), keep_ratio=True)],
    )
    head = build(kind)
    model = dict(
        data_preprocessor=dict(pad_size_divisor=32),
        bbox_head=dict(
            type=kind,
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            loss_cls=CROSS_ENTROPY,
            anchor_generator=dict(
                type='AnchorGenerator',
                scales=[4],
                ratios=[0.5, 1.0],
                strides=STRIDES,
            ),
        ),
        train_cfg=head.train_cfg,
    )
    loader = dict(dataset=dict(type='RepeatDataset', times=3, dataset=dataset))
    return head, Config(dict(model=model, train_dataloader=loader))


def test_statistics_of_a_toy_data_set(tmp_path):
    """The counts are those of the head's own targets."""
    head, cfg = toy_config(tmp_path)
    stats = prior_statistics.count_candidates(cfg)
    halves = [
        [[4, 5, 34, 40], [100, 50, 132, 82]],
        [[15, 20, 79, 70]],
    ]
    feats, samples = inputs(halves)
    samples[1].gt_instances.labels *= 0
    gts, _, metas = unpack_gt_instances(samples)
    flat = head.flatten(head(feats), gts, metas)
    gt = head.assign_flat(flat).gt
    labels = head.matched_labels(flat, gt)
    expected = [(labels == index).sum().item() for index in (0, 1)]
    assert stats.per_class == tuple(expected) and min(expected) > 0
    assert stats.negatives == (gt == -1).sum().item()
    fewer = prior_statistics.count_candidates(cfg, limit=1)
    assert 0 < fewer.candidates < stats.candidates
    larger = prior_statistics.count_candidates(cfg, scale=(320, 256))
    assert larger.candidates > 3 * stats.candidates


def test_statistics_need_a_scale_and_anchors(tmp_path):
    _, cfg = toy_config(tmp_path)
    dataset = cfg.train_dataloader.dataset.dataset
    dataset.pipeline[0].type = 'RandomResize'
    with pytest.raises(ValueError, match='no Resize of a fixed scale'):
        prior_statistics.count_candidates(cfg)
    head = build('SamplingFreeFCOSHead')
    gts = inputs([BOXES])[1][0].gt_instances
    gts.bboxes = gts.bboxes.float()
    found = prior_statistics.candidate_labels(head, gts, (128, 160), 32)
    assert len(found) == 420 and set(found.tolist()) == {0, 1, 2}
    other = torch.nn.Module()
    other.prior_generator = head.prior_generator
    with pytest.raises(TypeError, match='got Module'):
        prior_statistics.candidate_labels(other, gts, (128, 160))


def test_statistics_file(tmp_path):
    stats = PriorStatistics((3, 1), 396)
    path = tmp_path / 'prior.json'
    prior_statistics.write_statistics(path, stats, 'toy')
    content = json.loads(path.read_text())
    assert content['prior_prob'] == 0.005
    assert content['class_score_thr'] == [3 / 400, 1 / 400]
    assert [p.name for p in tmp_path.iterdir()] == ['prior.json']
