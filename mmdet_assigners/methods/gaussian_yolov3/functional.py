"""Gaussian YOLOv3: Gaussian boxes, their loss and score.

Gaussian YOLOv3: An Accurate and Fast Object Detector Using Localization
Uncertainty for Autonomous Driving, ICCV 2019, arXiv 1904.04620. Each of the
four numbers of a box, x, y, w, h as YOLOv3 encodes them, is a mean and a
standard deviation.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

BOX_CHANNELS = 8
# |target - mean| / sigma beyond which the density is 0 in every float format
_FAR = 1e3
_MIN_SIGMA = 1e-30  # keeps divisions finite; a raw output of -69 gives it
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class GaussianBoxes(NamedTuple):
    """Raw outputs of the network, split and activated.

    Attributes:
        mu: (..., 4) means of x, y (sigmoid, position in the cell) and w, h
            (log of the size over the anchor's).
        sigma: (..., 4) standard deviations in (0, 1) of the same numbers.
        objectness: (...) logits.
        cls: (..., C) logits.
    """

    mu: Tensor
    sigma: Tensor
    objectness: Tensor
    cls: Tensor


def split_outputs(
    raw: Tensor, straight_through: bool = False
) -> GaussianBoxes:
    """Split the official channel order and activate the Gaussians.

    Args:
        raw: (..., 9 + C): mean and sigma of x, of y, of w, of h, objectness,
            classes.
        straight_through: Leave the derivative of the sigmoid out of the
            gradients of the Gaussians, as the official code does.

    Returns:
        GaussianBoxes: Objectness and classes stay logits.

    Raises:
        ValueError: There are fewer than 9 channels.
    """
    if raw.shape[-1] <= BOX_CHANNELS:
        raise ValueError(
            'raw must have 9 + num_classes channels in its last dimension, '
            f'got shape {tuple(raw.shape)}'
        )
    return GaussianBoxes(
        *split_boxes(raw[..., :BOX_CHANNELS], straight_through),
        raw[..., BOX_CHANNELS],
        raw[..., BOX_CHANNELS + 1 :],
    )


def split_boxes(
    raw: Tensor, straight_through: bool = False
) -> tuple[Tensor, Tensor]:
    """The box channels alone, see :func:`split_outputs`.

    Args:
        raw: (..., 8): mean and sigma of x, of y, of w, of h.
        straight_through: See :func:`split_outputs`.

    Returns:
        tuple: ``mu`` and ``sigma`` (..., 4), activated.
    """
    mu, sigma = raw.unflatten(-1, (4, 2)).unbind(-1)
    xy = _sigmoid(mu[..., :2], straight_through)
    return (
        torch.cat([xy, mu[..., 2:]], -1),
        _sigmoid(sigma, straight_through),
    )


def _sigmoid(x: Tensor, straight_through: bool) -> Tensor:
    if straight_through:
        return x.detach().sigmoid() + (x - x.detach())
    return x.sigmoid()


def log_density(
    mu: Tensor,
    sigma: Tensor,
    target: Tensor,
    sigma_const: float = 0.3,
    eps: float = 1e-9,
) -> Tensor:
    r"""Logarithm of the Gaussian density plus eps.

    .. math::
        \log\left(\frac{e^{-(t - \mu)^2 / 2 \sigma^2}}
                       {\sqrt{2 \pi} (\sigma + c)} + \epsilon\right)

    by log-sum-exp; targets too far away get no gradient, because the density
    vanishes beside eps.

    Args:
        mu: (...) means.
        sigma: (...) standard deviations, at least 0.
        target: (...) where the density is read.
        sigma_const: c, only in the normalizer: 0.3 in the official code, 0 in
            the paper.
        eps: Added to the density; 1e-9.

    Returns:
        Tensor: (...) in float32 or finer.

    Raises:
        ValueError: ``sigma_const`` or ``eps`` is negative.
    """
    if not sigma_const >= 0:
        raise ValueError(f'sigma_const must be at least 0, got {sigma_const}')
    if not eps >= 0:
        raise ValueError(f'eps must be at least 0, got {eps}')
    dtype = torch.promote_types(sigma.dtype, torch.float32)
    mu, sigma, target = mu.to(dtype), sigma.to(dtype), target.to(dtype)
    sigma = sigma.clamp(min=_MIN_SIGMA)
    distance = target - mu
    far = (distance.detach().abs() > _FAR * sigma.detach()) & (eps > 0)
    # no quotient where its square would overflow
    z = distance.masked_fill(far, 0) / sigma
    log = -0.5 * z.square() - (sigma + sigma_const).log() - _LOG_SQRT_2PI
    if eps == 0:
        return log
    log_eps = log.new_full((), math.log(eps))
    return torch.where(far, log_eps, torch.logaddexp(log, log_eps))


def box_nll(
    mu: Tensor,
    sigma: Tensor,
    target: Tensor,
    scale: Tensor,
    sigma_const: float = 0.3,
    eps: float = 1e-9,
) -> Tensor:
    """Negative log-likelihood of encoded boxes, ``-scale / 2 * log(N + eps)``.

    Args:
        mu: (..., 4) means of x, y, w, h.
        sigma: (..., 4) standard deviations.
        target: (..., 4) encoded ground truths.
        scale: (...) of each box, 2 - w * h of the ground truth as
            fractions of the input, larger for small boxes; 0 leaves it out.
        sigma_const: See :func:`log_density`.
        eps: See :func:`log_density`.

    Returns:
        Tensor: (..., 4); can be negative.
    """
    log = log_density(mu, sigma, target, sigma_const, eps)
    return -0.5 * scale.to(log)[..., None] * log


def certainty(sigma: Tensor) -> Tensor:
    """Factor of the score: one minus the mean of the four sigmas.

    Args:
        sigma: (..., 4) in (0, 1).

    Returns:
        Tensor: (...) in (0, 1).
    """
    return 1 - sigma.mean(-1)


def side_sigmas(sigma: Tensor, boxes: Tensor, stride: Tensor) -> Tensor:
    """Standard deviations of the sides of decoded boxes, in pixels.

    To first order and with independent terms: the center is a Gaussian of
    ``stride * sigma_x``, the width ``w * sigma_w`` (w is an exponential, its
    derivative is w itself), and a side is the center plus or minus half of
    the width. So the two sides of an axis have the same value, the root of
    ``(stride * sigma_x)^2 + (w * sigma_w / 2)^2``.

    Args:
        sigma: (..., 4) of x, y, w, h as encoded.
        boxes: (..., 4) decoded boxes x1, y1, x2, y2 in pixels.
        stride: (...) of the level in pixels.

    Returns:
        Tensor: (..., 4) for x1, y1, x2, y2, in pixels.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    center = sigma[..., :2] * stride[..., None]
    half = sigma[..., 2:] * size / 2
    return torch.hypot(center, half).repeat_interleave(2, -1)[
        ..., [0, 2, 1, 3]
    ]
