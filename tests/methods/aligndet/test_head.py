"""AlignDet's head: two stages, targets of learned anchors, predictions."""

import pytest
import torch
from helpers import BOXES, demo_batch, make_feats, total_loss
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

STRIDES = [8, 16, 32]
MAX_IOU = dict(type='BatchMaxIoUAssigner')
STAGE1 = dict(pos_iou_thr=0.4, neg_iou_thr=0.3)
STAGE2 = dict(pos_iou_thr=0.7, neg_iou_thr=0.7)


def build(kind='AlignDetHead', std=0.1, **options):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    train_cfg = dict(
        assigner=dict(**MAX_IOU, **STAGE1), allowed_border=-1, pos_weight=-1
    )
    config = dict(
        type=kind,
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4 * 2 ** (1 / 3),
            scales_per_octave=1,
            ratios=[1.0],
            strides=STRIDES,
            center_offset=0.5,
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=0.11),
        test_cfg=ConfigDict(
            nms_pre=100,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.5),
            max_per_img=100,
        ),
    )
    if kind == 'AlignDetHead':
        config['align_head'] = dict(
            type='AlignStageHead', mid_channels=8, kernel_size=3
        )
        train_cfg['align_assigner'] = dict(**MAX_IOU, **STAGE2)
    config['train_cfg'] = ConfigDict(train_cfg)
    head = MODELS.build({**config, **options}).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return head


def inputs(boxes):
    feats = make_feats(STRIDES, len(boxes), dtype=torch.float64)
    samples = demo_batch(boxes)['data_samples']
    for sample in samples:
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.double()
    return feats, samples


def test_first_stage_is_retinanet():
    """Its predictions and, up to the normalizer, its losses."""
    feats, samples = inputs([BOXES, BOXES[:2]])
    head, parent = build(), build('FlatRetinaHead')
    parent.load_state_dict(head.state_dict(), strict=False)
    outs, expected = head(feats), parent(feats)
    for ours, theirs in zip(outs[:2], expected, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a, b)
    gts, _, metas = unpack_gt_instances(samples)
    gt = parent.assign_flat(parent.flatten(expected, gts, metas)).gt
    losses, reference = head.loss(feats, samples), parent.loss(feats, samples)
    count = (gt >= 0).sum()
    for name, loss in reference.items():
        torch.testing.assert_close(
            losses[f'{name}_init'], loss * count / (count + 1)
        )


def test_learned_anchors_are_clipped_to_the_image():
    head = build(std=1.0)
    feats, samples = inputs([BOXES, []])
    shapes = [(128, 160), (100, 90)]
    for sample, shape in zip(samples, shapes, strict=True):
        sample.set_metainfo(dict(img_shape=shape))
    metas = [sample.metainfo for sample in samples]
    boxes = head(feats, metas)[4]
    assert not any(level.requires_grad for level in boxes)
    for index, (height, width) in enumerate(shapes):
        sides = torch.cat([level[index].flatten(1) for level in boxes], 1)
        assert sides.min() == 0
        assert sides[[0, 2]].max() == width
        assert sides[[1, 3]].max() == height
    free = torch.cat([level[1].flatten(1) for level in head(feats)[4]], 1)
    assert free[2].max() == 160  # of the map


def test_no_gradient_through_the_boxes():
    """The second stage trains features and itself, not the regression."""
    head = build()
    feats, samples = inputs([BOXES])
    feats = [x.requires_grad_() for x in feats]
    losses = head.loss(feats, samples)
    (losses['loss_cls'] + losses['loss_bbox']).backward()
    assert head.retina_reg.weight.grad is None
    assert head.reg_convs[0].conv.weight.grad is None
    assert all(x.grad.abs().sum() > 0 for x in feats)
    assert head.align_head.towers[0].align1.conv.weight.grad.abs().sum() > 0


