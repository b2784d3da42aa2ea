"""PS-ResNet and PS-ResNeXt: sizes, weights of plain networks, bad input."""

import copy

import pytest
import torch
from helpers import read_config
from mmdet.models.backbones import ResNet, ResNeXt
from mmdet.registry import MODELS
from mmengine.runner.checkpoint import load_state_dict
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.psconv.backbone import PSResNet, PSResNeXt
from mmdet_assigners.methods.psconv.layers import PSConv2d, PSGConv2d
from mmdet_assigners.methods.psconv.neck import PSFPN
from mmdet_assigners.utils import config_path, config_root

TINY = dict(depth=50, base_channels=8, norm_eval=False)
X101 = dict(groups=32, base_width=4)


def layers_of(model):
    return [m for m in model.modules() if isinstance(m, PSGConv2d)]


def multiply_adds(model, size=224):
    model.eval()
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device='meta'))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize(
    ('plain', 'ours', 'depth', 'stored', 'effective'),
    [
        (ResNet, PSResNet, 50, 29_166_656, 23_508_032),
        (ResNet, PSResNet, 101, 53_172_288, 42_500_160),
        (ResNeXt, PSResNeXt, 101, 43_462_720, 42_128_704),
    ],
)
def test_census(plain, ours, depth, stored, effective):
    """Without the zeros, parameters are those of the plain network."""
    options = X101 if plain is ResNeXt else {}
    paper = dict(mask_mode='paper') if plain is ResNeXt else {}
    with torch.device('meta'):
        model = ours(depth, **options, **paper)
        base = plain(depth=depth, **options)
    parameters = sum(p.numel() for p in model.parameters())
    zeros = sum(9 * int(layer.conv_mask.sum()) for layer in layers_of(model))
    assert parameters == stored
    assert parameters - zeros == effective
    assert sum(p.numel() for p in base.parameters()) == effective
    extra = multiply_adds(model) - multiply_adds(base)
    if plain is ResNet:  # no structural zero is multiplied
        assert extra == 0
    else:  # the dense kernel is, and it has half of the zeros
        assert extra == _dilated_multiply_adds(model)


def _dilated_multiply_adds(model):
    """Of all ``gwconv`` and ``gwconv_shift`` at 224 x 224."""
    total = 0
    for stage in range(4):
        side = 56 // 2**stage
        for block in getattr(model, f'layer{stage + 1}'):
            conv2 = block.conv2
            weights = conv2.gwconv.weight.numel() * 2
            total += weights * side**2
    return total


@pytest.mark.parametrize('size', [(64, 96), (65, 97), (33, 20), (1, 1)])
def test_levels(size):
    """Those of ResNet, for odd sizes and images below the last stride."""
    torch.manual_seed(0)
    ours, base = PSResNet(**TINY), ResNet(**TINY)
    ours.eval()
    base.eval()
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        found, expected = ours(x), base(x)
    assert [y.shape for y in found] == [y.shape for y in expected]
    assert all(torch.isfinite(y).all() for y in found)


@pytest.mark.parametrize('depth', [50, 101, 152])
@pytest.mark.parametrize('cls', [PSResNet, PSResNeXt])
def test_every_bottleneck(cls, depth):
    with torch.device('meta'):
        model = cls(depth)
    convs = [
        block.conv2
        for stage in model.res_layers
        for block in getattr(model, stage)
    ]
    assert {type(conv) for conv in convs} == (
        {PSConv2d} if cls is PSResNet else {PSGConv2d}
    )
    assert len(layers_of(model)) == len(convs) == (depth - 2) // 3
    strides = [conv.stride[0] for conv in convs]
    assert strides.count(2) == 3


def test_caffe_style_and_dcn():
    caffe = PSResNet(**TINY, style='caffe')
    assert caffe.layer2[0].conv2.stride == (1, 1)
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=False)
    stages = (False, False, False, True)
    model = PSResNet(**TINY, dcn=dcn, stage_with_dcn=stages)
    assert not layers_of(model.layer4) and layers_of(model.layer3)


