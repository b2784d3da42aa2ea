"""The towers of SAPD's head."""

from mmdet.registry import MODELS
from mmengine.registry import init_default_scope


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
