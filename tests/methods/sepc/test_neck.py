import json
import math
import pickle
from pathlib import Path

import pytest
import torch
from golden_runner import Case, load_adapters
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn
from torch.nn import functional as F

from mmdet_assigners.methods.sepc.neck import SEPC
from mmdet_assigners.methods.sepc.pconv import PConv, integrated_norm
from mmdet_assigners.methods.sepc.scale_aligned_conv import ScaleAlignedConv
from mmdet_assigners.ops.deform_conv import (
    _through_mmcv,
    deform_conv_reference,
)

SIZES = [(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)]


@pytest.fixture(autouse=True)
def seed():
    init_default_scope('mmdet')
    torch.manual_seed(0)


def pyramid(channels=4, batch=2, sizes=SIZES, **kwargs):
    return [torch.randn(batch, channels, *size, **kwargs) for size in sizes]


def noise(module):
    """Random values for what starts at zero."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def test_pconv_by_hand():
    """1x1 center kernels: 1 for same, 10 for finer, 100 for coarser."""
    pconv = PConv(1, 1)
    for conv, value in (
        (pconv.same, 1.0),
        (pconv.finer, 10.0),
        (pconv.coarser, 100.0),
    ):
        nn.init.zeros_(conv.weight)
        conv.weight.data[0, 0, 1, 1] = value
    fine = torch.arange(12.0).reshape(1, 1, 3, 4)
    middle = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    coarse = torch.tensor([[[[7.0]]]])
    outs = pconv([fine, middle, coarse])
    # rows 1, 2, 3; columns 1, 4/3, 5/3, 2 apart: corners are aligned
    up = torch.tensor(
        [
            [1, 4 / 3, 5 / 3, 2],
            [2, 7 / 3, 8 / 3, 3],
            [3, 10 / 3, 11 / 3, 4],
        ]
    )
    torch.testing.assert_close(outs[0][0, 0], fine[0, 0] + 100 * up)
    # every second pixel of the finer level, and 7 everywhere from above
    down = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    torch.testing.assert_close(outs[1][0, 0], middle[0, 0] + 10 * down + 700)
    torch.testing.assert_close(outs[2], torch.tensor([[[[7.0 + 10.0]]]]))


def test_one_level_is_conv_and_relu():
    pconv = noise(PConv(4, 6))
    (x,) = pyramid(sizes=[(7, 5)])
    (out,) = pconv([x])
    conv = pconv.same
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1).relu()
    assert torch.equal(out, expected)


def test_zero_offsets_are_the_plain_convolution():
    plain = SEPC(4, 4, 5, pconv_num=2, ibn=True).double().eval()
    deform = SEPC(
        4, 4, 5, 2, pconv_deform=True, lcconv_deform=True, ibn=True
    ).double()
    deform.eval()
    missing, unexpected = deform.load_state_dict(
        noise(plain).state_dict(), strict=False
    )
    assert not unexpected
    assert all('conv_offset' in name for name in missing)
    # 3 kernels of 2 PConvs and 2 of the tasks, weight and bias each
    assert len(missing) == 2 * (2 * 3 + 2)
    x = pyramid(dtype=torch.double)
    for ours, theirs in zip(deform(x), plain(x), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)


def test_content_shifted_by_a_level_shifts_the_result():
    """Level l of a pyramid is level l - 1 of another one without its first."""
    pconv = noise(PConv(3, 3)).double()
    levels = pyramid(
        3, sizes=[(33, 17), (17, 9), (9, 5), (5, 3)], dtype=torch.double
    )
    whole = pconv(levels)
    upper = pconv(levels[1:])
    torch.testing.assert_close(whole[2], upper[1])
    torch.testing.assert_close(whole[3], upper[2])
    assert not torch.allclose(whole[1], upper[0])  # lost its finer neighbor
    # level 0 is special only when kernels are deformable
    deform = noise(PConv(3, 3, deform=True)).double()
    assert torch.equal(deform(levels)[3], deform(levels[1:])[2])
    assert not torch.allclose(deform(levels)[1], deform(levels[1:])[0])


def test_integrated_norm_is_norm_of_the_concatenation():
    levels = [
        level * scale + scale
        for level, scale in zip(pyramid(), (1, 2, 3, 4, 5), strict=True)
    ]
    norm, peer, each = (nn.BatchNorm2d(4) for _ in range(3))
    outs = integrated_norm(norm, levels)
    joined = torch.cat([x.flatten(2) for x in levels], 2)
    mean = joined.mean((0, 2), keepdim=True)
    var = joined.var((0, 2), correction=0, keepdim=True)
    expected = (joined - mean) / (var + 1e-5).sqrt()
    actual = torch.cat([out.flatten(2) for out in outs], 2)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    assert [out.shape for out in outs] == [x.shape for x in levels]
    peer(joined.unsqueeze(2))
    torch.testing.assert_close(norm.running_var, peer.running_var)
    count = 2 * sum(h * w for h, w in SIZES)
    torch.testing.assert_close(
        norm.running_var, 0.9 + 0.1 * var.flatten() * count / (count - 1)
    )
    per_level = torch.cat([each(x).flatten(2) for x in levels], 2)
    assert (per_level - actual).abs().max() > 0.5
    # evaluation: the running statistics, level by level
    norm.eval()
    for out, x in zip(integrated_norm(norm, levels), levels, strict=True):
        scale = (norm.running_var + 1e-5).rsqrt().view(-1, 1, 1)
        shift = norm.running_mean.view(-1, 1, 1)
        torch.testing.assert_close(out, (x - shift) * scale)


def test_norm_without_running_statistics():
    norm = nn.BatchNorm2d(4, track_running_stats=False).eval()
    levels = pyramid()
    outs = integrated_norm(norm, levels)
    joined = torch.cat([out.flatten(2) for out in outs], 2)
    torch.testing.assert_close(
        joined.mean((0, 2)), torch.zeros(4), atol=1e-5, rtol=0
    )


def test_level_0_does_not_see_the_offsets():
    neck = SEPC(4, 4, 5, 1, pconv_deform=True, lcconv_deform=True)
    noise(neck)
    offsets = [
        parameter
        for name, parameter in neck.named_parameters()
        if 'conv_offset' in name
    ]
    assert len(offsets) == 2 * (3 + 2)
    # level 0 of the last PConv and of the task convs is plain throughout
    cls_feat, reg_feat = neck(pyramid())[0]
    grads = torch.autograd.grad(
        cls_feat.sum() + reg_feat.sum(), offsets, allow_unused=True
    )
    assert all(grad is None for grad in grads)
    cls_feat, reg_feat = neck(pyramid())[1]
    grads = torch.autograd.grad(cls_feat.sum() + reg_feat.sum(), offsets)
    assert all(grad.abs().sum() > 0 for grad in grads)


@pytest.mark.parametrize('shift', [-1, 1])
def test_goldens_notice_a_shifted_level(monkeypatch, shift):
    """The index is that of the output level, not of the input."""
    forward = ScaleAlignedConv.forward
    monkeypatch.setattr(
        ScaleAlignedConv,
        'forward',
        lambda self, level, x: forward(self, max(level + shift, 0), x),
    )
    folder = Path(__file__).parent / 'golden'
    for entry in json.loads((folder / 'manifest.json').read_text())['cases']:
        case = Case.read(folder, entry, 'sepc')
        problems = case.compare(load_adapters()[case.op](case))
        params = case.params
        deform = params.get('part_deform') or params.get('lcconv_deform')
        assert bool(problems) == bool(deform), case.name


@pytest.mark.parametrize('deform', [False, True])
def test_one_weight_for_both_paths(deform):
    conv = ScaleAlignedConv(2, 2, deform=deform)
    nn.init.normal_(conv.bias)
    x = torch.randn(1, 2, 6, 5)
    torch.testing.assert_close(conv(0, x), conv(3, x))
    expected = F.conv2d(x, conv.weight, conv.bias, padding=1)
    assert torch.equal(conv(0, x), expected)


def test_offset_of_one_cell_by_hand():
    """A constant offset (dy, dx) = (1, -2) moves the image."""
    conv = ScaleAlignedConv(1, 1, deform=True)
    nn.init.zeros_(conv.weight)
    conv.weight.data[0, 0, 1, 1] = 1
    conv.bias.data.fill_(0.25)
    conv.conv_offset.bias.data = torch.tensor([1.0, -2.0]).repeat(9)
    x = torch.arange(1.0, 13).reshape(1, 1, 3, 4)
    expected = torch.tensor([[0, 0, 5, 6], [0, 0, 9, 10], [0.0, 0, 0, 0]])
    torch.testing.assert_close(conv(1, x)[0, 0], expected + 0.25)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(1, 1), (1, 2), (2, 1), (2, 2), (1, 6)])
def test_maps_smaller_than_the_kernel(size, stride):
    """The same value as in the middle of a large map of zeros."""
    conv = noise(ScaleAlignedConv(3, 2, stride=stride, deform=True)).double()
    conv.conv_offset.weight.data.mul_(3)
    x = torch.randn(2, 3, *size, dtype=torch.double, requires_grad=True)
    large = F.pad(x, (0, 8, 0, 8))
    out, wide = conv(1, x), conv(1, large)
    assert out.shape[-2:] == tuple((n - 1) // stride + 1 for n in size)
    corner = wide[..., : out.shape[-2], : out.shape[-1]]
    torch.testing.assert_close(out, corner)
    weight = torch.randn_like(out)
    torch.testing.assert_close(
        torch.autograd.grad((out * weight).sum(), x),
        torch.autograd.grad((corner * weight).sum(), x),
    )


def test_gradcheck_of_the_deformable_path():
    conv = noise(ScaleAlignedConv(2, 2, deform=True)).double()
    x = torch.randn(1, 2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: conv(1, x), x)


@pytest.mark.parametrize('batch', [33, 48])
def test_any_batch_size_through_mmcv(batch):
    """Also when its kernel could not split it into chunks of 32."""
    inputs = (
        torch.randn(batch, 2, 4, 5).double(),
        torch.randn(batch, 18, 4, 5).double(),
        torch.randn(3, 2, 3, 3).double(),
    )
    torch.testing.assert_close(
        _through_mmcv(*inputs, 1, 1), deform_conv_reference(*inputs, 1, 1)
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('scale', [0, 3])
def test_slopes_at_whole_numbers(scale, dtype):
    """Offsets start at 0, where left and right slope differ: mmcv's."""
    offset = (scale * torch.randn(2, 18, 7, 9)).round().to(dtype)
    x = torch.randn(2, 3, 7, 9, dtype=dtype)
    weight = torch.randn(2, 3, 3, 3, dtype=dtype)
    grads = []
    for function in (deform_conv_reference, _through_mmcv):
        leaf = offset.clone().requires_grad_()
        function(x, leaf, weight, 1, 1).square().sum().backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    neck = SEPC(4, 4, 5, 2, pconv_deform=True, lcconv_deform=True, ibn=True)
    x = pyramid()
    noise(neck)
    exact = neck(x)
    with torch.autocast('cpu', dtype):
        outs = neck(x)
        loss = sum(map.float().sum() for pair in outs for map in pair)
    loss.backward()
    for pair, reference in zip(outs, exact, strict=True):
        for a, b in zip(pair, reference, strict=True):
            assert a.dtype == dtype
            assert (a.float() - b).abs().mean() < 0.05 * b.abs().mean()
    for name, parameter in neck.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_initialization():
    neck = SEPC(64, 64, 5, 2, pconv_deform=True, lcconv_deform=True, ibn=True)
    neck.init_weights()
    for name, parameter in neck.named_parameters():
        if 'conv_offset' in name or name.endswith('bias'):
            assert not parameter.any(), name
        elif 'norm' in name:
            assert (parameter == 1).all(), name
        else:
            assert abs(parameter.mean()) < 1e-4, name
            assert parameter.std().item() == pytest.approx(0.01, rel=0.03)


