"""Box head and RoI heads of TSD."""

import copy
import re

import pytest
import torch
from helpers import (
    BOXES,
    demo_batch,
    losses_of,
    make_feats,
    mini_config,
    total_loss,
)
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.methods.tsd.bbox_head import TSDBBoxHead
from mmdet_assigners.methods.tsd.pyramid import PyramidRoIs
from mmdet_assigners.ops.deform_roi_pool import deform_roi_pool
from mmdet_assigners.utils import config_path

FASTER = config_path('tsd_faster-rcnn_r50_fpn_14e_coco')
CASCADE = config_path('tsd_cascade-rcnn_r50_fpn_21e_coco')
STRIDES = [8, 16, 32]
LOSSES = {
    'loss_cls',
    'loss_bbox',
    'loss_tsd_cls',
    'loss_tsd_bbox',
    'loss_pc_cls',
    'loss_pc_loc',
}


def build(**options):
    torch.manual_seed(0)
    head = TSDBBoxHead(
        in_channels=8,
        fc_out_channels=16,
        num_classes=3,
        offset_channels=12,
        **options,
    )
    head.init_weights()
    return head


def inputs(count=12):
    """Features of RoIs and where they come from."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 80
    side = 20 + 50 * torch.rand(count, 2, generator=generator)
    image = torch.arange(count)[:, None] * 2 // max(count, 1)
    rois = torch.cat((image, corner, corner + side), 1)
    maps = make_feats(STRIDES)
    levels = torch.arange(count) % 3
    x = torch.randn(count, 8, 7, 7, generator=generator)
    return x, PyramidRoIs(maps, STRIDES, rois, levels)


def test_sibling_is_trained_only():
    """In evaluation it isn't run, whatever its weights are."""
    head = build()
    names = {'cls_score', 'bbox_pred'}
    siblings = {f'sibling_{name}' for name in names}
    assert set(head(*inputs()).keys()) == names | siblings
    head.eval()
    expected = head(*inputs())
    assert set(expected.keys()) == names
    for part in (head.shared_fcs, head.fc_cls, head.fc_reg):
        for parameter in part.parameters():
            nn.init.constant_(parameter, float('nan'))
    found = head(*inputs())
    assert all(torch.equal(found[name], expected[name]) for name in names)


@pytest.mark.parametrize('mode', ['aligned', 'legacy'])
@pytest.mark.parametrize('cls_offset', ['pixel', 'proposal', 'none'])
@pytest.mark.parametrize('reg_offset', ['pixel', 'proposal', 'none'])
def test_features_of_each_task(mode, cls_offset, reg_offset):
    head = build(pool_mode=mode, cls_offset=cls_offset, reg_offset=reg_offset)
    x, at = inputs()
    found = head.task_feats(x, at, *head.offsets(x))
    for feats, kind, delta in zip(
        found, (cls_offset, reg_offset), head.offsets(x), strict=True
    ):
        if kind == 'none':
            assert delta is None and feats is x
            continue
        rois = at.rois
        if mode == 'legacy':  # the last pixel
            rois = rois - torch.tensor([0, 0, 0, 1, 1])
        offset = delta if kind == 'proposal' else delta.view(-1, 2, 7, 7)
        expected = deform_roi_pool(
            at.maps,
            rois,
            7,
            [1 / s for s in STRIDES],
            offset,
            at.levels,
            mode=mode,
            sampling_ratio=4,
        )
        torch.testing.assert_close(feats, expected)


def test_a_translation_moves_the_boxes():
    head = build()
    x, at = inputs()
    nn.init.zeros_(head.tsd_fc_reg.weight)
    nn.init.zeros_(head.tsd_fc_reg.bias)
    deltas = head(x, at)['bbox_pred'].view(-1, 3, 4)
    assert (deltas[..., 2:] == 0).all()
    boxes = at.rois[:, 1:]
    moved = head.bbox_coder.decode(boxes, deltas[:, 1])
    sides = boxes[:, 2:] - boxes[:, :2]
    expected = 0.1 * head.offsets(x)[1] * sides
    torch.testing.assert_close(moved[:, :2] - boxes[:, :2], expected)
    torch.testing.assert_close(moved[:, 2:] - boxes[:, 2:], expected)