def test_second_stage_assigns_learned_anchors():
    """A learned anchor on its object: threshold, delta 0, other negatives."""
    head = build()
    feats, samples = inputs([BOXES[:1]])
    gts, _, metas = unpack_gt_instances(samples)
    outs = [list(maps) for maps in head(feats, metas)]
    for level in outs[4]:
        level.copy_(level.new_tensor([120, 100, 130, 110]).view(4, 1, 1))
    # IoU 1 and just above and below 0.7
    x1, y1, x2, y2 = BOXES[0]
    for column, share in enumerate((1.0, 0.71, 0.69)):
        side = y1 + share * (y2 - y1)
        outs[4][0][0, :, 0, column] = torch.tensor([x1, y1, x2, side])
    (result,) = head.get_assignment(outs, gts, metas)
    positive = (result.assigned_gt >= 0).nonzero().flatten()
    assert positive.tolist() == [0, 1]
    assert (result.assigned_gt[2:] == -1).all()  # no ignore zone
    assert torch.equal(result.priors[0], torch.tensor(BOXES[0]).double())
    for maps in (outs[2], outs[3]):
        for level in maps:
            level.data.zero_()
    losses = head.loss_by_feat(*outs, gts, metas, None)
    # the box of the first is exact; the second's height is short
    share = torch.tensor(0.71).double()
    dy, dh = 0.5 * (1 - share) / share, -share.log()
    expected = (dy + dh - 0.11) / 3  # two positives and one
    torch.testing.assert_close(losses['loss_bbox'], expected)


def test_two_stages_for_images():
    head = build()
    feats, samples = inputs([BOXES, []])
    gts, _, metas = unpack_gt_instances(samples)
    outs = head(feats)
    first, empty = head.get_assignment(outs, gts, metas, stage=1)
    assert (first.assigned_gt == -2).any()  # stage 1 has an ignore zone
    assert first.weight.eq(0).equal(first.assigned_gt == -2)
    assert (empty.assigned_gt == -1).all()
    second, _ = head.get_assignment(outs, gts, metas)
    assert not torch.equal(first.priors, second.priors)
    # each object has at least its best box
    assert set(range(len(BOXES))) <= set(second.assigned_gt.tolist())
    with pytest.raises(ValueError, match='stage must be 1 or 2, got 3'):
        head.get_assignment(outs, gts, metas, stage=3)


@pytest.mark.parametrize('stage', ['assigner', 'align_assigner'])
def test_mmdets_assigner_fits_too(stage):
    feats, samples = inputs([BOXES, BOXES[:2]])
    thresholds = STAGE1 if stage == 'assigner' else STAGE2
    ours = build()
    expected = ours.loss(feats, samples)
    train_cfg = ConfigDict(ours.train_cfg)
    train_cfg[stage] = dict(
        type='MaxIoUAssigner', min_pos_iou=1e-9, **thresholds
    )
    head = build(train_cfg=train_cfg)
    for name, loss in head.loss(feats, samples).items():
        torch.testing.assert_close(loss, expected[name])


def test_official_assigner_gives_class_and_box():
    """Two objects share a best box: its class is that of the last."""
    train_cfg = build().train_cfg
    feats, _ = inputs([[]])
    gts = [[0, 0, 40, 32], [0, 0, 80, 80]]
    samples = inputs([gts])[1]
    gt, _, metas = unpack_gt_instances(samples)
    losses = []
    for kind in ('AlignDetAssigner', 'BatchMaxIoUAssigner'):
        train_cfg = ConfigDict(train_cfg)
        train_cfg['align_assigner'] = dict(type=kind, **STAGE2)
        head = build(train_cfg=train_cfg)
        outs = [list(maps) for maps in head(feats, metas)]
        for level in outs[4]:
            level.copy_(level.new_tensor([140, 100, 150, 110]).view(4, 1, 1))
        outs[4][0][0, :, 0, 0] = torch.tensor([0.0, 0, 48, 48])
        for level in outs[3]:
            level.data.zero_()
        losses.append(head.loss_by_feat(*outs, gt, metas, None))
    torch.testing.assert_close(losses[0]['loss_cls'], losses[1]['loss_cls'])
    # deltas to the own best (40 x 32), or to the last (80 x 80)
    first = torch.tensor([-4 / 48, -8 / 48, 40 / 48, 32 / 48]).double()
    last = torch.tensor([16 / 48, 16 / 48, 80 / 48, 80 / 48]).double()
    for loss, target in zip(losses, (first, last), strict=True):
        target[2:] = target[2:].log()
        target = target.abs()
        small = target < 0.11
        terms = torch.where(small, target**2 / 0.22, target - 0.055)
        torch.testing.assert_close(loss['loss_bbox'], terms.sum() / 2)


