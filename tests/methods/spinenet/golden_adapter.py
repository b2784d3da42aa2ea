"""Golden ops of SpineNet."""

import math

import torch
from golden_runner import adapter
from torch.utils.flop_counter import FlopCounterMode

from mmdet_assigners.methods.spinenet.backbone import SpineNet
from mmdet_assigners.methods.spinenet.blocks import Resample
from mmdet_assigners.methods.spinenet.functional import (
    drop_connect_rates,
    max_pool,
)

ACTIVATIONS = dict(relu=dict(type='ReLU'), swish=dict(type='SiLU'))
PADDING = dict(symmetric=False, same=True)


@adapter('spinenet.resample')
def resample(case):
    params = case.params
    filters = params['parent_filters']
    module = Resample(
        filters * dict(bottleneck=4, residual=1)[params['parent_block']],
        int(filters * params['alpha']),
        params['out_channels'],
        params['scale'],
        norm_cfg=dict(type='BN', eps=params['bn_eps']),
        act_cfg=dict(type='ReLU'),
        same_pad_pool=PADDING[params['pool_padding']],
    )
    return case.results({'y': case.load(module).eval()(case['x'])})


@adapter('spinenet.pool_alignment')
def pool_alignment(case):
    x = case['x']
    results = {
        f'k{kernel}s{stride}': max_pool(x, kernel, stride, same_pad=True)
        for kernel, stride in ((3, 2), (5, 4), (5, 8))
    }
    for kernel, stride in ((3, 2), (5, 4)):
        results[f'sym_k{kernel}s{stride}'] = max_pool(x, kernel, stride)
    return case.results(results)


@adapter('spinenet.drop_connect_rates')
def rates(case):
    params = case.params
    found = drop_connect_rates(params['init_rate'], params['num_blocks'])
    return {'rates': torch.tensor(found)[case['index']]}


@adapter('spinenet.net')
def net(case):
    params = case.params
    model = SpineNet(
        width=params['filter_size_scale'],
        repeats=params['block_repeats'],
        alpha=params['resample_alpha'],
        out_channels=params['endpoints_num_filters'],
        norm_cfg=dict(type='BN', eps=params['bn_eps']),
        act_cfg=ACTIVATIONS[params['activation']],
        endpoint_act=params['endpoint_act'],
    )
    model.double().eval()
    with torch.no_grad():
        for n, (name, parameter) in enumerate(model.named_parameters()):
            i = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = torch.cos(0.37 * i + 0.11 * n).view_as(parameter)
            if parameter.dim() == 4:
                wave *= math.sqrt(params['gain'] / parameter[0].numel())
            elif name.endswith('weight'):
                wave = 1 + 0.1 * wave
            else:
                wave *= 0.05
            parameter.copy_(wave)
    case.module = model
    case.renames = {name: name for name, _ in model.named_parameters()}
    x = case['x'].requires_grad_()
    outs = dict(zip(('P3', 'P4', 'P5', 'P6', 'P7'), model(x), strict=True))
    count = sum(p.numel() for p in model.parameters())
    results = case.results(outs)
    results['num_params'] = torch.tensor([count])
    results['grad_x_crop'] = x.grad[..., 40:80, 40:100]
    return results


@adapter('spinenet.census')
def census(case):
    rows = [count(arch, 128) for arch in case.params['models']]
    return {'rows': torch.tensor(rows)}


def count(arch, size):
    """Parameters, and multiply-adds of the convolutions for an image."""
    with torch.device('meta'):
        model = SpineNet(arch)
        model.eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, size, size))
    params = sum(p.numel() for p in model.parameters())
    return params, counter.get_total_flops() // 2
