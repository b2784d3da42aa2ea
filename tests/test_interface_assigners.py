"""Every assigner of ours, called as mmdet's heads call theirs."""

import pytest
import torch
from helpers import BOXES, make_feats, make_gts, total_loss
from mmdet.models.dense_heads import ATSSHead, DDODHead, GFLHead, RetinaHead
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.registry import MODELS, TASK_UTILS
from mmengine.structures import InstanceData

from mmdet_assigners.models.task_modules.assigners._base import (
    AssignInputs,
    BatchAssigner,
)
from mmdet_assigners.ops.anchor_match import IGNORED
from mmdet_assigners.utils import registered_names

SIZES = (16 * 20, 8 * 10, 4 * 5)
STRIDES = (8, 16, 32)
# the right half of the image, and a corner that covers nothing else
REGIONS = torch.tensor([[80.0, 0, 160, 128], [0, 0, 4, 4]])
THRESHOLDS = dict(pos_iou_thr=0.4, neg_iou_thr=0.3)
OPTIONS = dict(
    AlignDetAssigner=THRESHOLDS,
    BatchMaxIoUAssigner=THRESHOLDS,
    HAMBoxAssigner=THRESHOLDS,
    SSCAssigner=dict(
        regress_ranges=((-1, 32), (32, 64), (64, 1e8)), strides=STRIDES
    ),
    BatchATSSAssigner=dict(topk=4),
)
NEED_LEVELS = (
    'BatchATSSAssigner',
    'BatchGridAssigner',
    'DarknetGridAssigner',
    'SSCAssigner',
)
NAMES = [
    name
    for name, cls in registered_names().items()
    if issubclass(cls, BatchAssigner)
]
# points have no share in a region
WITH_REGIONS = [name for name in NAMES if name != 'BatchPointAssigner']


def build(name, **options):
    return TASK_UTILS.build(
        dict(type=name, **OPTIONS.get(name, {}), **options)
    )


def predictions(name='', jitter=0.0):
    """A square per location and, as mmdet's heads have them, predictions."""
    levels = []
    for stride, size in zip(STRIDES, SIZES, strict=True):
        width = 160 // stride
        index = torch.arange(size)
        x, y = index % width + 0.5, index // width + 0.5
        xy = torch.stack((x, y), 1) * stride
        side = torch.full_like(xy, stride)
        levels.append(
            torch.cat((xy, side), 1)
            if name == 'BatchPointAssigner'
            else torch.cat((xy - 2 * side, xy + 2 * side), 1)
        )
    priors = torch.cat(levels)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(priors.shape, generator=generator)
    if name != 'BatchPointAssigner':
        priors = priors + jitter * noise
    return InstanceData(
        priors=priors,
        bboxes=priors + noise,
        scores=torch.randn(len(priors), 2, generator=generator),
    )


def ground_truths(boxes=BOXES):
    return make_gts([boxes], [[i % 2 for i in range(len(boxes))]])[0]


@pytest.mark.parametrize('name', NAMES)
def test_positions_and_names(name):
    """Whatever the way of the call, the assignment is that of the batch."""
    assigner, pred, gts = build(name), predictions(name), ground_truths()
    ignored = InstanceData(bboxes=torch.zeros(0, 4))
    inputs = AssignInputs(
        pred.priors,
        gts.bboxes[None],
        gts.labels[None],
        torch.ones(1, len(gts), dtype=torch.bool),
        SIZES,
        pred_scores=pred.scores[None],
        pred_boxes=pred.bboxes[None],
    )
    expected = assigner.assign_batch(inputs).gt[0] + 1
    levels = list(SIZES)
    calls = [
        assigner.assign(pred, levels, gts),
        assigner.assign(pred, levels, gts, ignored),
        assigner.assign(pred, levels, gts, gt_instances_ignore=ignored),
        assigner.assign(pred, levels, gt_instances=gts),
        assigner.assign(
            pred_instances=pred,
            num_level_priors=levels,
            gt_instances=gts,
            gt_instances_ignore=None,
        ),
        assigner.assign(pred, gts, num_level_priors=levels),
    ]
    if name not in NEED_LEVELS:
        calls += [
            assigner.assign(pred, gts),
            assigner.assign(pred, gts, None),
            assigner.assign(pred, gts, ignored),
            assigner.assign(pred, gt_instances=gts, img_meta={}),
        ]
    assert (expected > 0).any()
    for result in calls:
        assert isinstance(result, AssignResult)
        assert torch.equal(result.gt_inds, expected)
        assert result.num_gts == len(gts)


