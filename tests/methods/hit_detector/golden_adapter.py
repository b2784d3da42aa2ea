"""Golden ops of Hit-Detector."""

import torch
from golden_runner import adapter
from methods.hit_detector.toy import Toy, convs
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmdet_assigners.methods.hit_detector.backbone import HitBackbone
from mmdet_assigners.methods.hit_detector.bilevel import bilevel_step
from mmdet_assigners.methods.hit_detector.functional import (
    best_ops,
    column_norms,
    column_penalty,
    expected_cost,
    kept_ops,
)
from mmdet_assigners.methods.hit_detector.head import HitBBoxHead
from mmdet_assigners.methods.hit_detector.neck import HitPAFPN
from mmdet_assigners.methods.hit_detector.ops import NECK_OPS, make_op
from mmdet_assigners.methods.hit_detector.search_space import MixedOp


@adapter('hit_detector.candidate_op')
def candidate_op(case):
    params = dict(case.params)
    module = case.load(make_op(params.pop('op'), **params)).eval()
    return case.results({'y0': module(case['x0'])})


@adapter('hit_detector.backbone')
def backbone(case):
    params = dict(case.params)
    net = HitBackbone(params.pop('genotypes'), **params)
    outs = case.load(net).eval()(case['x0'])
    return case.results({f'y{i}': out for i, out in enumerate(outs)})


@adapter('hit_detector.neck')
def neck(case):
    genotype = [NECK_OPS[i] for i in case.params['genotype']]
    neck = HitPAFPN(**{**case.params, 'genotype': genotype})
    outs = case.load(neck).eval()(case.levels('x'))
    return case.results({f'y{i}': out for i, out in enumerate(outs)})


@adapter('hit_detector.head')
def head(case):
    head = HitBBoxHead(
        case.params['genotype'],
        in_channels=case.params['channels'],
        roi_feat_size=tuple(case['x0'].shape[2:]),
        fc_out_channels=1,
    )
    # the fully connected layers are not part of the op
    case.load(head.SearchHead)
    head.eval()
    return case.results({'y0': head.blocks(case['x0'])})


@adapter('hit_detector.mixed_op')
def mixed_op(case):
    module = MixedOp(convs(case['x'].shape[1]))
    case.load(module, lambda name: f'ops.{name}.weight')
    return case.results({'y': module(case['x'], case['alpha'])})


@adapter('hit_detector.search_regs')
def search_regs(case):
    alpha, flops = case['alpha'], case['flops']
    reg = case.params['mu'] * column_penalty(alpha)
    cost = expected_cost(alpha, flops)
    return case.results(
        dict(
            column_norms=column_norms(alpha),
            reg=reg,
            cost=cost,
            probs=alpha.softmax(1),
            argmax=best_ops(alpha),
            kept_ops=kept_ops(alpha, case.params['keep']),
        ),
        reg + case.params['lam'] * cost,
    )


@adapter('hit_detector.bilevel')
def bilevel(case):
    params = case.params
    width = case['x_a0'].shape[1]
    layers = [convs(width) for _ in range(params['layers'])]
    model = Toy(layers, case['flops'], params['lam'])
    for name, weight in case.weights.items():
        layer, op = map(int, name.split('.'))
        model.layers[layer].ops[op].weight.data = weight.clone()
    model = model.double()
    model.arch_alpha.data = case['alpha0'].detach().clone()
    adam = dict(params['adam'], betas=tuple(params['adam']['betas']))
    weights = model.layers.parameters()
    optimizers = OptimWrapperDict(
        weights=OptimWrapper(torch.optim.SGD(weights, **params['sgd'])),
        arch=OptimWrapper(torch.optim.Adam([model.arch_alpha], **adam)),
    )
    logs = []
    for it in range(params['iterations']):
        first, second = (
            dict(inputs=case[f'x_{half}{it}'], targets=case[f't_{half}{it}'])
            for half in 'ab'
        )
        logs.append(bilevel_step(model, optimizers, first, second))
    case.module = model
    case.renames = {
        name: 'layers.{}.ops.{}.weight'.format(*name.split('.'))
        for name in case.weights
    }
    return case.results(
        dict(
            alpha_final=model.arch_alpha.detach(),
            loss_w=torch.stack([log['loss'] for log in logs]),
            loss_a=torch.stack([log['arch_loss'] for log in logs]),
        )
    )
