"""Generalized Focal Loss: the unified loss, its special cases, alternatives.

Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes for
Dense Object Detection, NeurIPS 2020, arXiv 2006.04388.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def modulation(distance: Tensor, beta: float) -> Tensor:
    """The factor ``|distance| ** beta`` with a gradient that is never NaN.

    Args:
        distance: (...).
        beta: Exponent, at least 0. With 0 the factor is 1 everywhere. For
            beta in (0, 1) the slope at 0 is infinite; there it is 0.

    Returns:
        Tensor: (...).
    """
    if beta == 0:
        return torch.ones_like(distance)
    if beta == 2:
        return distance.square()
    size = distance.abs()
    away = size > 0
    return size.where(away, 1).pow(beta).where(away, 0)


def generalized_focal_loss(
    log_left: Tensor,
    log_right: Tensor,
    y: Tensor,
    y_left: Tensor | float,
    y_right: Tensor | float,
    beta: float = 2.0,
) -> Tensor:
    r"""The unified loss GFL(p_yl, p_yr) of a continuous label, element-wise.

    A variable takes the values ``y_left < y_right`` with the probabilities
    ``p_left`` and ``p_right``; its expectation estimates the label:

    .. math::
        |y - (y_l p_l + y_r p_r)|^\beta
        \left(-(y_r - y) \log p_l - (y - y_l) \log p_r\right)

    The factor carries a gradient. The minimum is at
    ``p_right = (y - y_left) / (y_right - y_left)``. Focal loss without alpha:
    labels and support 0 and 1. QFL: support 0 and 1. DFL: neighboring bins
    and ``beta=0``, where ``p_left + p_right`` may be less than 1.

    Args:
        log_left: (...) logarithm of ``p_left``.
        log_right: (...) logarithm of ``p_right``.
        y: (...) label in [``y_left``, ``y_right``].
        y_left: (...) or number.
        y_right: (...) or number.
        beta: Exponent of the modulating factor; 2 for QFL, 0 for DFL.

    Returns:
        Tensor: (...).
    """
    entropy = -(y_right - y) * log_left - (y - y_left) * log_right
    if beta == 0:
        return entropy
    expected = y_left * log_left.exp() + y_right * log_right.exp()
    return modulation(y - expected, beta) * entropy


def quality_focal_loss(
    logits: Tensor, labels: Tensor, scores: Tensor, beta: float = 2.0
) -> Tensor:
    """QFL (Eq. 5 of the paper) of every class, without synchronization.

    ``|s - sigmoid|^beta`` times the cross entropy with the label ``s``: the
    score at the class of a positive and 0 elsewhere.

    Args:
        logits: (N, C).
        labels: (N,) int64; outside [0, C) is background.
        scores: (N,) quality of the positives in [0, 1].
        beta: Exponent, at least 0; 2 in the paper.

    Returns:
        Tensor: (N, C).
    """
    # everywhere the loss of label 0, then the difference at the class
    loss = modulation(logits.sigmoid(), beta)
    loss = loss * F.softplus(logits, threshold=40)
    positive = (labels >= 0) & (labels < logits.shape[1])
    index = labels.where(positive, 0)[:, None]
    own = logits.gather(1, index)
    label = scores.to(logits).where(positive, 0)[:, None]
    pair = F.logsigmoid(-own), F.logsigmoid(own)
    change = generalized_focal_loss(*pair, label, 0, 1, beta)
    change = change - generalized_focal_loss(
        *pair, torch.zeros_like(label), 0, 1, beta
    )
    return loss.scatter_add(1, index, change)


def clamp_distances(
    distances: Tensor, bins: int, delta: float = 1.0, margin: float = 0.1
) -> Tensor:
    """Distances that the bins can represent.

    Args:
        distances: (...) in strides.
        bins: Number n of bins; the support is 0, delta, ..., n * delta.
        delta: Width of a bin in strides.
        margin: Distance to the end of the support in bins; 0.1 in the
            official code.

    Returns:
        Tensor: (...) in [0, (n - margin) * delta].
    """
    return distances.clamp(min=0, max=(bins - margin) * delta)


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """DFL (Eq. 6 of the paper): cross entropy with the two nearest bins.

    Args:
        logits: (..., n + 1) of the bins 0 to n.
        target: (...) label in bins, in [0, n]: the distance divided by the
            width of a bin.

    Returns:
        Tensor: (...).
    """
    left = target.detach().floor().clamp(0, logits.shape[-1] - 2)
    pair = torch.stack((left, left + 1), -1).long()
    log_left, log_right = logits.log_softmax(-1).gather(-1, pair).unbind(-1)
    return generalized_focal_loss(
        log_left, log_right, target, left, left + 1, beta=0
    )


def expected_distance(logits: Tensor, delta: float = 1.0) -> Tensor:
    """Mean of a distribution over bins (Eq. 4 of the paper).

    Args:
        logits: (..., n + 1).
        delta: Width of a bin in strides.

    Returns:
        Tensor: (...) sum of P_i * i * delta, in strides.
    """
    return (logits.softmax(-1) * _support(logits, delta)).sum(-1)


def distance_spread(logits: Tensor, delta: float = 1.0) -> Tensor:
    """Standard deviation of a distribution over bins.

    Args:
        logits: (..., n + 1).
        delta: Width of a bin in strides.

    Returns:
        Tensor: (...) in strides; large where the side of a box is ambiguous.
    """
    probs, support = logits.softmax(-1), _support(logits, delta)
    mean = (probs * support).sum(-1, keepdim=True)
    return (probs * (support - mean).square()).sum(-1).sqrt()


def _support(logits: Tensor, delta: float) -> Tensor:
    bins = torch.arange(logits.shape[-1], device=logits.device)
    return bins.to(logits) * delta


def gaussian_distance_loss(
    mean: Tensor, log_var: Tensor, target: Tensor, beta: float = 1.0
) -> Tensor:
    """Loss of a Gaussian distance: ``exp(-a) * SmoothL1 + a / 2``.

    The KL loss of arXiv 1809.08545 with ``a = log sigma^2``, which the
    Gaussian row of the paper's table 2a cites.

    Args:
        mean: (...) predicted distances in strides.
        log_var: (...) logarithm a of the variance.
        target: (...) distances in strides.
        beta: Where smooth L1 turns from quadratic to linear, in strides.

    Returns:
        Tensor: (...), may be negative.
    """
    error = F.smooth_l1_loss(mean, target, reduction='none', beta=beta)
    return (-log_var).exp() * error + log_var / 2


def guided_losses(
    losses: Tensor,
    labels: Tensor,
    quality: Tensor,
    eta: float = 1.0,
    normalize: bool = False,
) -> Tensor:
    """Weigh the positive entries of a classification loss by their quality.

    The implicit use of centerness or IoU (Fig. 6 of the paper): the entry of
    the class of each positive is multiplied by ``quality ** eta``, all other
    entries keep their weight.

    Args:
        losses: (N, C) loss of every class.
        labels: (N,) int64; outside [0, C) is background.
        quality: (N,) in [0, 1]; its gradient is not used.
        eta: Exponent, at least 0; 0 changes nothing.
        normalize: Rescale the positive entries so that their sum stays the
            same, as IoU-balanced losses do.

    Returns:
        Tensor: (N, C).
    """
    classes = torch.arange(losses.shape[1], device=losses.device)
    own = labels[:, None] == classes
    weight = quality.detach().to(losses).pow(eta)[:, None]
    guided = losses * weight
    if normalize:
        with torch.no_grad():
            before = losses.where(own, 0).sum()
            after = guided.where(own, 0).sum()
            scale = (before / after).where(after > 0, 1)
        guided = guided * scale
    return guided.where(own, losses)