def test_wrong_calls():
    assigner, pred, gts = build(NAMES[0]), predictions(), ground_truths()
    with pytest.raises(TypeError, match='needs gt_instances, got None'):
        assigner.assign(pred)
    with pytest.raises(TypeError, match='got gt_instances twice'):
        assigner.assign(pred, gts, gt_instances=gts)
    with pytest.raises(TypeError, match=r'by position, got 4 arguments'):
        assigner.assign(pred, gts, None, 1)


@pytest.mark.parametrize('name', WITH_REGIONS)
@pytest.mark.parametrize('of_priors', [True, False])
def test_ignored_regions(name, of_priors):
    """Priors in a region are those that the head calls invalid."""
    pred, gts = predictions(name), ground_truths()
    assigner = build(name, ignore_iof_thr=0.5, ignore_wrt_candidates=of_priors)
    ignored = InstanceData(bboxes=REGIONS)
    found = assigner.assign(pred, list(SIZES), gts, ignored).gt_inds - 1
    # literal: the share of a prior right of x = 80
    x1, y1, x2, y2 = pred.priors.unbind(1)
    width = (x2.clamp(max=160) - x1.clamp(min=80)).clamp(min=0)
    height = y2.clamp(max=128) - y1.clamp(min=0)
    area = (x2 - x1) * (y2 - y1) if of_priors else 80 * 128
    inside = width * height / area > 0.5
    if not of_priors:  # the corner of 4x4 lies in the first priors
        corner = (x2.clamp(max=4) - x1.clamp(min=0)).clamp(min=0)
        corner = corner * (y2.clamp(max=4) - y1.clamp(min=0)).clamp(min=0)
        inside |= corner / 16 > 0.5
    assert inside.any() and not inside.all()
    assert (found[inside] == IGNORED).all()
    inputs = AssignInputs(
        pred.priors,
        gts.bboxes[None],
        gts.labels[None],
        torch.ones(1, len(gts), dtype=torch.bool),
        SIZES,
        valid=~inside[None],
        pred_scores=pred.scores[None],
        pred_boxes=pred.bboxes[None],
    )
    assert torch.equal(build(name).assign_batch(inputs).gt[0], found)
    off = build(name, ignore_iof_thr=-1)
    without = off.assign(pred, list(SIZES), gts).gt_inds
    assert torch.equal(
        off.assign(pred, list(SIZES), gts, ignored).gt_inds, without
    )


def test_points_have_no_regions():
    with pytest.raises(TypeError, match=r"argument 'ignore_iof_thr'"):
        build('BatchPointAssigner', ignore_iof_thr=0.5)


@pytest.mark.parametrize('neg', [0.4, (0.0, 0.4), (0.1, 0.4), [0.1, 0.3]])
@pytest.mark.parametrize('of_priors', [True, False])
@pytest.mark.parametrize('boxes', [BOXES, []])
def test_equals_max_iou_assigner(neg, of_priors, boxes):
    options = dict(
        pos_iou_thr=0.5,
        min_pos_iou=0.1,
        ignore_iof_thr=0.4,
        ignore_wrt_candidates=of_priors,
    )
    # mmdet knows tuples only
    theirs = tuple(neg) if isinstance(neg, list) else neg
    reference = MaxIoUAssigner(neg_iou_thr=theirs, **options)
    ours = TASK_UTILS.build(
        dict(type='BatchMaxIoUAssigner', neg_iou_thr=neg, **options)
    )
    pred, gts = predictions(jitter=3.0), ground_truths(boxes)
    ignored = InstanceData(bboxes=REGIONS)
    for regions in (ignored, None):
        expected = reference.assign(pred, gts, regions)
        result = ours.assign(pred, gts, regions)
        assert torch.equal(result.gt_inds, expected.gt_inds)
        assert torch.equal(result.labels, expected.labels)
    if boxes:
        assert len(expected.gt_inds.unique()) > 2


def test_grid_assigner_takes_a_pair():
    """As ``GridAssigner``: above the first number, up to the second."""
    gts, pred = ground_truths(), predictions()
    flags = torch.ones(len(pred), dtype=torch.bool)
    pred.responsible_flags = flags
    options = dict(pos_iou_thr=1.0, min_pos_iou=1.0, neg_iou_thr=(0.1, 0.3))
    reference = TASK_UTILS.build(dict(type='GridAssigner', **options))
    ours = TASK_UTILS.build(dict(type='BatchGridAssigner', **options))
    # nothing is positive, so which cells are responsible doesn't matter
    expected = reference.assign(pred, gts).gt_inds
    found = ours.assign(pred, list(SIZES), gts).gt_inds
    assert torch.equal(found, expected)
    assert sorted(found.unique().tolist()) == [-1, 0]


