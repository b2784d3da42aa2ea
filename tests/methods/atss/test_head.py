"""ATSSLadderHead: its ends are mmdet's ATSS, RetinaNet and FCOS heads."""

from functools import partial

import pytest
import torch
from mmdet.models.dense_heads import ATSSHead, FCOSHead, RetinaHead
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.atss.head import ATSSLadderHead
from mmdet_assigners.ops.anchor_match import IGNORED

STRIDES = (8, 16, 32)
SHAPES = ((16, 20), (8, 10), (4, 5))
METAS = [
    dict(img_shape=(128, 160), pad_shape=(128, 160), scale_factor=(1.0, 1.0))
] * 2
BOXES = [[8, 10, 30, 34], [40, 20, 100, 90], [5, 60, 155, 84]]
SMOOTH_L1 = dict(type='SmoothL1Loss', beta=0.11, loss_weight=1.0)
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)
GIOU = dict(type='GIoULoss', loss_weight=2.0)
DELTAS = dict(
    type='DeltaXYWHBBoxCoder',
    target_means=[0.0] * 4,
    target_stds=[0.1, 0.1, 0.2, 0.2],
)
MMDET = dict(type='ATSSAssigner', topk=9)
POINT = dict(type='AnchorPointCoder', octave_base_scale=8)
TEST_CFG = ConfigDict(
    nms_pre=1000,
    min_bbox_size=0,
    score_thr=0.05,
    nms=dict(type='nms', iou_threshold=0.6),
    max_per_img=50,
)


def generator(scale=8, count=1, ratios=(1.0,), **options):
    return dict(
        type='AnchorGenerator',
        ratios=list(ratios),
        octave_base_scale=scale,
        scales_per_octave=count,
        strides=list(STRIDES),
        **options,
    )


def build(kind=ATSSLadderHead, assigner='BatchATSSAssigner', **options):
    init_default_scope('mmdet')
    if isinstance(assigner, str):
        assigner = dict(type=assigner)
    cfg = dict(
        num_classes=2,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        norm_cfg=dict(type='GN', num_groups=4),
        loss_cls=FOCAL,
        loss_bbox=GIOU,
        test_cfg=TEST_CFG,
    )
    if kind is not FCOSHead:
        cfg |= dict(
            anchor_generator=generator(),
            bbox_coder=DELTAS,
            train_cfg=ConfigDict(
                assigner=assigner, allowed_border=-1, pos_weight=-1
            ),
        )
    torch.manual_seed(0)
    head = kind(**{**cfg, **options}).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    priors = head.prior_generator
    priors.grid_priors = partial(priors.grid_priors, dtype=torch.float64)
    return head


def feats():
    rng = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, 8, *shape, generator=rng, dtype=torch.float64)
        for shape in SHAPES
    ]


def objects(*images):
    return [
        InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4),
            labels=torch.arange(len(boxes)) % 2,
        )
        for boxes in images
    ]


def in_float32(outs):
    """mmcv's NMS wants it."""
    return [[x.float() for x in out] for out in outs]


def losses(head, outs, gts):
    found = head.loss_by_feat(*outs, gts, METAS, None)
    return {
        name: sum(value) if isinstance(value, list) else value
        for name, value in found.items()
    }


def assert_same_losses(ours, theirs, outs, gts, rtol=1e-9):
    """Values, and gradients of the outputs, in float64."""
    results = []
    for head in (ours, theirs):
        leaves = [
            [x.detach().double().requires_grad_() for x in out] for out in outs
        ]
        found = losses(head, leaves, gts)
        sum(found.values()).backward()
        grads = [x.grad for out in leaves for x in out]
        results.append((found, grads))
    (a, a_grads), (b, b_grads) = results
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].isfinite()
        # mmdet's binary cross entropy computes in float32
        least = 1e-6 if name == 'loss_centerness' else rtol
        torch.testing.assert_close(
            a[name].double(), b[name].double(), rtol=least, atol=1e-12
        )
    for mine, other in zip(a_grads, b_grads, strict=True):
        other = torch.zeros_like(mine) if other is None else other
        torch.testing.assert_close(mine, other, rtol=10 * rtol, atol=1e-12)


