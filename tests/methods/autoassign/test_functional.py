"""Bags of AutoAssign: hand-made cases and switches."""

import math
from dataclasses import replace

import pytest
import torch

from mmdet_assigners.methods.autoassign import functional as aa
from mmdet_assigners.ops.anchor_points import anchor_points, pad_gts

RULES = aa.Rules()


def make(boxes, labels, side=64, classes=3, seed=0):
    """Random predictions on three levels of a square image."""
    generator = torch.Generator().manual_seed(seed)
    strides = (8, 16, 32)
    points = anchor_points(
        [(side // s, side // s) for s in strides],
        strides,
        0.0,
        dtype=torch.float64,
    )
    batch, number = len(boxes), len(points.xy)

    def rand(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    cls = rand(batch, number, classes).requires_grad_()
    ltrb = (rand(batch, number, 4) * 40).requires_grad_()
    mean = (rand(classes, 2) - 0.5).requires_grad_()
    sigma = (rand(classes, 2) + 0.5).requires_grad_()
    padded = pad_gts(
        [torch.tensor(b, dtype=torch.float64).view(-1, 4) for b in boxes],
        [torch.tensor(x, dtype=torch.long) for x in labels],
    )
    inputs = aa.BagInputs(
        points.xy,
        points.stride,
        cls,
        aa.boxes_of(points.xy, ltrb),
        mean,
        sigma,
        *padded,
    )
    return inputs, (cls, ltrb, mean, sigma)


BOXES = [[[3, 3, 30, 40], [10, 5, 60, 50]], [[20, 20, 45, 45]]]
LABELS = [[0, 2], [0]]


def two_points(prob, box, gt=(0, 0, 20, 20), label=0):
    """Points (8, 8) and (40, 40) of stride 8; one class; one object."""
    return aa.BagInputs(
        xy=torch.tensor([[8.0, 8.0], [40.0, 40.0]]),
        stride=torch.tensor([8.0, 8.0]),
        cls=torch.tensor([[[prob], [prob]]]),
        decoded=torch.tensor([[box, box]], dtype=torch.float32),
        mean=torch.zeros(1, 2),
        sigma=torch.ones(1, 2),
        boxes=torch.tensor([[gt]], dtype=torch.float32),
        labels=torch.tensor([[label]]),
        mask=torch.ones(1, 1, dtype=torch.bool),
    )


def test_one_point_by_hand():
    """The box is exact, so P = 0.5 and the only weight is 1."""
    inputs = two_points(0.5, (0.0, 0.0, 20.0, 20.0))
    sums = aa.loss_sums(inputs, RULES)
    # center (10, 10), point (8, 8): offset -1/4 stride in x and in y
    prior = math.exp(-2 * 0.25**2 / 2)
    assert sums.positive.item() == pytest.approx(math.log(2))
    assert sums.prior.item() == pytest.approx(prior)
    assert sums.center.item() == pytest.approx(1 / prior)
    # one point in the bag: f = 1, its negative weight is 0
    assert sums.negative.item() == pytest.approx(0.25 * math.log(2))


def test_empty_bag_costs_100_without_gradient():
    inputs, leaves = make([[[9, 9, 10, 10]]], [[1]])
    positive, prior, found = aa.bag_sums(inputs, RULES)
    assert positive.item() == 100
    assert prior.item() == 0 and not found.any()
    for grad in torch.autograd.grad(positive, leaves):
        assert (grad == 0).all()
    assert aa.loss_sums(inputs, RULES).center.item() == 0


def test_force_topk_is_for_empty_bags_only():
    inputs, _ = make([[[9, 9, 10, 10], [3, 3, 30, 40]]], [[1, 0]])
    everything = slice(0, 2)
    plain = aa.members(inputs, everything, RULES)
    forced = aa.members(inputs, everything, replace(RULES, force_topk=9))
    assert plain.sum(-1).tolist()[0][0] == 0
    assert forced.sum(-1).tolist()[0][0] == 9
    assert torch.equal(plain[:, 1], forced[:, 1])
    # without a learned prior: the point nearest to (9.5, 9.5) in strides
    rules = replace(RULES, force_topk=1, center_prior='none')
    index = aa.members(inputs, everything, rules)[0, 0].nonzero().item()
    assert inputs.xy[index].tolist() == [8.0, 8.0]
    assert inputs.stride[index] == 8


def test_more_topk_than_points():
    inputs, _ = make([[[9, 9, 10, 10]]], [[1]])
    found = aa.members(inputs, slice(0, 1), replace(RULES, force_topk=10**6))
    assert found.all()


def test_last_object_of_a_class_decides():
    """Both hold (8, 8); the first has a second point of lower quality."""
    exact, poor = [0.0, 0.0, 40.0, 40.0], [0.0, 0.0, 4.0, 4.0]
    gts = [[0, 0, 40, 40], [0, 0, 12, 12]]
    inputs = aa.BagInputs(
        xy=torch.tensor([[8.0, 8.0], [30.0, 30.0]]),
        stride=torch.tensor([8.0, 8.0]),
        cls=torch.full((1, 2, 2), 0.5),
        decoded=torch.tensor([[poor, exact]]),
        mean=torch.zeros(2, 2),
        sigma=torch.ones(2, 2),
        boxes=torch.tensor([gts], dtype=torch.float32),
        labels=torch.zeros(1, 2, dtype=torch.long),
        mask=torch.ones(1, 2, dtype=torch.bool),
    )
    weight = aa.negative_weights(inputs, RULES)
    # alone in the second bag: f = 1; best of the first bag: f = 1
    torch.testing.assert_close(
        weight[0], torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    )
    swapped = replace(inputs, boxes=inputs.boxes.flip(1))
    weight = aa.negative_weights(swapped, RULES)
    assert weight[0, :, 0].tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize('kind', ['one', 'zero'])
def test_constant_negative_weights(kind):
    inputs, _ = make(BOXES, LABELS)
    weight = aa.negative_weights(inputs, replace(RULES, neg_weight=kind))
    expected = torch.ones_like(weight)
    if kind == 'zero':
        inside = aa.members(inputs, slice(0, 2), RULES)
        expected[..., 0] -= inside[:, 0].double()
        expected[0, :, 2] -= inside[0, 1].double()
    assert torch.equal(weight, expected)


def test_negative_weight_has_no_gradient():
    inputs, _ = make(BOXES, LABELS)
    assert not aa.negative_weights(inputs, RULES).requires_grad


@pytest.mark.parametrize('changes', [
    {},
    dict(center_prior='shared', neg_weight='zero'),
    dict(center_prior='none', confidence='loc'),
    dict(force_topk=9),
])  # fmt: skip
def test_chunks_change_nothing(changes):
    """One object per chunk, with its bags computed again: same gradients."""
    boxes = [[*BOXES[0], [9, 9, 10, 10]], BOXES[1]]
    labels = [[0, 0, 1], [0]]
    results = []
    for max_elements in (1, 10**9):
        inputs, leaves = make(boxes, labels)
        rules = aa.Rules(**changes, max_elements=max_elements)
        sums = aa.loss_sums(inputs, rules)
        loss = sums.positive + sums.negative + sums.center
        grads = torch.autograd.grad(loss, leaves, allow_unused=True)
        results.append([loss, *(g for g in grads if g is not None)])
    assert len(results[0]) == len(results[1])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_batch_equals_single_images():
    both, _ = make(BOXES, LABELS)
    sums = aa.loss_sums(both, RULES)
    singles = []
    for b in range(2):
        one = slice(b, b + 1)
        singles.append(
            aa.loss_sums(
                replace(
                    both,
                    cls=both.cls[one],
                    decoded=both.decoded[one],
                    boxes=both.boxes[one],
                    labels=both.labels[one],
                    mask=both.mask[one],
                ),
                RULES,
            )
        )
    for name in ('positive', 'negative', 'prior', 'num_gt'):
        expected = sum(getattr(s, name) for s in singles)
        torch.testing.assert_close(getattr(sums, name), expected)
    torch.testing.assert_close(
        sums.center, (singles[0].center + singles[1].center) / 2
    )


@pytest.mark.parametrize(
    ('change', 'term'),
    [
        (dict(confidence='cls'), 'positive'),
        (dict(confidence='loc'), 'positive'),
        (dict(confidence='none'), 'positive'),
        (dict(tau=0.5), 'positive'),
        (dict(lambda_loc=2.0), 'positive'),
        (dict(neg_weight='one'), 'negative'),
        (dict(neg_weight='zero'), 'negative'),
    ],
)
def test_a_switch_changes_its_term_only(change, term):
    inputs, _ = make(BOXES, LABELS)
    default = aa.loss_sums(inputs, RULES)
    other = aa.loss_sums(inputs, replace(RULES, **change))
    for name in ('positive', 'negative', 'center', 'prior'):
        same = torch.equal(getattr(default, name), getattr(other, name))
        assert same == (name != term), name


@pytest.mark.parametrize('kind', ['fixed', 'none'])
def test_priors_without_parameters(kind):
    inputs, (*_, mean, sigma) = make(BOXES, LABELS)
    sums = aa.loss_sums(inputs, replace(RULES, center_prior=kind))
    assert sums.center.item() == 0
    loss = sums.positive + sums.negative + sums.center
    grads = torch.autograd.grad(loss, (mean, sigma), allow_unused=True)
    assert grads == (None, None)
    if kind == 'none':
        inside = aa.members(inputs, slice(0, 2), RULES)
        assert sums.prior.item() == inside.sum()


def test_positive_loss_trains_the_prior():
    inputs, (*_, mean, sigma) = make(BOXES, LABELS)
    positive, _, _ = aa.bag_sums(inputs, RULES)
    for grad in torch.autograd.grad(positive, (mean, sigma)):
        assert (grad[[0, 2]] != 0).all()
        assert (grad[1] == 0).all()  # a class without objects


def test_saturated_probabilities_stay_finite():
    """A bag of probability 1 and IoU 1; in float32 sums round beyond 1."""
    box = torch.tensor([[[0.0, 0.0, 64.0, 64.0]]])
    inputs, _ = make([[[0, 0, 64, 64]]], [[0]])
    for prob in (0.0, 1.0):
        cls = torch.full(inputs.cls.shape, prob).requires_grad_()
        single = replace(
            inputs,
            **{
                name: getattr(inputs, name).detach().float()
                for name in ('xy', 'stride', 'mean', 'sigma', 'boxes')
            },
            cls=cls,
            decoded=box.expand(1, len(inputs.xy), 4),
        )
        sums = aa.loss_sums(single, RULES)
        loss = sums.positive + sums.negative
        (grad,) = torch.autograd.grad(loss, cls)
        assert torch.isfinite(loss) and torch.isfinite(grad).all()


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_negative_loss_by_hand(gamma):
    probs = torch.tensor([0.5, 0.2, 0.0]).requires_grad_()
    loss = aa.negative_loss(probs, torch.tensor([1.0, 0.5, 1.0]), gamma)
    expected = -(0.5**gamma) * math.log(0.5) - 0.1**gamma * math.log(0.9)
    assert loss.item() == pytest.approx(expected)
    loss.backward()
    assert torch.isfinite(probs.grad).all()


def test_strongest_bag():
    boxes = [[[3, 3, 30, 40], [10, 5, 60, 50], [9, 9, 10, 10]], []]
    inputs, _ = make(boxes, [[0, 2, 1], []])
    gt, weight = aa.strongest_bag(inputs, RULES)
    chunked = aa.strongest_bag(inputs, replace(RULES, max_elements=1))
    assert torch.equal(gt, chunked[0]) and torch.equal(weight, chunked[1])
    inside = aa.members(inputs, slice(0, 3), RULES)
    assert torch.equal(gt >= 0, inside.any(1))
    assert torch.equal(gt >= 0, aa.in_any_bag(inputs, RULES))
    assert set(gt[0].tolist()) == {-1, 0, 1} and (gt[1] == -1).all()
    assert weight[gt == 0].max() == 1 and weight[gt == 1].max() == 1
    assert (weight[gt < 0] == 1).all()


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (dict(center_prior='gauss'), "center_prior must be .* got 'gauss'"),
        (dict(confidence='all'), "confidence must be .* got 'all'"),
        (dict(neg_weight='two'), "neg_weight must be .* got 'two'"),
        (dict(tau=0), 'tau must be positive, got 0'),
        (dict(lambda_loc=-1.0), 'lambda_loc must be at least 0, got -1.0'),
        (dict(force_topk=-2), 'force_topk must be at least 0, got -2'),
    ],
)
def test_wrong_rules(bad, message):
    with pytest.raises(ValueError, match=message):
        aa.Rules(**bad)
