"""BorderAlign by PyTorch's own kernels, on any device, in bounded memory."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ._geometry import (
    Samples,
    compute_dtype,
    number_of_cells,
    sample_points,
    split_levels,
)

CHUNK = 2**18
"""Elements of the output that are computed at a time: 1 MiB of float32."""


def forward(
    input: Tensor,
    boxes: Tensor,
    sizes: Sequence[int],
    counts: Sequence[int],
    pool_size: int,
    with_argmax: bool,
) -> tuple[Tensor, Tensor]:
    """The maximum over the samples and, if wanted, its index.

    A sample is a weighted sum of four rows of a table of cells, which is an
    ``embedding_bag``: its kernels read the channels of a row at once.

    Args:
        input: (B, P, 4C), the cells of all levels.
        boxes: (B, M, 4) in cells of their level.
        sizes: Height and width of each of the L levels in turn, 2 L numbers.
        counts: L numbers of boxes, M in all.
        pool_size: Number N of intervals.
        with_argmax: Also find the arg-max.

    Returns:
        tuple: Output (B, M, 4, C) and arg-max of the same shape in uint8,
        empty (0,) without ``with_argmax``.
    """
    dtype = compute_dtype(input.dtype)
    channels = input.shape[2] // 4
    rows = input.shape[0] * input.shape[1] * 4
    # the last row is for cells without a share, whose value may be infinite
    table = input.new_empty((rows + 1, channels), dtype=dtype)
    table[:-1].view(input.shape).copy_(input)
    table[-1] = 0
    shape = (*boxes.shape[:2], 4, channels)
    output = torch.empty(shape, dtype=input.dtype, device=input.device)
    argmax = torch.empty(0, dtype=torch.uint8, device=input.device)
    if with_argmax:
        argmax = torch.zeros(shape, dtype=torch.uint8, device=input.device)
    for part, (cells, weights) in _chunks(
        boxes.to(dtype), sizes, counts, pool_size, channels
    ):
        cells = cells.where(weights > 0, rows)
        best = _bags(table, cells[0], weights[0])
        for k in range(1, pool_size + 1):
            value = _bags(table, cells[k], weights[k])
            if with_argmax:
                # k grows, so the largest k that improves is the arg-max
                better = torch.gt(value, best).view(torch.uint8).mul_(k)
                known = argmax[:, part]
                torch.maximum(known, better.view(known.shape), out=known)
            torch.maximum(best, value, out=best)
        output[:, part] = best.view(output[:, part].shape)
    return output, argmax


def backward(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    sizes: Sequence[int],
    counts: Sequence[int],
    pool_size: int,
    index: Sequence[Tensor] = (),
) -> Tensor:
    """Gradient of the input: each output's goes to the cells of its arg-max.

    Args:
        grad: (B, M, 4, C) gradient of the output.
        argmax: (B, M, 4, C) uint8.
        boxes: (B, M, 4) in cells of their level.
        sizes: As of `forward`.
        counts: As of `forward`.
        pool_size: Number N of intervals.
        index: Not used.

    Returns:
        Tensor: (B, P, 4C).
    """
    batch, channels = len(grad), grad.shape[-1]
    dtype = compute_dtype(grad.dtype)
    cells_of_image = number_of_cells(sizes)
    table = grad.new_zeros((batch * cells_of_image * 4, channels), dtype=dtype)
    for part, (cells, weights) in _chunks(
        boxes.to(dtype), sizes, counts, pool_size, channels
    ):
        index_of = argmax[:, part].reshape(-1, channels).long()
        value = grad[:, part].reshape(-1, channels).to(dtype)
        for corner in range(4):
            # [N + 1, rows] -> [rows, C]
            cell = cells[..., corner].mT.gather(1, index_of)
            weight = weights[..., corner].mT.gather(1, index_of)
            # a sample outside has no share, however large the gradient
            share = (weight * value).masked_fill_(weight == 0, 0)
            table.scatter_add_(0, cell, share)
    return table.view(batch, cells_of_image, 4 * channels).to(grad.dtype)


def _bags(table: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(
        cells, table, mode='sum', per_sample_weights=weights
    )


def _chunks(
    boxes: Tensor,
    sizes: Sequence[int],
    counts: Sequence[int],
    pool_size: int,
    channels: int,
) -> Iterator[tuple[slice, Samples]]:
    """Slices of the M boxes, each of one level, with their samples.

    The rows of the table are image, cell, border. Cells and weights are
    (N + 1, B * boxes * 4, 4 corners).
    """
    batch = len(boxes)
    length = max(1, CHUNK // (4 * channels * max(1, batch)))
    borders = torch.arange(4, device=boxes.device)
    image = torch.arange(batch, device=boxes.device)[:, None, None]
    first = image * (4 * number_of_cells(sizes)) + borders
    for level in split_levels(sizes, counts):
        stop = level.first_box + level.boxes
        for start in range(level.first_box, stop, length):
            part = slice(start, min(start + length, stop))
            cells, weights = sample_points(
                boxes[:, part],
                level.height,
                level.width,
                pool_size,
                4,
                first + 4 * level.first_cell,
            )
            yield (
                part,
                Samples(cells.flatten(1, 3), weights.flatten(1, 3)),
            )
