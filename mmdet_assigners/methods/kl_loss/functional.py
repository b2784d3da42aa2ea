r"""KL-Loss: boxes as Gaussians whose log-variance the network predicts.

Bounding Box Regression with Uncertainty for Accurate Object Detection, CVPR
2019, arXiv 1809.08545. A box is regressed by its four sides; the regression
loss is the KL divergence of a Gaussian (predicted side, predicted variance)
from a Dirac (ground truth), less its constant parts. Variance voting, which
uses the variances at test time, is in ``ops/var_voting.py``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

ORDERS = {'xxyy': (0, 2, 1, 3), 'xyxy': (0, 1, 2, 3)}
"""Order of the delta columns as columns of x1, y1, x2, y2.

Both permutations are their own inverse.
"""

MIN_SIZE = 1e-6
"""Minimum width and height of a prior in pixels, so that none divides by 0."""


def side_units(
    priors: Tensor, stds: Sequence[float], plus_one: bool = False
) -> Tensor:
    """Pixels per unit of a delta.

    Args:
        priors: (..., 4) x1, y1, x2, y2 in pixels.
        stds: Of x1, y1, x2, y2, in sizes of the prior.
        plus_one: The size of a box is x2 - x1 + 1.

    Returns:
        Tensor: (..., 4) for x1, y1, x2, y2: std times width or height.
    """
    size = priors[..., 2:] - priors[..., :2] + float(plus_one)
    size = size.clamp(min=MIN_SIZE)
    return torch.cat((size, size), -1) * size.new_tensor(stds)


def corner_encode(
    priors: Tensor,
    boxes: Tensor,
    stds: Sequence[float] = (0.1, 0.1, 0.1, 0.1),
    order: str = 'xxyy',
    plus_one: bool = False,
) -> Tensor:
    """Differences of the sides of a box and its prior (paper, Eq. 1).

    Args:
        priors: (..., 4) x1, y1, x2, y2 in pixels.
        boxes: (..., 4) in pixels.
        stds: Of x1, y1, x2, y2, in sizes of the prior: 0.1 in R-CNN, 1 in
            the RPN.
        order: Of the columns of the result: 'xxyy' (x1, x2, y1, y2) as in the
            official code, or 'xyxy'.
        plus_one: The size of a box is x2 - x1 + 1.

    Returns:
        Tensor: (..., 4) deltas in units of std times size of the prior.
    """
    deltas = (boxes - priors) / side_units(priors, stds, plus_one)
    return deltas[..., ORDERS[order]]


def corner_decode(
    priors: Tensor,
    deltas: Tensor,
    stds: Sequence[float] = (0.1, 0.1, 0.1, 0.1),
    order: str = 'xxyy',
    plus_one: bool = False,
    max_shift: float = 62.5,
) -> Tensor:
    """Boxes of predicted deltas, not clipped to the image.

    Args:
        priors: (..., 4) x1, y1, x2, y2 in pixels.
        deltas: (..., 4 C) for C classes, class-major.
        stds: Of x1, y1, x2, y2, in sizes of the prior.
        order: Of the four columns of a class.
        plus_one: The size of a box is x2 - x1 + 1.
        max_shift: A side moves by at most this many sizes of the prior.

    Returns:
        Tensor: (..., 4 C) x1, y1, x2, y2 in pixels, float32 at least.
    """
    # half precision would round to pixels; mmcv's NMS needs float32
    wide = torch.promote_types(deltas.dtype, torch.float32)
    priors, deltas = priors.to(wide), deltas.to(wide)
    shifts = deltas.unflatten(-1, (-1, 4))[..., ORDERS[order]]
    shifts = shifts * shifts.new_tensor(stds)
    unit = side_units(priors, (1.0, 1.0, 1.0, 1.0), plus_one)[..., None, :]
    shifts = shifts.clamp(-max_shift, max_shift) * unit
    return (priors[..., None, :] + shifts).flatten(-2)


def sides_of(columns: Tensor, order: str = 'xxyy') -> Tensor:
    """Columns (..., 4) in the order of the deltas as x1, y1, x2, y2."""
    return columns[..., ORDERS[order]]


def kl_terms(
    pred: Tensor,
    alpha: Tensor,
    target: Tensor,
    beta: float = 1.0,
    alpha_clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""The two terms of the KL loss of each coordinate (paper, Eqs. 9, 10).

    .. math:: L = e^{-\alpha}\, SL_1(d) + \alpha / 2

    with alpha = log(sigma^2), d the difference to the target and smooth L1 in
    place of d^2 / 2 for large d. For a fixed d the smallest loss is at
    alpha = log(2 SL1(d)).

    Args:
        pred: (..., 4) predicted deltas.
        alpha: (..., 4) log-variances.
        target: (..., 4) encoded ground truth.
        beta: Where smooth L1 turns from squared to linear; 1.
        alpha_clip: Clip alpha to +- this value; None, as official, doesn't.

    Returns:
        tuple: The weighted error and alpha / 2, both (..., 4).
    """
    if alpha_clip is not None:
        alpha = alpha.clamp(-alpha_clip, alpha_clip)
    error = F.smooth_l1_loss(pred, target, reduction='none', beta=beta)
    return (-alpha).exp() * error, alpha / 2