def test_head_padding_0_shrinks_the_maps():
    sizes = [(12, 10), (6, 5), (3, 3)]
    neck = SEPC(4, 4, 3, 1, lcconv_deform=True, head_padding=0)
    shapes = [
        [m.shape[-2:] for m in pair] for pair in neck(pyramid(sizes=sizes))
    ]
    assert shapes == [[(10, 8)] * 2, [(4, 3)] * 2, [(1, 1)] * 2]
    with pytest.raises(ValueError, match=r'level 2 is 2x3; with padding 0'):
        neck(pyramid(sizes=[(7, 9), (4, 5), (2, 3)]))


def test_plain_pyramid():
    neck = SEPC(4, 6, 5, pconv_num=2, ibn=True, task_convs=False)
    outs = neck(pyramid())
    assert isinstance(outs, tuple)
    assert [out.shape for out in outs] == [(2, 6, *size) for size in SIZES]
    assert not any('_conv' in name for name, _ in neck.named_parameters())


@pytest.mark.parametrize('ibn', [False, True])
@pytest.mark.parametrize('deform', [False, True])
def test_batched_equals_single(deform, ibn):
    neck = SEPC(4, 4, 5, 2, deform, deform, ibn).double().eval()
    noise(neck)
    x = pyramid(dtype=torch.double)
    for index in range(2):
        single = neck([level[index : index + 1] for level in x])
        for pair, alone in zip(neck(x), single, strict=True):
            for a, b in zip(pair, alone, strict=True):
                torch.testing.assert_close(a[index], b[0])


