"""PyConvSSD: sizes, anchors, levels, and that it learns."""

from pathlib import Path

import pytest
import torch
from helpers import (
    BOXES,
    demo_batch,
    losses_of,
    mini_model,
    read_config,
    total_loss,
)
from mmdet.registry import MODELS

from mmdet_assigners.methods.pyconv.pyconv import PyConv2d
from mmdet_assigners.methods.pyconv.ssd import PyConvSSDHead, PyConvSSDNeck
from mmdet_assigners.utils import config_path

CONFIG = Path(config_path('pyconv_ssd300_r50_coco'))
MAPS = [38, 19, 10, 5, 3, 1]


@pytest.mark.parametrize(
    'config',
    [
        'pyconv-off_ssd300_r50_coco',
        'pyconv_plain-predictors_ssd300_r50_coco',
        'pyconv_ssd300_r50_coco',
        'pyconv_ssd300_r101_coco',
    ],
)
def test_maps_and_anchors(config):
    cfg = read_config(Path(config_path(config)))
    with torch.device('meta'):
        model = MODELS.build(cfg.model).eval()
        feats = model.extract_feat(torch.zeros(1, 3, 300, 300))
        outs = model.bbox_head(feats)
    assert [tuple(x.shape[2:]) for x in feats] == [(n, n) for n in MAPS]
    anchors = [y.shape[1] // 4 * y.shape[2] * y.shape[3] for y in outs[1]]
    assert sum(anchors) == 8732
    for cls, box in zip(*outs, strict=True):
        assert cls.shape[1] == box.shape[1] // 4 * 81


def pyramids(module):
    """Kernel, groups and stride of the levels of each PyConv."""
    return [
        [(c.kernel_size[0], c.groups, c.stride[0]) for c in m.pyconv_levels]
        for m in module.modules()
        if isinstance(m, PyConv2d)
    ]


def test_levels_fall_with_the_maps():
    with torch.device('meta'):
        model = MODELS.build(read_config(CONFIG).model)

    def expected(stride):
        levels = [(3, 1), (5, 4), (7, 8), (9, 16)]
        return [[(*pair, stride) for pair in levels[:n]] for n in (4, 3, 2)]

    assert pyramids(model.neck) == expected(2)
    for branch in (model.bbox_head.cls_convs, model.bbox_head.reg_convs):
        assert pyramids(branch) == expected(1)
        assert [len(layers) for layers in branch] == [2, 2, 2, 1, 1, 1]


def test_one_level_everywhere_is_ssd():
    """Bit for bit."""
    channels = (32, 16, 16)
    options = dict(
        in_channels=channels[:1],
        out_channels=channels,
        level_strides=(2, 1),
        level_paddings=(1, 1),
        norm_cfg=dict(type='BN'),
    )
    head = dict(
        num_classes=2,
        in_channels=channels,
        anchor_generator=dict(
            type='SSDAnchorGenerator',
            scale_major=False,
            strides=[8, 16, 16],
            ratios=[[2]] * 3,
            min_sizes=[8, 16, 32],
            max_sizes=[16, 32, 48],
        ),
    )
    ours = [PyConvSSDNeck(levels=(1, 1), **options)]
    ours.append(PyConvSSDHead(levels=(1, 1, 1), **head))
    theirs = [
        MODELS.build(dict(type='SSDNeck', l2_norm_scale=None, **options)),
        MODELS.build(dict(type='SSDHead', **head)),
    ]
    for one, other in zip(ours, theirs, strict=True):
        other.load_state_dict(one.state_dict())
    x = (torch.rand(2, 32, 8, 8),)
    outs = [head(neck(x)) for neck, head in (ours, theirs)]
    for maps, expected in zip(*outs, strict=True):
        assert len(maps) == 3
        for one, other in zip(maps, expected, strict=True):
            assert torch.equal(one, other)


def test_norm_and_activation_of_predictors():
    cfg = read_config(CONFIG).model.bbox_head
    cfg.update(norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    cfg.pyconv_channels = None
    with torch.device('meta'):
        head = MODELS.build(cfg)
    layer, predictor = head.cls_convs[1]
    assert layer.with_norm and layer.with_activation
    assert layer.out_channels == predictor.in_channels == 512


@pytest.mark.parametrize(
    ('part', 'options', 'message'),
    [
        ('neck', dict(levels=(4, 3, 2)), r'each extra layer \(5\), got \(4'),
        ('neck', dict(levels=(5, 3, 2, 1, 1)), r'levels must be 1 to 4'),
        ('neck', dict(levels=(4, 3, 2, 2, 1)), 'level_paddings 1, got 0'),
        ('bbox_head', dict(levels=(4, 3)), r'each map \(6\), got \(4, 3\)'),
        ('bbox_head', dict(pyconv_channels=50), 'divisible by 4, got 50'),
        ('bbox_head', dict(pyconv_channels=8), 'groups=4 .* 2 output'),
        ('bbox_head', dict(use_depthwise=True), 'excludes use_depthwise'),
    ],
)
def test_bad_arguments(part, options, message):
    cfg = read_config(CONFIG).model[part]
    cfg.update(options)
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


def test_loss_falls():
    model = mini_model(CONFIG).train()
    batch = demo_batch([BOXES, BOXES[:2]])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    losses = []
    for _ in range(8):
        loss = total_loss(losses_of(model, batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
