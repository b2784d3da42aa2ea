"""PyConv: how channels are split, and grouped convolutions on a CPU."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Grouped convolutions of a CPU compute 8 channels at once: with fewer outputs
# per group they take many times longer.
CPU_BLOCK = 8


def split_channels(channels: int, levels: int) -> tuple[int, ...]:
    """Output channels of each level of a pyramid, smallest kernel first.

    One level has all, two have a half each, three a quarter, a quarter and a
    half, four a quarter each.

    Args:
        channels: Channels of all levels together.
        levels: Number of levels, 1 to 4.

    Raises:
        ValueError: Another number of levels, or the channels can't be split.
    """
    if not 1 <= levels <= 4:
        raise ValueError(f'a pyramid has 1 to 4 levels, got {levels}')
    parts = {1: (1,), 2: (1, 1), 3: (1, 1, 2), 4: (1, 1, 1, 1)}[levels]
    unit, rest = divmod(channels, sum(parts))
    if rest:
        raise ValueError(
            f'channels of a pyramid of {levels} levels must be divisible by '
            f'{sum(parts)}, got {channels}'
        )
    return tuple(unit * part for part in parts)


def merged_groups(out_channels: int, groups: int) -> int:
    """Number of groups with which a CPU computes a convolution fast.

    The largest divisor of ``groups`` that leaves each group ``CPU_BLOCK``
    output channels, or 1.

    Args:
        out_channels: Output channels of all groups.
        groups: Groups of the definition.
    """
    return next(
        count
        for count in range(groups, 0, -1)
        if groups % count == 0
        and (count == 1 or out_channels >= CPU_BLOCK * count)
    )


def merge_groups(weight: Tensor, groups: int, merged: int) -> Tensor:
    """The weight of the same convolution with fewer groups.

    Args:
        weight: (C_out, C_in / groups, K, K).
        groups: Its number of groups.
        merged: The new number, a divisor of ``groups``.

    Returns:
        Tensor: (C_out, C_in / merged, K, K): each group's own weights, and
        zeros for the inputs that it does not see.
    """
    ratio = groups // merged
    # [merged, ratio, out, in, K, K] -> [merged, ratio, out, ratio, in, K, K]
    blocks = weight.unflatten(0, (merged, ratio, -1)).movedim(1, -1)
    return torch.diag_embed(blocks, dim1=1, dim2=3).flatten(0, 2).flatten(1, 2)


def grouped_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """``F.conv2d``, on a CPU with merged groups where that is faster.

    Args:
        x: (B, C_in, H, W).
        weight: (C_out, C_in / groups, K, K).
        bias: (C_out,) or None.
        stride: Vertical and horizontal.
        padding: Vertical and horizontal.
        dilation: Vertical and horizontal.
        groups: Number of groups.

    Returns:
        Tensor: (B, C_out, H', W').
    """
    merged = groups
    # a traced or exported graph has the convolution of the definition
    traced = torch.jit.is_tracing() or torch.compiler.is_compiling()
    if x.device.type == 'cpu' and not traced:
        merged = merged_groups(weight.shape[0], groups)
    if merged != groups:
        weight = merge_groups(weight, groups, merged)
    return F.conv2d(x, weight, bias, stride, padding, dilation, merged)
