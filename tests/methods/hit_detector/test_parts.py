"""Found backbone, neck and head: census, structure, bad input."""

import math

import pytest
import torch
from helpers import read_config
from mmdet.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.hit_detector.ops import (
    SPACES,
    make_op,
    multiply_adds,
)
from mmdet_assigners.utils import config_path

MAIN = 'hit-detector_faster-rcnn_1x_coco'
# parameters of the official modules; fc_reg has 80 classes here, not 81
CENSUS = {
    'backbone': 13_881_848,
    'neck': 2_715_952,
    'roi_head.bbox_head.SearchHead': 3_301_376,
    'rpn_head': 593_935,
}
FCS = 6_630_805 - 4 * 513
TOTAL = 27_121_864


def count(module):
    return sum(p.numel() for p in module.parameters())


def multiply_adds_of(function, *inputs):
    with FlopCounterMode(display=False) as counter:
        out = function(*inputs)
    return counter.get_total_flops() // 2, out


def test_census():
    cfg = read_config(config_path(MAIN))
    with torch.device('meta'):
        model = MODELS.build(cfg.model).eval()
        found = {name: count(model.get_submodule(name)) for name in CENSUS}
        assert found == CENSUS
        assert count(model) == TOTAL == sum(CENSUS.values()) + FCS
        image = torch.zeros(1, 3, 800, 800)
        backbone, maps = multiply_adds_of(model.backbone, image)
        neck, outs = multiply_adds_of(model.neck, maps)
        head, _ = multiply_adds_of(
            model.roi_head.bbox_head.blocks, torch.zeros(1, 256, 7, 7)
        )
    assert backbone == 22_974_440_000
    assert neck == 12_724_960_000
    assert head == 160_462_848
    assert [m.shape[1] for m in maps] == [48, 96, 256, 2048]
    assert [len(out[0, 0]) for out in outs] == [200, 100, 50, 25, 13]


def test_names_and_spaces():
    assert len(SPACES['backbone']['common']) == 20
    for spaces in SPACES.values():
        for name in (*spaces['common'], *spaces['sub']):
            op = make_op(name, 4, 6, stride=2).eval()
            assert op(torch.rand(2, 4, 9, 6)).shape == (2, 6, 5, 3)


@pytest.mark.parametrize(
    ('name', 'shortcut'),
    [
        ('ir_k3_e3', True),
        ('sd_k3_d2', True),
        ('sep_k3', False),
        ('conv_1x1', False),
        ('skip', True),
    ],
)
def test_shortcuts(name, shortcut):
    """With all weights of norms at zero, what is left is the input."""
    op = make_op(name, 4, 4)
    for parameter in op.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.rand(1, 4, 5, 5)
    assert torch.equal(op(x), x if shortcut else torch.zeros_like(x))


def test_dilations_have_two_names():
    ops = [make_op(f'ir_k3_e3_{letter}2', 4, 4) for letter in 'rd']
    for op in ops:
        assert op.conv2.conv.dilation == op.conv2.conv.padding == (2, 2)


def test_multiply_adds_by_hand():
    # 1x1 to 12 channels, 3x3 depthwise of stride 2, 1x1 to 8
    expected = 6 * 8 * 4 * 12 + 3 * 4 * (12 * 9 + 12 * 8)
    assert multiply_adds('ir_k3_e3', 4, 8, 2, 6, 8) == expected
    assert multiply_adds('skip', 4, 4, 1, 6, 8) == 0


NARROW = dict(
    genotype=('conv3', 'ir_k3_e1', 'skip', 'sep_k3', 'conv1'),
    out_channels=(4, 4, 6, 6, 8),
    strides=(2, 2, 2, 1, 2),
    out_indices=(1, 3, 4),
)


def narrow(**options):
    return MODELS.build(dict(type='HitBackbone', **(NARROW | options)))


@pytest.mark.parametrize('size', [(64, 96), (75, 101), (17, 1), (1, 1)])
def test_images_of_any_size(size):
    """Also smaller than the coarsest stride, and with odd maps."""
    maps = narrow().eval()(torch.rand(2, 3, *size))
    for out, stride in zip(maps, (4, 8, 16), strict=True):
        assert out.shape[2:] == tuple(math.ceil(n / stride) for n in size)
    neck = MODELS.build(
        dict(
            type='HitPAFPN',
            in_channels=[4, 6, 8],
            out_channels=5,
            genotype=['sd_k3_d1'] * 6,
        )
    ).eval()
    outs = neck(maps)
    assert len(outs) == 5
    for out, x in zip(outs, maps, strict=False):
        assert out.shape == (2, 5, *x.shape[2:])