@pytest.mark.parametrize(
    ('cls', 'base', 'options'),
    [
        (PSResNet, ResNet, dict(TINY)),
        (PSResNeXt, ResNeXt, dict(TINY, groups=4, base_width=8)),
    ],
)
def test_starts_as_its_parent(cls, base, options):
    """The same distributions, the residuals of mmdet's blocks included."""
    torch.manual_seed(0)
    ours, plain = cls(**options), base(**options)
    for model in (ours, plain):
        model.init_weights()
    for layer in layers_of(ours):
        weight = layer.conv.weight
        assert not weight[layer.conv_mask.expand_as(weight)].any()
    expected = plain.state_dict()
    for name, value in ours.state_dict().items():
        if name in expected:
            assert torch.equal(value == 0, expected[name] == 0), name
    std = ours.layer4[0].conv2.gwconv.weight.std()
    torch.testing.assert_close(
        std, expected['layer4.0.conv2.weight'].std(), rtol=0.1, atol=0
    )


@pytest.mark.parametrize('apply', [True, False])
def test_base_rate_zeros_make_a_plain_network(apply):
    """At rate 1, without the opposite blocks, it is the plain network."""
    torch.manual_seed(0)
    plain = ResNet(**TINY)
    state = plain.state_dict()
    ours = PSResNet(
        **TINY, dilation=1, from_dense=True, apply_mask_in_forward=apply
    )
    ours.load_state_dict(state)
    for layer in layers_of(ours):
        layer.gwconv_shift.weight.data.zero_()
    for name, value in state.items():
        if name.endswith('.conv2.weight'):
            layer = ours.get_submodule(name.removesuffix('.weight'))
            size = layer.in_channels // 4
            for o in range(4):
                i = (o + 2) % 4
                rows = slice(o * size, (o + 1) * size)
                value[rows, i * size : (i + 1) * size] = 0
    plain.load_state_dict(state)
    x = torch.rand(1, 3, 40, 48)
    for model in (ours, plain):
        model.eval()
    for one, other in zip(ours(x), plain(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
def test_weights_of_a_plain_network(load):
    """Loaded with ``from_dense``, refused without, under both loaders."""
    torch.manual_seed(0)
    state = ResNet(**TINY).state_dict()
    kept = copy.deepcopy(state)
    ours = PSResNet(**TINY, from_dense=True)
    load(ours, state, strict=True)
    own = ours.state_dict()
    assert torch.equal(own['layer1.0.bn2.weight'], kept['layer1.0.bn2.weight'])
    for name in kept:
        assert torch.equal(state[name], kept[name])
        if name.endswith('conv2.weight'):
            stem = name.removesuffix('weight')
            total = sum(
                own[f'{stem}{part}.weight'].sum()
                for part in ('conv', 'gwconv', 'gwconv_shift')
            )
            torch.testing.assert_close(total, kept[name].sum())
    message = (
        r'16 keys .* do not fit PSResNet, layer1\.0\.conv2\.weight to '
        r'layer4\.2\.conv2\.weight; .* with from_dense=True'
    )
    with pytest.raises(ValueError, match=message):
        load(PSResNet(**TINY), state, strict=False)


def test_a_plain_network_of_other_widths():
    state = ResNet(depth=50, base_channels=16).state_dict()
    ours = PSResNet(**TINY, from_dense=True)
    with pytest.raises(ValueError, match=r'weight must be \(8, 8, 3, 3\), go'):
        ours.load_state_dict(state)


@pytest.mark.parametrize('cls', [PSResNet, PSResNeXt])
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=18), r'one of 50, 101, 152, got 18; did you mean 50\?'),
        (dict(depth='x101'), r"152, got 'x101'; did you mean 101\?"),
        (dict(frozen_stages=5), 'frozen_stages must be -1 to 4, got 5'),
        (dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1)), '0 to 2'),
        (dict(num_stages=5), 'num_stages must be 1 to 4, got 5'),
        (dict(out_indices=(0, 4)), r'out_indices .* 0 to 3, got \(0, 4\)'),
        (dict(out_indices=(2, 1)), r'out_indices must increase, got \(2, 1'),
        (dict(out_indices=()), r'out_indices must be .* 0 to 3, got \(\)'),
        (dict(out_indices=(-1,)), r'out_indices must be .* 0 to 3, got \(-1,'),
        (dict(parts=5), 'parts must be even, got 5'),
    ],
)
def test_refuses(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**(TINY | options))


