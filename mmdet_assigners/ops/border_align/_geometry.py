"""Where BorderAlign samples; shared by its implementations in PyTorch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ACROSS = [1, 0, 3, 2]
"""Of x1, y1, x2, y2 the coordinate across the border that starts there."""


class Samples(NamedTuple):
    """The N + 1 samples of each border as sums of four cells.

    Attributes:
        cells: (N + 1, ..., 4, 4) int64 index of the cell in a row-major map;
            the last axes are border (top, left, bottom, right) and corner.
        weights: Of the same shape; 0 for samples outside.
    """

    cells: Tensor
    weights: Tensor


class Level(NamedTuple):
    """Place of a feature level among all cells and all boxes.

    Attributes:
        height: Of the map in cells.
        width: Of the map in cells.
        first_cell: Index of its first cell.
        first_box: Index of its first box.
        boxes: Number of its boxes.
    """

    height: int
    width: int
    first_cell: int
    first_box: int
    boxes: int


def split_levels(sizes: Sequence[int], counts: Sequence[int]) -> list[Level]:
    """The levels of maps and boxes that are concatenated.

    Args:
        sizes: Height and width of each of the L levels in turn, 2 L numbers.
        counts: L numbers of boxes.
    """
    return list(_levels(sizes, counts))


def _levels(sizes: Sequence[int], counts: Sequence[int]) -> Iterator[Level]:
    cell = box = 0
    for height, width, count in zip(
        sizes[::2], sizes[1::2], counts, strict=True
    ):
        yield Level(height, width, cell, box, count)
        cell += height * width
        box += count


def number_of_cells(sizes: Sequence[int]) -> int:
    """Of all levels, see `split_levels`."""
    return sum(h * w for h, w in zip(sizes[::2], sizes[1::2], strict=True))


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Float32, or float64 for float64: positions are never in half."""
    return torch.promote_types(dtype, torch.float32)


def sample_points(
    boxes: Tensor,
    height: int,
    width: int,
    pool_size: int,
    cell_size: int = 1,
    first: Tensor | None = None,
) -> Samples:
    """Cells and weights of all samples of boxes.

    Sample k of a border lies at ``start + k * step`` along it: the top and
    the left border start at (x1, y1), the others at (x2, y2) and go back.
    A coordinate from -1 to the size of the map, both included, counts; beyond
    the first and last cell it is moved to them. NaN is outside.

    Args:
        boxes: (..., 4) x1, y1, x2, y2 in cells, in the dtype of the weights.
        height: Of the map in cells.
        width: Of the map in cells.
        pool_size: Number N of intervals.
        cell_size: Distance of neighboring cells in a row, for the index.
        first: (..., 4) int64 index of the first cell, 0 by default.

    Returns:
        Samples: Shapes (N + 1, ..., 4, 4).
    """
    step = (boxes[..., 2:] - boxes[..., :2]) / pool_size
    step = torch.cat((step, -step), -1)
    count = torch.arange(
        pool_size + 1, device=boxes.device, dtype=boxes.dtype
    ).view(-1, *[1] * boxes.dim())
    row = width * cell_size
    along = _corners(boxes + count * step, [width, height], [cell_size, row])
    across = _corners(boxes[..., ACROSS], [height, width], [row, cell_size])
    start = across[0] if first is None else across[0] + first[..., None]
    cells = start[..., :, None] + along[0][..., None, :]
    weights = across[1][..., :, None] * along[1][..., None, :]
    return Samples(cells.flatten(-2), weights.flatten(-2))


def _corners(
    position: Tensor, sizes: list[int], strides: list[int]
) -> tuple[Tensor, Tensor]:
    """Offsets and weights (..., 4, 2) of the two cells of coordinates.

    Args:
        position: (..., 4) coordinates; the borders alternate between axes.
        sizes: Of the axis of even and of odd borders.
        strides: Of the same axes, for the offsets.
    """
    size = position.new_tensor(sizes * 2)
    inside = (position >= -1) & (position <= size)
    position = torch.minimum(position.where(inside, 0).clamp(min=0), size - 1)
    low = position.long()
    weight = position - low
    # without a share of the upper cell it may be the lower one
    high = low + (weight > 0)
    pair = torch.stack((1 - weight, weight), -1) * inside[..., None]
    stride = low.new_tensor(strides * 2)
    return torch.stack((low * stride, high * stride), -1), pair
