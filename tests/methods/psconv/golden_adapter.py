"""Golden ops of PSConv."""

import torch
from golden_runner import adapter
from torch import nn

from mmdet_assigners.methods.psconv.backbone import PSBottleneck
from mmdet_assigners.methods.psconv.layers import PSConv2d, PSGConv2d


def rates(layer):
    """Connections (C_out, C_in, 3) through a rate of 1, d and 2d.

    Read off the stored kernels, each of ones where it has weights.
    """
    kernels = []
    for name in ('conv', 'gwconv', 'gwconv_shift'):
        conv = getattr(layer, name)
        kernel = torch.ones_like(conv.weight[:, :, 0, 0], dtype=torch.bool)
        if name == 'conv':
            kernel &= ~layer.conv_mask[:, :, 0, 0]
        rows = kernel.unflatten(0, (conv.groups, -1))
        full = torch.block_diag(*rows.float()).bool()
        if name == 'gwconv_shift':  # it reads the halves of a group swapped
            halves = full.unflatten(1, (layer.groups, 2, -1))
            full = halves.flip(2).flatten(1)
        kernels.append(full)
    return torch.stack(kernels, -1)


def run(case, layer):
    y = case.load(layer)(case['x'])
    outputs = dict(
        y=y,
        conv_mask=layer.conv_mask.expand_as(layer.conv.weight),
        dilation_multihot=rates(layer),
    )
    return case.results(outputs, (y * case['cotangent']).sum())


@adapter('psconv.psconv')
def psconv(case):
    return run(case, PSConv2d(**case.params))


@adapter('psconv.psgconv')
def psgconv(case):
    return run(case, PSGConv2d(**case.params, mask_mode='official'))


@adapter('psconv.bottleneck')
def bottleneck(case):
    params = case.params
    planes, stride = params['planes'], params['stride']
    downsample = None
    if params['downsample']:
        out = planes * PSBottleneck.expansion
        downsample = nn.Sequential(
            nn.Conv2d(params['inplanes'], out, 1, stride, bias=False),
            nn.BatchNorm2d(out),
        )
    block = PSBottleneck(
        params['inplanes'],
        planes,
        dict(dilation=params['dilation'], parts=params['parts']),
        stride=stride,
        downsample=downsample,
    )
    return case.results(dict(y=case.load(block).eval()(case['x'])))