def test_refuses_widths_that_do_not_divide():
    with pytest.raises(ValueError, match=r'multiple .* parts = 4, got 6'):
        PSResNet(50, base_channels=6)
    with pytest.raises(ValueError, match=r'multiple .* parts = 8, got 12'):
        PSResNeXt(50, groups=2, base_width=6)


def test_unknown_arguments_are_errors():
    with pytest.raises(TypeError, match='rates'):
        PSResNet(50, rates=(1, 2))


def test_psfpn():
    """Poly-scale in place of the 3x3 of each level, without a bias."""
    torch.manual_seed(0)
    neck = PSFPN([8, 16], 8, 3, add_extra_convs='on_output')
    neck.init_weights()
    kinds = [type(module.conv) for module in neck.fpn_convs]
    assert kinds == [PSConv2d, PSConv2d, nn.Conv2d]
    names = {n for n in neck.state_dict() if n.startswith('fpn_convs.0')}
    parts = ('conv', 'gwconv', 'gwconv_shift')
    assert names == {f'fpn_convs.0.conv.{part}.weight' for part in parts}
    for layer in layers_of(neck):
        weight = layer.conv.weight
        assert not weight[layer.conv_mask.expand_as(weight)].any()
        assert layer.dilation == (2, 2)
    outs = neck([torch.rand(1, 8, 13, 9), torch.rand(1, 16, 7, 5)])
    assert [y.shape[-2:] for y in outs] == [(13, 9), (7, 5), (4, 3)]
    with pytest.raises(ValueError, match=r'multiple of .* = 4, got 6'):
        PSFPN([8], 6, 1)


PLAIN = 'psconv-plain_faster-rcnn_r50_fpn_1x_coco'
OURS = 'psconv_faster-rcnn_r50_fpn_1x_coco'


def test_the_baseline_differs_in_the_backbone_alone():
    """At full size; and at small scale it has the same depth and width."""
    from mmdet_assigners.small_scale import apply_protocol, apply_small_scale

    ours, plain = (read_config(config_path(name)) for name in (OURS, PLAIN))
    assert ours.model.backbone.type == 'PSResNet'
    ours, plain = (dict(cfg._cfg_dict) for cfg in (ours, plain))
    ours.pop('small'), plain.pop('small')
    ours['model'].pop('backbone'), plain['model'].pop('backbone')
    assert ours == plain
    for overlay in (apply_small_scale, apply_protocol):
        ours, plain = (
            overlay(read_config(config_path(name))) for name in (OURS, PLAIN)
        )
        backbones = [MODELS.build(c.model.backbone) for c in (ours, plain)]
        base = backbones[1].state_dict()
        for name, value in backbones[0].state_dict().items():
            if '.conv2.' not in name:
                assert value.shape == base[name].shape
        for model in backbones:
            assert all(p.requires_grad for p in model.parameters())
            model.train()
            assert model.layer1[0].bn1.training
        for cfg in (ours, plain):
            cfg.model.pop('backbone')
        assert ours.model == plain.model


def test_every_published_row_has_a_config():
    found = {path.stem for path in (config_root() / 'psconv').glob('*.py')}
    for detector in ('faster', 'mask', 'cascade', 'cascade-mask'):
        for net in ('r50', 'r101', 'x101-32x4d'):
            row = f'{detector}-rcnn_{net}_fpn_1x_coco'
            assert {f'psconv_{row}', f'psconv-released_{row}'} <= found
            cfg = read_config(config_path(f'psconv_{row}'))
            assert cfg.optim_wrapper.clip_grad == dict(
                max_norm=35, norm_type=2
            )
            assert cfg.model.rpn_head.loss_bbox.beta == 1 / 9
            heads = cfg.model.roi_head.bbox_head
            for head in heads if isinstance(heads, list) else [heads]:
                assert head.loss_bbox.type == 'SmoothL1Loss'
                assert head.loss_bbox.beta == 1
            assert cfg.param_scheduler[0].start_factor == 1 / 3
