"""Pooling, dense head and RoI head of D2Det."""

import pytest
import torch
import torch.nn.functional as F
from helpers import BOXES, demo_batch, losses_of, mini_config, total_loss
from mmdet.registry import MODELS
from mmengine.structures import InstanceData
from torch import nn

from mmdet_assigners.methods.d2det.head import D2DetHead
from mmdet_assigners.methods.d2det.pooling import (
    DiscriminativeRoIPool,
    WeightedPool,
)
from mmdet_assigners.utils import config_path

CONFIG = config_path('d2det_r50_fpn_2x_coco')
RELEASED = config_path('d2det-released_r50_fpn_2x_coco')


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator)


def test_weighted_pool_starts_as_an_average():
    """Of 3x3 cells; those outside do not count."""
    x = noise(2, 4, 14, 14)
    expected = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(WeightedPool(4)(x), expected)


def test_weighted_pool_stays_in_its_window():
    pool = WeightedPool(4)
    nn.init.normal_(pool.weight.conv.weight)
    x = noise(2, 4, 14, 14)
    out = pool(x)
    most = F.max_pool2d(x, 3, 2, 1)
    least = -F.max_pool2d(-x, 3, 2, 1)
    assert (out <= most + 1e-4).all() and (out >= least - 1e-4).all()
    assert not torch.allclose(out, WeightedPool(4)(x), atol=0.1)


def test_weights_do_not_depend_on_a_constant_of_the_norm():
    pool = WeightedPool(1)
    nn.init.constant_(pool.weight.conv.weight, 0)
    pool.weight.conv.weight.data[0, 0, 1, 1] = 1  # the identity
    x = noise(1, 1, 14, 14)
    torch.testing.assert_close(pool(x + 3), pool(x) + 3, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_weights_do_not_overflow(dtype):
    """exp(12) is beyond float16."""
    pool = WeightedPool(4)
    nn.init.normal_(pool.weight.conv.weight, std=10)
    out = pool(noise(2, 4, 14, 14).to(dtype))
    assert out.dtype == dtype and out.isfinite().all()
    with torch.autocast('cpu', torch.bfloat16):
        assert pool(noise(2, 4, 14, 14)).isfinite().all()


@pytest.mark.parametrize('pool_mode', ['aligned', 'legacy'])
def test_pool_outside_the_map(pool_mode):
    pool = DiscriminativeRoIPool(
        7, 1 / 8, in_channels=4, fc_out_channels=8, pool_mode=pool_mode
    )
    rois = torch.tensor([[0, 500.0, 500, 600, 600], [0, 9, 9, 9, 9]])
    out = pool(noise(1, 4, 16, 20), rois)
    assert out.shape == (2, 4, 7, 7)
    assert out.isfinite().all() and (out[0] == 0).all()


def test_pool_refuses():
    with pytest.raises(ValueError, match='pool_mode must be one of'):
        DiscriminativeRoIPool(7, 1 / 8, pool_mode='other')


def dense_head(**options):
    torch.manual_seed(0)
    options = dict(conv_channels=36, num_convs=2) | options
    head = D2DetHead(in_channels=8, **options)
    head.init_weights()
    return head


@pytest.mark.parametrize('variant', ['v1', 'v2'])
@pytest.mark.parametrize('count', [0, 5])
def test_dense_head(variant, count):
    head = dense_head(variant=variant, loss_weight=2.0, iou_floor=0.2)
    reg, logits, feats = head(noise(count, 8, 14, 14))
    assert feats.shape == (count, 36, 7, 7)
    assert reg.shape == (count, 4, 7, 7) and (reg >= 0).all()
    assert logits.shape == (count, 1, 7, 7)
    boxes = torch.tensor([[10.0, 20, 80, 160]]).expand(count, 4)
    losses = head.loss(reg, logits, boxes, boxes + 2)
    assert losses.keys() == {'loss_dense_bbox', 'loss_overlap'}
    total = total_loss(losses)
    assert torch.isfinite(total) and (total > 0) == (count > 0)
    total.backward()
    assert all(p.grad is not None for p in head.parameters())


def test_no_cell_on_the_object():
    """A RoI that is much larger than the object: only overlap is learned."""
    head = dense_head()
    boxes = torch.tensor([[0.0, 0, 200, 200]])
    gts = torch.tensor([[150.0, 150, 152, 152]])
    losses = head.loss(*head(noise(1, 8, 14, 14))[:2], boxes, gts)
    assert losses['loss_dense_bbox'] == 0 and losses['loss_overlap'] > 0
    losses['loss_dense_bbox'].backward()


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(variant='v3'), 'variant must be one of v1, v2'),
        (dict(num_convs=0), 'num_convs must be positive, got 0'),
    ],
)
def test_head_refuses(options, text):
    with pytest.raises(ValueError, match=text):
        dense_head(**options)


def model_of(path=CONFIG, **options):
    cfg = mini_config(path).model
    cfg.roi_head.update(options)
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