@pytest.mark.parametrize('frozen', [-1, 0, 1, 3])
def test_frozen_stages(frozen):
    net = narrow(frozen_stages=frozen).train()
    last = {-1: -1, 0: 0, 1: 1, 3: 4}[frozen]
    for i, layer in enumerate(net.layers):
        trained = i > last
        assert all(p.requires_grad == trained for p in layer.parameters())
        assert layer.training == trained


def test_other_norms():
    norm_cfg = dict(type='GN', num_groups=2)
    pafpn = neck(genotype=['sd_k3_d1'] * 4, norm_cfg=norm_cfg)
    box_head = head(genotype=['ir_k3_e1'], norm_cfg=norm_cfg)
    for part in (narrow(norm_cfg=norm_cfg), pafpn, box_head):
        types = {type(m).__name__ for m in part.modules()}
        assert 'GroupNorm' in types
        assert 'BatchNorm2d' not in types


def test_norm_eval():
    net = narrow(norm_eval=True).train()
    assert not net.layers[0].bn.training
    assert narrow().train().layers[0].bn.training


@pytest.mark.parametrize('count', [0, 1, 3])
def test_few_rois(count):
    head = MODELS.build(
        dict(
            type='HitBBoxHead',
            in_channels=4,
            fc_out_channels=8,
            num_classes=3,
            genotype=['ir_k3_e1', 'ir_k5_e1'],
        )
    )
    for mode in (True, False):
        head.train(mode)
        scores, deltas = head(torch.rand(count, 4, 7, 7))
        assert scores.shape == (count, 4)
        assert deltas.shape == (count, 12)
    head.train()
    sum(out.sum() for out in head(torch.rand(count, 4, 7, 7))).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_initialization():
    """Kaiming's, in the neck Xavier's; BN is the identity."""
    torch.manual_seed(0)
    neck = MODELS.build(
        dict(type='HitPAFPN', in_channels=[8] * 4, out_channels=64)
    )
    neck.init_weights()
    weight = neck.pa_convs[0].conv.weight
    bound = math.sqrt(6 / (2 * 64 * 9))
    assert 0.99 * bound < weight.abs().max() <= bound
    head = MODELS.build(dict(type='HitBBoxHead', in_channels=64))
    head.init_weights()
    weight = head.SearchHead.cells[0].conv3.conv.weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)


def neck(**options):
    return MODELS.build(
        dict(type='HitPAFPN', in_channels=[4, 4], out_channels=4, **options)
    )


def head(**options):
    return MODELS.build(dict(type='HitBBoxHead', in_channels=4, **options))


@pytest.mark.parametrize(
    ('build', 'options', 'message'),
    [
        (
            narrow,
            dict(genotype=['conv3', 'ir_k3_x3', 'skip', 'sep_k3', 'conv1']),
            r"backbone has .* 'ir_k3_x3'; did you mean ir_k3_e3",
        ),
        (narrow, dict(genotype='ir_k3_e3'), "a list of names .* 'ir_k3_e3'"),
        (narrow, dict(genotype=[3] * 5), 'unknown operation 3'),
        (narrow, dict(genotype=[]), 'at least one operation'),
        (narrow, dict(strides=(2, 2)), 'strides .* each of the 5 .* got 2'),
        (narrow, dict(out_channels=(4,)), 'out_channels .* of the 5'),
        (narrow, dict(out_indices=(1, 5)), r'from 0 to 4, got \(1, 5\)'),
        (narrow, dict(out_indices=(3, 1)), r'ascending .* got \(3, 1\)'),
        (narrow, dict(out_indices=()), r'from 0 to 4, got \(\)'),
        (narrow, dict(frozen_stages=4), 'must be -1 to 3, got 4'),
        (neck, dict(genotype=['skip'] * 3), 'two .* of 2 levels, got 3'),
        (neck, dict(genotype=['sd_k4_d1'] * 4), "'sd_k4_d1'; did you mean"),
        (
            neck,
            dict(genotype=['skip'] * 4, num_outs=1),
            'num_outs must be at least the 2 levels .* got 1',
        ),
        (
            neck,
            dict(genotype=['skip'] * 4, pa_kernel=2),
            'pa_kernel must be odd, got 2',
        ),
        (head, dict(genotype=['ir_k5_e0']), "head has .* 'ir_k5_e0'; did"),
    ],
)
def test_bad_arguments(build, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_wrong_number_of_levels():
    pafpn = neck(genotype=['skip'] * 4)
    with pytest.raises(ValueError, match=r'takes the 2 levels .* got 1'):
        pafpn([torch.rand(1, 4, 4, 4)])


def test_weights_of_a_resnet(tmp_path):
    plain = MODELS.build(dict(type='ResNet', depth=18))
    path = tmp_path / 'resnet18.pth'
    torch.save(plain.state_dict(), path)
    net = narrow(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(ValueError, match=r'keys such as conv1\.weight are of'):
        net.init_weights()
