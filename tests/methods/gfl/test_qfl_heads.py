"""QFL under RetinaNet, SSD and FoveaBox."""

import pytest
import torch
from mmdet.models.losses import QualityFocalLoss
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

SIZE = 64
BOXES = [[[3, 4, 30, 44], [10, 5, 60, 50], [20, 20, 31, 31]], [[1, 1, 60, 63]]]
EMPTY = [BOXES[0], []]
NONE = [[], []]
QFL = dict(type='QualityFocalLoss', use_sigmoid=True)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
UNIFIED = dict(type='GeneralizedFocalLoss', form='quality', use_sigmoid=True)
ASSIGNER = dict(
    type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0
)
TRAIN_CFG = ConfigDict(
    assigner=ASSIGNER,
    sampler=dict(type='PseudoSampler'),
    allowed_border=-1,
    pos_weight=-1,
    smoothl1_beta=1.0,
    neg_pos_ratio=3,
)
RETINA = dict(
    type='QFLRetinaHead',
    feat_channels=8,
    in_channels=8,
    stacked_convs=1,
    anchor_generator=dict(
        type='AnchorGenerator',
        octave_base_scale=4,
        scales_per_octave=1,
        ratios=[0.5, 1.0],
        strides=[8, 16],
    ),
    train_cfg=TRAIN_CFG,
)
SSD = dict(
    type='QFLSSDHead',
    in_channels=(8, 8),
    anchor_generator=dict(
        type='SSDAnchorGenerator',
        scale_major=False,
        strides=[8, 16],
        ratios=[[2], [2, 3]],
        min_sizes=[16, 32],
        max_sizes=[32, 60],
    ),
    train_cfg=TRAIN_CFG,
)
FOVEA = dict(
    type='QFLFoveaHead',
    in_channels=8,
    feat_channels=8,
    stacked_convs=1,
    strides=[8, 16],
    base_edge_list=[16, 40],
    scale_ranges=((1, 34), (30, 2048)),
)


def make_head(cfg, **kwargs):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    head = MODELS.build(dict(num_classes=3, loss_cls=QFL) | cfg | kwargs)
    head.init_weights()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return head.double()


def make_outs(head):
    generator = torch.Generator().manual_seed(1)
    feats = [
        torch.randn(2, 8, SIZE // s, SIZE // s, generator=generator).double()
        for s in (8, 16)
    ]
    return head(feats)


def make_gts(boxes):
    return [
        InstanceData(
            bboxes=torch.tensor(b, dtype=torch.float64).view(-1, 4),
            labels=torch.arange(len(b)) % 3,
        )
        for b in boxes
    ]


def metas():
    shape = dict(img_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE))
    return [dict(shape, scale_factor=(1.0, 1.0))] * 2


def losses_of(head, boxes):
    losses = head.loss_by_feat(
        *make_outs(head), make_gts(boxes), metas(), None
    )
    return {
        name: sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
    }


def expected_qfl(head, boxes, avg_factor):
    """mmdet's loss with the IoU of each positive, one by one."""
    outs, gts = make_outs(head), make_gts(boxes)
    flat = head.flatten(outs, gts, metas())
    gt = head.assign_flat(flat).gt
    decoded = head.decode(flat).detach()
    labels = torch.full(gt.shape, 3)
    scores = torch.zeros(gt.shape, dtype=torch.float64)
    for b, p in (gt >= 0).nonzero():
        own = gts[b][gt[b, p].item()]
        labels[b, p] = own.labels
        scores[b, p] = bbox_overlaps(decoded[b, p][None], own.bboxes)
    return QualityFocalLoss()(
        flat.cls.flatten(0, 1),
        (labels.flatten(), scores.flatten()),
        (gt != -2).double().flatten(),
        avg_factor=avg_factor(gt),
    ), (gt >= 0).sum().item()


def per_image(gt):
    return (gt >= 0).sum(1).clamp(min=1).sum()


