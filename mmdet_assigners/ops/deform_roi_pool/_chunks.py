"""Deformable RoI pooling in chunks of RoIs: memory stays bounded."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._grid import Grid, axis_cells

MAX_ENTRIES = 2**22
"""Cells with a weight that are listed at a time, about 60 MiB of memory."""


class Group(NamedTuple):
    """RoIs whose bins need about as many cells.

    Attributes:
        window: Cells of a bin along an axis, at most.
        samples: Samples of a bin along an axis, at most.
        rois: (M,) int64 numbers of the RoIs.
    """

    window: int
    samples: int
    rois: Tensor


def plan(
    grid: Grid,
    maps: list[Tensor],
    rois: Tensor,
    levels: Tensor,
    output_size: int,
) -> Iterator[list[Group]]:
    """Chunks of RoIs, grouped by the cells that a bin needs along an axis.

    Samples of a bin share cells: S samples less than a cell apart need S + 1
    instead of 2 S. The only place that synchronizes with the device.

    Args:
        grid: Of the N RoIs.
        maps: L maps (B, C, H_l, W_l).
        rois: (N, 5) image index and x1, y1, x2, y2.
        levels: (N,) int64 map of each RoI.
        output_size: P, bins per axis.

    Yields:
        list: The groups of a chunk.

    Raises:
        ValueError: There is no such image or level.
    """
    images = rois[:, 0]
    wrong = ((images < 0) | (images >= len(maps[0]))).sum()[None]
    lost = ((levels < 0) | (levels >= len(maps))).sum()[None]
    spread = (grid.count - 1) * grid.step.abs()
    # even, so that there are few groups
    need = ((spread.floor() + 4) / 2).floor() * 2
    need = need.minimum(2.0 * grid.count).amax(1).clamp(min=1).long()
    order = need.argsort(stable=True)
    most = grid.count.amax(1)
    *numbers, wrong, lost = torch.cat(
        (need[order], most[order], wrong, lost)
    ).tolist()
    if wrong:
        raise ValueError(
            f'rois must name images 0 to {len(maps[0]) - 1}, {wrong} do not'
        )
    if lost:
        raise ValueError(
            f'levels must be 0 to {len(maps) - 1}, {lost} are not'
        )
    needs, counts = numbers[: len(rois)], numbers[len(rois) :]

    def group(start: int, stop: int) -> Group:
        samples = max(1, *counts[start:stop])
        return Group(needs[start], samples, order[start:stop])

    chunk: list[Group] = []
    start = entries = 0
    for index, cells in enumerate(needs):
        own = (output_size * cells) ** 2
        full = entries and entries + own > MAX_ENTRIES
        if index > start and (full or cells != needs[start]):
            chunk.append(group(start, index))
            start = index
        if full:
            yield chunk
            chunk, entries = [], 0
        entries += own
    if needs:
        yield [*chunk, group(start, len(needs))]


def pool(
    table: Tensor,
    grid: Grid,
    move: Tensor | None,
    groups: list[Group],
    output_size: int,
    mode: str,
) -> Tensor:
    """Bins of the M RoIs of a chunk, in the order of its groups.

    A bin is a weighted sum of rows of the table of cells: ``embedding_bag``
    reads the channels of a row at once.

    Args:
        table: (cells, C) of all levels and images.
        grid: Of the N RoIs.
        move: (N, 2, P', P') translation of bins in cells, P' = P or 1.
        groups: Those of the chunk.
        output_size: P, bins per axis.
        mode: Of `deform_roi_pool`.

    Returns:
        Tensor: (M P P, C).
    """
    cells, weights, lengths = [], [], []
    for window, samples, rois in groups:
        own = grid.of(rois)
        moved = None if move is None else move[rois]
        args = moved, samples, window, output_size, mode
        (x, by_x), (y, by_y) = (axis_cells(own, i, *args) for i in (0, 1))
        # (M, P, P, cells of y, cells of x)
        width = own.cells[:, 0, None, None, None, None]
        cell = y[..., :, None] * width + x[..., None, :]
        cell = cell + own.row[:, None, None, None, None]
        weight = by_y[..., :, None] * by_x[..., None, :]
        cells.append(cell.int().flatten())
        weights.append(weight.flatten())
        lengths.append(
            torch.full((len(rois) * output_size**2,), cell[0, 0, 0].numel())
        )
    ends = torch.cat(lengths).cumsum(0)
    starts = F.pad(ends[:-1], (1, 0)).int().to(table.device)
    return F.embedding_bag(
        torch.cat(cells),
        table,
        starts,
        mode='sum',
        per_sample_weights=torch.cat(weights),
    )
