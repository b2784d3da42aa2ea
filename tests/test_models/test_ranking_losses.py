"""APLoss and DRLoss as registered losses."""

import pytest
import torch
from mmdet.registry import MODELS

from mmdet_assigners.methods.ap_loss.functional import ap_loss
from mmdet_assigners.methods.ap_loss.loss import APLoss
from mmdet_assigners.methods.dr_loss.functional import dr_loss
from mmdet_assigners.methods.dr_loss.loss import DRLoss

KINDS = pytest.mark.parametrize('kind', [APLoss, DRLoss])
CLASSES = 3


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    pred = torch.randn(2, 40, CLASSES, generator=generator).double()
    target = torch.full((2, 40), CLASSES)
    target[0, :5] = torch.tensor([0, 1, 2, 0, 1])
    target[1, :2] = 2
    weight = torch.ones(2, 40)
    weight[:, 3:9:2] = 0
    return pred.requires_grad_(), target, weight


def test_ap_loss_ranks_the_entries():
    """(anchor, class) pairs: one positive and C - 1 negatives per object."""
    pred = torch.tensor([[0.0, 2.0, -5.0], [1.0, -5.0, 9.0]])
    target = torch.tensor([0, 3])
    entries = torch.tensor([1, 0, 0, 0, 0, 0])
    loss = APLoss()(pred, target)
    assert loss == ap_loss(pred.flatten(), entries)
    entries[3:] = -1
    loss = APLoss()(pred, target, torch.tensor([1.0, 0.0]))
    assert loss == ap_loss(pred.flatten(), entries)


@KINDS
def test_per_image_is_the_mean(kind):
    pred, target, weight = batch()
    ours = kind(per_image=True)(pred, target, weight)
    single = [
        kind(per_image=False)(*args)
        for args in zip(pred, target, weight, strict=True)
    ]
    torch.testing.assert_close(ours, sum(single) / 2)


@KINDS
def test_joint_is_one_list(kind):
    pred, target, weight = batch()
    ours = kind(per_image=False)(pred, target, weight)
    flat = kind(per_image=True)(
        pred.flatten(0, 1), target.flatten(), weight.flatten()
    )
    torch.testing.assert_close(ours, flat)
    assert (ours - kind(per_image=True)(pred, target, weight)).abs() > 1e-3


def test_defaults_of_the_papers():
    pred, target, weight = batch()
    assert not APLoss().per_image and DRLoss().per_image
    expected = dr_loss(pred, target, weight == 0).mean()
    torch.testing.assert_close(DRLoss()(pred, target, weight), expected)


@KINDS
def test_ignored_candidates_get_no_gradient(kind):
    pred, target, weight = batch()
    kind()(pred, target, weight).backward()
    assert (pred.grad[weight == 0] == 0).all()
    assert (pred.grad[weight == 1] != 0).any(1).sum() > 10


@KINDS
def test_empty_image_and_no_object(kind):
    pred, target, weight = batch()
    target[1] = CLASSES
    for _ in range(2):
        loss = kind()(pred, target, weight)
        (grad,) = torch.autograd.grad(loss, pred)
        assert loss.isfinite() and grad.isfinite().all()
        target[0] = CLASSES
    assert (kind is APLoss) == (loss == 0)  # DR loss pushes background down


@KINDS
def test_weight_and_factor(kind):
    pred, target, weight = batch()
    plain = kind()(pred, target, weight)
    loss = kind(loss_weight=0.3)
    torch.testing.assert_close(loss(pred, target, weight), 0.3 * plain)
    assert kind()(pred, target, 5 * weight) == plain


@KINDS
def test_half_precision(kind):
    pred, target, weight = batch()
    half = pred.detach().bfloat16().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        loss = kind()(half, target, weight)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, kind()(half.float(), target, weight))
    loss.backward()
    assert half.grad.isfinite().all() and half.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(type='APLoss', delta=0), 'delta must be positive, got 0'),
        (dict(type='APLoss', use_sigmoid=False), 'needs use_sigmoid=True'),
        (dict(type='DRLoss', tau=-1), 'tau must be positive, got -1'),
        (dict(type='DRLoss', neg_lambda=0), 'neg_lambda must be positive'),
        (dict(type='DRLoss', use_sigmoid=False), 'needs use_sigmoid=True'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(options)


@KINDS
def test_bad_calls(kind):
    pred, target, weight = batch()
    loss = kind()
    with pytest.raises(ValueError, match=r'got \(2, 40, 3\) and \(80,\)'):
        loss(pred, target.flatten())
    with pytest.raises(ValueError, match=r'weight must .* got \(80,\)'):
        loss(pred, target, weight.flatten())
    with pytest.raises(ValueError, match=r"must be None.*got 'none'"):
        loss(pred, target, reduction_override='none')
