"""Poly-scale convolution: its pattern of dilation rates, and the sum.

Channels are in blocks, P = ``parts`` on either side of each of G groups.
Output block o reads input block i of its group with dilation rate

- d, the base, where o = i;
- 2d where o - i is P/2 modulo P;
- 1 elsewhere.

That is the pattern of the paper, {1, d, 1, 2d} shifted by one for each output
channel, with the channels of a block side by side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_blocks(groups: int, parts: int, mode: str = 'paper') -> Tensor:
    """Blocks of the dense kernel that other rates take.

    Args:
        groups: G.
        parts: P.
        mode: ``'paper'`` is the pattern in every group. ``'official'`` is the
            mask of the official code, whose group j starts at row j * G
            instead of j * P: the same for G = 1 and G = P; for G > P most
            groups keep the dense kernel in addition to the dilated ones.

    Returns:
        Tensor: (R, P) bool, the R = G * P output blocks of all groups by the
        input blocks of their group.
    """
    cpu = torch.device('cpu')  # also where a model is built on 'meta'
    size = (groups * parts, parts)
    blocks = torch.zeros(size, dtype=torch.bool, device=cpu)
    index = torch.arange(parts, device=cpu)
    pattern = (index[:, None] - index).remainder(parts // 2) == 0
    step = parts if mode == 'paper' else groups
    for start in range(0, groups * step, step):
        rows = blocks[start : start + parts]
        rows |= pattern[: len(rows)]
    return blocks


def split_dense(
    weight: Tensor, groups: int = 1, parts: int = 4
) -> tuple[Tensor, Tensor, Tensor]:
    """Distribute a dense kernel over the three of a poly-scale convolution.

    Every number is kept, in the place of the same channels. An initialization:
    at other dilation rates the layer computes something else.

    Args:
        weight: (C_out, C_in / G, k, k), of a convolution with G groups.
        groups: G.
        parts: P.

    Returns:
        tuple: ``conv`` (C_out, C_in / G, k, k), 0 where other rates are;
        ``gwconv`` and ``gwconv_shift``, (C_out, C_in / (G * P), k, k) each.
    """
    blocks = _blocks(weight, groups, parts)
    own = torch.stack([blocks[:, i, :, i] for i in range(parts)], 1)
    half = parts // 2
    opposite = torch.stack(
        [blocks[:, i, :, (i + half) % parts] for i in range(parts)], 1
    )
    masked = mask_blocks(groups, parts).view(groups, parts, 1, parts, 1, 1, 1)
    rest = blocks.masked_fill(masked.to(weight.device), 0)
    return (
        rest.reshape(weight.shape),
        own.flatten(0, 2),
        opposite.flatten(0, 2),
    )


def ps_conv2d(
    x: Tensor,
    conv: Tensor,
    gwconv: Tensor,
    gwconv_shift: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    dilation: int = 2,
    groups: int = 1,
    parts: int = 4,
    dense: bool = True,
) -> Tensor:
    """Convolve with the rates 1, d and 2d at once; kernels of 3x3.

    All three convolutions read ``x`` as it is, so that training keeps no copy
    of it.

    Args:
        x: (B, C_in, H, W).
        conv: (C_out, C_in / G, 3, 3), rate 1.
        gwconv: (C_out, C_in / (G * P), 3, 3), rate d.
        gwconv_shift: (C_out, C_in / (G * P), 3, 3), rate 2d: block o is for
            input block o + P/2 modulo P.
        bias: (C_out,).
        stride: Of all three.
        dilation: d.
        groups: G.
        parts: P.
        dense: Take ``conv`` as it is, zeros included. Without, the blocks of
            other rates are left out, G must be 1 unless P is 2, and
            multiply-adds are those of a plain convolution.

    Returns:
        Tensor: (B, C_out, H_out, W_out).
    """
    half = parts // 2
    blocks = groups * parts
    out = F.conv2d(x, gwconv, bias, stride, dilation, dilation, blocks)
    # the kernels move to their input blocks, the results to their outputs
    rate, halves = 2 * dilation, (groups, 2, -1)
    moved = gwconv_shift.unflatten(0, halves).flip(1).flatten(0, 2)
    shifted = F.conv2d(x, moved, None, stride, rate, rate, blocks)
    out = out + shifted.unflatten(1, halves).flip(2).flatten(1, 3)
    if dense:
        return out + F.conv2d(x, conv, None, stride, 1, 1, groups)
    if parts == 2:
        return out  # no block is left for rate 1
    near = F.conv2d(x, _near_kernels(conv, parts), None, stride, 1, 1, parts)
    # B, half of the input, q, s, half of the output, C_out / P, H, W
    near = near.unflatten(1, (2, half, half - 1, 2, -1)).sum(1)
    for s in range(1, half):
        term = near[:, :, s - 1].roll(s, 1).transpose(1, 2)
        out = out + term.flatten(1, 3)
    return out


def _blocks(weight: Tensor, groups: int, parts: int) -> Tensor:
    """(C_out, C_in / G, k, k) as (G, P, C_out / (GP), P, C_in / (GP), ...)."""
    return weight.unflatten(1, (parts, -1)).unflatten(0, (groups, parts, -1))


def _near_kernels(conv: Tensor, parts: int) -> Tensor:
    """Kernels of rate 1 as those of a convolution with P groups.

    Input block (h, q), h a half of them, gives the P - 2 output blocks
    (h', q + s modulo P/2) for s in 1..P/2 - 1 and h' in 0, 1, in this order.

    Returns:
        Tensor: (C_out * (P - 2), C_in / P, k, k).
    """
    half = parts // 2
    blocks = _blocks(conv, 1, parts)[0]
    blocks = blocks.unflatten(2, (2, half)).unflatten(0, (2, half))
    # of h', q', C_out / P, h, q, C_in / P, k, k
    kernels = [
        blocks[:, (q + s) % half, :, :, q].movedim(2, 0)
        for q in range(half)
        for s in range(1, half)
    ]
    # h, (q, s), h', C_out / P, ...: one copy of what is needed
    return torch.stack(kernels, 1).flatten(0, 3)
