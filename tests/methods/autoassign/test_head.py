"""AutoAssignAblationHead against mmdet's AutoAssignHead, and its switches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import make_feats, make_gts
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from mmdet_assigners.methods.autoassign.head import AutoAssignAblationHead

GOLDEN = Path(__file__).parent / 'golden'
SIZE = 64
STRIDES = (8, 16)
BOXES = [
    [[3, 4, 30, 44], [10, 5, 60, 50], [12, 8, 61, 44], [9, 9, 11, 12]],
    [[1, 1, 60, 63]],
]
LABELS = [[0, 2, 2, 1], [2]]
CASES = {
    'two': (BOXES, LABELS),
    'one empty': ([BOXES[0], []], [LABELS[0], []]),
    'none': ([[], []], [[], []]),
    'tiny': ([[[9, 9, 11, 12]], [[1, 1, 2, 2]]], [[0], [1]]),
}


def make_head(kind=AutoAssignAblationHead, seed=0, **kwargs):
    init_default_scope('mmdet')
    torch.manual_seed(seed)
    cfg = dict(
        type=kind,
        num_classes=3,
        in_channels=8,
        feat_channels=8,
        stacked_convs=1,
        strides=STRIDES,
        regress_ranges=((-1, 24), (24, 1e8)),
        norm_cfg=None,
        loss_bbox=dict(type='GIoULoss', loss_weight=5.0),
        test_cfg=ConfigDict(
            nms_pre=1000,
            min_bbox_size=0,
            score_thr=0.0,
            nms=dict(type='nms', iou_threshold=0.6),
            max_per_img=100,
        ),
    )
    head = MODELS.build({**cfg, **kwargs})
    head.init_weights()
    if head.center_prior is not None:
        generator = torch.Generator().manual_seed(3)
        for value in head.center_prior.parameters():
            noise = torch.rand(value.shape, generator=generator)
            value.data += noise - 0.5
    return head.double()


def feats_of(seed=1):
    size = (SIZE, SIZE)
    return make_feats(STRIDES, size=size, seed=seed, dtype=torch.float64)


def make_outs(maps=3, seed=2):
    """Random leaves in float64: class, distances and objectness."""
    generator = torch.Generator().manual_seed(seed)

    def level(channels, s):
        shape = (2, channels, SIZE // s, SIZE // s)
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    outs = [
        [level(3, s) * 4 - 2 for s in STRIDES],
        [level(4, s) * 40 for s in STRIDES],
        [level(1, s) * 4 - 2 for s in STRIDES],
    ][:maps]
    for levels in outs:
        for x in levels:
            x.requires_grad_()
    return outs


def gts_of(boxes=BOXES, labels=LABELS):
    return make_gts(boxes, labels, torch.float64)


def metas():
    return [dict(img_shape=(SIZE, SIZE), scale_factor=(1.0, 1.0))] * 2


def losses_and_grads(head, gts):
    outs = make_outs(3 if hasattr(head, 'conv_centerness') else 2)
    losses = head.loss_by_feat(*outs, gts, metas(), None)
    leaves = [x for levels in outs for x in levels]
    if head.center_prior is not None:
        leaves += head.center_prior.parameters()
    grads = torch.autograd.grad(
        sum(losses.values()), leaves, allow_unused=True
    )
    return losses, grads


@pytest.mark.parametrize('force_topk', [False, True])
@pytest.mark.parametrize('case', CASES)
def test_losses_equal_mmdet(case, force_topk):
    """Values and gradients in float64, mean and sigma included."""
    gts = gts_of(*CASES[case])
    kwargs = dict(force_topk=force_topk, topk=3)
    ours, grads = losses_and_grads(make_head(**kwargs), gts)
    theirs, expected = losses_and_grads(
        make_head('AutoAssignHead', **kwargs), gts
    )
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-12)
    for one, two in zip(grads, expected, strict=True):
        two = torch.zeros_like(one) if two is None else two
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-12)
    if case == 'two':
        assert all((g != 0).any() for g in grads)


@pytest.mark.parametrize('kind', ['AutoAssignHead', AutoAssignAblationHead])
def test_head_equals_the_official_code(kind):
    """The reference case, from feature maps, with all gradients."""
    with np.load(GOLDEN / 'official_b2.npz') as arrays:
        case = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    strides, counts = case['point_stride'].unique_consecutive(
        return_counts=True
    )
    widths = [-(-160 // int(s)) for s in strides]
    head = make_head(
        kind,
        num_classes=5,
        strides=strides.int().tolist(),
        regress_ranges=((-1, 1e8),) * 5,
    )
    prior = head.center_prior
    prior.mean.data, prior.sigma.data = case['mu'], case['sigma']
    head.double()
    leaves = {
        name: case[name].double().requires_grad_()
        for name in ('cls_logits', 'reg_pred', 'obj_logits')
    }
    outs = [
        [
            level.transpose(1, 2).unflatten(2, (-1, width))
            for level, width in zip(
                leaf.split(counts.tolist(), 1), widths, strict=True
            )
        ]
        for leaf in leaves.values()
    ]
    gts = [
        InstanceData(
            bboxes=case[f'gt_bboxes_{b}'].double(),
            labels=case[f'gt_labels_{b}'],
        )
        for b in range(2)
    ]
    losses = head.loss_by_feat(*outs, gts, metas(), None)
    sum(losses.values()).backward()
    found = {
        **losses,
        'grad_mu': prior.mean.grad,
        'grad_sigma': prior.sigma.grad,
        **{f'grad_{name}': leaf.grad for name, leaf in leaves.items()},
    }
    for name, value in found.items():
        expected = case[name].double()
        bound = 1e-6 + 2e-4 * expected.abs().max()
        assert (value - expected).abs().max() <= bound, name


def test_network_equals_mmdet():
    """The same state dict and outputs bit for bit."""
    head = make_head()
    other = make_head('AutoAssignHead', seed=1)
    other.load_state_dict(head.state_dict(), strict=True)
    for one, two in zip(head(feats_of()), other(feats_of()), strict=True):
        assert all(map(torch.equal, one, two))


def test_without_objectness_the_rest_stays():
    full = make_head()
    head = make_head(objectness='none')
    state = full.state_dict()
    names = [name for name in state if 'conv_centerness' not in name]
    head.load_state_dict({name: state[name] for name in names}, strict=True)
    outs = head(feats_of())
    assert len(outs) == 2
    for one, two in zip(outs, full(feats_of())[:2], strict=True):
        assert all(map(torch.equal, one, two))
    outs = [[x.float() for x in levels] for levels in outs]
    assert len(head.predict_by_feat(*outs, batch_img_metas=metas())) == 2


def test_no_objectness_is_objectness_one():
    gts = gts_of()
    losses, _ = losses_and_grads(make_head(objectness='none'), gts)
    cls, reg, obj = make_outs()
    certain = [torch.full_like(x, 60.0) for x in obj]
    full = make_head().loss_by_feat(cls, reg, certain, gts, metas(), None)
    for name, value in full.items():
        torch.testing.assert_close(losses[name], value)


def test_explicit_objectness():
    """It is trained by its own loss alone, and the other losses see it."""
    gts = gts_of()
    head = make_head(objectness='explicit')
    outs = make_outs()
    losses = head.loss_by_feat(*outs, gts, metas(), None)
    implicit = make_head().loss_by_feat(*outs, gts, metas(), None)
    assert losses.keys() - implicit.keys() == {'loss_obj'}
    rest = 0
    for name, value in implicit.items():
        assert torch.equal(losses[name], value)
        rest = rest + losses[name]
    grads = torch.autograd.grad(
        rest, outs[2], allow_unused=True, retain_graph=True
    )
    assert grads == (None, None)
    inside = [
        (r.assigned_gt >= 0).double()
        for r in head.get_assignment(outs, gts, metas())
    ]
    target = torch.stack(inside)
    logits = torch.cat([x.flatten(1) for x in outs[2]], 1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, target, reduction='sum'
    )
    torch.testing.assert_close(
        losses['loss_obj'], expected / target.sum(), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ('kind', 'shape'), [('category', (3, 2)), ('shared', (1, 2))]
)
def test_prior_parameters_are_trained_in_every_mode(kind, shape):
    """With and without objects the prior is in the graph (DDP)."""
    for boxes, labels in CASES.values():
        head = make_head(center_prior=kind, confidence='none')
        assert head.center_prior.mean.shape == shape
        _, grads = losses_and_grads(head, make_gts(boxes, labels))
        assert all(g is not None for g in grads[-2:])


def test_shared_equals_equal_rows():
    """The gradient of the one row is the sum over the classes' rows."""
    shared, rows = make_head(center_prior='shared'), make_head()
    for name in ('mean', 'sigma'):
        value = getattr(shared.center_prior, name).data
        getattr(rows.center_prior, name).data = value.repeat(3, 1)
    losses, grads = losses_and_grads(shared, gts_of())
    expected, row_grads = losses_and_grads(rows, gts_of())
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value)
    for one, two in zip(grads[-2:], row_grads[-2:], strict=True):
        torch.testing.assert_close(one, two.sum(0, keepdim=True))


