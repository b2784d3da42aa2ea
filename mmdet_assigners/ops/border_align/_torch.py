"""BorderAlign by PyTorch's own kernels, on any device, in bounded memory."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ._geometry import Samples, compute_dtype, sample_points

CHUNK = 2**18
"""Elements of the output that are computed at a time: 1 MiB of float32."""


def forward(
    input: Tensor, boxes: Tensor, pool_size: int, with_argmax: bool
) -> tuple[Tensor, Tensor]:
    """The maximum over the samples and, if wanted, its index.

    A sample is a weighted sum of four rows of a table of cells, which is an
    ``embedding_bag``: its kernels read the channels of a row at once.

    Args:
        input: (B, 4C, H, W); best in channels-last memory.
        boxes: (B, M, 4) in cells.
        pool_size: Number N of intervals.
        with_argmax: Also find the arg-max.

    Returns:
        tuple: Output (B, M, 4, C) and arg-max of the same shape in uint8,
        empty (0,) without ``with_argmax``.
    """
    dtype = compute_dtype(input.dtype)
    channels = input.shape[1] // 4
    table = input.permute(0, 2, 3, 1).to(dtype).reshape(-1, channels)
    shape = (*boxes.shape[:2], 4, channels)
    output = torch.empty(shape, dtype=input.dtype, device=input.device)
    rows = output.view(-1, channels)
    argmax = torch.empty(0, dtype=torch.uint8, device=input.device)
    if with_argmax:
        argmax = torch.zeros(shape, dtype=torch.uint8, device=input.device)
    arg_rows = argmax.view(-1, channels) if with_argmax else None
    for part, (cells, weights) in _chunks(
        input.shape, boxes.to(dtype), pool_size
    ):
        best = _bags(table, cells[0], weights[0])
        for k in range(1, pool_size + 1):
            value = _bags(table, cells[k], weights[k])
            if arg_rows is not None:
                # k grows, so the largest k that improves is the arg-max
                better = torch.gt(value, best).view(torch.uint8).mul_(k)
                known = arg_rows[part]
                torch.maximum(known, better, out=known)
            torch.maximum(best, value, out=best)
        rows[part] = best
    return output, argmax


def backward(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    height: int,
    width: int,
    pool_size: int,
) -> Tensor:
    """Gradient of the input: each output's goes to the cells of its arg-max.

    Args:
        grad: (B, M, 4, C) gradient of the output.
        argmax: (B, M, 4, C) uint8.
        boxes: (B, M, 4) in cells.
        height: H of the input.
        width: W of the input.
        pool_size: Number N of intervals.

    Returns:
        Tensor: (B, H, W, 4C).
    """
    batch, channels = len(grad), grad.shape[-1]
    dtype = compute_dtype(grad.dtype)
    shape = (batch, 4 * channels, height, width)
    table = grad.new_zeros((batch * height * width * 4, channels), dtype=dtype)
    grad, argmax = (part.reshape(-1, channels) for part in (grad, argmax))
    for part, (cells, weights) in _chunks(shape, boxes.to(dtype), pool_size):
        index = argmax[part].long()
        value = grad[part].to(dtype)
        for corner in range(4):
            # [N + 1, rows] -> [rows, C]
            cell = cells[..., corner].mT.gather(1, index)
            weight = weights[..., corner].mT.gather(1, index)
            # a sample outside has no share, however large the gradient
            share = (weight * value).masked_fill_(weight == 0, 0)
            table.scatter_add_(0, cell, share)
    return table.view(batch, height, width, 4 * channels).to(grad.dtype)


def _bags(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(
        cells, table, mode='sum', per_sample_weights=weights
    )


def _chunks(
    shape: tuple[int, ...], boxes: Tensor, pool_size: int
) -> Iterator[tuple[slice, Samples]]:
    """Slices of the B * M * 4 rows of the output with their samples.

    The rows of the table are image, cell, border. Cells and weights are
    (N + 1, rows, 4 corners).
    """
    _, channels, height, width = shape
    count = boxes.shape[1]
    size = max(1, CHUNK // channels)
    borders = torch.arange(4, device=boxes.device)
    flat = boxes.reshape(-1, 4)
    for start in range(0, len(flat), size):
        stop = min(start + size, len(flat))
        image = torch.arange(start, stop, device=boxes.device) // count
        first = image[:, None] * (4 * height * width) + borders
        cells, weights = sample_points(
            flat[start:stop], height, width, pool_size, 4, first
        )
        yield (
            slice(4 * start, 4 * stop),
            Samples(cells.flatten(1, 2), weights.flatten(1, 2)),
        )
