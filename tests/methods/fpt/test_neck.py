import pytest
import torch
from mmdet.models.layers import DropBlock
from mmdet.registry import MODELS
from torch import nn

from mmdet_assigners.methods.fpt.neck import FPT

CHANNELS = (4, 6, 10, 12)
ODD = [(13, 19), (7, 10), (4, 5), (2, 3)]
MODES = ['euclidean', 'local', 'dot', 'embedded']


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def pyramid(sizes=ODD, batch=2):
    return [
        torch.randn(batch, channels, *size)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    ]


def neck(**options):
    model = FPT(CHANNELS, 8, 5, **options)
    model.init_weights()
    return model


@pytest.mark.parametrize('gt_mode', MODES)
@pytest.mark.parametrize('rt_mode', ['published', 'paper'])
def test_every_mode_keeps_sizes_and_trains(gt_mode, rt_mode):
    model = neck(gt_mode=gt_mode, rt_mode=rt_mode)
    outs = model(pyramid())
    sizes = [tuple(out.shape) for out in outs]
    assert sizes == [(2, 8, *size) for size in [*ODD, (1, 2)]]
    assert torch.equal(outs[4], outs[3][..., ::2, ::2])
    sum(out.square().sum() for out in outs).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None]


def test_concatenation_order():
    """Finer levels from the nearest on, then coarser ones, then itself."""
    model = neck()
    reads = [[levels for _, *levels in model._slots(i)] for i in range(4)]
    assert reads == [
        [[0], [0, 1], [0, 2], [0, 3]],
        [[1], [1, 0], [1, 2], [1, 3]],
        [[2], [2, 1], [2, 0], [2, 3]],
        [[3], [3, 2], [3, 1], [3, 0]],
    ]
    kinds = [type(m).__name__ for m, *_ in model._slots(1)]
    assert kinds == [
        'SelfTransformer',
        'PublishedRenderingTransformer',
        'GroundingTransformer',
        'GroundingTransformer',
    ]
    strides = [m.value_conv.stride[0] for m, *_ in model._slots(3)[1:]]
    assert strides == [2, 4, 8]


def test_parts_can_be_left_out():
    """Without any transformer it is a 1x1 and a 3x3 convolution."""
    model = neck(st_levels=(), gt_levels=(), rt_levels=()).eval()
    inputs = pyramid()
    for i, out in enumerate(model(inputs)[:4]):
        expected = model.out_convs[i](model.lateral_convs[i](inputs[i]))
        assert torch.equal(out, expected)
    model = neck(st_levels=(1,), gt_levels=(2,), rt_levels=(3, 1))
    widths = [conv.in_channels // 8 for conv in model.out_convs]
    assert widths == [1, 3, 2, 4]


@pytest.mark.parametrize('gt_mode', ['euclidean', 'local'])
def test_key_channels(gt_mode):
    model = neck(gt_mode=gt_mode, key_channels=4)
    widths = {
        name: module.out_channels
        for name, module in model.named_modules()
        if name.endswith(('.query_key', '.query', '.key'))
    }
    assert widths and set(widths.values()) == {4}
    assert [out.shape[1] for out in model(pyramid())] == [8] * 5


def test_published_grounding_slots_start_at_zero():
    model = neck(gt_mode='dot')
    laterals = [torch.randn(2, 8, *size) for size in ODD]
    for name, gt in model.grounding.items():
        fine, coarse = map(int, name.split('_'))
        assert gt(laterals[fine], laterals[coarse]).count_nonzero() == 0


def test_initialization():
    """kaiming_uniform with a=1 is uniform up to sqrt(3 / fan-in)."""
    model = neck()
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d):
            bound = (3 / conv.weight[0].numel()) ** 0.5
            largest = conv.weight.abs().max()
            assert 0.8 * bound < largest <= bound
            assert conv.bias is None or conv.bias.count_nonzero() == 0


def test_one_image_trains():
    """As at the end of an epoch; only the norm of the gate could fail."""
    sizes = [(16, 24), (8, 12), (4, 6), (2, 3)]
    outs = neck()(pyramid(sizes, batch=1))
    assert all(out.isfinite().all() for out in outs)
    with pytest.raises(ValueError, match='gate_norm_cfg'):
        neck(gate_norm_cfg=dict(type='BN'))(pyramid(sizes, batch=1))


@pytest.mark.parametrize('gt_mode', MODES)
def test_autocast(gt_mode):
    model = neck(gt_mode=gt_mode).eval()
    inputs = pyramid()
    expected = model(inputs)
    with torch.autocast('cpu', torch.bfloat16):
        outs = model(inputs)
    sum(out.float().sum() for out in outs).backward()
    for out, exact in zip(outs, expected, strict=True):
        error = (out.float() - exact).abs().mean()
        assert error < 0.05 * exact.abs().mean()


def test_drop_block_and_norms():
    model = MODELS.build(
        dict(
            type='FPT',
            in_channels=CHANNELS,
            out_channels=8,
            num_outs=4,
            conv_norm_cfg=dict(type='GN', num_groups=4),
            drop_block_cfg=dict(type='DropBlock', drop_prob=0.2, block_size=3),
        )
    )
    assert isinstance(model.drop_block, DropBlock)
    assert model.out_convs[0].conv.bias is None
    assert isinstance(model.lateral_convs[0].norm, nn.GroupNorm)
    assert len(model(pyramid([(24, 24), (12, 12), (6, 6), (3, 3)]))) == 4


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(gt_mode='cosine'), "gt_mode must be one of .*'cosine'"),
        (dict(rt_mode='x'), "rt_mode must be one of .*'x'"),
        (dict(st_levels=(0, 4)), r'st_levels must .*0\.\.3, got \(0, 4\)'),
        (dict(gt_levels=(1, 1)), r'gt_levels must .*got \(1, 1\)'),
        (dict(rt_levels=(-1,)), 'rt_levels must be different levels'),
        (dict(similarity_scale=0), 'similarity_scale must be positive'),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        neck(**options)


def test_refuses_levels():
    with pytest.raises(ValueError, match='num_outs must be at least 4'):
        FPT(CHANNELS, 8, 3)
    with pytest.raises(ValueError, match='inputs must be 4 levels, got 3'):
        neck()(pyramid()[:3])


def test_parts_of_the_mixtures():
    model = neck(n_mix=2, gt_parts=4)
    parts = {
        type(m).__name__: len(m.part_weight)
        for m in model.modules()
        if isinstance(getattr(m, 'part_weight', None), torch.Tensor)
    }
    assert parts == {'SelfTransformer': 2, 'GroundingTransformer': 4}