def test_degenerate_learned_anchors():
    """Boxes without area can't be references, whatever the assigner says."""
    train_cfg = ConfigDict(build().train_cfg)
    # with min_pos_iou=0 it gives all priors to an object without overlap
    train_cfg['align_assigner'] = dict(
        type='MaxIoUAssigner', min_pos_iou=0, **STAGE2
    )
    head = build(train_cfg=train_cfg)
    feats, samples = inputs([BOXES])
    gts, _, metas = unpack_gt_instances(samples)
    outs = [list(maps) for maps in head(feats, metas)]
    for level in outs[4]:
        level.fill_(0)
    loss = total_loss(head.loss_by_feat(*outs, gts, metas, None))
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in head.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_no_object_at_all():
    head = build()
    losses = head.loss(*inputs([[], []]))
    assert list(losses) == [
        'loss_cls_init',
        'loss_bbox_init',
        'loss_cls',
        'loss_bbox',
    ]
    assert losses['loss_bbox'] == 0 and losses['loss_bbox_init'] == 0
    total_loss(losses).backward()
    for name, parameter in head.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_predictions_refine_the_learned_anchors():
    """With deltas of zero the detections are learned anchors."""
    head = build().eval().float()
    feats, samples = inputs([BOXES, []])
    feats = [x.float() for x in feats]
    torch.nn.init.zeros_(head.align_head.reg.weight)
    torch.nn.init.zeros_(head.align_head.reg.bias)
    with torch.no_grad():
        outs = head(feats, [s.metainfo for s in samples])
        results = head.predict(feats, samples)
    for index, result in enumerate(results):
        assert len(result) > 10
        boxes = torch.cat([m[index].flatten(1).mT for m in outs[4]])
        distance = (result.bboxes[:, None] - boxes).abs().amax(-1)
        nearest = distance.amin(1)
        assert nearest.max() < 1e-3
        scores = [m[index].flatten().sigmoid().max() for m in outs[2]]
        torch.testing.assert_close(result.scores[0], max(scores))


def test_legacy_form_samples_up_to_the_last_pixel():
    """Boxes are exclusive; the official operator wants inclusive ones."""
    stage = dict(
        type='AlignStageHead',
        mid_channels=8,
        kernel_size=3,
        legacy_plus_one=True,
    )
    head = build(align_head=stage, std=1.0)
    feats, samples = inputs([BOXES])
    _, _, cls, _, boxes = head(feats, [s.metainfo for s in samples])
    for x, level, found, stride in zip(
        feats, boxes, cls, STRIDES, strict=True
    ):
        x1, y1, x2, y2 = level.unbind(1)
        assert x1.min() >= 0 and x1.max() <= 159 and x2.min() >= 1
        assert y1.min() >= 0 and y1.max() <= 127 and y2.min() >= 1
        inclusive = torch.stack((x1, y1, x2 - 1, y2 - 1), 1).flatten(2).mT
        expected, _ = head.align_head(x, inclusive, stride)
        torch.testing.assert_close(found, expected)
    assert max(level[:, 2].max() for level in boxes) == 160
    assert max(level[:, 3].max() for level in boxes) == 128


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (
            dict(
                anchor_generator=dict(
                    type='AnchorGenerator',
                    scales=[4, 8],
                    ratios=[1.0],
                    strides=STRIDES,
                )
            ),
            'one anchor per location .* got 2',
        ),
        (dict(reg_decoded_bbox=True), 'reg_decoded_bbox must be False'),
        (
            dict(loss_cls=dict(type='CrossEntropyLoss')),
            'use_sigmoid must be True',
        ),
        (
            dict(train_cfg=ConfigDict(assigner=dict(**MAX_IOU, **STAGE1))),
            'train_cfg.align_assigner is missing',
        ),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        build(**options)


def test_unknown_keys_are_errors():
    with pytest.raises(TypeError, match='kernel'):
        build(align_head=dict(type='AlignStageHead', kernel=3))
    with pytest.raises(TypeError, match='algn_head'):
        build(algn_head=None)


def test_normalizer_over_processes_of_one_process():
    feats, samples = inputs([BOXES, BOXES[:2]])
    own = build().loss(feats, samples)
    synced = build(sync_normalizer=True).loss(feats, samples)
    for name, loss in own.items():
        torch.testing.assert_close(synced[name], loss)