@pytest.mark.parametrize('images', [(BOXES, BOXES[:1]), (BOXES, []), ([], [])])
@pytest.mark.parametrize('border', [-1, 0])
def test_all_switches_on_is_the_atss_head_of_mmdet(images, border):
    ours = build()
    theirs = build(ATSSHead, MMDET)
    theirs.load_state_dict(ours.state_dict())
    for head in (ours, theirs):
        head.train_cfg.allowed_border = border
    outs = ours(feats())
    for mine, other in zip(outs, theirs(feats()), strict=True):
        for a, b in zip(mine, other, strict=True):
            assert torch.equal(a.float(), b.float())
    if border < 0 or images[0]:
        assert_same_losses(ours, theirs, outs, objects(*images))


def test_targets_are_those_of_mmdet():
    ours, theirs = build(), build(ATSSHead, MMDET)
    gts = objects(BOXES, BOXES[1:])
    flat = ours.flatten(ours(feats()), gts, METAS)
    gt = ours.assign_flat(flat).gt
    anchors, flags = theirs.get_anchors(SHAPES, METAS, 'cpu')
    targets = theirs.get_targets(anchors, flags, gts, METAS)
    labels, weights, boxes = (torch.cat(t, 1) for t in targets[1:4])
    assert torch.equal(ours.matched_labels(flat, gt), labels)
    assert torch.equal((gt != IGNORED).to(weights), weights)
    positive = gt >= 0
    assert positive.any()
    matched = ours.matched_boxes(flat, gt)
    assert torch.equal(matched[positive], boxes[positive])
    weight = ours._box_weight(flat, gt)[positive]
    centers = flat.batch_anchors[positive]
    target = theirs.centerness_target(centers, boxes[positive])
    torch.testing.assert_close(weight, target, rtol=1e-14, atol=0)


@pytest.mark.parametrize('loss_bbox', [SMOOTH_L1, GIOU])
def test_all_switches_off_is_retinanet(loss_bbox):
    ours = build(
        assigner=dict(
            type='CenterInGTMaxIoUAssigner',
            outside='keep',
            low_quality_own_argmax=False,
        ),
        use_centerness=False,
        use_scale=False,
        norm_cfg=None,
        anchor_generator=generator(4, 2, (0.5, 1.0)),
        loss_bbox=loss_bbox,
    )
    theirs = build(
        RetinaHead,
        dict(
            type='MaxIoUAssigner',
            pos_iou_thr=0.5,
            neg_iou_thr=0.4,
            min_pos_iou=0,
        ),
        norm_cfg=None,
        anchor_generator=generator(4, 2, (0.5, 1.0)),
        loss_bbox=loss_bbox,
        reg_decoded_bbox=loss_bbox is GIOU,
    )
    names = dict(atss_cls='retina_cls', atss_reg='retina_reg')
    state = ours.state_dict()
    for old, new in names.items():
        state = {key.replace(old, new): x for key, x in state.items()}
    theirs.load_state_dict(state)  # nothing is left over
    outs = ours(feats())
    assert len(outs) == 2
    for mine, other in zip(outs, theirs(feats()), strict=True):
        for a, b in zip(mine, other, strict=True):
            assert torch.equal(a.float(), b.float())
    gts = objects(BOXES, [])
    if loss_bbox is SMOOTH_L1:  # mmdet encodes in float32 and needs it
        priors = theirs.prior_generator
        priors.grid_priors = priors.grid_priors.func
        for gt in gts:
            gt.bboxes = gt.bboxes.float()
    assert_same_losses(ours, theirs, outs, gts)


