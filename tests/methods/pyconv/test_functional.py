"""PyConv: splits, merged groups, and the convolution as a dense one."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule

from mmdet_assigners.methods.pyconv.functional import (
    grouped_conv2d,
    merge_groups,
    merged_groups,
    split_channels,
)
from mmdet_assigners.methods.pyconv.pyconv import (
    LevelConv2d,
    NamedPyConv2d,
    PyConv2d,
)


@pytest.mark.parametrize(
    ('levels', 'expected'),
    [(1, (64,)), (2, (32, 32)), (3, (16, 16, 32)), (4, (16, 16, 16, 16))],
)
def test_split(levels, expected):
    assert split_channels(64, levels) == expected


def test_split_errors():
    with pytest.raises(ValueError, match=r'3 levels .* divisible by 4, got 6'):
        split_channels(6, 3)
    for levels in (0, 5):
        with pytest.raises(ValueError, match=f'1 to 4 levels, got {levels}'):
            split_channels(64, levels)


@pytest.mark.parametrize(
    ('out', 'groups', 'expected'),
    [
        (16, 16, 2),  # 9x9 of the first stage
        (16, 8, 2),
        (16, 4, 2),
        (32, 4, 4),  # 5x5 of the second
        (16, 1, 1),
        (4, 4, 1),
        (24, 6, 3),
    ],
)
def test_merged_groups(out, groups, expected):
    assert merged_groups(out, groups) == expected


def test_merge_groups_literal():
    weight = torch.arange(1.0, 9.0).reshape(4, 2, 1, 1)
    merged = merge_groups(weight, 4, 2)[..., 0, 0]
    assert merged.tolist() == [
        [1, 2, 0, 0],
        [0, 0, 3, 4],
        [5, 6, 0, 0],
        [0, 0, 7, 8],
    ]


@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize(
    ('out', 'groups', 'kernel', 'stride', 'dilation'),
    [(16, 16, 9, 1, 1), (16, 8, 7, 2, 1), (12, 4, 5, 1, 2), (8, 8, 3, 3, 1)],
)
def test_merged_equals_grouped(out, groups, kernel, stride, dilation, bias):
    """On a CPU, with gradients."""
    generator = torch.Generator().manual_seed(0)
    options = dict(generator=generator, dtype=torch.float64)
    tensors = [
        torch.randn(2, 32, 11, 14, **options),
        torch.randn(out, 32 // groups, kernel, kernel, **options),
        torch.randn(out, **options) if bias else None,
    ]
    for tensor in tensors:
        if tensor is not None:
            tensor.requires_grad_()
    sizes = [(stride,) * 2, (kernel // 2,) * 2, (dilation,) * 2]
    leaves = [tensor for tensor in tensors if tensor is not None]
    results = []
    for conv in (grouped_conv2d, F.conv2d):
        y = conv(*tensors, *sizes, groups)
        grads = torch.autograd.grad(y.square().sum(), leaves)
        results.append([y, *grads])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_traced_graphs_have_the_groups_of_the_definition():
    """So that multiply-adds are counted, and exported, without zeros."""
    conv = LevelConv2d(16, 16, 9, padding=4, groups=16, bias=False)
    x = torch.rand(1, 16, 8, 8)
    calls = str(torch.jit.trace(conv, x).inlined_graph)
    program = torch.export.export(conv, (x,))
    for graph in (calls, str(program.graph)):
        assert 'diag_embed' not in graph
    torch.testing.assert_close(program.module()(x), conv(x))


def dense(conv, size):
    """The weight of a grouped convolution in a dense one of this size."""
    weight = conv.weight
    kernel = weight.shape[-1]
    full = weight.new_zeros(len(weight), conv.in_channels, size, size)
    outs, ins = len(weight) // conv.groups, conv.in_channels // conv.groups
    low = size // 2 - kernel // 2
    for group in range(conv.groups):
        full[
            group * outs : (group + 1) * outs,
            group * ins : (group + 1) * ins,
            low : low + kernel,
            low : low + kernel,
        ] = weight[group * outs : (group + 1) * outs]
    return full


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('size', [(12, 15), (3, 5), (1, 1)])
def test_is_a_dense_convolution_with_zeros(stride, size):
    """Also where the kernels are larger than the map."""
    torch.manual_seed(0)
    conv = PyConv2d(32, [16, 16, 8, 16], stride=stride, kernels=[3, 5, 7, 9],
                    groups=[1, 4, 8, 16], bias=True).double()  # fmt: skip
    levels = conv.pyconv_levels
    weight = torch.cat([dense(level, 9) for level in levels])
    bias = torch.cat([level.bias for level in levels])
    x = torch.randn(2, 32, *size, dtype=torch.float64)
    expected = F.conv2d(x, weight, bias, stride, padding=4)
    found = conv(x)
    assert found.shape[2:] == tuple(-(-n // stride) for n in size)
    torch.testing.assert_close(found, expected)


def test_official_names():
    names = PyConv2d(64, [32, 32], [3, 5], [1, 4]).state_dict()
    assert list(names) == [f'pyconv_levels.{i}.weight' for i in range(2)]
    named = NamedPyConv2d(64, 64, (3, 5, 7), (1, 4, 8), 2)
    shapes = {name: tuple(w.shape) for name, w in named.state_dict().items()}
    assert shapes == {
        'conv2_1.weight': (16, 64, 3, 3),
        'conv2_2.weight': (16, 16, 5, 5),
        'conv2_3.weight': (32, 8, 7, 7),
    }


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((30, [16, 16], [3, 5], [1, 4]), 'groups=4 .* kernel 5 .* 30 input'),
        ((32, [16, 6], [3, 5], [1, 4]), 'groups=4 .* kernel 5 .* 6 output'),
        ((32, [16, 16], [3, 5], [1, 0]), 'groups=0'),
        ((32, [16, 16], [3, 5], [1]), 'one number per level'),
        ((32, [16], [3, 5], [1, 4]), 'one number per level'),
        ((32, [], [], []), 'one number per level'),
        ((32, [16, 16], [3, 5], 1), 'groups must be one per level, got 1'),
        ((32, [16, 16], [3, 5], [1, 4], 1, 2), 'maps of different sizes'),
        ((32, [16, 16], [3, 4], [1, 4]), 'maps of different sizes'),
        ((32, [16, 16], [3, 5], [1, 4], (1, 2)), 'must be square'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PyConv2d(*arguments)


def test_dilation_of_one_level():
    """The official padding ignores it."""
    conv = PyConv2d(4, [4], [3], [1], dilation=2)
    assert conv(torch.rand(1, 4, 8, 8)).shape[2:] == (6, 6)


def test_in_place_of_a_plain_3x3():
    """``conv_cfg`` of mmcv's layers."""
    levels = ((3, 1), (5, 4))
    layer = ConvModule(
        16,
        32,
        3,
        stride=2,
        padding=1,
        conv_cfg=dict(type='PyConv2d', levels=levels),
        norm_cfg=dict(type='BN'),
    )
    assert isinstance(layer.conv, PyConv2d)
    assert [
        (c.kernel_size[0], c.groups, c.out_channels)
        for c in layer.conv.pyconv_levels
    ] == [(3, 1, 16), (5, 4, 16)]
    assert layer(torch.rand(2, 16, 9, 8)).shape == (2, 32, 5, 4)
    four = ConvModule(64, 64, 3, padding=1, conv_cfg=dict(type='PyConv2d'))
    assert len(four.conv.pyconv_levels) == 4
    for kernel, padding in ((1, 0), (3, 0), (5, 2)):
        with pytest.raises(ValueError, match=f'got kernel {kernel}, padding'):
            ConvModule(
                64,
                64,
                kernel,
                padding=padding,
                conv_cfg=dict(type='PyConv2d'),
            )
    with pytest.raises(ValueError, match='padding=1: the levels'):
        PyConv2d(64, 64, padding=1)
