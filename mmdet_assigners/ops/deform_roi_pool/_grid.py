"""Where deformable RoI pooling samples, along one axis at a time."""

from typing import NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """Where N RoIs are sampled; x and y in the last axis of (N, 2) tensors.

    Attributes:
        start: (N, 2) first corner in cells.
        size: (N, 2) sides in cells.
        first: (N, 2) first sample of a bin, from the corner of the bin.
        step: (N, 2) distance of samples.
        count: (N, 2) int64 samples of a bin along the axis.
        cells: (N, 2) int64 width and height of the map.
        row: (N,) int64 number of the map's first cell in the table of cells.
    """

    start: Tensor
    size: Tensor
    first: Tensor
    step: Tensor
    count: Tensor
    cells: Tensor
    row: Tensor

    def of(self, rois: Tensor) -> 'Grid':
        """The RoIs of some numbers (M,)."""
        return Grid(*(value[rois] for value in self))


def make_grid(
    maps: list[Tensor],
    rois: Tensor,
    output_size: int,
    scales: list[float],
    levels: Tensor,
    mode: str,
    sampling_ratio: int,
    dtype: torch.dtype,
) -> Grid:
    """Where RoIs (N, 5) are sampled, without offsets."""
    rois = rois.detach().to(dtype)
    finite = rois.isfinite().all(1, keepdim=True)
    rois = rois.where(finite, rois.new_tensor([0, -1e6, -1e6, -1e6, -1e6]))
    sizes = [x.shape[-2:] for x in maps]
    level = levels.clamp(0, len(maps) - 1)
    scale = rois.new_tensor(scales)[level, None]
    cells = level.new_tensor([(width, height) for height, width in sizes])
    starts = [0]
    for x in maps:
        starts.append(starts[-1] + x.shape[0] * x.shape[2] * x.shape[3])
    start, end = rois[:, 1:3], rois[:, 3:]
    if mode == 'legacy':
        start, end = round_half_away(start), round_half_away(end) + 1
    start, end = start * scale - 0.5, end * scale - 0.5
    size = end - start
    if mode == 'legacy':
        size = size.clamp(min=0.1)
    bins = size / output_size
    if sampling_ratio:
        count = torch.full_like(bins, sampling_ratio)
    else:
        count = bins.ceil().clamp(min=0)
    step = bins / count.clamp(min=1)
    first = torch.zeros_like(step) if mode == 'legacy' else step / 2
    area = cells.prod(1)
    row = level.new_tensor(starts[:-1])[level]
    row = row + rois[:, 0].long().clamp(0, len(maps[0]) - 1) * area[level]
    return Grid(start, size, first, step, count.long(), cells[level], row)


def round_half_away(x: Tensor) -> Tensor:
    """To whole numbers (...), halves away from 0."""
    return x.sign() * (x.abs() + 0.5).floor()


def axis_cells(
    grid: Grid,
    axis: int,
    move: Tensor | None,
    samples: int,
    window: int,
    output_size: int,
    mode: str,
) -> tuple[Tensor, Tensor]:
    """Cells and weights of bins along an axis.

    Args:
        grid: Of M RoIs.
        axis: 0 for x, 1 for y.
        move: (M, 2, P', P') translation of bins in cells, P' = P or 1.
        samples: Samples of a bin, at most; at least 1.
        window: Cells of a bin, at most.
        output_size: P, bins per axis.
        mode: Of `deform_roi_pool`.

    Returns:
        tuple: Cells (M, P', P', K) int64 and weights; bins along an axis that
        doesn't matter are not repeated.
    """
    start, size, first, step, count, cells = (
        value[:, axis, None, None, None] for value in grid[:-1]
    )
    sample = torch.arange(samples, device=start.device)
    index = torch.arange(output_size, device=start.device)
    bins = index[:, None] if axis == 0 else index[:, None, None]
    at = start + bins * (size / output_size) + first + sample * step
    if move is not None:
        at = at + move[:, axis, ..., None]
    return _cells(at, sample < count, count, cells - 1, window, mode)


def _cells(
    at: Tensor,
    exists: Tensor,
    count: Tensor,
    last: Tensor,
    window: int,
    mode: str,
) -> tuple[Tensor, Tensor]:
    """Cells and weights of samples along an axis.

    Args:
        at: (M, P', P', S) places in cells, P' = P or 1.
        exists: (M, 1, 1, S) False where a RoI has fewer samples.
        count: (M, 1, 1, 1) samples.
        last: (M, 1, 1, 1) last cell of the map.
        window: Cells that neighboring samples span at most.
        mode: Decides what is outside, and the neighbors of a whole number.
    """
    border = 0.5 if mode == 'legacy' else 1.0
    inside = (at >= -border) & (at <= last + border) & exists
    place = torch.minimum(at.where(inside, 0).clamp(min=0), last.to(at))
    low = place.detach().floor()
    part = place - low
    low = low.long()
    high = torch.minimum(low + 1, last)
    if mode == 'legacy':
        high = low + (part > 0)
        count = inside.sum(-1, keepdim=True)
    share = inside.to(at) / count.clamp(min=1)
    weights = torch.cat(((1 - part) * share, part * share), -1)
    cells = torch.cat((low, high), -1)
    if window >= cells.shape[-1]:
        return cells, weights
    # places outside are 0: they don't count for the first cell of the window
    base = low.where(inside, last).amin(-1, keepdim=True)
    slot = (cells - base).clamp(0, window - 1)
    merged = weights.new_zeros(*cells.shape[:-1], window)
    merged = merged.scatter_add(-1, slot, weights)
    slots = torch.arange(window, device=cells.device)
    return torch.minimum(base + slots, last), merged
