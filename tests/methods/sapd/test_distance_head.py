"""The towers of SAPD's head."""

import pytest
from helpers import initial_bias
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners.small_scale import load_config


def make_head(**options):
    init_default_scope('mmdet')
    config = dict(
        type='SAPDHead',
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=(8, 16, 32),
    )
    return MODELS.build({**config, **options})


def test_options_of_the_towers():
    head = make_head(
        stacked_convs=2,
        conv_bias=False,
        dcn_on_last_conv=True,
        conv_cfg=dict(type='Conv2d'),
    )
    for tower in (head.cls_convs, head.reg_convs):
        first, last = (layer.conv for layer in tower)
        assert first.bias is None
        assert type(first).__name__ == 'Conv2d'
        assert type(last).__name__ == 'ModulatedDeformConv2dPack'
    assert make_head().cls_convs[0].conv.bias is not None


def test_the_overlay_alone_starts_and_clips_as_mmdets_fsaf():
    ours, base = 'sapd_r50_fpn_1x_coco', 'mmdet::fsaf/fsaf_r50_fpn_1x_coco.py'
    mmdets = initial_bias(base, 'retina_reg', mini=True)
    assert initial_bias(ours, 'conv_reg') == pytest.approx(0.1)
    assert initial_bias(ours, 'conv_reg', mini=True) == mmdets == 0.25
    clips = [load_config(n, mini=True).optim_wrapper for n in (ours, base)]
    assert clips[0].clip_grad == clips[1].clip_grad
    assert clips[0].clip_grad.max_norm == 10


def test_bad_distance_bias():
    with pytest.raises(
        ValueError, match=r'distance_bias must be pos.* got -1'
    ):
        make_head(distance_bias=-1)
