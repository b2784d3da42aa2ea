"""Golden ops of PyConv."""

import math

import torch
from golden_runner import adapter

from mmdet_assigners.methods.pyconv.backbone import (
    PyConvHGResNet,
    PyConvResNet,
)
from mmdet_assigners.methods.pyconv.blocks import (
    PyConvBottleneck,
    make_shortcut,
)
from mmdet_assigners.methods.pyconv.pyconv import PyConv2d


@adapter('pyconv.pyconv2d')
def pyconv2d(case):
    module = case.load(PyConv2d(**case.params))
    return case.results({'y': module(case['x'])})


@adapter('pyconv.block')
@adapter('pyconv.hgblock')
def block(case):
    params = dict(case.params)
    expansion = params.pop('expansion')
    parts = params.pop('downsample')

    class Block(PyConvBottleneck):
        pass

    Block.expansion = expansion
    out = expansion * params['planes']
    shortcut = make_shortcut(
        params['inplanes'], out, params['stride'], dict(type='BN')
    )
    found = '+'.join(
        dict(MaxPool2d='pool', Conv2d='conv').get(type(m).__name__, '')
        for m in shortcut or ()
    )
    assert found.strip('+') == (parts or '')
    module = case.load(Block(**params, downsample=shortcut)).eval()
    return case.results({'y': module(case['x'])})


@adapter('pyconv.net')
def net(case):
    arch = case.params['arch']
    cls = PyConvHGResNet if 'hg' in arch else PyConvResNet
    model = cls(int(arch.rpartition('resnet')[2])).double()
    model.eval()
    with torch.no_grad():
        for n, (name, parameter) in enumerate(model.named_parameters()):
            i = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = torch.cos(0.37 * i + 0.11 * n).view_as(parameter)
            if parameter.dim() == 4:
                wave *= math.sqrt(2 / parameter[0].numel())
            elif name.endswith('weight'):
                wave = 1 + 0.1 * wave
            else:
                wave *= 0.05
            parameter.copy_(wave)
        outs = model(case['x'])
    count = sum(p.numel() for p in model.parameters())
    results = {'num_params': torch.tensor([count])}
    for s, out in enumerate(outs):
        results[f'out{s}_mean_c'] = out.mean((2, 3))
        results[f'out{s}_crop'] = out[:, :8, :4, :4]
        results[f'out{s}_shape'] = torch.tensor(out.shape)
    return case.results(results)
