"""BorderAlign in Triton: launches of its kernels, one for all levels.

Imported only when it runs, because Triton is optional.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from . import _kernels as kernels
from ._geometry import split_levels

TILE = 512
"""Elements of the output per program."""
MAX_BLOCK_C = 128
"""Channels per program at most; 512 bytes of float32."""
BLOCK_X = 8
"""Neighboring cells per program of the gradient."""
TRANSPOSE = 32
"""Side of the tiles of a copy that moves the channels last."""


def _contiguous(x: Tensor) -> Tensor:
    """``x.contiguous()`` of (B, ..., C), faster if the channels come first."""
    first = x.movedim(-1, 1)
    if x.is_contiguous() or not first.is_contiguous():
        return x.contiguous()
    target = torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.numel():
        batch, channels = first.shape[:2]
        cells = first[0, 0].numel()
        grid = (
            triton.cdiv(channels, TRANSPOSE),
            triton.cdiv(cells, TRANSPOSE),
            batch,
        )
        with torch.cuda.device_of(x):
            kernels.transpose_kernel[grid](
                first, target, channels, cells, TRANSPOSE
            )
    return target


class Plan(NamedTuple):
    """Programs of the kernels over all levels.

    Attributes:
        table: (L, 9) int32 on the device, see `COLUMNS`.
        programs: Of the forward, the index and the backward kernel.
        cells: Of all levels.
        lines: Of all levels, with one more per level.
        blocks: Boxes and channels per program of the forward kernel.
    """

    table: Tensor
    programs: tuple[int, int, int]
    cells: int
    lines: int
    blocks: tuple[int, int]


@functools.lru_cache(maxsize=256)
def _plan(
    sizes: tuple[int, ...],
    counts: tuple[int, ...],
    channels: int,
    device: torch.device,
) -> Plan:
    """Made once per set of map sizes: its copy to the device is awaited."""
    block_c = min(MAX_BLOCK_C, triton.next_power_of_2(channels))
    block_m = min(TILE // block_c, triton.next_power_of_2(max(1, *counts)))
    programs, lines = [0, 0, 0], 0
    rows = []
    levels = split_levels(sizes, counts)
    for level in levels:
        height, width, first_cell, first_box, count = level
        rows.append(
            [*programs, first_cell, height, width, first_box, count, lines]
        )
        side = max(height, width)
        own = (
            triton.cdiv(count, block_m),
            triton.cdiv(count, TILE),
            side * triton.cdiv(side, BLOCK_X),
        )
        programs = [a + b for a, b in zip(programs, own, strict=True)]
        lines += side + 1
    return Plan(
        torch.tensor(rows, dtype=torch.int32, device=device),
        (programs[0], programs[1], programs[2]),
        first_cell + height * width,
        lines,
        (block_m, block_c),
    )


def forward(
    input: Tensor,
    boxes: Tensor,
    sizes: Sequence[int],
    counts: Sequence[int],
    pool_size: int,
    with_argmax: bool,
) -> tuple[Tensor, Tensor]:
    """The maximum over the samples and, if wanted, its index.

    Args:
        input: (B, P, 4C) of float32, float16 or bfloat16, the cells of all
            levels; copied unless it is contiguous.
        boxes: (B, M, 4) in cells of their level.
        sizes: Height and width of each of the L levels in turn, 2 L numbers.
        counts: L numbers of boxes, M in all.
        pool_size: Number N of intervals.
        with_argmax: Also find the arg-max.

    Returns:
        tuple: Output (B, M, 4, C) and arg-max of the same shape in uint8,
        empty (0,) without ``with_argmax``.
    """
    channels = input.shape[2] // 4
    shape = (*boxes.shape[:2], 4, channels)
    output = torch.empty(shape, dtype=input.dtype, device=input.device)
    argmax = output.new_empty(shape if with_argmax else 0, dtype=torch.uint8)
    if output.numel():
        plan = _plan(tuple(sizes), tuple(counts), channels, input.device)
        slices = 4 * triton.cdiv(channels, plan.blocks[1])
        with torch.cuda.device_of(input):
            kernels.forward_kernel[(plan.programs[0], slices, shape[0])](
                _contiguous(input),
                boxes.float().contiguous(),
                output,
                argmax,
                plan.table,
                plan.cells,
                shape[1],
                channels,
                len(counts),
                pool_size,
                with_argmax,
                *plan.blocks,
                num_warps=input.element_size() // 2,
            )
    return output, argmax


def index(
    boxes: Tensor, sizes: Sequence[int], counts: Sequence[int], pool_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """What `backward` needs of the boxes, whatever the channels.

    Borders are sorted by the first line of cells that they touch; a cell then
    finds those that may reach it next to each other.

    Args:
        boxes: (B, M, 4) in cells of their level.
        sizes: As of `forward`.
        counts: As of `forward`.
        pool_size: Number N of intervals.

    Returns:
        tuple: Start, step, first line and share of the second line of each
        border (4B, M, 4), their order (4B * M,), and where each line starts
        in it.
    """
    batch, count, _ = boxes.shape
    plan = _plan(tuple(sizes), tuple(counts), 1, boxes.device)
    segments = 4 * batch
    key = boxes.new_empty((segments, count), dtype=torch.int32)
    record = boxes.new_empty((segments, count, 4), dtype=torch.float32)
    numbers = torch.arange(
        segments * plan.lines + 1, dtype=torch.int32, device=boxes.device
    )
    if key.numel():
        with torch.cuda.device_of(boxes):
            kernels.index_kernel[(plan.programs[1], segments)](
                boxes.float().contiguous(),
                key,
                record,
                plan.table,
                count,
                plan.lines,
                len(counts),
                pool_size,
                TILE,
            )
    key, order = key.flatten().sort(stable=True)
    return record, order, torch.searchsorted(key, numbers, out_int32=True)


def backward(
    grad: Tensor,
    argmax: Tensor,
    boxes: Tensor,
    sizes: Sequence[int],
    counts: Sequence[int],
    pool_size: int,
    index_of_boxes: Sequence[Tensor] = (),
) -> Tensor:
    """Gradient of the input, the same in every run.

    Args:
        grad: (B, M, 4, C) gradient of the output.
        argmax: (B, M, 4, C) uint8.
        boxes: (B, M, 4) in cells of their level.
        sizes: As of `forward`.
        counts: As of `forward`.
        pool_size: Number N of intervals.
        index_of_boxes: What `index` returned; computed if it is empty.

    Returns:
        Tensor: (B, P, 4C) in the dtype of ``grad``.
    """
    batch, count, _, channels = grad.shape
    plan = _plan(tuple(sizes), tuple(counts), channels, grad.device)
    shape = (batch, plan.cells, 4 * channels)
    if not grad.numel():
        return grad.new_zeros(shape)
    found = grad.new_empty(shape)
    record, order, first = index_of_boxes or index(
        boxes, sizes, counts, pool_size
    )
    block_c = plan.blocks[1]
    grid = (plan.programs[2], 4 * triton.cdiv(channels, block_c), batch)
    with torch.cuda.device_of(grad):
        kernels.backward_kernel[grid](
            _contiguous(grad),
            _contiguous(argmax),
            record,
            order,
            first,
            found,
            plan.table,
            plan.cells,
            count,
            channels,
            plan.lines,
            len(counts),
            pool_size,
            BLOCK_X,
            block_c,
            num_warps=1,
        )
    return found
