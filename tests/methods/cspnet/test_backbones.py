"""CSPNet's backbones: census, structure, bad input."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.cspnet.stages import CSPStage, add_shortcut

# parameters and multiply-adds of convolutions for one image, both with the
# classifier of 1000 classes
CENSUS = {
    ('CSPDarknet53', 256): (27_642_184, 6_533_652_480),
    ('CSPResNet', 256): (21_607_848, 4_483_686_400),
    ('CSPResNeXt', 256): (20_557_480, 3_964_616_704),
}
NARROW = dict(
    CSPDarknet53=dict(widen_factor=1 / 8),
    CSPResNet=dict(widen_factor=1 / 8),
    CSPResNeXt=dict(widen_factor=1 / 8, groups=4),
    PeleeNet=dict(widen_factor=1 / 4),
    CSPPeleeNet=dict(widen_factor=1 / 4),
)
WIDTHS = dict(
    CSPDarknet53=(64, 128, 256, 512, 1024),
    CSPResNet=(128, 256, 512, 1024),
    CSPResNeXt=(256, 512, 1024, 2048),
    PeleeNet=(128, 256, 512, 704),
    CSPPeleeNet=(128, 256, 512, 704),
)
for_each_net = pytest.mark.parametrize('name', WIDTHS)


def build(name, **options):
    return MODELS.build(dict(type=name, **options))


def narrow(name, **options):
    torch.manual_seed(0)
    return build(name, **(NARROW[name] | options))


def cost(name, size, **options):
    """Parameters and multiply-adds, with a classifier."""
    last = len(WIDTHS[name]) - 1
    with torch.device('meta'):
        net = build(name, out_indices=(last,), **options)
        with FlopCounterMode(display=False) as counter:
            (out,) = net(torch.zeros(1, 3, size, size))
    params = sum(p.numel() for p in net.parameters())
    width = out.shape[1]
    assert width == WIDTHS[name][last]
    return (
        params + (width + 1) * 1000,
        counter.get_total_flops() // 2 + width * 1000,
    )


@pytest.mark.parametrize(('name', 'size'), CENSUS)
def test_census(name, size):
    assert cost(name, size) == CENSUS[name, size]


def test_mish_and_leaky_have_one_size():
    options = dict(act_cfg=dict(type='Mish'))
    assert cost('CSPResNeXt', 256, **options) == CENSUS['CSPResNeXt', 256]
    net = narrow('CSPResNeXt', **options)
    kinds = {type(m) for m in net.modules() if not list(m.children())}
    assert nn.Mish in kinds and nn.LeakyReLU not in kinds


@pytest.mark.parametrize(
    ('name', 'params', 'flops'),
    [('PeleeNet', 2.79e6, 1.017e9), ('CSPPeleeNet', 2.83e6, 0.888e9)],
)
def test_budget_of_the_small_networks(name, params, flops):
    """The README of the official code rounds them, for 224x224."""
    found = cost(name, 224)
    assert found[0] == pytest.approx(params, rel=0.01)
    assert 2 * found[1] == pytest.approx(flops, rel=0.01)


def test_census_of_peleenet():
    assert cost('PeleeNet', 224) == (2_802_248, 507_757_568)


@for_each_net
@pytest.mark.parametrize('size', [(64, 96), (75, 101), (17, 1), (1, 1)])
def test_levels_of_any_size(name, size):
    """Also of images smaller than the coarsest stride."""
    count = len(WIDTHS[name])
    net = narrow(name, out_indices=range(count)).eval()
    factor = NARROW[name]['widen_factor']
    outs = net(torch.rand(2, 3, *size))
    assert len(outs) == count
    for i, out in enumerate(outs):
        stride = 2 ** (i + 6 - count)
        shape = tuple(math.ceil(n / stride) for n in size)
        assert out.shape == (2, WIDTHS[name][i] * factor, *shape)


@for_each_net
@pytest.mark.parametrize('frozen', [-1, 0, 2])
def test_frozen_stages(name, frozen):
    net = narrow(name, frozen_stages=frozen, norm_eval=False)
    net.train()
    for i, part in enumerate((net.stem, *net.stages)):
        trained = i > frozen
        assert all(p.requires_grad == trained for p in part.parameters())
        norms = [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(m.training == trained for m in norms)


@for_each_net
def test_norm_eval(name):
    net = narrow(name).train()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(m.training for m in norms)
    assert all(p.requires_grad for p in net.parameters())


@for_each_net
def test_every_parameter_gets_a_gradient(name):
    net = narrow(name, norm_eval=False)
    net.init_weights()
    net.train()
    sum(
        out.square().mean() for out in net(torch.rand(2, 3, 64, 64))
    ).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_partial_shortcut():
    """Only the first channels of the output get the input."""
    x, y = torch.rand(1, 2, 3, 3), torch.rand(1, 5, 3, 3)
    out = add_shortcut(x, y)
    assert torch.equal(out[:, :2], x + y[:, :2])
    assert torch.equal(out[:, 2:], y[:, 2:])
    assert torch.equal(add_shortcut(y, x), x + y[:, :2])
    assert torch.equal(add_shortcut(y, y), 2 * y)


def test_two_convolutions_are_one_with_a_split():
    torch.manual_seed(0)
    stage = CSPStage(8, 12, 6, 4, 1, 'resnet').double().eval()
    both = nn.Conv2d(8, 12, 1, bias=False).double()
    both.weight.data = torch.cat(
        [stage.bypass.conv.weight, stage.main.conv.weight]
    ).detach()
    x = torch.randn(2, 8, 5, 5, dtype=torch.float64)
    bypass, main = both(x).split(6, 1)
    torch.testing.assert_close(bypass, stage.bypass.conv(x))
    torch.testing.assert_close(main, stage.main.conv(x))


def test_mmpretrain_variant():
    """Width of the first block, linear splits, pooling and slope."""
    official = build('CSPResNeXt', widen_factor=1 / 8, groups=4)
    other = build(
        'CSPResNeXt', widen_factor=1 / 8, groups=4, variant='mmpretrain'
    )
    assert official.stages[0].main.conv.out_channels == 8
    assert other.stages[0].main.conv.out_channels == 16
    flags = [
        [stage.main.with_activation for stage in net.stages]
        for net in (official, other)
    ]
    assert flags == [[True, False, False, True], [False] * 4]
    assert [net.stem[1].kernel_size for net in (official, other)] == [2, 3]
    slopes = {
        m.negative_slope
        for m in other.modules()
        if hasattr(m, 'negative_slope')
    }
    assert slopes == {0.01}


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('CSPResNet', dict(depth=101), 'depth of CSPResNet must be .* 50'),
        ('CSPResNeXt', dict(depth=5), '5; did you mean 50'),
        (
            'CSPDarknet53',
            dict(variant='mmpre'),
            "got 'mmpre'; did you mean mmpretrain",
        ),
        ('CSPResNet', dict(out_indices=(3, 4)), r'from 0 to 3, got \(3, 4\)'),
        ('CSPResNet', dict(out_indices=()), r'from 0 to 3, got \(\)'),
        ('CSPResNet', dict(out_indices=(2, 1)), r'increase, got \(2, 1\)'),
        ('CSPDarknet53', dict(out_indices=(5,)), r'from 0 to 4, got \(5,\)'),
        ('CSPDarknet53', dict(frozen_stages=6), '-1 to 5, got 6'),
        ('PeleeNet', dict(frozen_stages=-2), '-1 to 4, got -2'),
        ('PeleeNet', dict(widen_factor=0), 'must be positive, got 0'),
        ('CSPResNeXt', dict(widen_factor=-1), 'must be positive, got -1'),
        (
            'CSPResNeXt',
            dict(widen_factor=1 / 8),
            'groups=32 must divide .* mid_channels is 16',
        ),
        ('CSPPeleeNet', dict(mode='fusion'), 'did you mean fusion_'),
        ('CSPPeleeNet', dict(gamma=0), r'gamma must be in \(0, 1\]'),
        ('CSPPeleeNet', dict(t_channels=(64,)), r'4 numbers, .* got \[64\]'),
    ],
)
def test_bad_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_weights_of_a_plain_resnet(prefix):
    """One line, instead of a network that stays at random."""
    plain = build('ResNet', depth=18, base_channels=8).state_dict()
    state = {prefix + name: value for name, value in plain.items()}
    net = narrow('CSPResNet')
    if prefix:
        net = nn.ModuleDict(dict(backbone=net))
    message = (
        rf'none of \d+ keys such as {prefix}conv1.weight is one of CSPResNet, '
        r'which has stem\.0\.conv\.weight'
    )
    with pytest.raises(ValueError, match=message):
        net.load_state_dict(state, strict=False)