@pytest.mark.parametrize('name', NAMES)
def test_no_boxes_of_a_careless_dataset(name):
    """Boxes of shape (0,) are no boxes."""
    pred, sizes = predictions(name), list(SIZES)
    empty = InstanceData(bboxes=torch.zeros(0), labels=torch.zeros(0))
    found = build(name).assign(pred, sizes, empty, empty)
    assert (found.gt_inds == 0).all()
    assert found.labels.dtype == torch.long


@pytest.mark.parametrize('neg', [(0.4, 0.3), (0.1,), 0.6, (0.1, 0.6)], ids=str)
@pytest.mark.parametrize(
    'name',
    [
        'AlignDetAssigner',
        'BatchMaxIoUAssigner',
        'CenterInGTMaxIoUAssigner',
        'HAMBoxAssigner',
    ],
)
def test_wrong_thresholds(name, neg):
    with pytest.raises(ValueError, match='neg_iou_thr'):
        TASK_UTILS.build(dict(type=name, pos_iou_thr=0.5, neg_iou_thr=neg))


def mmdet_head(cls, assigner, **options):
    torch.manual_seed(0)
    if cls is DDODHead:
        assigners = dict(assigner=assigner, reg_assigner=assigner)
    else:
        assigners = dict(assigner=assigner)
    generator = dict(
        type='AnchorGenerator',
        ratios=[1.0],
        octave_base_scale=4,
        scales_per_octave=1,
        strides=list(STRIDES),
    )
    head = MODELS.build(
        dict(
            type=cls.__name__,
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            anchor_generator=generator,
            train_cfg=dict(**assigners, allowed_border=-1, pos_weight=-1),
            **options,
        )
    )
    head.init_weights()
    return head


GN = dict(type='GN', num_groups=2)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
QFL = dict(type='QualityFocalLoss', use_sigmoid=True)
GIOU = dict(type='GIoULoss')
LD = dict(type='KnowledgeDistillationKLDivLoss', T=10, loss_weight=0.25)
ATSS = dict(type='ATSSAssigner', topk=4)
MAX_IOU = dict(type='MaxIoUAssigner', ignore_iof_thr=0.5, **THRESHOLDS)
# mmdet's heads that call the assigner by position, by name and with levels
HEADS = [
    (RetinaHead, MAX_IOU, dict()),
    (ATSSHead, ATSS, dict(norm_cfg=GN, loss_cls=FOCAL, loss_bbox=GIOU)),
    (GFLHead, ATSS, dict(norm_cfg=GN, loss_cls=QFL, loss_bbox=GIOU)),
    (DDODHead, ATSS, dict(norm_cfg=GN, loss_cls=FOCAL, loss_bbox=GIOU)),
]


@pytest.mark.parametrize(('cls', 'assigner', 'options'), HEADS)
def test_in_heads_of_mmdet(cls, assigner, options):
    """Losses with our assigner are those with its counterpart of mmdet."""
    ours = {**assigner, 'type': f'Batch{assigner["type"]}'}
    feats = make_feats(STRIDES)
    gts = make_gts([BOXES, BOXES[:2]], [[0, 1, 0, 1], [1, 0]])
    metas = [dict(img_shape=(128, 160), pad_shape=(128, 160))] * 2
    ignored = [InstanceData(bboxes=REGIONS), None]
    totals = []
    for each in (ours, assigner):
        head = mmdet_head(cls, each, **options)
        losses = head.loss_by_feat(*head(feats), gts, metas, ignored)
        totals.append(total_loss(losses))
    assert torch.isfinite(totals[0])
    torch.testing.assert_close(*totals)


def test_under_the_distillation_of_mmdet():
    """``LDHead`` assigns by name, with the outputs of a teacher."""
    head = mmdet_head(
        GFLHead,
        dict(type='BatchATSSAssigner', topk=4),
        norm_cfg=GN,
        loss_cls=QFL,
    )
    torch.manual_seed(0)
    student = MODELS.build(
        dict(
            type='LDHead',
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            norm_cfg=GN,
            anchor_generator=dict(
                type='AnchorGenerator',
                ratios=[1.0],
                octave_base_scale=4,
                scales_per_octave=1,
                strides=list(STRIDES),
            ),
            loss_ld=LD,
            loss_cls=QFL,
            loss_bbox=GIOU,
            train_cfg=dict(
                assigner=dict(type='BatchATSSAssigner', topk=4),
                allowed_border=-1,
                pos_weight=-1,
            ),
        )
    )
    feats = make_feats(STRIDES)
    gts = make_gts([BOXES], [[0, 1, 0, 1]])
    metas = [dict(img_shape=(128, 160), pad_shape=(128, 160))]
    feats = [x[:1] for x in feats]
    _, teacher = head(feats)
    losses = student.loss_by_feat(*student(feats), gts, metas, teacher)
    assert total_loss(losses) > 0
