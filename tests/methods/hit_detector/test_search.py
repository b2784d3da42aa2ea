"""Mixtures, penalties, and searches that have a known answer."""

import copy
import functools
import math

import pytest
import torch
from helpers import BOXES, demo_batch, losses_of, mini_config
from methods.hit_detector.toy import Toy, conv, convs
from mmdet.registry import MODELS
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from torch import nn

from mmdet_assigners.methods.hit_detector.bilevel import (
    arch_parameters,
    bilevel_step,
)
from mmdet_assigners.methods.hit_detector.functional import (
    best_ops,
    column_penalty,
    expected_cost,
    kept_ops,
    op_entropy,
)
from mmdet_assigners.methods.hit_detector.genotype import write_genotype
from mmdet_assigners.methods.hit_detector.ops import SPACES, make_op
from mmdet_assigners.methods.hit_detector.search_space import MixedOp
from mmdet_assigners.utils import config_path

PLAIN = ('conv1', 'conv3')
STEP_2 = config_path('hit-detector-search_faster-rcnn_12e_coco')
TINY = dict(
    backbone=['ir_k3_e1', 'skip'],
    neck=['sd_k3_d1', 'conv_1x1'],
    head=['ir_k3_e1', 'ir_k5_e1'],
)


def search_config(**options):
    """A searchable detector of two operations per layer."""
    cfg = mini_config(STEP_2).model
    cfg.backbone.candidates = TINY['backbone']
    cfg.neck.candidates = TINY['neck']
    cfg.roi_head.bbox_head.candidates = TINY['head']
    cfg.update(options)
    return cfg


def test_mixture_is_the_weighted_sum():
    ops = convs(3)
    x, logits = torch.rand(2, 3, 5, 4), torch.tensor([0.3, -1.0, 2.0])
    weights = logits.exp() / logits.exp().sum()
    expected = sum(w * op(x) for w, op in zip(weights, ops, strict=True))
    torch.testing.assert_close(MixedOp(ops)(x, logits), expected)


@pytest.mark.parametrize('chosen', [0, 1, 2])
def test_one_hot_is_the_single_operation(chosen):
    ops = [make_op(name, 4, 4).eval() for name in TINY['neck']]
    ops.append(make_op('skip', 4, 4))
    logits = torch.full((3,), -30.0)
    logits[chosen] = 30
    x = torch.rand(2, 4, 5, 4)
    torch.testing.assert_close(MixedOp(ops)(x, logits), ops[chosen](x))


def test_gradient_of_the_logits():
    """Against finite differences."""
    ops = MixedOp(convs(2)).double()
    x = torch.rand(1, 2, 4, 3, dtype=torch.float64)
    logits = torch.randn(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: ops(x, z), logits)
    alpha = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    costs = torch.rand(4, 3, dtype=torch.float64)
    for function in (
        column_penalty,
        op_entropy,
        lambda a: expected_cost(a, costs),
    ):
        assert torch.autograd.gradcheck(function, alpha)