@pytest.mark.parametrize('path', [CONFIG, RELEASED])
@pytest.mark.parametrize('boxes', [[BOXES, []], [[], []]])
def test_same_losses_without_objects(path, boxes):
    model = model_of(path).train()
    names = losses_of(model, demo_batch([BOXES, BOXES])).keys()
    losses = losses_of(model, demo_batch(boxes))
    assert losses.keys() == names
    assert torch.isfinite(total_loss(losses))
    if not any(boxes):
        assert losses['loss_dense_bbox'] == losses['loss_overlap'] == 0


def features(batch=1):
    return tuple(
        noise(batch, 64, 128 // s, 160 // s, seed=s) for s in (4, 8, 16, 32)
    )


def test_priors_are_not_jittered_in_place():
    """The classification sees the proposals themselves."""
    model = model_of().train()
    samples = demo_batch([BOXES])['data_samples']
    proposals = [InstanceData(bboxes=torch.tensor(BOXES).float() + 1)]
    head = model.roi_head
    seen = {}
    extract = head.bbox_roi_extractor.forward
    head.bbox_roi_extractor.forward = lambda feats, rois, *args: (
        seen.update(rois=rois.clone()) or extract(feats, rois, *args)
    )
    dense = head._dense_forward

    def spy(x, rois):
        seen['dense'] = rois
        return dense(x, rois)

    head._dense_forward = spy
    head.loss(features(), proposals, samples)
    boxes = torch.tensor(BOXES).float()
    expected = torch.cat((boxes, boxes + 1))
    rows = {tuple(row) for row in seen['rois'][:, 1:].tolist()}
    assert rows == {tuple(row) for row in expected.tolist()}
    moved = {tuple(row) for row in seen['dense'][:, 1:].tolist()}
    assert not rows & moved


def test_number_of_regressed_rois():
    model = model_of().train()
    head = model.roi_head
    head.max_num_reg = 3
    counts = []
    dense = head._dense_forward
    head._dense_forward = lambda x, rois: (
        counts.append(len(rois)) or dense(x, rois)
    )
    losses_of(model, demo_batch([BOXES, BOXES]))
    assert counts == [3]


def refined(fallback='zero', inclusive=False, on=1.0, rescale=False):
    """Boxes of an image of 128x160 whose cells all predict a half."""
    model = model_of(fallback=fallback, inclusive=inclusive).eval()
    head = model.roi_head
    head.test_cfg.score_thr = 0.0
    head.test_cfg.post_nms = None
    for conv, value in (
        (head.d2det_head.conv_reg, 0.5),
        (head.d2det_head.conv_mask, on),
    ):
        nn.init.zeros_(conv.weight)
        nn.init.constant_(conv.bias, value)
    samples = demo_batch([[]])['data_samples']
    for sample in samples:
        sample.set_metainfo(dict(scale_factor=(2.0, 4.0)))
    box = torch.tensor([[20.0, 30, 90, 100]])
    with torch.no_grad():
        (found,) = head.predict(
            features(), [InstanceData(bboxes=box)], samples, rescale
        )
    return found.bboxes


@pytest.mark.parametrize('inclusive', [False, True])
def test_refined_boxes(inclusive):
    """The mean of squares around the centers is the proposal."""
    found = refined(inclusive=inclusive)
    expected = torch.tensor([20.0, 30, 90, 100])
    torch.testing.assert_close(
        found, expected.expand_as(found), rtol=1e-4, atol=1e-3
    )
    small = refined(inclusive=inclusive, rescale=True)
    scale = torch.tensor([2.0, 4, 2, 4])
    torch.testing.assert_close(small * scale, found)


def test_no_cell_on_the_object_at_test():
    assert (refined(on=-1.0) == 0).all()
    found = refined('proposal', on=-1.0)
    expected = torch.tensor([20.0, 30, 90, 100]).expand_as(found)
    torch.testing.assert_close(found, expected)


def test_no_proposal():
    head = model_of().eval().roi_head
    samples = demo_batch([[]])['data_samples']
    none = [InstanceData(bboxes=torch.zeros(0, 4))]
    (found,) = head.predict(features(), none, samples, True)
    assert found.bboxes.shape == (0, 4)


def test_roi_head_refuses():
    cfg = mini_config(CONFIG).model.roi_head
    cfg.bbox_head.with_reg = True
    with pytest.raises(ValueError, match='with_reg of D2DetRoIHead must be'):
        MODELS.build(cfg)
    with pytest.raises(ValueError, match='fallback must be one of'):
        model_of(fallback='none')


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [('jitter', 1.5, r'in \[0, 1\)'), ('max_num_reg', 0, 'at least 1')],
)
def test_roi_head_refuses_in_train_cfg(name, value, expected):
    cfg = mini_config(CONFIG).model
    cfg.train_cfg.rcnn[name] = value
    with pytest.raises(ValueError, match=f'rcnn.{name} must be {expected}'):
        MODELS.build(cfg)
