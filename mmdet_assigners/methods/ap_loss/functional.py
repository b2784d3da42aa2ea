"""AP-loss: one minus the average precision of a ranked list, exactly.

Towards Accurate One-Stage Object Detection with AP-Loss, CVPR 2019, arXiv
1904.06373. P positives, N negatives; everything in O((P + N) log P) time and
O(P + N) memory, in float64.
"""

from typing import Any

import torch
from torch import Tensor

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


def ap_loss(
    logits: Tensor,
    targets: Tensor,
    delta: float = 1.0,
    interpolate: bool = True,
) -> Tensor:
    r"""One minus the interpolated AP of a list of scores.

    With the step :math:`h(x) = clamp(x / 2\delta + 1/2, 0, 1)`, the rank of
    positive i among the positives is :math:`a_i = 1/2 + \sum_k h(s_k - s_i)`,
    the negatives above it are :math:`b_i = \sum_j h(s_j - s_i)`, its
    precision is :math:`p_i = a_i / (a_i + b_i)`, and :math:`M_i` is the
    highest precision of positives that score no more. The loss is
    :math:`1 - mean_i M_i`.

    The loss is piecewise constant, so the gradient isn't its derivative but
    the error-driven update of the paper: negative j gets
    :math:`\sum_i w_i h(s_j - s_i) / P` with :math:`w_i = \rho_i / (a_i +
    b_i)`, positive i gets :math:`-(1 - M_i) / P`; :math:`\rho_i = (1 - M_i) /
    (1 - p_i)` accounts for the interpolation. All gradients sum to 0, those
    of the negatives to the loss. Without positives both are 0.

    A logit that isn't a number makes the loss NaN.

    Args:
        logits: (n,) scores before the sigmoid, floating.
        targets: (n,) 1 positive, 0 negative, -1 ignored.
        delta: Half the width of the step; 1 in the official code.
        interpolate: Interpolated precision (official); else
            :math:`M_i = p_i`.

    Returns:
        Tensor: Scalar in [0, 1], in float32 or finer.

    Raises:
        ValueError: Shapes differ, or ``delta`` isn't positive.
    """
    if logits.dim() != 1 or targets.shape != logits.shape:
        raise ValueError(
            'logits and targets must have the same shape (n,), got '
            f'{tuple(logits.shape)} and {tuple(targets.shape)}'
        )
    if not delta > 0:
        raise ValueError(f'delta must be positive, got {delta}')
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return _APLoss.apply(logits, targets, delta, interpolate)