def test_inputs_stay_untouched():
    neck = SEPC(4, 4, 5, 1, ibn=True)
    x = pyramid()
    before = [level.clone() for level in x]
    neck(x)
    for level, copy in zip(x, before, strict=True):
        assert torch.equal(level, copy)


def conv_macs(module, x):
    """Multiply-adds of the convolutions, by hooks on what they output."""
    total = 0

    def count(conv, inputs, out):
        nonlocal total
        total += out[0, 0].numel() * math.prod(conv.weight.shape)

    hooks = [
        conv.register_forward_hook(count)
        for conv in module.modules()
        if isinstance(conv, nn.Conv2d)
    ]
    module(x)
    for hook in hooks:
        hook.remove()
    return total


def test_flops_match_a_conv_tower():
    # 1280x800: levels of 100x160 to 7x10
    sizes = [(100, 160), (50, 80), (25, 40), (13, 20), (7, 10)]
    x = pyramid(2, batch=1, sizes=sizes)
    area = sum(h * w for h, w in sizes)
    conv = 9 * 2 * 2 * area
    pconv = conv_macs(PConv(2, 2), x) / conv
    assert pconv == pytest.approx(1.5, abs=0.01)
    whole = conv_macs(SEPC(2, 2, 5), x) / conv
    assert whole == pytest.approx(8, abs=0.04)