@pytest.mark.parametrize('kind', ['fixed', 'none'])
def test_priors_without_parameters(kind):
    head = make_head(center_prior=kind)
    assert not [n for n in head.state_dict() if 'center_prior' in n]
    losses, _ = losses_and_grads(head, gts_of())
    assert losses['loss_center'] == 0
    if kind == 'fixed':
        learned = make_head()
        learned.center_prior.mean.data.fill_(0)
        learned.center_prior.sigma.data.fill_(1)
        expected, _ = losses_and_grads(learned, gts_of())
        for name in ('loss_pos', 'loss_neg'):
            torch.testing.assert_close(losses[name], expected[name])


def test_lambda_comes_from_the_box_loss():
    gts = gts_of()
    weight, _ = losses_and_grads(
        make_head(loss_bbox=dict(type='GIoULoss', loss_weight=2.0)), gts
    )
    given, _ = losses_and_grads(make_head(lambda_loc=2.0), gts)
    default, _ = losses_and_grads(make_head(), gts)
    assert torch.equal(weight['loss_pos'], given['loss_pos'])
    assert weight['loss_pos'] != default['loss_pos']


def test_weights_concentrate_where_training_goes():
    """The entropy of the weights of a bag falls."""
    head = make_head()
    outs, gts = make_outs(), gts_of([[BOXES[0][0]], []], [[0], []])
    leaves = [x for levels in outs for x in levels]
    optimizer = torch.optim.Adam(leaves, lr=0.2)

    def entropy():
        result = head.get_assignment(outs, gts, metas())[0]
        share = result.weight[result.assigned_gt == 0]
        share = share / share.sum()
        return -(share * share.clamp(min=1e-12).log()).sum().item()

    before, first = entropy(), None
    for _ in range(40):
        losses = head.loss_by_feat(*outs, gts, metas(), None)
        first = first or losses['loss_pos'].item()
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert entropy() < before - 0.1
    assert losses['loss_center'] < 10
    assert losses['loss_pos'] < first / 2


def test_assignment_for_images():
    result, empty = make_head().get_assignment(
        make_outs(), gts_of([BOXES[0], []], [LABELS[0], []]), metas()
    )
    assert result.priors.shape == (64 + 16, 2)
    assert result.priors[1].tolist() == [8, 0]  # offset 0
    assert (empty.assigned_gt == -1).all() and (empty.weight == 1).all()
    for index in (0, 1):
        assert result.weight[result.assigned_gt == index].max() == 1


@pytest.mark.parametrize(
    ('bad', 'error', 'message'),
    [
        (dict(objectness='x'), ValueError, "none, explicit, got 'x'"),
        (dict(center_prior='x'), ValueError, "center_prior must be .*'x'"),
        (dict(tau=0.0), ValueError, 'tau must be positive, got 0.0'),
        (
            dict(loss_bbox=dict(type='IoULoss')),
            TypeError,
            'loss_bbox must be a GIoULoss, got .*IoULoss',
        ),
        (dict(temperature=1), TypeError, 'temperature'),
    ],
)
def test_wrong_arguments(bad, error, message):
    with pytest.raises(error, match=message):
        make_head(**bad)
