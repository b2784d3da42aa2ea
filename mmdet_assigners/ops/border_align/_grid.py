"""BorderAlign by ``grid_sample``, for graphs without custom operators."""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from ._geometry import ACROSS, compute_dtype


def border_align_grid(
    input: Tensor, boxes: Tensor, pool_size: int
) -> tuple[Tensor, Tensor]:
    """The maximum over the samples, in operators that ONNX has.

    Args:
        input: (B, 4C, H, W).
        boxes: (B, M, 4) in cells; no gradient goes to them.
        pool_size: Number N of intervals.

    Returns:
        tuple: Output (B, C, M, 4) and no arg-max (0, 0, 0, 0).
    """
    dtype = compute_dtype(input.dtype)
    height, width = input.shape[-2:]
    # a border is an image of its own
    planes = input.to(dtype).unflatten(1, (4, -1)).flatten(0, 1)
    boxes = boxes.detach().to(dtype)
    step = (boxes[..., 2:] - boxes[..., :2]) / pool_size
    step = torch.cat((step, -step), -1)
    across = boxes[..., ACROSS]
    level = torch.tensor([True, False] * 2, device=boxes.device)
    size = boxes.new_tensor([width, height])

    def sample(k: int) -> Tensor:
        along = boxes + k * step
        # [B, border, M, 1, 2]
        xy = torch.stack(
            (along.where(level, across), across.where(level, along)), -1
        )
        xy = xy.transpose(1, 2).unsqueeze(3)
        inside = ((xy >= -1) & (xy <= size)).all(-1)
        grid = (2 * xy.where(inside[..., None], 0) + 1) / size - 1
        value = F.grid_sample(
            planes,
            grid.flatten(0, 1),
            padding_mode='border',
            align_corners=False,
        ).unflatten(0, (-1, 4))
        return value[..., 0].where(inside.transpose(2, 3), 0)

    best = reduce(torch.maximum, map(sample, range(pool_size + 1)))
    output = best.permute(0, 2, 3, 1).to(input.dtype)
    return output, input.new_empty(0, 0, 0, 0)