@pytest.mark.parametrize('cfg', [RETINA, SSD], ids=['retina', 'ssd'])
@pytest.mark.parametrize(
    'boxes', [BOXES, EMPTY, NONE], ids=['two', 'one empty', 'none']
)
def test_anchor_heads(cfg, boxes):
    head = make_head(cfg)
    losses = losses_of(head, boxes)
    expected, positives = expected_qfl(head, boxes, per_image)
    assert (positives > 0) == any(boxes)
    torch.testing.assert_close(losses['loss_cls'], expected, rtol=1e-7, atol=0)
    unified = losses_of(make_head(cfg, loss_cls=UNIFIED), boxes)
    torch.testing.assert_close(
        unified['loss_cls'], expected, rtol=1e-7, atol=0
    )
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize(
    ('cfg', 'parent', 'loss'),
    [
        (RETINA, 'RetinaHead', FOCAL),
        (SSD, 'SSDHead', None),
        (FOVEA, 'FoveaHead', FOCAL),
    ],
    ids=['retina', 'ssd', 'fovea'],
)
@pytest.mark.parametrize('boxes', [BOXES, EMPTY], ids=['two', 'one empty'])
def test_box_loss_is_the_parents(cfg, parent, loss, boxes):
    ours = make_head(cfg)
    kwargs = dict(num_classes=3) | cfg | dict(type=parent)
    if loss:
        kwargs['loss_cls'] = loss
    theirs = MODELS.build(kwargs).double()
    state = ours.state_dict()
    if parent == 'SSDHead':  # it has a background class
        own = theirs.state_dict()
        state = {k: own[k] if 'cls' in k else v for k, v in state.items()}
    theirs.load_state_dict(state)
    torch.testing.assert_close(
        losses_of(ours, boxes)['loss_bbox'],
        losses_of(theirs, boxes)['loss_bbox'].double(),
        rtol=1e-6,
        atol=1e-9,
    )


def test_ssd_has_no_background():
    head = make_head(SSD)
    assert [c[-1].out_channels for c in head.cls_convs] == [4 * 3, 6 * 3]
    head.test_cfg = ConfigDict(
        nms_pre=50,
        score_thr=0.0,
        min_bbox_size=0,
        nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=20,
    )
    with torch.no_grad():
        results = head.predict_by_feat(
            *[[x.float() for x in maps] for maps in make_outs(head)],
            batch_img_metas=metas(),
        )
    assert [len(result) for result in results] == [20, 20]
    fresh = MODELS.build(dict(SSD, num_classes=3))
    fresh.init_weights()
    bias = fresh.cls_convs[0][-1].bias.sigmoid()
    torch.testing.assert_close(bias, torch.full_like(bias, 0.01))
    assert (fresh.reg_convs[0][-1].bias == 0).all()


@pytest.mark.parametrize(
    'boxes',
    [
        BOXES,
        EMPTY,
        [[[-40, -30, -8, -2], [50, 40, 120, 90]], [[5, 5, 6, 6]]],
    ],
    ids=['two', 'one empty', 'outside and tiny'],
)
def test_fovea_positives_are_mmdets(boxes):
    head = make_head(FOVEA)
    outs, gts = make_outs(head), make_gts(boxes)
    ours = head.get_assignment(outs, gts, metas())
    sizes = [x.shape[-2:] for x in outs[0]]
    priors = head.prior_generator.grid_priors(
        sizes, dtype=torch.float64, device='cpu'
    )
    for result, gt in zip(ours, gts, strict=True):
        # a class of its own for each object
        own = InstanceData(bboxes=gt.bboxes, labels=-1 - torch.arange(len(gt)))
        labels, _ = head._get_targets_single(own, sizes, priors)
        labels = torch.cat([x.flatten() for x in labels])
        expected = torch.where(labels < 0, -1 - labels, -1)
        assert torch.equal(result.assigned_gt, expected)


@pytest.mark.parametrize(
    'boxes', [BOXES, EMPTY, NONE], ids=['two', 'one empty', 'none']
)
def test_fovea(boxes):
    head = make_head(FOVEA)
    head.loss_by_feat(*make_outs(head), make_gts(boxes), metas(), None)
    losses = losses_of(head, boxes)
    outs, gts = make_outs(head), make_gts(boxes)
    flat = head.flatten(outs, gts)
    gt = head.assign_flat(flat)
    edges = torch.tensor([16.0, 40.0]).double()[flat.points.level]
    labels = torch.full(gt.shape, 3)
    scores = torch.zeros(gt.shape, dtype=torch.float64)
    for b, p in (gt >= 0).nonzero():
        own = gts[b][gt[b, p].item()]
        ltrb = flat.reg[b, p].detach().exp() * edges[p]
        xy = flat.points.xy[p]
        box = torch.cat((xy - ltrb[:2], xy + ltrb[2:]))[None]
        labels[b, p] = own.labels
        scores[b, p] = bbox_overlaps(box, own.bboxes)
    expected = QualityFocalLoss()(
        flat.cls.flatten(0, 1),
        (labels.flatten(), scores.flatten()),
        avg_factor=(gt >= 0).sum() + 2,
    )
    torch.testing.assert_close(losses['loss_cls'], expected, rtol=1e-6, atol=0)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize(
    'cfg', [RETINA, SSD, FOVEA], ids=['retina', 'ssd', 'fovea']
)
def test_needs_scores(cfg):
    with pytest.raises(ValueError, match=r'must take .labels, scores.'):
        make_head(cfg, loss_cls=FOCAL)


def test_fovea_needs_a_range_per_level():
    head = make_head(FOVEA, scale_ranges=((1, 34),))
    with pytest.raises(ValueError, match='one pair per level, 2, got 1'):
        losses_of(head, BOXES)