def test_recomputed_branches_have_the_same_gradients():
    grads = []
    for with_cp in (False, True):
        head = build(with_cp=with_cp)
        x, at = inputs()
        maps = [m.requires_grad_() for m in at.maps]
        x.requires_grad_()
        outs = head(x, at._replace(maps=maps))
        sum((value**2).sum() for value in outs.values()).backward()
        leaves = [x, *maps, *head.parameters()]
        grads.append([leaf.grad for leaf in leaves])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_offsets_start_away_from_zero():
    head = build()
    for delta in head.offsets(inputs()[0]):
        assert delta.abs().mean() > 1e-3
    assert head.tsd_fc_reg.weight.std() < 0.002
    assert (head.offset_fc.bias == 0).all()


def model_of(path=FASTER, **options):
    cfg = mini_config(path)
    heads = cfg.model.roi_head.bbox_head
    for head in heads if isinstance(heads, list) else [heads]:
        head.update(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model.train()


def roi_losses(model, boxes):
    torch.manual_seed(1)
    return losses_of(model, demo_batch(boxes))


@pytest.mark.parametrize(
    ('options', 'missing'),
    [
        ({}, set()),
        (dict(cls_pc_margin=None), {'loss_pc_cls'}),
        (dict(loc_pc_margin=None), {'loss_pc_loc'}),
        (
            dict(cls_pc_margin=None, loc_pc_margin=None, with_sibling=False),
            LOSSES - {'loss_tsd_cls', 'loss_tsd_bbox'},
        ),
        (dict(reg_class_agnostic=True), set()),
    ],
)
def test_losses(options, missing):
    losses = roi_losses(model_of(**options), [BOXES, BOXES[:1]])
    found = {name for name in losses if name in LOSSES}
    assert found == LOSSES - missing
    assert torch.isfinite(total_loss(losses))


def test_the_constraint_trains_only_tsd():
    model = model_of()
    losses = roi_losses(model, [BOXES, BOXES[:1]])
    assert losses['loss_pc_cls'] > 0 and losses['loss_pc_loc'] > 0
    model.zero_grad()
    (losses['loss_pc_cls'] + losses['loss_pc_loc']).backward()
    head = model.roi_head.bbox_head
    for part in (head.shared_fcs, head.fc_cls, head.fc_reg):
        assert all(p.grad is None for p in part.parameters())
    for part in (head.tsd_fc_cls, head.tsd_fc_reg, head.reg_offset_fcs):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters())


def test_the_target_trains_the_translation():
    """loss_tsd_bbox reaches delta_r without a path through features."""
    model = model_of()
    head = model.roi_head.bbox_head
    nn.init.zeros_(head.tsd_fc_reg.weight)
    losses = roi_losses(model, [BOXES, BOXES])
    model.zero_grad()
    losses['loss_tsd_bbox'].backward()
    assert head.reg_offset_fcs[-1].bias.grad.abs().sum() > 0


@pytest.mark.parametrize('path', [FASTER, CASCADE])
@pytest.mark.parametrize('boxes', [[[], []], [BOXES, []]])
def test_same_losses_without_objects(path, boxes):
    model = model_of(path)
    names = roi_losses(model, [BOXES, BOXES]).keys()
    losses = roi_losses(model, boxes)
    assert losses.keys() == names
    if not any(boxes):
        for name, value in losses.items():
            if re.search('loss_pc|loss.*bbox', name) and 'rpn' not in name:
                assert value == 0, name


