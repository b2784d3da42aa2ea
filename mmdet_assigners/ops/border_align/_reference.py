"""BorderAlign as its definition reads, through PyTorch's autograd."""

import torch
from torch import Tensor

from ._geometry import compute_dtype, sample_points


def border_align_reference(
    input: Tensor, boxes: Tensor, pool_size: int
) -> tuple[Tensor, Tensor]:
    """`border_align` and its arg-max; slow, keeps all samples for autograd.

    Args:
        input: (B, 4C, H, W).
        boxes: (B, M, 4) in cells.
        pool_size: Number N of intervals.

    Returns:
        tuple: Output (B, C, M, 4) and arg-max (B, C, M, 4) uint8.
    """
    dtype = compute_dtype(input.dtype)
    height, width = input.shape[-2:]
    planes = input.to(dtype).flatten(2).unflatten(1, (4, -1))
    points = sample_points(boxes.detach().to(dtype), height, width, pool_size)

    def sample(k: int) -> Tensor:
        # [B, M, border, corner] -> [corner, B, border, 1, M]
        cells, weights = (
            part[k].permute(3, 0, 2, 1)[:, :, :, None] for part in points
        )
        value = planes.new_zeros(())
        for cell, weight in zip(cells, weights, strict=True):
            index = cell.expand(-1, -1, planes.shape[2], -1)
            share = planes.gather(-1, index) * weight
            # an infinite cell without a share is not NaN
            value = value + share.where(weight > 0, 0)
        return value

    best = sample(0)
    argmax = torch.zeros_like(best, dtype=torch.uint8)
    for k in range(1, pool_size + 1):
        value = sample(k)
        argmax = argmax.masked_fill(value > best, k)
        # NaN wins, too: it should be seen
        best = torch.where((value > best) | value.isnan(), value, best)
    order = (0, 2, 3, 1)
    return best.permute(order).to(input.dtype), argmax.permute(order)