def test_checkpointing_changes_nothing():
    x = torch.rand(2, 4, 6, 6)
    logits = torch.tensor([0.1, 0.5])
    grads = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        ops = [make_op(name, 4, 4) for name in ('ir_k3_e3', 'sd_k3_d1')]
        mixed = MixedOp(ops, with_cp)
        mixed(x, logits).square().mean().backward()
        grads.append([p.grad for p in mixed.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_literal_results():
    alpha = torch.tensor([[3.0, 0.0, 3.0], [4.0, 0.0, 4.0]])
    assert column_penalty(alpha).item() == pytest.approx(10, abs=1e-5)
    assert best_ops(alpha).tolist() == [0, 0]  # ties go to the first
    assert kept_ops(alpha, 2).tolist() == [0, 2]
    assert kept_ops(alpha, 9).tolist() == [0, 2, 1]
    even = torch.zeros(2, 4)
    assert op_entropy(even).item() == pytest.approx(math.log(4))
    costs = torch.arange(8.0).view(2, 4)
    assert expected_cost(even, costs).item() == 7
    even.requires_grad_()
    column_penalty(even).backward()
    assert torch.equal(even.grad, torch.zeros(2, 4))


def test_column_penalty_removes_a_useless_operation():
    """Squares only make its logits smaller."""
    wanted = torch.tensor([[1.0, 0.10, -1.0], [-1.0, 0.05, 1.0]])
    norms = {}
    for name, penalty in (
        ('columns', column_penalty),
        ('squares', lambda a: a.square().sum()),
    ):
        alpha = (1e-3 * torch.randn(2, 3)).requires_grad_()
        for step in range(300):
            loss = (alpha - wanted).square().sum() + 0.5 * penalty(alpha)
            (grad,) = torch.autograd.grad(loss, alpha)
            alpha.data -= 0.1 * (1 - step / 300) * grad
        norms[name] = alpha.detach().norm(dim=0)
    assert norms['columns'][1] < 1e-3
    assert norms['squares'][1] > 0.05
    assert (norms['columns'][[0, 2]] > 0.5).all()


def search(layers, teacher, lam=0.0, costs=None, seed=0, steps=120):
    """Search by `bilevel_step`; returns the toy."""
    torch.manual_seed(seed)
    layers = copy.deepcopy(layers)
    costs = (
        torch.zeros(len(layers), len(layers[0])) if costs is None else costs
    )
    toy = Toy(layers, costs, lam)
    optimizers = OptimWrapperDict(
        weights=OptimWrapper(
            torch.optim.SGD(toy.layers.parameters(), 0.1, momentum=0.9)
        ),
        arch=OptimWrapper(torch.optim.Adam([toy.arch_alpha], 0.05)),
    )
    for _ in range(steps):
        batches = []
        for _ in range(2):
            x = torch.randn(2, 3, 8, 8)
            with torch.no_grad():
                batches.append(dict(inputs=x, targets=teacher(x)))
        bilevel_step(toy, optimizers, *batches)
    return toy


@pytest.mark.parametrize('planted', [0, 1, 2])
def test_finds_the_planted_operation(planted):
    """Kernels of 3x3 at other places than the planted one cannot fit it."""
    torch.manual_seed(planted)
    ops = [conv(3, 3, rate) for rate in (1, 2, 3)]
    teacher = copy.deepcopy(ops[planted])
    teacher.weight.data[:, :, 1, 1] = 0  # the place that all have
    toy = search([ops], teacher)
    assert best_ops(toy.arch_alpha).item() == planted


def test_a_dearer_cost_gives_a_cheaper_network():
    costs = torch.tensor([[1.0, 9.0, 25.0]]) / 25
    means = []
    for lam in (0.0, 0.3, 30.0):
        found = []
        for seed in range(2):
            torch.manual_seed(seed)
            teacher = conv(3, 5)
            toy = search([convs(3)], teacher, lam, costs, seed)
            found.append(costs[0, best_ops(toy.arch_alpha)].item())
        means.append(sum(found) / 2)
    assert means[0] >= means[1] >= means[2]
    assert means[0] > 0.9
    assert means[2] == pytest.approx(1 / 25)


@pytest.fixture(scope='module')
def detector():
    torch.manual_seed(0)
    model = MODELS.build(search_config())
    model.init_weights()
    return model.train()


def test_each_step_leaves_the_others_parameters(detector):
    """Bitwise, although every backward pass fills all gradients."""
    model = copy.deepcopy(detector)
    optimizers = build_optim_wrapper(
        model,
        dict(
            constructor='ArchOptimWrapperConstructor',
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
            arch=dict(optimizer=dict(type='Adam', lr=0.01)),
        ),
    )
    logits = arch_parameters(model).keys()
    assert set(logits) == {
        'backbone.arch_alpha',
        'neck.arch_beta',
        'roi_head.bbox_head.arch_gamma',
    }
    changed = []
    train_step = model.train_step

    def watched(batch, optim_wrapper):
        before = {k: v.clone() for k, v in model.named_parameters()}
        out = train_step(batch, optim_wrapper)
        now = dict(model.named_parameters())
        changed.append({k for k in now if not now[k].equal(before[k])})
        return out

    model.train_step = watched
    for seed in range(2):  # momenta are not empty in the second
        batches = [demo_batch([BOXES], seed=seed + k) for k in (0, 10)]
        logs = bilevel_step(model, optimizers, *batches)
    for weights, arch in (changed[:2], changed[2:]):
        assert arch == set(logits)
        assert not weights & set(logits)
        assert len(weights) > 100
    assert {'arch_loss_cost_neck', 'loss_cls', 'arch_loss_cls'} <= set(logs)
    assert 'loss_cost_neck' not in logs
    assert not model.arch_step
    assert not any(p.grad is not None for p in model.parameters())


FULL = dict(
    backbone=dict(),
    neck=dict(in_channels=[48, 96, 256, 2048], out_channels=256),
    head=dict(in_channels=256),
)
CLASSES = dict(
    backbone=('HitBackbone', 'SearchableBackbone'),
    neck=('HitPAFPN', 'SearchableNeck'),
    head=('HitBBoxHead', 'SearchableBBoxHead'),
)


@functools.cache
def full(part):
    """The found part and the searchable one, at full size."""
    with torch.device('meta'):
        found = MODELS.build(dict(type=CLASSES[part][0], **FULL[part]))
        cfg = dict(type=CLASSES[part][1], candidates='sub', **FULL[part])
        return found, MODELS.build(cfg)


def test_costs_are_those_of_the_found_parts():
    """Those of the found operations sum up to the figures of the parts."""
    stem = 400 * 400 * 3 * 16 * 9
    last = 25 * 25 * 1024 * 2048
    paths = 256 * 256 * 9 * (100**2 + 50**2 + 25**2)
    expected = dict(
        backbone=22_974_440_000 - stem - last,
        neck=12_724_960_000 - paths,
        head=2 * 160_462_848,
    )
    for name, total in expected.items():
        found, part = full(name)
        # not on the meta device, where the model is
        costs = part.costs((800, 800), rois=2)
        assert costs.dtype == torch.float64
        genotype = [op for op in found.genotype if op not in PLAIN]
        rows = zip(costs, genotype, strict=True)
        ours = sum(row[part.candidates.index(op)].item() for row, op in rows)
        assert ours == total, name


def test_constraints(detector):
    """Only in an architecture step, each by its weight."""
    batch = demo_batch([BOXES, []])
    plain = losses_of(detector, batch).keys()
    assert not [name for name in plain if 'cost' in name or 'columns' in name]
    cfg = search_config(
        constraint=dict(mu=0.5, lam=2.0, size=(64, 64), rois=9, unit=1e5)
    )
    model = MODELS.build(cfg)
    parts = model.parts
    losses = model.constraint({k: part.logits for k, part in parts.items()})
    neck = model.neck
    assert losses['loss_columns_neck'].item() == pytest.approx(
        0.5 * column_penalty(neck.logits).item()
    )
    cost = expected_cost(neck.logits, neck.costs((64, 64), 9).float() / 1e5)
    assert losses['loss_cost_neck'].item() == pytest.approx(2 * cost.item())
    assert len(losses) == 6
    assert 'constraint.neck' not in model.state_dict()


def test_subspace_of_step_1(tmp_path):
    path = tmp_path / 'genotype.json'
    kept = {name: dict(kept=ops, genotype=ops) for name, ops in TINY.items()}
    write_genotype(path, dict(epoch=1, **kept))
    cfg = mini_config(STEP_2).model
    cfg.subspace = str(path)
    with torch.device('meta'):
        model = MODELS.build(cfg)
    for name, part in model.parts.items():
        assert list(part.candidates) == TINY[name]


def test_sub_spaces_have_the_found_operations():
    for name, spaces in SPACES.items():
        found, part = full(name)
        assert set(found.genotype) - set(PLAIN) <= set(spaces['sub'])
        assert set(spaces['sub']) <= set(spaces['common'])
        assert part.candidates == spaces['sub']


def _backbone(**options):
    return MODELS.build(dict(type='SearchableBackbone', **options))


def _neck(**options):
    return MODELS.build(
        dict(
            type='SearchableNeck',
            in_channels=[8, 8],
            out_channels=8,
            **options,
        )
    )


def _head(**options):
    return MODELS.build(dict(type='SearchableBBoxHead', **options))


def _detector(**options):
    return MODELS.build(search_config(**options))


@pytest.mark.parametrize(
    ('build', 'options', 'error', 'message'),
    [
        (
            _backbone,
            dict(candidates='all'),
            ValueError,
            "backbone must be 'common' or 'sub' .* got 'all'",
        ),
        (
            _head,
            dict(candidates=['ir_k3_e3', 'ir_k5e6']),
            ValueError,
            "head has .* 'ir_k5e6'; did you mean ir_k5_e6",
        ),
        (_backbone, dict(genotype=['skip']), ValueError, 'is searched'),
        (_neck, dict(genotype=['skip']), ValueError, 'is searched'),
        (_head, dict(genotype=['skip']), ValueError, 'is searched'),
        (_backbone, dict(out_channels=[8, 8]), ValueError, 'at least 3 lay'),
        (_neck, dict(), ValueError, r'each of 2 levels, got \(4, 8, 16, 32'),
        (_head, dict(num_cells=0), ValueError, 'num_cells must be at least 1'),
        (
            _detector,
            dict(constraint=dict(mu=-1)),
            ValueError,
            r'constraint\.mu must be at least 0, got -1',
        ),
        (
            _detector,
            dict(constraint=dict(lam=1, size=(0, 100))),
            ValueError,
            r'constraint\.size must be positive, got 0',
        ),
        (
            _detector,
            dict(subspace='no_file.json'),
            ValueError,
            r'there is no genotype file no_file\.json',
        ),
    ],
)
def test_bad_arguments(build, options, error, message):
    with pytest.raises(error, match=message):
        build(**options)


def test_parts_that_cannot_be_searched():
    cfg = search_config()
    cfg.neck = dict(type='FPN', in_channels=[6, 12, 32, 256], out_channels=24)
    cfg.neck.num_outs = 5
    with pytest.raises(TypeError, match='a SearchableNeck, got FPN'):
        MODELS.build(cfg)


def test_constructor_needs_logits_and_two_optimizers():
    cfg = dict(constructor='ArchOptimWrapperConstructor')
    sgd = dict(type='SGD', lr=0.1)
    with pytest.raises(ValueError, match=r'optim_wrapper\.arch must be dict'):
        build_optim_wrapper(nn.Linear(1, 1), dict(optimizer=sgd, **cfg))
    cfg.update(optimizer=sgd, arch=dict(optimizer=sgd))
    with pytest.raises(ValueError, match='Linear has no parameters named ar'):
        build_optim_wrapper(nn.Linear(1, 1), cfg)
