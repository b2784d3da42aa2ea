"""The registered losses of GFL."""

import pytest
import torch
from mmdet.models.losses import DistributionFocalLoss, QualityFocalLoss

from mmdet_assigners.methods.gfl.losses import (
    GaussianDistanceLoss,
    GeneralizedFocalLoss,
)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
def test_takes_the_place_of_mmdets(reduction):
    """Same value for the same arguments."""
    logits, labels = rand(12, 4), torch.arange(12) % 5
    scores, weight = rand(12, seed=1).sigmoid(), rand(12, seed=2).abs()
    options = dict(reduction=reduction, loss_weight=0.3)
    ours = GeneralizedFocalLoss(beta=1.5, form='quality', **options)
    theirs = QualityFocalLoss(beta=1.5, **options)
    args = logits, (labels, scores), weight
    torch.testing.assert_close(ours(*args), theirs(*args))
    target = torch.linspace(0, 2.9, 12)
    ours = GeneralizedFocalLoss(beta=0, form='distribution', **options)
    theirs = DistributionFocalLoss(**options)
    args = logits, target, weight
    torch.testing.assert_close(ours(*args), theirs(*args))
    if reduction == 'mean':
        torch.testing.assert_close(
            ours(*args, avg_factor=4.0), theirs(*args, avg_factor=4.0)
        )


def test_pair():
    """Logits of two values; (y, y_left, y_right)."""
    loss = GeneralizedFocalLoss(beta=2.0, loss_weight=2.0)
    logits = torch.zeros(1, 2, dtype=torch.bfloat16)
    one = torch.ones(1)
    value = loss(logits, (3 * one, 2 * one, 6 * one))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(2 * 4 * 0.693147, rel=1e-5)


def test_gaussian():
    loss = GaussianDistanceLoss(loss_weight=0.5)
    mean, log_var = torch.zeros(2, 4), torch.zeros(2, 4)
    target = torch.tensor([[1.0], [3.0]]).expand(2, 4)
    weight = torch.tensor([1.0, 0.5])
    value = loss(mean, log_var, target, weight, avg_factor=4.0)
    assert value.item() == pytest.approx(0.5 * (0.5 + 0.5 * 2.5))
    terms = loss(mean, log_var, target, reduction_override='none')
    assert terms.shape == (2, 4)


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        (GeneralizedFocalLoss, dict(beta=-1), 'beta must be at least 0'),
        (GeneralizedFocalLoss, dict(form='both'), 'form must be one of'),
        (
            GeneralizedFocalLoss,
            dict(form='distribution'),
            'defined for beta=0 only, got 2.0',
        ),
        (
            GeneralizedFocalLoss,
            dict(use_sigmoid=False),
            'needs use_sigmoid=True',
        ),
        (GeneralizedFocalLoss, dict(reduction='max'), "got 'max'"),
        (GaussianDistanceLoss, dict(beta=0), 'beta must be positive'),
        (GaussianDistanceLoss, dict(reduction='max'), "got 'max'"),
    ],
)
def test_bad_arguments(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_bad_reduction_override():
    with pytest.raises(ValueError, match="got 'max'"):
        GaussianDistanceLoss()(
            *rand(3, 2, 4).unbind(), reduction_override='max'
        )


ONES = torch.ones(4)


@pytest.mark.parametrize(
    ('options', 'columns', 'target', 'message'),
    [
        ({}, 3, (ONES, ONES, ONES), r'2 columns, got shape \(4, 3\)'),
        ({}, 2, ONES, 'must be y, y_left, y_right, got 1 tensors'),
        (dict(form='quality'), 2, ONES, 'must be labels, scores, got 1'),
        (
            dict(form='quality'),
            2,
            (ONES.long(), ONES[:1]),
            r'scores must have .* \(4,\), got \(1,\)',
        ),
        (
            dict(form='distribution', beta=0),
            5,
            ONES[:3],
            r'target must have .* \(4,\), got \(3,\)',
        ),
    ],
)
def test_target_fits_the_form(options, columns, target, message):
    with pytest.raises(ValueError, match=message):
        GeneralizedFocalLoss(**options)(torch.zeros(4, columns), target)


def test_nothing_is_broadcast():
    box = torch.zeros(4, 4)
    with pytest.raises(ValueError, match=r'log_var.*\(4, 4\), \(4, 1\)'):
        GaussianDistanceLoss()(box, box[:, :1], box)