def test_no_proposal_at_all():
    """Neither proposals nor objects: all losses are there and finite."""
    model = model_of()
    samples = demo_batch([[], []])['data_samples']
    feats = tuple(
        torch.randn(2, 64, 128 // s, 160 // s) for s in (4, 8, 16, 32, 64)
    )
    none = [InstanceData(bboxes=torch.zeros(0, 4)) for _ in samples]
    losses = model.roi_head.loss(feats, copy.deepcopy(none), samples)
    assert losses.keys() >= LOSSES
    total = total_loss(losses)
    assert total == 0
    total.backward()
    model.eval()
    for found in model.roi_head.predict(feats, none, samples):
        assert found.bboxes.shape == (0, 4)


def test_a_proposal_outside_the_image():
    model = model_of().eval()
    feats = tuple(
        torch.randn(1, 64, 128 // s, 160 // s) for s in (4, 8, 16, 32, 64)
    )
    far = torch.tensor([[900.0, 900, 990, 990], [5, 5, 5, 5]])
    outs = model.roi_head._bbox_forward(feats, bbox2roi([far]))
    assert outs['cls_score'].isfinite().all()
    assert outs['bbox_pred'].isfinite().all()


def test_the_next_stage_starts_from_tsd():
    """Without deltas the RoIs of stage 1 are the translated ones of 0."""
    model = model_of(CASCADE).eval()
    head = model.roi_head
    for stage in head.bbox_head:
        nn.init.zeros_(stage.tsd_fc_reg.weight)
        nn.init.zeros_(stage.tsd_fc_reg.bias)
    feats = tuple(
        torch.randn(1, 64, 128 // s, 160 // s) for s in (4, 8, 16, 32, 64)
    )
    boxes = torch.tensor([[40.0, 30, 100, 80], [60, 50, 90, 110]])
    rois = bbox2roi([boxes])
    seen = []
    forward = head._bbox_forward

    def spy(stage, x, rois, **options):
        seen.append(rois)
        return forward(stage, x, rois, **options)

    head._bbox_forward = spy
    with torch.no_grad():
        metas = [dict(img_shape=(128, 160))]
        head._refine_roi(feats, rois, metas, (2,))
        x = head.box_feats(0, feats, rois)[0]
        delta_r = head.bbox_head[0].offsets(x)[1]
    move = 0.1 * delta_r * (boxes[:, 2:] - boxes[:, :2])
    torch.testing.assert_close(seen[1][:, 1:], boxes + move.repeat(1, 2))


def test_bfloat16():
    """Under autocast the losses are float32 and finite."""
    head = build().train()
    x, at = inputs()
    with torch.autocast('cpu', torch.bfloat16):
        outs = head(x, at)
        labels = torch.arange(12) % 4
        losses = head.loss(
            outs['cls_score'],
            outs['bbox_pred'],
            at.rois,
            labels,
            torch.ones(12),
            torch.zeros(12, 4),
            torch.ones(12, 4) * (labels < 3)[:, None],
            num_images=2,
            gt_bboxes=at.rois[:, 1:],
            sibling_cls_score=outs['sibling_cls_score'],
            sibling_bbox_pred=outs['sibling_bbox_pred'],
        )
    for name in ('loss_pc_cls', 'loss_pc_loc'):
        assert losses[name].dtype == torch.float32
    assert torch.isfinite(total_loss(losses))


@pytest.mark.parametrize(
    ('options', 'error', 'text'),
    [
        (dict(cls_pc_margin=1.5), ValueError, 'cls_pc_margin must be 0 to 1'),
        (dict(with_sibling=False), ValueError, 'must be None with with_sibl'),
        (dict(cls_offset='bin'), ValueError, 'cls_offset must be one of'),
        (dict(pool_mode='old'), ValueError, 'pool_mode must be one of'),
        (dict(sampling_ratio=0), ValueError, 'sampling_ratio must be posit'),
        (dict(with_avg_pool=True), ValueError, 'with_avg_pool False'),
        (
            dict(loss_bbox=dict(type='GIoULoss')),
            TypeError,
            'loss_bbox of TSDBBoxHead compares deltas',
        ),
        (
            dict(bbox_coder=dict(type='TBLRBBoxCoder')),
            TypeError,
            'bbox_coder must be a DeltaXYWHBBoxCoder',
        ),
    ],
)
def test_refuses(options, error, text):
    with pytest.raises(error, match=text):
        build(**options)


def test_outside_its_roi_head():
    with pytest.raises(TypeError, match='use it in TSDRoIHead'):
        build()(inputs()[0])


def test_under_an_extractor_of_all_levels():
    cfg = mini_config(FASTER).model
    cfg.roi_head.bbox_roi_extractor.update(
        type='GenericRoIExtractor', aggregation='sum'
    )
    cfg.roi_head.bbox_roi_extractor.pop('finest_scale', None)
    model = MODELS.build(cfg)
    with pytest.raises(TypeError, match='must be a SingleRoIExtractor, got'):
        roi_losses(model, [BOXES, BOXES])


def test_the_constraint_falls_on_one_batch():
    """A few steps on one batch: TSD catches up with the sibling."""
    model = model_of()
    batch = demo_batch([BOXES, BOXES])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    found = []
    for _ in range(30):
        torch.manual_seed(1)
        losses = losses_of(model, copy.deepcopy(batch))
        gap = losses['loss_pc_cls'] + losses['loss_pc_loc']
        found.append(gap.item())
        optimizer.zero_grad()
        total_loss(losses).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 35)
        optimizer.step()
    assert min(found[-5:]) < 0.7 * max(found[:3])
