"""Partial dense stages."""

import pytest
import torch

from mmdet_assigners.methods.cspnet.dense import (
    PartialDenseStage,
    TwoWayLayer,
)
from mmdet_assigners.methods.cspnet.peleenet import PeleeStage

CFG = (dict(type='BN'), dict(type='LeakyReLU', negative_slope=0.1))


def stage(mode, gamma=0.5, bottleneck=None):
    torch.manual_seed(0)
    return PartialDenseStage(8, 3, 4, gamma, 6, 10, mode, bottleneck).double()


def run(module, t_zero=False):
    if t_zero:
        torch.nn.init.zeros_(module.t.conv.weight)
    x = torch.rand(2, 8, 6, 7, dtype=torch.float64, requires_grad=True)
    module.eval()
    module(x).square().sum().backward()
    return x


@pytest.mark.parametrize('bottleneck', [None, 2])
@pytest.mark.parametrize('gamma', [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize('mode', ['csp', 'fusion_first', 'fusion_last'])
def test_channels(mode, gamma, bottleneck):
    module = stage(mode, gamma, bottleneck)
    out = module(torch.rand(2, 8, 6, 7, dtype=torch.float64))
    bypass = 8 - int(8 * gamma)
    expected = bypass + 6 if mode == 'fusion_last' else 10
    assert module.out_channels == expected
    assert out.shape == (2, expected, 6, 7)


@pytest.mark.parametrize('mode', ['csp', 'fusion_last'])
def test_gradient_of_the_layers_passes_through_t_alone(mode):
    module = stage(mode)
    run(module, t_zero=True)
    for layer in module.layers:
        assert not layer.conv.conv.weight.grad.any()
    module = stage(mode)
    run(module)
    for layer in module.layers:
        assert layer.conv.conv.weight.grad.any()


def test_fusion_first_has_one_transition_for_both_parts():
    module = stage('fusion_first')
    torch.nn.init.zeros_(module.u.conv.weight)
    x = run(module)
    assert not x.grad.any()
    assert not any(
        layer.conv.conv.weight.grad.any() for layer in module.layers
    )
    # the columns of the bypass alone: nothing reaches the layers
    module = stage('fusion_first')
    module.u.conv.weight.data[:, 4:] = 0
    x = run(module)
    assert x.grad[:, :4].any() and not x.grad[:, 4:].any()
    assert not any(
        layer.conv.conv.weight.grad.any() for layer in module.layers
    )


@pytest.mark.parametrize('mode', ['csp', 'fusion_last'])
def test_bypass_does_not_enter_the_layers(mode):
    module = stage(mode)
    seen = []
    module.layers[0].register_forward_hook(
        lambda _, inputs, out: seen.append(inputs[0])
    )
    x = run(module)
    assert torch.equal(seen[0], x[:, 4:])
    # only the layers' part reaches T
    module = stage(mode)
    x = run(module, t_zero=True)
    assert x.grad[:, :4].any() and not x.grad[:, 4:].any()


def test_narrow_layers_keep_a_channel():
    layer = TwoWayLayer(4, 4, 1, *CFG)
    assert layer(torch.rand(2, 4, 3, 3)).shape == (2, 4, 3, 3)


def test_gamma_is_rounded_down():
    assert PartialDenseStage(7, 1, 2, 0.5, 4, 4).split == [4, 3]


def test_without_a_bypass_it_is_the_plain_stage():
    """All channels inside and one transition: the stage of PeleeNet."""
    torch.manual_seed(0)
    plain = PeleeStage(8, 3, 4, 2, 10, *CFG).eval()
    ours = PartialDenseStage(
        8, 3, 4, 1.0, 0, 10, 'fusion_first', 2, *CFG
    ).eval()
    state = {
        name.replace('transition.', 'u.'): value
        for name, value in plain.state_dict().items()
    }
    ours.load_state_dict(state)
    x = torch.rand(2, 8, 6, 7)
    assert torch.equal(ours(x), plain(x))


@pytest.mark.parametrize(
    ('mode', 'widths', 'name'),
    [
        ('csp', {}, 't_channels'),
        ('csp', dict(t_channels=6), 'u_channels'),
        ('fusion_first', dict(t_channels=6), 'u_channels'),
        ('fusion_last', dict(u_channels=6), 't_channels'),
    ],
)
def test_refuses_no_width(mode, widths, name):
    with pytest.raises(ValueError, match=f'{name} must be positive with mode'):
        PartialDenseStage(8, 2, 4, mode=mode, **widths)
