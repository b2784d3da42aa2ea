"""Golden ops of FPT."""

import re

from golden_runner import adapter

from mmdet_assigners.methods.fpt.grounding_transformer import (
    GroundingTransformer,
    LocalGroundingTransformer,
    PublishedGroundingTransformer,
)
from mmdet_assigners.methods.fpt.neck import FPT
from mmdet_assigners.methods.fpt.rendering_transformer import (
    PublishedRenderingTransformer,
    RenderingTransformer,
)
from mmdet_assigners.methods.fpt.self_transformer import SelfTransformer

BN = dict(type='BN')
UNUSED = ('conv_reduction.', 'conv_cat.')
NORMS = dict(
    none=None,
    batch_norm=dict(type='BN'),
    group_norm=dict(type='GN', num_groups=32),
)
MODULES = dict(
    conv_qs='query_key',
    conv_vs='value',
    attention='part_weight',
    conv='out',
    norm_layer='norm',
    theta='query',
    phi='key',
    g='value',
    W_z='out',
    conv3x3='query_conv',
    bn_high='query_norm',
    conv1x1='gate_conv',
    bn_low='gate_norm',
    str_conv3x3='value_conv',
    bn_reduction='value_norm',
)


def module_name(name):
    """Official parameter name in a transformer -> ours."""
    if name == 'attention.weight':
        return 'part_weight'
    name = name.replace('W_z.0.', 'out.').replace('W_z.1.', 'norm.')
    first, _, rest = name.partition('.')
    return f'{MODULES.get(first, first)}.{rest}'


def neck_name(name, norm):
    """Official parameter name in the neck -> ours, levels from 0."""
    first, _, rest = name.partition('.')
    levels = [int(digits) - 2 for digits in re.findall(r'p(\d)', first)]
    if first.startswith(('fpn', 'fpt')):
        table = 'lateral_convs' if first.startswith('fpn') else 'out_convs'
        part, _, parameter = rest.rpartition('.')
        ours = {'': 'conv', '0': 'conv', '1': norm}[part]
        return f'{table}.{levels[0]}.{ours}.{parameter}'
    table = dict(st='self_transformers', gt='grounding', rt='rendering')
    key = '_'.join(map(str, levels))
    return f'{table[first[:2]]}.{key}.{module_name(rest)}'


def load(case, module, rename=module_name):
    """Load what the forward pass uses and set the mode."""
    case.weights = {
        name: weight
        for name, weight in case.weights.items()
        if not any(part in name for part in UNUSED)
    }
    return case.load(module, rename).train(case.params['train_mode'])


@adapter('fpt.self_trans')
def self_trans(case):
    p = case.params
    module = SelfTransformer(
        p['d_model'],
        p['n_mix'],
        p['d_k'],
        p['d_v'],
        p['n_head'],
        kv_pool=2 if p['pooling'] else 1,
        transform=p['kq_transform'],
        dropout=p['dropout'],
    )
    return case.results({'out': load(case, module)(case['x'])})


@adapter('fpt.ground_trans')
def ground_trans(case):
    p = case.params
    module = PublishedGroundingTransformer(
        p['in_channels'],
        p['inter_channels'],
        p['mode'],
        BN if p['bn_layer'] else None,
    )
    out = load(case, module)(case['x_low'], case['x_high'])
    return case.results({'out': out})


@adapter('fpt.render_trans')
def render_trans(case):
    p = case.params
    module = PublishedRenderingTransformer(
        p['channels_high'],
        p['channels_low'],
        p['stride'],
        gate_norm_cfg=BN,
    )
    out = load(case, module)(case['x_high'], case['x_low'])
    return case.results({'out': out})


@adapter('fpt.gt_paper')
def gt_paper(case):
    p = case.params
    module = GroundingTransformer(
        case['x_fine'].shape[1],
        p['num_parts'],
        p['d'],
        p['d_v'],
        p['similarity_scale'],
        p['dropout'],
    )
    module = load(case, module, plain_name)
    out = module(case['x_fine'], case['x_coarse'])
    return case.results({'out': out})


@adapter('fpt.lgt_paper')
def lgt_paper(case):
    p = case.params
    module = LocalGroundingTransformer(
        case['x_fine'].shape[1],
        p['square_size'],
        p['num_parts'],
        p['d'],
        p['d_v'],
        p['similarity_scale'],
        p['dropout'],
    )
    module = load(case, module, plain_name)
    out = module(case['x_fine'], case['x_coarse'])
    return case.results({'out': out})


def plain_name(name):
    first, dot, rest = name.partition('.')
    ours = dict(q='query', k='key', v='value').get(first, first)
    return f'{ours}{dot}{rest}'


@adapter('fpt.rt_paper')
def rt_paper(case):
    channels = case['x_coarse'].shape[1]
    module = load(
        case,
        RenderingTransformer(channels, case.params['stride']),
        lambda name: (
            f'{name}'.replace('sconv', 'value_conv')
            if name.startswith('sconv')
            else name.replace('conv', 'query_conv')
        ),
    )
    out = module(case['x_coarse'], case['x_fine'])
    return case.results({'out': out})


@adapter('fpt.neck')
def neck(case):
    p = case.params
    norm = p['with_norm']
    module = FPT(
        p['in_channels'],
        p['feature_dim'],
        len(p['in_channels']),
        p['n_mix'],
        gt_mode=p['gt_mode'],
        gate_norm_cfg=BN,
        conv_norm_cfg=NORMS[norm],
        dropout=p['dropout'],
    )
    layer = 'gn' if norm == 'group_norm' else 'bn'
    module = load(case, module, lambda name: neck_name(name, layer))
    outs = module([case[f'c{i + 2}'] for i in range(len(p['in_channels']))])
    return case.results({f'p{i + 2}': out for i, out in enumerate(outs)})
