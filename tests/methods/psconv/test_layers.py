"""Poly-scale convolutions against a sum of dense ones, and their zeros."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, build_conv_layer
from mmdet.models.dense_heads import RetinaHead
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.psconv.functional import mask_blocks, split_dense
from mmdet_assigners.methods.psconv.layers import PSConv2d, PSGConv2d


def rate_matrix(parts, dilation):
    """Of output by input blocks, the rule spelled out."""
    rates = torch.ones(parts, parts, dtype=torch.int64)
    for out in range(parts):
        rates[out, out] = dilation
        rates[out, (out + parts // 2) % parts] = 2 * dilation
    return rates


def dense_sum(layer, x):
    """One channel pair after the other would do the same, only slower."""
    groups, parts, dilation = layer.groups, layer.parts, layer.dilation[0]
    own, opposite = layer.gwconv.weight, layer.gwconv_shift.weight
    size_out = layer.out_channels // groups // parts
    size_in = layer.in_channels // groups // parts
    out = 0
    for o in range(groups * parts):
        group, block = divmod(o, parts)
        rows = slice(o * size_out, (o + 1) * size_out)
        total = 0
        for i, rate in enumerate(rate_matrix(parts, dilation)[block]):
            start = (group * parts + i) * size_in
            inputs = x[:, start : start + size_in]
            if block == i:
                weight = own[rows]
            elif (block - i) % parts == parts // 2:
                weight = opposite[rows]
            else:
                columns = slice(i * size_in, (i + 1) * size_in)
                weight = layer.conv.weight[rows, columns]
            total = total + F.conv2d(
                inputs, weight, None, layer.stride, int(rate), int(rate)
            )
        out = out + F.pad(total, _place(rows, layer.out_channels))
    return out


def _place(rows, channels):
    return (0, 0, 0, 0, rows.start, channels - rows.stop)


def test_the_pattern_of_the_paper():
    """{1, d, 1, 2d}, shifted by one for each output block; d = 2."""
    assert rate_matrix(4, 2).tolist() == [
        [2, 1, 4, 1],
        [1, 2, 1, 4],
        [4, 1, 2, 1],
        [1, 4, 1, 2],
    ]
    dilated = rate_matrix(4, 2) > 1
    assert torch.equal(mask_blocks(1, 4), dilated)
    assert torch.equal(mask_blocks(3, 4), dilated.repeat(3, 1))


@pytest.mark.parametrize('stride', [1, 2, (2, 1)])
@pytest.mark.parametrize(
    ('groups', 'parts'),
    [(1, 2), (1, 4), (1, 6), (1, 8), (2, 4), (4, 4), (3, 6)],
)
def test_equals_the_sum_of_dense_convolutions(groups, parts, stride):
    torch.manual_seed(0)
    blocks = groups * parts
    layer = PSGConv2d(
        2 * blocks,
        3 * blocks,
        3,
        stride,
        dilation=3,
        groups=groups,
        parts=parts,
    ).double()
    x = torch.randn(2, 2 * blocks, 9, 11, dtype=torch.float64)
    x.requires_grad_()
    found, expected = layer(x), dense_sum(layer, x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    cotangent = torch.randn_like(found)
    leaves = [x, *(p for p in layer.parameters() if p.requires_grad)]
    assert len(leaves) == (3 if parts == 2 else 4)
    pairs = [
        torch.autograd.grad((y * cotangent).sum(), leaves)
        for y in (found, expected)
    ]
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('groups', [1, 2, 3])
def test_two_parts_have_no_kernel_of_rate_1(groups):
    """It is stored, but nothing of it is computed or trained."""
    channels = 4 * groups
    layer = PSGConv2d(channels, channels, groups=groups, parts=2, bias=True)
    assert not layer.conv.weight.any()
    names = {n for n, p in layer.named_parameters() if p.requires_grad}
    convs = ('conv', 'gwconv', 'gwconv_shift')
    assert names == {f'{conv}.bias' for conv in convs} | {
        f'{conv}.weight' for conv in convs[1:]
    }
    assert layer.state_dict().keys() == names | {'conv.weight'}
    layer(torch.rand(1, channels, 5, 5)).sum().backward()
    used = {n for n, p in layer.named_parameters() if p.grad is not None}
    assert used == names  # what data parallelism asks for
    with FlopCounterMode(display=False) as counter:
        layer(torch.rand(1, channels, 5, 5))
    macs = 25 * 9 * channels * 4  # those of the plain convolution
    assert counter.get_total_flops() == 2 * macs


def test_official_mask_of_two_parts_may_leave_a_kernel():
    layer = PSGConv2d(16, 16, groups=4, parts=2, mask_mode='official')
    layer(torch.rand(1, 16, 5, 5)).sum().backward()
    assert layer.conv.weight.grad.any()


@pytest.mark.parametrize('shape', [(1, 1), (1, 7), (5, 4)])
def test_small_maps(shape):
    layer = PSConv2d(8, 8).double()
    x = torch.randn(1, 8, *shape, dtype=torch.float64)
    torch.testing.assert_close(layer(x), dense_sum(layer, x))
    assert layer(x[:0]).shape == (0, 8, *shape)


def test_impulse_response_has_the_spacing_of_the_rate():
    layer = PSConv2d(4, 4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1)
    layer.init_weights()
    for i in range(4):
        x = torch.zeros(1, 4, 17, 17)
        x[0, i, 8, 8] = 1
        for o, rate in enumerate(rate_matrix(4, 2)[:, i].tolist()):
            rows, columns = layer(x)[0, o].nonzero().T
            expected = {8 - rate, 8, 8 + rate}
            assert set(rows.tolist()) == set(columns.tolist()) == expected
            assert len(rows) == 9


def test_biases_add_up():
    torch.manual_seed(0)
    layer, plain = PSConv2d(8, 8, bias=True), PSConv2d(8, 8)
    plain.load_state_dict(layer.state_dict(), strict=False)
    x = torch.randn(1, 8, 5, 5)
    total = layer.conv.bias + layer.gwconv.bias + layer.gwconv_shift.bias
    torch.testing.assert_close(layer(x), plain(x) + total[:, None, None])


def hidden(layer):
    """Whether all that is under the mask is exactly zero."""
    weight = layer.conv.weight
    return not weight[layer.conv_mask.expand_as(weight)].any()


LAYERS = [
    lambda: PSConv2d(8, 16),
    lambda: PSGConv2d(32, 32, groups=8, mask_mode='official'),
    lambda: PSGConv2d(32, 32, groups=8),
    lambda: PSConv2d(8, 16, apply_mask_in_forward=False),
]


@pytest.mark.parametrize('make', LAYERS)
def test_zeros_stay_in_training(make):
    torch.manual_seed(0)
    layer = make()
    assert hidden(layer)
    optimizer = torch.optim.SGD(
        layer.parameters(), 0.1, momentum=0.9, weight_decay=0.1
    )
    before = copy.deepcopy(layer.state_dict())
    x = torch.randn(2, layer.in_channels, 6, 6)
    for _ in range(3):
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()
        assert hidden(layer)
    mask = layer.conv_mask.expand_as(layer.conv.weight)
    for name, value in layer.state_dict().items():
        changed = value != before[name]
        assert (changed | mask if name == 'conv.weight' else changed).all()
    clone = copy.deepcopy(layer)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other = make()
    other.load_state_dict(torch.load(buffer))
    for one in (clone, other):
        assert hidden(one)
        assert torch.equal(one(x), layer(x))


@pytest.fixture
def one_process(tmp_path):
    store = distributed.FileStore(str(tmp_path / 'store'), 1)
    distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize('make', [*LAYERS, lambda: PSConv2d(8, 8, parts=2)])
def test_data_parallelism(make, one_process):
    """Every parameter is used, which the second step checks; zeros stay."""
    model = DistributedDataParallel(make())
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    before = model.module.gwconv.weight.clone()
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(1, model.module.in_channels, 6, 6)).sum().backward()
        optimizer.step()
    assert hidden(model.module)
    assert (model.module.gwconv.weight != before).all()


def test_zeros_after_an_initialization():
    layer = PSConv2d(8, 8)
    nn.init.kaiming_normal_(layer.conv.weight)
    assert not hidden(layer)
    x = torch.randn(1, 8, 5, 5)
    before = layer(x)
    layer.init_weights()
    assert hidden(layer)
    assert torch.equal(layer(x), before)  # they never counted


@pytest.mark.parametrize('make', LAYERS[:3])
def test_loading_what_is_under_the_mask(make, monkeypatch):
    """It is taken as zero, with a warning that offers to keep it."""
    lines = []
    monkeypatch.setattr(
        'mmdet_assigners.methods.psconv.layers.print_log',
        lambda message, **_: lines.append(message),
    )
    torch.manual_seed(0)
    layer, other = make(), make()
    other.load_state_dict(layer.state_dict())
    assert not lines
    state = layer.state_dict()
    state['conv.weight'] = torch.randn_like(layer.conv.weight)
    kept = state['conv.weight'].clone()
    other.load_state_dict(state)
    assert hidden(other) and torch.equal(state['conv.weight'], kept)
    assert len(lines) == 1
    assert 'conv.weight: what is under the mask' in lines[0]
    assert 'apply_mask_in_forward=False keeps it' in lines[0]


def test_what_is_under_the_mask_can_count():
    """As in the official code: used, but not trained."""
    torch.manual_seed(0)
    layer = PSConv2d(8, 8, apply_mask_in_forward=False)
    state = layer.state_dict()
    state['conv.weight'] = torch.randn(8, 8, 3, 3)
    layer.load_state_dict(state)
    x = torch.randn(1, 8, 6, 6)
    expected = (
        layer.gwconv(x)
        + layer.conv(x)
        + layer.gwconv_shift(x.roll(4, 1))  # its halves are swapped
    )
    torch.testing.assert_close(layer(x), expected)
    layer(x).sum().backward()
    mask = layer.conv_mask.expand_as(layer.conv.weight)
    assert not layer.conv.weight.grad[mask].any()
    assert layer.conv.weight.grad[~mask].all()


@pytest.mark.parametrize(
    ('groups', 'masked'),
    [
        (1, [0]),
        (4, [0, 1, 2, 3]),
        (8, [0, 2, 4, 6]),
        (32, [0, 8, 16, 24]),
    ],
)
def test_official_mask(groups, masked):
    """Equal for G = 1 and G = P; for G > P most groups have none."""
    paper = mask_blocks(groups, 4).view(groups, 4, 4)
    official = mask_blocks(groups, 4, 'official').view(groups, 4, 4)
    assert paper.sum() == 8 * groups
    own = official.flatten(1).any(1)
    assert own.nonzero().flatten().tolist() == masked
    assert torch.equal(official[own], paper[own])


def test_official_mask_of_fewer_groups_than_parts():
    """The pattern starts at the rows 0 and 2 of 8, the last two have none."""
    official = mask_blocks(2, 4, 'official')
    assert torch.equal(official[:6], mask_blocks(2, 4)[:6])
    assert not official[6:].any()


@pytest.mark.parametrize('mode', ['paper', 'official'])
def test_official_mask_keeps_the_dense_kernel(mode):
    layer = PSGConv2d(128, 128, groups=32, mask_mode=mode)
    masked = int(layer.conv_mask.sum()) * 9
    assert layer.conv.weight.numel() == 4608
    assert masked == (2304 if mode == 'paper' else 288)


@pytest.mark.parametrize(('groups', 'parts'), [(1, 4), (1, 6), (8, 4)])
def test_from_dense(groups, parts):
    """Every number once, in the place of its channels."""
    torch.manual_seed(0)
    channels = 2 * groups * parts
    weight = torch.randn(channels, channels // groups, 3, 3)
    layer = PSGConv2d.from_dense(weight, groups, parts, stride=2, dilation=1)
    assert layer.stride == (2, 2)
    # at a base rate of 1 only the opposite blocks have another rate: without
    # them it is the plain convolution
    far = rate_matrix(parts, 1).repeat(groups, 1) > 1
    far = far.repeat_interleave(2, 0).repeat_interleave(2, 1)
    near = weight.masked_fill(far[..., None, None], 0)
    conv, own, opposite = split_dense(weight, groups, parts)
    assert torch.equal(layer.gwconv_shift.weight, opposite)
    layer.gwconv_shift.weight.data.zero_()
    x = torch.randn(1, channels, 7, 8)
    expected = F.conv2d(x, near, None, 2, 1, 1, groups)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)
    numbers = torch.cat([t.flatten() for t in (conv, own, opposite)])
    assert torch.equal(
        numbers[numbers != 0].sort().values, weight.flatten().sort().values
    )


def test_from_dense_refuses_another_shape():
    with pytest.raises(
        ValueError, match=r'must be \(8, 8, 3, 3\), got \(8, 8'
    ):
        PSConv2d.from_dense(torch.zeros(8, 8, 1, 1))


def test_under_mmcv():
    conv = build_conv_layer(dict(type='PSGConv', groups=2), 16, 16, 3)
    assert isinstance(conv, PSGConv2d)
    module = ConvModule(
        8,
        16,
        3,
        2,
        1,
        dilation=2,
        conv_cfg=dict(type='PSConv'),
        norm_cfg=dict(type='BN'),
    )
    assert isinstance(module.conv, PSConv2d) and hidden(module.conv)
    assert module(torch.randn(2, 8, 9, 8)).shape == (2, 16, 5, 4)


def test_in_a_head_of_mmdet(monkeypatch):
    """With the base rate of the paper, and zeros in its state dict.

    The head initializes all its convolutions, what is under a mask too.
    """
    lines = []
    monkeypatch.setattr(
        'mmdet_assigners.methods.psconv.layers.print_log',
        lambda message, **_: lines.append(message),
    )
    conv_cfg = dict(type='PSConv', base_rate=2)
    heads = [
        RetinaHead(2, 8, feat_channels=8, stacked_convs=1, conv_cfg=conv_cfg)
        for _ in range(2)
    ]
    layer = heads[0].cls_convs[0].conv
    assert (layer.dilation, layer.gwconv_shift.dilation) == ((2, 2), (4, 4))
    heads[0].init_weights()
    assert not hidden(layer)
    state = heads[0].state_dict()
    assert hidden(layer) and layer.gwconv.weight.any()
    heads[1].load_state_dict(state)
    assert not lines


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=10), r'in_channels .* multiple .* = 4, got 10'),
        (dict(out_channels=6), r'out_channels .* multiple .* = 4, got 6'),
        (dict(groups=4), r'in_channels .* = 16, got 8'),
        (dict(groups=0), 'groups must be at least 1, got 0'),
        (dict(parts=3), 'parts must be even, got 3'),
        (dict(kernel_size=1), 'kernel_size must be 3, got 1'),
        (dict(kernel_size=(3, 1)), r'kernel_size must be 3, got \(3, 1\)'),
        (dict(padding=0), 'padding must be 1, got 0'),
        (dict(dilation=0), 'dilation must be one number >= 1, got 0'),
        (dict(dilation=(1, 2)), r'dilation must be one number .* \(1, 2\)'),
        (dict(base_rate=0), 'base_rate must be one number >= 1, got 0'),
        (dict(mask_mode='none'), r"mask_mode .* \('paper', 'official'\), got"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        PSGConv2d(**(dict(in_channels=8, out_channels=8) | options))


def test_one_group_only():
    with pytest.raises(
        ValueError, match='groups of PSConv2d must be 1, got 2'
    ):
        PSConv2d(8, 8, groups=2)


def test_keeps_no_copy_of_the_input_for_training():
    """Saved activations are those of a plain convolution: the input."""

    def saved(module, x):
        kept = {}

        def pack(tensor):
            if tensor.dim() == 4 and tensor.shape[-1] == x.shape[-1]:
                kept[tensor.data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            module(x)
        return list(kept)

    x = torch.randn(1, 16, 12, 14, requires_grad=True)
    plain = saved(nn.Conv2d(16, 16, 3, padding=1), x)
    assert plain == [x.data_ptr()]
    for layer in (PSConv2d(16, 16), PSGConv2d(16, 16, groups=2)):
        assert saved(layer, x) == plain
