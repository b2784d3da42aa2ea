"""Configs and head of SpineNet: schedules, sizes, small scale."""

import copy
import pickle

import pytest
import torch
from helpers import make_feats, make_gts, read_config, total_loss
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import nn

from mmdet_assigners.small_scale import apply_protocol, apply_small_scale
from mmdet_assigners.utils import config_path, config_root

PLAIN = 'spinenet-off_retinanet_r50_fpn_640-350e_coco'
OURS = 'spinenet_retinanet_49_640-350e_coco'


def config(name):
    return read_config(config_path(name))


def names(pattern):
    return sorted(p.stem for p in (config_root() / 'spinenet').glob(pattern))


@pytest.mark.parametrize('name', names('*.py'))
def test_sizes_and_schedules(name):
    """One size in all places; steps 30 and 10 epochs before the end."""
    cfg = config(name)
    *_, size, epochs = name.replace('-', '_').split('_')[:-1]
    size, epochs = (int(size), int(size)), int(epochs.removesuffix('e'))
    train = cfg.train_dataloader.dataset.pipeline
    assert train[2].scale == train[3].crop_size == size
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.pipeline[1].scale == size
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.pad_size_divisor == 128
    (pad,) = preprocessor.batch_augments
    assert pad['size'] == size
    jitter = (0.5, 2.0)
    if '-a_' in name:
        jitter = (0.8, 1.2)
    elif '190_1536' in name:
        jitter = (0.1, 2.0)
    assert train[2].ratio_range == jitter
    assert cfg.train_cfg.max_epochs == epochs
    warmup, steps = cfg.param_scheduler
    assert (warmup.end, steps.end) == (8000, epochs)
    assert steps.milestones == [epochs - 30, epochs - 10]
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (0.07, 4e-5)
    assert cfg.train_dataloader.batch_size * 8 == 64
    assert cfg.auto_scale_lr.base_batch_size == 64
    assert cfg.model.backbone.norm_cfg.type == 'SyncBN'


@pytest.mark.parametrize('name', names('spinenet-c_retinanet_*.py'))
def test_protocol_c(name):
    model = config(name).model
    with torch.device('meta'):
        net = MODELS.build(model.backbone)
        head = MODELS.build(model.bbox_head)
    activations = {type(m.activate) for m in head.cls_convs[0]}
    assert activations == {nn.SiLU} == {type(net.activation)}
    norm = head.reg_convs[4][0].bn
    for bn in (norm, net.conv1.bn):
        assert isinstance(bn, nn.SyncBatchNorm)
        assert (bn.momentum, bn.eps) == (0.003, 1e-4)
    last = net.scale_permuted_blocks['14'][0].drop_path
    assert last.drop_prob == pytest.approx(0.2)
    assert net.endpoint_convs['3'].with_activation
    assert head.loss_cls.gamma == 1.5
    huber = torch.nn.functional.huber_loss
    x, zero = torch.linspace(-1, 1, 9), torch.zeros(9)
    # divided by the coordinates of the positive boxes
    expected = 50 * huber(x, zero, reduction='none', delta=0.1).sum() / 4
    found = head.loss_bbox(x[None], zero[None], avg_factor=1)
    torch.testing.assert_close(found, expected)


def small_head(**options):
    cfg = config(OURS).model.bbox_head
    cfg.update(in_channels=8, feat_channels=8, norm_cfg=dict(type='BN'))
    cfg.train_cfg = config(OURS).model.train_cfg
    cfg.update(options)
    torch.manual_seed(0)
    head = MODELS.build(cfg)
    head.init_weights()
    return head


def test_head_is_its_parent_but_for_the_activation():
    """Bit for bit with ReLU; the losses up to the order of summation."""
    thresholds = dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0)
    assigner = dict(type='MaxIoUAssigner', **thresholds)
    train_cfg = dict(assigner=assigner, allowed_border=-1, pos_weight=-1)
    theirs = small_head(type='RetinaSepBNHead', train_cfg=train_cfg)
    feats = make_feats((8, 16, 32, 64, 128), size=(256, 256))
    for name, same in (('ReLU', True), ('SiLU', False)):
        ours = small_head(act_cfg=dict(type=name))
        ours.load_state_dict(theirs.state_dict())
        found, expected = ours(feats), theirs(feats)
        for outs in zip(found, expected, strict=True):
            for one, other in zip(*outs, strict=True):
                assert torch.equal(one, other) == same
    boxes = [[20, 20, 90, 100], [100, 30, 140, 200]]
    gts = make_gts([boxes, boxes[:1]], [[3, 5], [7]])
    meta = dict(img_shape=(256, 256), pad_shape=(256, 256))
    losses = [
        total_loss(head.loss_by_feat(*expected, gts, [meta] * 2))
        for head in (ours, theirs)
    ]
    torch.testing.assert_close(*losses)


def test_levels_share_weights_but_no_modules():
    head = small_head()
    layers = [m for m in head.modules() if isinstance(m, ConvModule)]
    assert len(layers) == 40
    assert len({id(m.conv) for m in layers}) == 40
    for clone in (head, copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        for branch in (clone.cls_convs, clone.reg_convs):
            for i in range(4):
                assert len({id(level[i].conv.weight) for level in branch}) == 1
    std = head.cls_convs[4][2].conv.weight.std()
    torch.testing.assert_close(std, torch.tensor(0.01), rtol=0.1, atol=0)


@pytest.mark.parametrize('overlay', [apply_small_scale, apply_protocol])
def test_small_pair_differs_in_the_backbone_alone(overlay):
    """Which has the same width, and as many blocks, from random weights."""
    pair = [overlay(config(name)) for name in (OURS, PLAIN)]
    ours, plain = (cfg.model for cfg in pair)
    ours.bbox_head.anchor_generator.pop('octave_base_scale')
    plain.bbox_head.anchor_generator.pop('octave_base_scale')
    for key in ('bbox_head', 'data_preprocessor', 'train_cfg', 'test_cfg'):
        assert ours[key] == plain[key]
    for key in ('train_cfg', 'optim_wrapper', 'param_scheduler'):
        assert pair[0][key] == pair[1][key]
    assert pair[0].train_dataloader == pair[1].train_dataloader
    backbones = [MODELS.build(model.backbone) for model in (ours, plain)]
    for net in backbones:
        net.init_weights()
        net.train()
        assert all(p.requires_grad for p in net.parameters())
        assert any(
            m.training for m in net.modules() if isinstance(m, nn.BatchNorm2d)
        )
    spine, resnet = backbones
    assert spine.conv1.conv.weight.shape == resnet.conv1.weight.shape
    assert spine.init_block1[0].conv3.out_channels == 64
    assert resnet.layer1[0].conv3.out_channels == 64
    neck = MODELS.build(plain.neck)
    x = torch.rand(1, 3, 256, 384)
    for one, other in zip(spine(x), neck(resnet(x)), strict=True):
        assert one.shape == other.shape


def test_images_at_small_scale():
    """320x240, flipped, and padded to multiples of 128."""
    cfg = apply_small_scale(config(OURS))
    train = cfg.train_dataloader.dataset.pipeline
    types = [transform.type for transform in train]
    assert types[2:4] == ['Resize', 'RandomFlip']
    assert train[2].scale == (320, 240)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (320, 240)
    assert cfg.model.data_preprocessor.batch_augments is None