class _APLoss(torch.autograd.Function):
    """Value and error-driven gradient, computed together."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, *args: Any) -> Tensor:
        loss, gradient = error_driven(logits, *args)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad, None, None, None


def error_driven(
    logits: Tensor, targets: Tensor, delta: float, interpolate: bool
) -> tuple[Tensor, Tensor]:
    """Loss and gradient of :func:`ap_loss`, without a graph.

    Synchronizes with the device twice, for the numbers of positives and of
    negatives that are not far below all of them.

    Args:
        logits: (n,) float32 or float64.
        targets: (n,) 1, 0 or -1.
        delta: Half the width of the step.
        interpolate: Interpolated precision.

    Returns:
        tuple: Scalar and (n,).
    """
    # positives, ascending
    gradient = torch.zeros_like(logits)
    positive = (targets == POSITIVE).nonzero().squeeze(1)
    count = len(positive)
    if count == 0:
        return logits.new_zeros(()), gradient
    pos, order = logits[positive].double().sort()
    # negatives below every ramp have no part in loss or gradient; the bound is
    # a bit too low, as the comparison may round to float32
    bound = pos[0] - delta
    bound = bound - bound.abs() * torch.finfo(logits.dtype).eps
    # negated, so that NaN is kept
    reaches = (targets == NEGATIVE) & ~(logits <= bound)
    negative = reaches.nonzero().squeeze(1)

    # centered: prefix sums are most precise around 0
    center = pos.mean()
    pos = pos - center
    # clamped: higher ones are equally above every positive
    neg = torch.minimum(logits[negative].double() - center, pos[-1] + delta)
    low, high = band(pos, neg, delta)
    # precision at each positive
    rank = 0.5 + steps_of_positives(pos, delta)
    above = steps_of_negatives(pos, neg, low, high, delta)
    precision = rank / (rank + above)
    best, weight = precision, 1 / (rank + above)
    # interpolated: the best precision at no higher score
    if interpolate:
        best = precision.cummax(0).values
        rho = (1 - best) / (1 - precision)
        weight = weight * rho.where(precision < best, 1)

    # the sum over positives of w h(u - s), for each negative u
    sums = torch.stack((_prefix_sums(weight), _prefix_sums(weight * pos)))
    at_low, at_high = sums.index_select(1, low), sums.index_select(1, high)
    ramp, ramp_pos = at_high.sub_(at_low).unbind()
    pushed = (neg / (2 * delta) + 0.5).mul_(ramp)
    pushed = pushed.sub_(ramp_pos, alpha=0.5 / delta).add_(at_low[0])
    gradient[negative] = (pushed.clamp_(min=0) / count).to(gradient)
    gradient[positive[order]] = ((best - 1) / count).to(gradient)
    # searchsorted puts NaN above everything: add it back
    loss = 1 - best.mean() + 0 * neg.sum()
    return loss.to(logits), gradient


def band(pos: Tensor, values: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """Which sorted positives lie on the ramp of the step round each value.

    Args:
        pos: (P,) ascending.
        values: (m,) in any order.
        delta: Half the width of the step.

    Returns:
        tuple: Numbers (m,) of positives that are at least ``delta`` below,
        and of those less than ``delta`` above, the former included.
    """
    low = torch.searchsorted(pos, values - delta, right=True, out_int32=True)
    high = torch.searchsorted(pos, values + delta, out_int32=True)
    return low, torch.maximum(low, high)


def steps_of_positives(pos: Tensor, delta: float) -> Tensor:
    """Sum over k of h(s_k - s_i), with itself, (P,) for ascending (P,)."""
    low, high = band(pos, pos, delta)
    sums = _prefix_sums(pos)
    inside = high - low
    ramp = sums.index_select(0, high) - sums.index_select(0, low)
    ramp = (ramp - inside * pos) / (2 * delta)
    return (len(pos) - high) + ramp + 0.5 * inside


def steps_of_negatives(
    pos: Tensor, neg: Tensor, low: Tensor, high: Tensor, delta: float
) -> Tensor:
    """Sum over negatives j of h(u_j - s_i).

    No sorting of negatives: each one adds to the range of positives for which
    it is on the ramp, by its two ends, and a cumulative sum fills the range.

    Args:
        pos: (P,) positives, ascending.
        neg: (m,) negatives in any order.
        low: (m,) of :func:`band`.
        high: (m,) of :func:`band`.
        delta: Half the width of the step.

    Returns:
        Tensor: (P,), at least 0.
    """
    ones = torch.ones_like(neg)
    # rows: negatives that enter and leave the ramp at a positive, and sums of
    # their scores
    table = pos.new_zeros(4, len(pos) + 1)
    for row, index, values in (
        (0, low, ones),
        (1, high, ones),
        (2, low, neg),
        (3, high, neg),
    ):
        table[row].index_add_(0, index, values)
    begun, ended, low_sum, high_sum = table.cumsum(1)[:, :-1]
    inside = begun - ended
    ramp = (low_sum - high_sum - inside * pos) / (2 * delta)
    full = len(neg) - begun
    return (full + ramp + 0.5 * inside).clamp(min=0)


def _prefix_sums(values: Tensor) -> Tensor:
    """Sum of the first m values for m = 0..P, (P + 1,)."""
    return torch.cat((values.new_zeros(1), values.cumsum(0)))
