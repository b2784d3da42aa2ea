"""Shifted proposals and the progressive constraint of TSD."""

from collections.abc import Sequence

import torch
from torch import Tensor


def shift_deltas(
    delta_r: Tensor, stds: Sequence[float], gamma: float = 0.1
) -> Tensor:
    """The translation of a proposal as deltas of its box coder.

    The regression proposal P_r is P moved by ``gamma`` x delta_r x its sides
    (paper, equation 3). It is as large as P, so that deltas relative to P_r
    plus these are the deltas of the same box relative to P, and the same holds
    for targets: nothing else has to know P_r.

    Args:
        delta_r: (N, 2) x and y.
        stds: Of the coder, for x, y, w, h.
        gamma: Unit of delta_r in sides of the proposal.

    Returns:
        Tensor: (N, 4) dx, dy, 0, 0.
    """
    move = gamma * delta_r / delta_r.new_tensor(list(stds)[:2])
    return torch.cat((move, torch.zeros_like(move)), 1)


def deficit(sibling: Tensor, tsd: Tensor, margin: float) -> Tensor:
    """By how much TSD fails to beat the sibling head by a margin.

    Paper, equations 6 and 7. As in the official code the margin is at most
    what the sibling lacks to 1. The sibling gets no gradient.

    Args:
        sibling: (N,) probability or IoU of the sibling head, 0 to 1.
        tsd: (N,) that of TSD.
        margin: By how much it should be higher.

    Returns:
        Tensor: (N,) not negative.
    """
    sibling = sibling.detach()
    return (sibling + (1 - sibling).clamp(max=margin) - tsd).relu()


def mean_over_images(
    values: Tensor, counted: Tensor, with_positives: Tensor, image: Tensor
) -> Tensor:
    """Mean of the RoIs of images with positives, and of a 0 for each other.

    Args:
        values: (N,) of each RoI.
        counted: (N,) bool, which RoIs count.
        with_positives: (B,) bool: the image has a positive RoI.
        image: (N,) int64 image of each RoI.

    Returns:
        Tensor: Scalar.
    """
    counted = counted & with_positives[image]
    total = (values * counted).sum()
    return total / (counted.sum() + (~with_positives).sum()).clamp(min=1)


def images_with(positive: Tensor, image: Tensor, count: int) -> Tensor:
    """Which of ``count`` images have a positive RoI, (count,) bool.

    Args:
        positive: (N,) bool of each RoI.
        image: (N,) int64 image of each RoI.
        count: Number of images.
    """
    found = torch.zeros(count, dtype=torch.int64, device=image.device)
    return found.index_add(0, image, positive.long()) > 0