def test_pickle_and_state_dict():
    neck = SEPC(4, 4, 5, 2, pconv_deform=True, lcconv_deform=True, ibn=True)
    copy = pickle.loads(pickle.dumps(noise(neck)))
    assert list(copy.state_dict()) == list(neck.state_dict())
    names = {name.rsplit('.', 1)[0] for name in neck.state_dict()}
    assert {'pconvs.1.finer', 'pconvs.0.norm', 'cls_conv', 'reg_norm'} <= names


def test_registered():
    cfg = dict(in_channels=4, out_channels=4)
    assert isinstance(MODELS.build(dict(type='PConv', **cfg)), PConv)
    neck = MODELS.build(dict(type='mmdet.SEPC', num_levels=3, **cfg))
    assert isinstance(neck, SEPC)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(num_levels=0), 'num_levels must be >= 1, got 0'),
        (dict(num_levels=5, pconv_num=0), 'pconv_num must be >= 1, got 0'),
        (dict(num_levels=5, head_padding=2), 'head_padding must be 0 or 1'),
        (
            dict(num_levels=5, task_convs=False, lcconv_deform=True),
            'lcconv_deform=True deforms the task convolutions',
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SEPC(4, 4, **arguments)


def test_unknown_key_is_an_error():
    with pytest.raises(TypeError, match='iBN'):
        MODELS.build(
            dict(
                type='SEPC', in_channels=4, out_channels=4, num_levels=5, iBN=1
            )
        )


def test_bad_inputs():
    neck = SEPC(4, 4, 5)
    with pytest.raises(ValueError, match=r'inputs must be 5 levels .*, got 4'):
        neck(pyramid()[:4])
    sizes = [*SIZES[:2], (9, 10), *SIZES[3:]]
    with pytest.raises(
        ValueError,
        match=r'level 2 of levels is 9x10, but must be 8x10.* \(16x20\)',
    ):
        neck(pyramid(sizes=sizes))
