"""Converter of CSPNet, against readings of both official formats."""

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch.nn import functional as F

from mmdet_assigners.conversion import convert_file, load_converter
from mmdet_assigners.methods.cspnet import convert as converter
from mmdet_assigners.utils import get_config

HEADER = np.array([0, 2, 5, 7, 0], np.int32)  # version 0.2, 64 bits seen
LEAKY, LINEAR = 0.1, 1.0
CONFIGS = dict(
    csdarknet53='cspnet_retinanet_d53_fpn_1x_coco',
    csresnet50='cspnet_retinanet_r50_fpn_1x_coco',
    csresnext50='cspnet_retinanet_x50-32x4d_fpn_1x_coco',
)
PANET = 'cspnet-panet-spp_yolov3_{}_ms-512-273e_coco'


def csdarknet53():
    """Layers of csdarknet53.cfg: kind, then filters, size, stride, groups."""
    layers = [('conv', 32, 3, 1, 1, LEAKY)]
    for width, half, mid, blocks in (
        (64, 64, 32, 1),
        (128, 64, 64, 2),
        (256, 128, 128, 8),
        (512, 256, 256, 8),
        (1024, 512, 512, 4),
    ):
        layers += [
            ('conv', width, 3, 2, 1, LEAKY),
            ('conv', half, 1, 1, 1, LEAKY),
            ('route', -2),
            ('conv', half, 1, 1, 1, LEAKY),
        ]
        for _ in range(blocks):
            layers += [
                ('conv', mid, 1, 1, 1, LEAKY),
                ('conv', half, 3, 1, 1, LEAKY),
                ('shortcut', -3, LINEAR),
            ]
        layers += [
            ('conv', half, 1, 1, 1, LEAKY),
            ('route', -1, -(4 + 3 * blocks)),
            ('conv', width, 1, 1, 1, LEAKY),
        ]
    return layers


def residual(widths, groups):
    """csresnet50.cfg and csresnext50.cfg."""
    layers = [('conv', 64, 7, 2, 1, LEAKY), ('maxpool', 2, 2)]
    inputs = 64
    for i, ((half, mid, width), blocks) in enumerate(
        zip(widths, (3, 3, 5, 2), strict=True)
    ):
        split = LEAKY if i in (0, 3) else LINEAR
        if i:
            layers.append(('conv', inputs, 3, 2, groups, LEAKY))
        layers += [
            ('conv', half, 1, 1, 1, split),
            ('route', -2),
            ('conv', half if i else 64, 1, 1, 1, split),
        ]
        for _ in range(blocks):
            layers += [
                ('conv', mid, 1, 1, 1, LEAKY),
                ('conv', mid, 3, 1, groups, LEAKY),
                ('conv', half, 1, 1, 1, LINEAR),
                ('shortcut', -4, LEAKY),
            ]
        layers += [
            ('conv', half, 1, 1, 1, LEAKY),
            ('route', -1, -(4 + 4 * blocks)),
            ('conv', width, 1, 1, 1, LEAKY),
        ]
        inputs = width
    return layers


CFGS = dict(
    csdarknet53=csdarknet53(),
    csresnet50=residual(
        [(128, 64, 128), (256, 128, 256), (512, 256, 512), (1024, 512, 1024)],
        1,
    ),
    csresnext50=residual(
        [(half, half, 2 * half) for half in (128, 256, 512, 1024)],
        32,
    ),
)


def panet(name, outputs):
    """cs*-panet-spp.cfg: a backbone, the neck, three detection layers."""
    layers = list(CFGS[name])
    fine, middle = dict(csdarknet53=(54, 85), csresnext50=(38, 65))[name]

    def conv(filters, size=1, stride=1):
        layers.append(('conv', filters, size, stride, 1, LEAKY))

    def five(width):
        for _ in range(2):
            conv(width)
            conv(2 * width, 3)
        conv(width)

    def detect(width):
        conv(width, 3)
        layers.append(('linear', outputs))
        layers.append(('yolo',))

    conv(512)
    conv(1024, 3)
    conv(512)
    layers.extend([('maxpool', 5, 1), ('route', -2), ('maxpool', 9, 1)])
    layers.extend(
        [('route', -4), ('maxpool', 13, 1), ('route', -1, -3, -5, -6)]
    )
    conv(512)
    conv(1024, 3)
    conv(512)
    for width, lateral in ((256, middle), (128, fine)):
        conv(width)
        layers.extend([('upsample',), ('route', lateral)])
        conv(width)
        layers.append(('route', -1, -3))
        five(width)
    detect(256)
    for width, back in ((256, -16), (512, -37)):
        layers.append(('route', -4))
        conv(width, 3, 2)
        layers.append(('route', -1, back))
        five(width)
        detect(2 * width)
    return layers