@pytest.mark.parametrize('center', [False, True])
def test_ssc_and_points_are_fcos(center):
    ranges = ((-1, 32), (32, 64), (64, 1e8))
    assigner = dict(type='SSCAssigner', regress_ranges=ranges, margin=0.0)
    if center:
        assigner |= dict(center_radius=1.5, strides=STRIDES)
    ours = build(
        assigner=assigner,
        bbox_coder=POINT,
        anchor_generator=generator(center_offset=0.5),
        official_norm=True,
    )
    theirs = build(
        FCOSHead,
        strides=STRIDES,
        regress_ranges=ranges,
        center_sampling=center,
        norm_on_bbox=True,
        centerness_on_reg=True,
    )
    gts = objects(BOXES, [])
    outs = ours(feats())
    assert all((x >= 0).all() for x in outs[1])
    # mmdet adds float32's epsilon to each normalizer
    assert_same_losses(ours, theirs, outs, gts, 1e-6)
    flat = ours.flatten(outs, gts, METAS)
    gt = ours.assign_flat(flat).gt
    points = theirs.prior_generator.grid_priors(SHAPES, device='cpu')
    labels, boxes = theirs.get_targets(points, gts)
    shape = [(2, -1), (2, -1, 4)]
    labels, boxes = (
        torch.cat([x.view(s) for x in t], 1)
        for t, s in zip((labels, boxes), shape, strict=True)
    )
    assert torch.equal(ours.matched_labels(flat, gt), labels)
    positive = gt >= 0
    encoded = ours.encode(flat, ours.matched_boxes(flat, gt))
    assert positive.sum() > 10
    torch.testing.assert_close(encoded[positive], boxes[positive])


def test_official_norm():
    """Of two images one is empty; mmdet counts a positive for it too."""
    gts = objects(BOXES[:1], [])
    heads = build(official_norm=True), build()
    outs = heads[0](feats())
    official, mmdet = (losses(head, outs, gts) for head in heads)
    flat = heads[0].flatten(outs, gts, METAS)
    gt = heads[0].assign_flat(flat).gt
    count, total = (gt >= 0).sum(), heads[0]._box_weight(flat, gt).sum()
    assert count > 1 and 0 < total
    torch.testing.assert_close(
        official['loss_cls'] / mmdet['loss_cls'], (count + 1) / count.double()
    )
    torch.testing.assert_close(
        official['loss_bbox'] / mmdet['loss_bbox'], total.clamp(min=1) / total
    )


def test_sqrt_score():
    plain, root = build(), build(sqrt_score=True)
    outs = in_float32(plain(feats()))
    for mine, other in zip(
        root.predict_by_feat(*outs, batch_img_metas=METAS),
        plain.predict_by_feat(*outs, batch_img_metas=METAS),
        strict=True,
    ):
        assert len(other) > 5
        torch.testing.assert_close(mine.scores**2, other.scores)
        assert torch.equal(mine.bboxes, other.bboxes)


@pytest.mark.parametrize('use_centerness', [True, False])
@pytest.mark.parametrize('coder', [DELTAS, POINT])
def test_predictions_are_decoded_boxes_in_the_image(use_centerness, coder):
    head = build(use_centerness=use_centerness, bbox_coder=coder)
    outs = in_float32(head(feats()))
    results = head.predict_by_feat(*outs, batch_img_metas=METAS)
    flat = head.flatten(outs, objects([], []), METAS)
    boxes = head.decode(flat)[0]
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, 160)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, 128)
    scores = flat.cls[0].sigmoid()
    if use_centerness:
        scores = scores * flat.others[0][0].sigmoid()
    sides = boxes[:, 2:] - boxes[:, :2]
    scores = scores * (sides > 0).all(1, keepdim=True)  # others are left out
    found = results[0]
    assert len(found) > 5
    best = scores.max()
    torch.testing.assert_close(found.scores[0], best.float())
    row = (scores == best).any(1).nonzero()[0, 0]
    torch.testing.assert_close(found.bboxes[0], boxes[row].float())


