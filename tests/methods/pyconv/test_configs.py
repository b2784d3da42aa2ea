"""Configs of PyConv: the two that small-scale results compare."""

from pathlib import Path

import torch
from helpers import mini_config
from mmdet.registry import MODELS

from mmdet_assigners.utils import config_path


def test_small_pair_differs_in_the_backbone_alone():
    """Which has the same depth, widths and strides in both."""
    ours, plain = (
        mini_config(Path(config_path(name))).model
        for name in (
            'pyconv_retinanet_r50_fpn_1x_coco',
            'pyconv-off_retinanet_r50_fpn_1x_coco',
        )
    )
    nets = []
    for model in (ours, plain):
        backbone = model.pop('backbone')
        assert not backbone.norm_eval
        assert not backbone.get('init_cfg')
        assert backbone.get('frozen_stages', -1) == -1
        with torch.device('meta'):
            nets.append(MODELS.build(backbone))
    assert ours == plain
    with torch.device('meta'):
        shapes = [
            [out.shape for out in net(torch.zeros(2, 3, 64, 96))]
            for net in nets
        ]
    assert shapes[0] == shapes[1]
    assert nets[0].stage_blocks == nets[1].stage_blocks
    for one, other in zip(*(net.layer2 for net in nets), strict=True):
        for conv in ('conv1', 'conv3'):
            ours, plain = (getattr(block, conv) for block in (one, other))
            assert ours.weight.shape == plain.weight.shape
