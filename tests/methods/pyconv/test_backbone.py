"""PyConvResNet and PyConvHGResNet: census, structure, bad input."""

import math

import pytest
import torch
from mmdet.models.backbones.resnet import Bottleneck
from mmdet.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.pyconv.blocks import (
    PyConvBottleneck,
    make_shortcut,
)

# parameters and multiply-adds of convolutions for one image of 224x224, both
# with the classifier of 1000 classes
CENSUS = {
    ('PyConvResNet', 18): (5_911_976, 863_137_792),
    ('PyConvResNet', 34): (11_091_048, 1_734_795_264),
    ('PyConvResNet', 50): (24_847_720, 3_820_441_600),
    ('PyConvResNet', 101): (42_307_944, 7_232_409_600),
    ('PyConvResNet', 152): (56_640_872, 10_605_842_432),
    ('PyConvHGResNet', 50): (25_234_728, 4_533_944_320),
    ('PyConvHGResNet', 101): (44_627_240, 8_321_228_800),
    ('PyConvHGResNet', 152): (60_657_960, 12_152_668_160),
}
NARROW = dict(
    stem_channels=16,
    base_channels=16,
    groups=((1, 4, 4, 4), (1, 4, 8), (1, 4), (1,)),
)


def build(depth=50, name='PyConvResNet', **options):
    return MODELS.build(dict(type=name, depth=depth, **options))


def narrow(depth=50, **options):
    torch.manual_seed(0)
    return build(depth, **(NARROW | options))


@pytest.mark.parametrize(('name', 'depth'), CENSUS)
def test_census(name, depth):
    with torch.device('meta'):
        net = build(depth, name)
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, 224, 224))
    found = counter.get_total_flops() // 2
    params = sum(p.numel() for p in net.parameters())
    width = 512 if depth < 50 else 2048
    assert net.feat_dim == width
    classifier = width * 1000
    assert (params + classifier + 1000, found + classifier) == CENSUS[
        name, depth
    ]


@pytest.mark.parametrize('name', ['PyConvResNet', 'PyConvHGResNet'])
def test_pyramids(name):
    with torch.device('meta'):
        net = build(50, name)
    found = []
    for stage in range(1, 5):
        conv = getattr(net, f'layer{stage}')[1].conv2
        levels = conv.values() if stage < 4 else [conv]
        found.append(
            [(c.kernel_size[0], c.groups, c.out_channels) for c in levels]
        )
    if name == 'PyConvResNet':
        assert found == [
            [(3, 1, 16), (5, 4, 16), (7, 8, 16), (9, 16, 16)],
            [(3, 1, 32), (5, 4, 32), (7, 8, 64)],
            [(3, 1, 128), (5, 4, 128)],
            [(3, 1, 512)],
        ]
    else:
        assert found == [
            [(3, 32, 32), (5, 32, 32), (7, 32, 32), (9, 32, 32)],
            [(3, 32, 64), (5, 64, 64), (7, 64, 128)],
            [(3, 32, 256), (5, 64, 256)],
            [(3, 32, 1024)],
        ]


@pytest.mark.parametrize('size', [(64, 96), (75, 101), (17, 1), (1, 1)])
def test_levels_of_any_size(size):
    """Also of images smaller than the coarsest stride."""
    net = narrow()
    net.eval()
    outs = net(torch.rand(2, 3, *size))
    for i, out in enumerate(outs):
        shape = tuple(math.ceil(n / 2 ** (i + 2)) for n in size)
        assert out.shape == (2, 64 * 2**i, *shape)


def test_stages_of_ssd():
    """The third with stride 8, and no fourth."""
    net = narrow(num_stages=3, strides=(2, 2, 1), out_indices=(2,))
    (out,) = net(torch.rand(1, 3, 300, 300))
    assert out.shape == (1, 256, 38, 38)
    assert not hasattr(net, 'layer4')


@pytest.mark.parametrize(
    ('channels', 'stride', 'expected'),
    [
        ((16, 16), 1, []),
        ((16, 16), 2, ['MaxPool2d']),
        ((16, 64), 1, ['Conv2d', 'BatchNorm2d']),
        ((16, 64), 2, ['MaxPool2d', 'Conv2d', 'BatchNorm2d']),
    ],
)
def test_shortcuts(channels, stride, expected):
    shortcut = make_shortcut(*channels, stride, dict(type='BN'))
    assert [type(m).__name__ for m in shortcut or ()] == expected
    for module in shortcut or ():
        if isinstance(module, nn.Conv2d):
            assert module.stride == (1, 1)


