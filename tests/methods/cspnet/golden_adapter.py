"""Golden ops of CSPNet."""

import re

import torch
from golden_runner import adapter
from mmcv.cnn import ConvModule
from torch import nn

from mmdet_assigners.methods.cspnet.architectures import ARCHITECTURES
from mmdet_assigners.methods.cspnet.backbones import CSPNet
from mmdet_assigners.methods.cspnet.dense import PartialDenseStage
from mmdet_assigners.methods.cspnet.efm import Fusion

NAMES = dict(
    csdarknet53='CSPDarknet53',
    csresnet50='CSPResNet50',
    csresnext50='CSPResNeXt50',
)
MISH = dict(type='Mish')


def architecture_of(cfg):
    """The architecture of a cfg file, and its activation if not leaky."""
    name, _, activation = cfg.partition('-')
    act_cfg = {'': None, 'gamma': None, 'omega': MISH}[activation]
    return ARCHITECTURES[NAMES[name]]['official'], act_cfg


def listed(architecture, net):
    """Index in Darknet's layer list -> ConvModule."""
    found = {}
    parts = [net.stem, *net.stages]
    for part, (first, last) in zip(parts, architecture.layers, strict=True):
        index = first
        for name, module in part.named_modules():
            if name.endswith(('main', 'transition')):
                index += 1  # the route before it
            elif name == 'post' or re.fullmatch(r'blocks\.[1-9]\d*', name):
                index += 1  # the shortcut before it
            if isinstance(module, ConvModule):
                found[index] = module
                index += 1
            elif isinstance(module, nn.MaxPool2d):
                index += 1
        assert index == last + 1
    return found


@adapter('cspnet.stage')
def stage(case):
    params = case.params
    architecture, act_cfg = architecture_of(params['cfg'])
    count = len(architecture.stages)
    groups = architecture.stages[0].groups // params['group_divisor']
    net = CSPNet(
        architecture,
        range(count),
        groups=max(1, groups),
        widen_factor=1 / params['channel_divisor'],
        act_cfg=act_cfg,
        norm_eval=True,
    ).eval()
    parts = {
        layers: part
        for layers, part in zip(
            architecture.layers, [net.stem, *net.stages], strict=True
        )
        if params['first_layer'] <= layers[0]
        and layers[1] <= params['last_layer']
    }
    ours = {
        module: index for index, module in listed(architecture, net).items()
    }
    part = nn.Sequential(*parts.values())
    names = {
        ours[module]: name
        for name, module in part.named_modules()
        if isinstance(module, ConvModule)
    }

    def rename(name):
        kind, index, rest = re.fullmatch(
            r'(conv|bn)(\d+)\.(.+)', name
        ).groups()
        return f'{names[int(index)]}.{kind}.{rest}'

    return case.results({'y': case.load(part, rename)(case['x'])})


@adapter('cspnet.dense')
def dense(case):
    params = case.params
    module = PartialDenseStage(
        params['c0'],
        params['k'],
        params['growth'],
        params['gamma'],
        params['ct'],
        params['cu'],
        params['mode'],
    ).eval()

    def rename(name):
        head, *index, rest = name.split('.')
        kind = 'conv' if head in ('convs', 't', 'u') else 'bn'
        if index:
            return f'layers.{index[0]}.conv.{kind}.{rest}'
        return f'{head[0]}.{kind}.{rest}'

    return case.results({'y': case.load(module, rename)(case['x'])})


@adapter('cspnet.efm')
def efm(case):
    params = case.params
    module = Fusion(
        params['in_channels'],
        params['channels'],
        params['maxout_pieces'],
        norm_cfg=None,
        act_cfg=None,
    )

    def rename(name):
        part, level, parameter = name.split('.')
        return f'{part}.{level}.conv.{parameter}'

    outs = case.load(module, rename)(case.levels('x'))
    return case.results({f'y{i}': out for i, out in enumerate(outs)})


@adapter('cspnet.census')
def census(case):
    size, classes = case.params['input_size'], case.params['num_classes']
    results = {}
    for cfg in NAMES:
        rows, total = count(cfg, size, classes)
        results[f'{cfg}_conv'] = torch.tensor(rows)
        results[f'{cfg}_total'] = torch.tensor(total)
    return results


def count(cfg, size, classes):
    """Layer table with the classifier; parameters and multiply-adds."""
    architecture, _ = architecture_of(cfg)
    heights = {}
    with torch.device('meta'):
        net = CSPNet(architecture, [len(architecture.stages) - 1])
        for module in net.modules():
            if isinstance(module, ConvModule):
                module.register_forward_hook(
                    lambda m, _, y: heights.__setitem__(m, y.shape[-2:])
                )
        (out,) = net(torch.zeros(1, 3, size, size))
    rows, macs = [], 0
    for index, module in listed(architecture, net).items():
        conv, (height, width) = module.conv, heights[module]
        macs += height * width * conv.weight.numel()
        rows.append(
            [
                index,
                conv.kernel_size[0],
                conv.stride[0],
                conv.groups,
                conv.in_channels,
                conv.out_channels,
                height,
                int(module.with_activation),
            ]
        )
    width = out.shape[1]
    last = architecture.layers[-1][1]
    rows.append([last + 2, 1, 1, 1, width, classes, 1, 0])
    params = sum(p.numel() for p in net.parameters())
    return rows, (params + (width + 1) * classes, macs + width * classes)
