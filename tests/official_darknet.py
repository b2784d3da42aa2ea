"""An interpreter of Darknet's layer lists, and the lists of CSPNet.

A layer is a tuple: its kind, then filters, size, stride, groups and the
negative slope of a convolution, or the layers that it reads. It makes the
numbers of a weights file as it runs.
"""

import numpy as np
import torch
from torch.nn import functional as F

HEADER = np.array([0, 2, 5, 7, 0], np.int32)  # version 0.2, 64 bits seen
LEAKY, LINEAR = 0.1, 1.0


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
    fine, middle = (54, 85) if name == 'csdarknet53' else (38, 65)

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

    def __init__(self, dtype=torch.float32):
        self.rng = np.random.default_rng(0)
        self.numbers, self.dtype = [], dtype

    def __call__(self, *shape, low=-1.0, high=1.0):
        array = self.rng.random(shape, np.float32) * (high - low) + low
        self.numbers.append(array.ravel())
        return torch.from_numpy(array).to(self.dtype)


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


def yolo_inputs(layers, outs):
    """What the detection layers see, of the outputs of all."""
    return [
        out
        for layer, out in zip(layers, outs, strict=True)
        if layer[0] == 'yolo'
    ]


def write(path, numbers):
    with open(path, 'wb') as file:
        for array in (HEADER, *numbers):
            array.tofile(file)


def image(height=64, width=64):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 3, height, width, generator=generator)