class Weights:
    """Makes the numbers of a file as it is asked for tensors."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.numbers = []

    def __call__(self, *shape, low=-1.0, high=1.0):
        array = self.rng.random(shape, np.float32) * (high - low) + low
        self.numbers.append(array.ravel())
        return torch.from_numpy(array)


def normalize(x, bias, scale, mean, variance):
    x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    return x * scale[:, None, None] + bias[:, None, None]


def convolve(x, weights, filters, size, stride, groups, slope):
    """A convolution as Darknet stores it: its batch norm first."""
    bias = weights(filters, low=-0.3, high=0.3)
    scale = weights(filters, low=0.5)
    mean = weights(filters)
    variance = weights(filters, low=0.5, high=2)
    inputs = x.shape[1] // groups
    reach = (3 / inputs) ** 0.5 / size
    kernel = weights(filters, inputs, size, size, low=-reach, high=reach)
    x = F.conv2d(x, kernel, None, stride, size // 2, groups=groups)
    return F.leaky_relu(normalize(x, bias, scale, mean, variance), slope)


def shortcut(x, other, slope):
    """The first channels of both; behind them those of the last layer."""
    common = min(x.shape[1], other.shape[1])
    out = x.clone()
    out[:, :common] += other[:, :common]
    return F.leaky_relu(out, slope)


def pool(x, size, stride):
    """Darknet pads size - 1, half of it before."""
    before = (size - 1) // 2
    after = size - 1 - before
    x = F.pad(x, (before, after, before, after), value=-1e9)
    return F.max_pool2d(x, size, stride)


def darknet(x, layers, weights):
    """The outputs of all layers."""
    outs = []
    for kind, *options in layers:
        if kind == 'conv':
            x = convolve(x, weights, *options)
        elif kind == 'linear':
            bias = weights(options[0])
            reach = (3 / x.shape[1]) ** 0.5
            kernel = weights(
                *options, x.shape[1], 1, 1, low=-reach, high=reach
            )
            x = F.conv2d(x, kernel, bias)
        elif kind == 'shortcut':
            x = shortcut(x, outs[options[0]], options[1])
        elif kind == 'route':
            x = torch.cat([outs[i] for i in options], 1)
        elif kind == 'maxpool':
            x = pool(x, *options)
        elif kind == 'upsample':
            x = F.interpolate(x, scale_factor=2)
        outs.append(x)
    return outs


def write(path, numbers):
    with open(path, 'wb') as file:
        for array in (HEADER, *numbers):
            array.tofile(file)


def image():
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def load_into(node, path):
    node.pop('init_cfg', None)
    model = MODELS.build(node)
    state = torch.load(path, weights_only=True)['state_dict']
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    return model.eval()


@pytest.mark.parametrize(
    ('name', 'classifier'),
    [(name, False) for name in CFGS] + [('csresnet50', True)],
)
def test_computes_what_darknet_computes(tmp_path, name, classifier):
    weights = Weights()
    expected = darknet(image(), CFGS[name], weights)[-1]
    if classifier:
        weights(1000)
        weights(1000, expected.shape[1], 1, 1)
    source, out = tmp_path / f'{name}.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    assert convert_file('cspnet', source, out)[1] == CONFIGS[name]
    net = load_into(get_config(CONFIGS[name]).model.backbone, out)
    with torch.no_grad():
        found = net(image())[-1]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ('name', 'short'), [('csdarknet53', 'd53'), ('csresnext50', 'x50-32x4d')]
)
def test_detector_computes_what_darknet_computes(tmp_path, name, short):
    init_default_scope('mmdet')
    config = PANET.format(short)
    weights = Weights()
    layers = panet(name, 255)
    outs = darknet(image(), layers, weights)
    expected = [
        out
        for layer, out in zip(layers, outs, strict=True)
        if layer[0] == 'yolo'
    ]
    source, out = tmp_path / 'a.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    assert convert_file('cspnet', source, out)[1] == config
    cfg = get_config(config).model
    cfg.backbone.init_cfg = None
    model = load_into(cfg, out)
    with torch.no_grad():
        (found,) = model.bbox_head(model.neck(model.backbone(image())))
    for ours, theirs in zip(found, expected[::-1], strict=True):
        assert theirs.std() > 0.01
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_detector_of_other_classes_needs_a_config(tmp_path):
    weights = Weights()
    darknet(image(), panet('csresnext50', 3 * 7), weights)
    source, out = tmp_path / 'a.weights', tmp_path / 'out.pth'
    write(source, weights.numbers)
    with pytest.raises(ValueError, match=r'no config fits .* --config'):
        convert_file('cspnet', source, out)


def test_other_files(tmp_path):
    path = tmp_path / 'a.weights'
    write(path, [np.zeros(1000, np.float32)])
    with pytest.raises(ValueError, match='1000 numbers are no CSPDarknet-53'):
        convert_file('cspnet', path, tmp_path / 'out.pth')
    plain = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
    path = tmp_path / 'resnet18.pth'
    torch.save(plain, path)
    with pytest.raises(ValueError, match=r'keys are unknown: conv1\.weight'):
        convert_file('cspnet', path, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


class Official:
    """State dict of mmpretrain's CSPNet, made as its forward pass runs."""

    def __init__(self, dark, widths, mids, blocks, groups):
        self.state = {}
        self.rng = torch.Generator().manual_seed(0)
        self.dark, self.groups = dark, groups
        self.widths, self.mids, self.blocks = widths, mids, blocks

    def rand(self, *shape, low=-1.0, high=1.0):
        return torch.rand(shape, generator=self.rng) * (high - low) + low

    def conv(self, x, conv, norm, filters, size=1, stride=1, groups=1):
        inputs = x.shape[1] // groups
        reach = (3 / inputs) ** 0.5 / size
        kernel = self.rand(filters, inputs, size, size, low=-reach, high=reach)
        parts = dict(
            bias=self.rand(filters, low=-0.3, high=0.3),
            weight=self.rand(filters, low=0.5),
            running_mean=self.rand(filters),
            running_var=self.rand(filters, low=0.5, high=2),
        )
        self.state[f'backbone.{conv}.weight'] = kernel
        for part, value in parts.items():
            self.state[f'backbone.{norm}.{part}'] = value
        self.state[f'backbone.{norm}.num_batches_tracked'] = torch.tensor(3)
        x = F.conv2d(x, kernel, None, stride, size // 2, groups=groups)
        return normalize(x, *parts.values())

    def module(self, x, name, filters, act=True, **options):
        x = self.conv(x, f'{name}.conv', f'{name}.bn', filters, **options)
        return F.leaky_relu(x, 0.01) if act else x

    def block(self, x, name, mid):
        if self.dark:
            y = self.module(x, f'{name}.conv1', mid)
            return x + self.module(y, f'{name}.conv2', x.shape[1], size=3)
        y = x
        for i, (filters, size, groups) in enumerate(
            ((mid, 1, 1), (mid, 3, self.groups), (x.shape[1], 1, 1)), 1
        ):
            y = self.conv(
                y,
                f'{name}.conv{i}',
                f'{name}.bn{i}',
                filters,
                size=size,
                groups=groups,
            )
            y = F.leaky_relu(y if i < 3 else x + y, 0.01)
        return y

    def run(self, x):
        if self.dark:
            x = self.module(x, 'stem', 32, size=3)
        else:
            x = self.module(x, 'stem.0', 64, size=7, stride=2)
            x = F.max_pool2d(x, 3, 2, 1)
        for i, ((half, width), mid, blocks) in enumerate(
            zip(self.widths, self.mids, self.blocks, strict=True)
        ):
            stage = f'stages.{i}'
            if self.dark or i:
                x = self.module(
                    x,
                    f'{stage}.downsample_conv',
                    width if self.dark else x.shape[1],
                    size=3,
                    stride=2,
                    groups=self.groups,
                )
            x = self.module(x, f'{stage}.expand_conv', 2 * half, act=self.dark)
            bypass, y = x.chunk(2, 1)
            for j in range(blocks):
                y = self.block(y, f'{stage}.blocks.{j}', mid)
            y = self.module(y, f'{stage}.atfer_blocks_conv', half)
            x = torch.cat([bypass, y], 1)
            x = self.module(x, f'{stage}.final_conv', width)
        self.state['head.fc.weight'] = self.rand(1000, x.shape[1])
        self.state['head.fc.bias'] = self.rand(1000)
        return x


FORMS = dict(
    d53=Official(
        True,
        [(64, 64), (64, 128), (128, 256), (256, 512), (512, 1024)],
        (32, 64, 128, 256, 512),
        (1, 2, 8, 8, 4),
        1,
    ),
    r50=Official(
        False,
        [(128, 128), (256, 256), (512, 512), (1024, 1024)],
        (64, 128, 256, 512),
        (3, 3, 5, 2),
        1,
    ),
)
FORMS['x50-32x4d'] = Official(
    False,
    [(128, 256), (256, 512), (512, 1024), (1024, 2048)],
    (128, 256, 512, 1024),
    (3, 3, 5, 2),
    32,
)


@pytest.mark.parametrize('short', FORMS)
def test_computes_what_mmpretrain_computes(tmp_path, short):
    official = FORMS[short]
    expected = official.run(image())
    source, out = tmp_path / 'official.pth', tmp_path / 'out.pth'
    torch.save(dict(state_dict=official.state), source)
    config = f'cspnet-mmpretrain_retinanet_{short}_fpn_1x_coco'
    assert convert_file('cspnet', source, out)[1] == config
    net = load_into(get_config(config).model.backbone, out)
    assert net.stem[0].bn.num_batches_tracked == 3
    with torch.no_grad():
        found = net(image())[-1]
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_configs_of_one_file():
    for config, others in converter.OTHERS.items():
        with torch.device('meta'):
            states = [
                MODELS.build(get_config(c).model).state_dict()
                for c in (config, *others)
            ]
        shapes = [{k: v.shape for k, v in s.items()} for s in states]
        assert all(other == shapes[0] for other in shapes)
    assert load_converter('cspnet').alternatives('unknown') == []
