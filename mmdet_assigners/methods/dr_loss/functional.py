"""DR loss: the expected scores of two worst-case distributions are ranked.

DR Loss: Improving Object Detection by Distributional Ranking, CVPR 2020,
arXiv 1907.10156.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

NEG_LAMBDA = 0.1 / math.log(3.5)
"""Official temperature of the background distribution."""


def worst_case_score(scores: Tensor, mask: Tensor, slope: float) -> Tensor:
    """Expected score under a distribution that leans to one end.

    The mean of the scores with weights proportional to exp(slope * score);
    the weights carry gradients.

    Args:
        scores: (B, n).
        mask: (B, n) bool, the entries of the set.
        slope: Positive leans to high scores, negative to low ones; its size
            is one over the temperature.

    Returns:
        Tensor: (B,), 0 for empty sets.
    """
    if not scores.shape[1]:  # amax needs an entry
        return scores.sum(1)
    lean = scores.detach() * slope
    # subtracting the maximum of the exponent changes nothing and is safe
    peak = lean.masked_fill(~mask, -torch.inf).amax(1, keepdim=True)
    peak = peak.where(mask.any(1, keepdim=True), 0)
    exponent = (scores * slope - peak).masked_fill(~mask, -torch.inf)
    weights = exponent.exp()
    # the sum is at least 1, the weight of the maximum, unless the set is empty
    norm = weights.sum(1).clamp(min=0.5)
    return (weights * scores).sum(1) / norm


def dr_loss(
    logits: Tensor,
    labels: Tensor,
    ignored: Tensor | None = None,
    margin: float = 0.5,
    pos_lambda: float = 1.0,
    neg_lambda: float = NEG_LAMBDA,
    L: float = 6.0,
    tau: float = 4.0,
) -> Tensor:
    r"""Distributional ranking loss of B lists of candidates.

    Positive entries are the (candidate, class) pairs of the labels, negative
    ones all others. With :math:`P_-` the :func:`worst_case_score` of the
    negatives of temperature :math:`\lambda_-` (leaning up) and :math:`P_+`
    that of the positives of temperature :math:`\lambda_+` (leaning down), the
    loss of a list is

    .. math:: \frac{\tau}{L} \log(1 + e^{L (P_- - P_+ + \gamma)})

    Without positives :math:`P_+ = 1`, without negatives :math:`P_- = 0`. It
    isn't divided by the number of positives.

    Args:
        logits: (B, P, C) before the sigmoid.
        labels: (B, P) class, C for background.
        ignored: (B, P) bool, candidates that are excluded.
        margin: Margin gamma; 0.5 in the paper.
        pos_lambda: Temperature of the positives; 1.
        neg_lambda: Temperature of the negatives; 0.1 / log(3.5).
        L: Smoothness of the hinge; 6.
        tau: Weight; 4.

    Returns:
        Tensor: (B,), in float32 or finer.
    """
    scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
    scores = scores.sigmoid()
    classes = scores.shape[2]
    # candidates that count, and the positives among them
    counted = torch.ones_like(labels, dtype=torch.bool)
    if ignored is not None:
        counted = ~ignored
    positive = counted & (labels >= 0) & (labels < classes)
    own = labels.clamp(0, classes - 1)[..., None]
    # negative entries: all but (candidate, its label)
    negative = counted[..., None].expand_as(scores).contiguous()
    negative.scatter_(2, own, (counted & ~positive)[..., None])
    low = worst_case_score(
        scores.gather(2, own)[..., 0], positive, -1 / pos_lambda
    )
    low = low.where(positive.any(1), 1)
    high = worst_case_score(
        scores.flatten(1), negative.flatten(1), 1 / neg_lambda
    )
    return tau / L * F.softplus(L * (high - low + margin))