def test_default_initialization():
    for coder, bias in ((POINT, 4.0), (DELTAS, 0.0)):
        head = build(bbox_coder=coder)
        head.init_weights()
        assert (head.atss_reg.bias == bias).all()
        torch.testing.assert_close(
            head.atss_cls.bias.sigmoid(), torch.full((2,), 0.01).double()
        )
        assert 0 < head.atss_reg.weight.abs().max() < 0.1


def test_the_box_loss_says_what_it_compares():
    assert build().reg_decoded_bbox
    assert not build(loss_bbox=SMOOTH_L1).reg_decoded_bbox
    assert build(loss_bbox=SMOOTH_L1, reg_decoded_bbox=True).reg_decoded_bbox


def test_switches_of_the_network():
    full = set(build().state_dict())
    bare = set(build(use_centerness=False, use_scale=False).state_dict())
    assert full - bare == {
        'atss_centerness.weight',
        'atss_centerness.bias',
        *(f'scales.{i}.scale' for i in range(3)),
    }
    towers = {f'{x}_convs.0.conv.bias' for x in ('cls', 'reg')}
    assert set(build(conv_bias=True).state_dict()) - full == towers
    dcn = build(dcn_on_last_conv=True, stacked_convs=2)
    kinds = [type(layer.conv).__name__ for layer in dcn.reg_convs]
    assert kinds == ['Conv2d', 'ModulatedDeformConv2dPack']


def test_pos_weight_of_the_classification():
    plain, heavy = build(), build()
    heavy.train_cfg.pos_weight = 3.0
    gts, outs = objects(BOXES, BOXES), plain(feats())
    flat = plain.flatten(outs, gts, METAS)
    gt = plain.assign_flat(flat).gt
    positive = gt >= 0
    terms = plain.loss_cls(
        flat.cls[positive],
        plain.matched_labels(flat, gt)[positive],
        avg_factor=positive.sum(),
    )
    a, b = (losses(head, outs, gts)['loss_cls'] for head in (plain, heavy))
    torch.testing.assert_close(b - a, 2 * terms)


def test_several_anchors_give_as_many_candidates_as_locations():
    """k locations of 3 anchors each: at least the positives of one."""
    gts = objects(BOXES, BOXES)
    positives = []
    for scales, per_location in ((1, True), (3, False), (3, True)):
        head = build(
            assigner=dict(
                type='BatchATSSAssigner', topk_per_location=per_location
            ),
            anchor_generator=generator(8, scales),
        )
        flat = head.flatten(head(feats()), gts, METAS)
        positives.append((head.assign_flat(flat).gt >= 0).sum().item())
    one, mmdet, ours = positives
    assert ours >= one
    assert ours > mmdet


def test_images_show_the_weight_of_the_box_loss():
    head = build()
    found = head.get_assignment(
        head(feats()), objects(BOXES, []), METAS, feats()
    )
    positive = found[0].assigned_gt >= 0
    assert positive.any()
    assert (found[0].weight[positive] < 1).any()
    assert (found[0].weight[~positive] == 1).all()
    assert (found[1].assigned_gt == -1).all()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            dict(sqrt_score=True, use_centerness=False),
            'sqrt_score=True needs use_centerness=True',
        ),
        (
            dict(bbox_coder=POINT, anchor_generator=generator(4, 3)),
            'one anchor per location, the anchor generator makes 3',
        ),
        (
            dict(assigner=MMDET),
            r'train_cfg.assigner must be .* got ATSSAssigner',
        ),
        (
            dict(
                train_cfg=ConfigDict(
                    assigner=dict(type='TopkIoUAssigner'),
                    sampler=dict(
                        type='RandomSampler', num=9, pos_fraction=0.5
                    ),
                )
            ),
            'train_cfg.sampler must be PseudoSampler .* got RandomSampler',
        ),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)
    with pytest.raises(TypeError, match='use_scales'):
        build(use_scales=False)
