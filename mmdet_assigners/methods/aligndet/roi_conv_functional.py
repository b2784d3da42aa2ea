"""RoIConv: convolutions whose taps lie on a grid inside a box."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ...ops.deform_conv import deform_conv, deform_conv_reference

MAX_SAMPLES = 2**25
"""Samples of one tile of :func:`roi_conv`: 128 MiB in float32."""


def boxes_to_offsets(
    boxes: Tensor,
    shape: Sequence[int],
    kernel: int,
    stride: float,
    num_anchors: int = 1,
    legacy_plus_one: bool = False,
) -> Tensor:
    """Offsets that put the taps of a K x K kernel into the bins of boxes.

    A box is cut into K x K bins; tap (i, j) (row, column) of cell (h, w)
    reads the center of its bin:

        x = x1 / s - 0.5 + (j + 0.5) (x2 - x1) / (s K)
        dx = x - (w + j - (K - 1) / 2)

    and likewise for y. These are the positions of RoIAlign with
    ``aligned=True`` and one sample per bin. A box of side s K that is centered
    on its cell gives zeros.

    Paper: Revisiting Feature Alignment for One-stage Object Detection, arXiv
    1908.01570, section on RoIConv.

    Args:
        boxes: (B, H * W * A, 4) x1, y1, x2, y2 in pixels, row-major cells,
            then anchors.
        shape: Height H and width W of the map in cells.
        kernel: K, odd; 7 in the paper.
        stride: s in pixels.
        num_anchors: Number A of boxes per cell; 1 in the paper.
        legacy_plus_one: The official operator (SimpleDet, pull request 343):
            a box is (x2 - x1) / s + 1 cells wide, the convention of
            inclusive pixels, added after the division by the stride.

    Returns:
        Tensor: (B, A * K * K * 2, H, W) in cells, channel
        ((a K + i) K + j) 2 + (0: dy, 1: dx), as deformable convolutions with
        padding K // 2 read them.

    Raises:
        ValueError: ``kernel`` is even, or the number of boxes isn't H W A.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f'kernel must be odd and positive, got {kernel}')
    if not stride > 0:
        raise ValueError(f'stride must be positive, got {stride}')
    height, width = shape
    count = height * width * num_anchors
    if boxes.shape[1:] != (count, 4):
        raise ValueError(
            f'boxes must be (B, {count}, 4), one for each of {num_anchors} '
            f'anchors of {height}x{width} cells, got {tuple(boxes.shape)}'
        )
    index = torch.arange(kernel, device=boxes.device, dtype=boxes.dtype)
    cells = boxes.view(len(boxes), height, width, num_anchors, 4) / stride
    y1, y2 = cells[..., 1], cells[..., 3]
    x1, x2 = cells[..., 0], cells[..., 2]
    extra = 1 if legacy_plus_one else 0

    def taps(start: Tensor, end: Tensor, cell: Tensor) -> Tensor:
        # centers of the bins in the map, minus where the plain tap would be
        bins = (end - start + extra) / kernel
        at = (start - 0.5)[..., None] + (index + 0.5) * bins[..., None]
        return at - (cell + index - (kernel - 1) / 2)

    rows = torch.arange(height, device=boxes.device, dtype=boxes.dtype)
    columns = torch.arange(width, device=boxes.device, dtype=boxes.dtype)
    dy = taps(y1, y2, rows.view(-1, 1, 1, 1))  # (B, H, W, A, K)
    dx = taps(x1, x2, columns.view(-1, 1, 1))
    grid = (kernel, kernel)
    offsets = torch.stack(
        (
            dy[..., :, None].expand(*dy.shape[:-1], *grid),
            dx[..., None, :].expand(*dx.shape[:-1], *grid),
        ),
        -1,
    )
    return offsets.flatten(3).permute(0, 3, 1, 2).contiguous()


def roi_conv(
    x: Tensor, offset: Tensor, weight: Tensor, max_samples: int = MAX_SAMPLES
) -> Tensor:
    """Deformable K x K convolution with bounded memory.

    The samples of all taps are C K K values per cell: 838 MB for the finest
    level of an 800x1333 image with 256 channels and K = 7. Larger maps than
    ``max_samples`` allows are processed in tiles of rows, which are sampled
    again in the backward pass.

    Args:
        x: (B, C, H, W).
        offset: (B, K * K * 2, H, W) of :func:`boxes_to_offsets`.
        weight: (C_out, C, K, K).
        max_samples: Bound on the number of samples of a tile.

    Returns:
        Tensor: (B, C_out, H, W).

    Raises:
        ValueError: ``max_samples`` is not positive.
    """
    if max_samples < 1:
        raise ValueError(f'max_samples must be at least 1, got {max_samples}')
    batch, channels, height, width = x.shape
    kernel = weight.shape[-1]
    per_row = batch * channels * kernel**2 * width
    rows = max(1, max_samples // max(1, per_row))
    if rows >= height:
        return deform_conv(x, offset, weight, 1, kernel // 2)
    tiles = []
    # offsets are relative to a cell: a tile starts at row 0 of its own
    start = torch.zeros_like(offset[:1, :, :1, :1])
    start[:, 0::2] = 1
    for first in range(0, height, rows):
        tile = offset[:, :, first : first + rows] + first * start
        args = (x, tile, weight, 1, kernel // 2)
        if torch.is_grad_enabled():
            out = checkpoint(
                deform_conv_reference,
                *args,
                use_reentrant=False,
                preserve_rng_state=False,
            )
        else:
            out = deform_conv_reference(*args)
        tiles.append(out)
    return torch.cat(tiles, 2)