def test_block_of_one_level_is_resnets():
    """Bit for bit."""
    ours = PyConvBottleneck(32, 8, kernels=(3,), groups=(1,))
    theirs = Bottleneck(32, 8)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 32, 9, 7)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages(frozen):
    net = narrow(frozen_stages=frozen, norm_eval=False)
    net.train()
    trained = {
        name.split('.')[0]
        for name, p in net.named_parameters()
        if p.requires_grad
    }
    stem = {'conv1', 'bn1'} if frozen < 0 else set()
    layers = {f'layer{i}' for i in range(max(frozen, 0) + 1, 5)}
    assert trained == stem | layers
    for i in range(1, 5):
        assert getattr(net, f'layer{i}')[0].bn2.training == (i > frozen)


def test_zero_init_starts_as_the_shortcut():
    for depth, last in ((18, 'bn2'), (50, 'bn3')):
        net = narrow(depth, zero_init_residual=True)
        net.init_weights()
        block = net.layer1[1]
        assert not getattr(block, last).weight.any()
        x = torch.rand(1, 64 if depth == 50 else 16, 8, 8)
        assert torch.equal(block(x), x)
        net = narrow(depth)
        net.init_weights()
        assert getattr(net.layer1[1], last).weight.all()


def test_checkpointing_changes_nothing():
    x = torch.rand(1, 3, 64, 64)
    grads = []
    for with_cp in (False, True):
        net = narrow(with_cp=with_cp).double()
        net.eval()
        sum(out.square().mean() for out in net(x.double())).backward()
        grads.append([p.grad for p in net.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_plugins():
    plugin = dict(type='ContextBlock', ratio=1 / 4)
    plugins = [dict(cfg=plugin, position='after_conv2')]
    net = narrow(plugins=plugins)
    assert net.layer1[0].after_conv2_plugin_names
    assert len(net(torch.rand(2, 3, 64, 64))) == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=51), r'one of 18, .*, 152, got 51; did you mean 50\?'),
        (dict(depth='r101'), r"got 'r101'; did you mean 101\?"),
        (dict(depth=18, name='PyConvHGResNet'), r'HGResNet must be one of 50'),
        (dict(out_indices=(1, 4)), r'from 0 to 3, got \(1, 4\)'),
        (dict(out_indices=()), r'from 0 to 3, got \(\)'),
        (
            dict(num_stages=3, out_indices=(3,)),
            r'from 0 to 2, got \(3,\)',
        ),
        (dict(frozen_stages=5), 'frozen_stages must be -1 to 4, got 5'),
        (dict(num_stages=5), 'num_stages must be 1 to 4, got 5'),
        (dict(strides=(2, 2)), 'strides must have an entry for each of 4'),
        (dict(groups=((1, 4, 8, 16),)), 'groups must have an entry for each'),
        (dict(style='caffe'), "style must be 'pytorch', got 'caffe'"),
        (dict(base_channels=16), 'layer1: groups=8 .* kernel 7 .* 4 output'),
        (
            dict(kernels=((3, 5), (3, 5, 7), (3, 5), (3,))),
            r'layer1: .* one number per level, got .*\[3, 5\]',
        ),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_weights_of_a_plain_resnet(tmp_path):
    """One line, instead of pyramids that stay at random."""
    plain = MODELS.build(dict(type='ResNet', depth=50))
    path = tmp_path / 'resnet50.pth'
    torch.save(dict(state_dict=plain.state_dict()), path)
    message = (
        r'13 convolutions .* such as layer1\.0\.conv2\.weight '
        r'\(64, 64, 3, 3\): PyConvResNet has pyramids there'
    )
    net = build(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(ValueError, match=message):
        net.init_weights()
    detector = nn.ModuleDict(dict(backbone=build(18)))
    plain = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
    state = {f'backbone.{name}': value for name, value in plain.items()}
    with pytest.raises(ValueError, match=r'backbone\.layer1\.0\.conv1\.wei'):
        detector.load_state_dict(state, strict=False)
