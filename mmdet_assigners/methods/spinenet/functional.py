"""Tensor functions of SpineNet."""

import torch
import torch.nn.functional as F
from torch import Tensor


def drop_connect_rates(init_rate: float, num_blocks: int) -> list[float]:
    """Rates of stochastic depth, which grow linearly with the depth.

    Args:
        init_rate: Of the last block; the paper's is 0.2.
        num_blocks: How many blocks there are.

    Returns:
        ``init_rate * (i + 1) / num_blocks`` of each block i.
    """
    return [init_rate * (i + 1) / num_blocks for i in range(num_blocks)]


def max_pool(
    x: Tensor, kernel: int, stride: int, same_pad: bool = False
) -> Tensor:
    """Max-pooling, padded in one of two ways.

    Args:
        x: Maps (B, C, H, W).
        kernel: Size of the window, odd.
        stride: Its step.
        same_pad: Pad as TensorFlow's ``SAME``, the smaller half at the left
            and the top; otherwise ``kernel // 2`` on all sides.

    Returns:
        Maps (B, C, ceil(H / stride), ceil(W / stride)).
    """
    if not same_pad:
        return F.max_pool2d(x, kernel, stride, padding=kernel // 2)
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.max_pool2d(F.pad(x, pads, value=-torch.inf), kernel, stride)


def drop_block(x: Tensor, drop_prob: float, size: int) -> Tensor:
    """DropBlock (arXiv 1810.12890): zero squares of a map.

    Each channel has its own squares. They lie inside of the map, and what is
    left is scaled so that its mean stays.

    Args:
        x: Maps (B, C, H, W).
        drop_prob: Share of a map to drop.
        size: Side of a square in cells; on smaller maps it is the largest odd
            one that fits.

    Returns:
        Maps (B, C, H, W).
    """
    height, width = x.shape[2:]
    size = min(size, height, width)
    size -= 1 - size % 2
    inside = (height - size + 1) * (width - size + 1)
    rate = drop_prob * height * width / size**2 / inside
    shape = (*x.shape[:2], height - size + 1, width - size + 1)
    seeds = x.new_empty(shape).bernoulli_(min(rate, 1.0))
    dropped = F.max_pool2d(F.pad(seeds, [size // 2] * 4), size, 1, size // 2)
    kept = 1 - dropped
    return x * kept * (kept.numel() / kept.sum().clamp(min=1))
