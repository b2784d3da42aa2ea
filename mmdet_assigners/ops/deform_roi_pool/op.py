"""Deformable RoI pooling in plain PyTorch, on any device."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ._chunks import plan, pool
from ._grid import make_grid

MODES = ('aligned', 'legacy')


def deform_roi_pool(
    feats: Tensor | Sequence[Tensor],
    rois: Tensor,
    output_size: int,
    spatial_scales: float | Sequence[float],
    offset: Tensor | None = None,
    levels: Tensor | None = None,
    *,
    mode: str = 'aligned',
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """Mean of bilinear samples of each bin, bins moved by offsets.

    Deformable Convolutional Networks, ICCV 2017, arXiv 1703.06211, equation 5,
    in two definitions: 'aligned' is that of mmcv's CUDA kernel, 'legacy' that
    of the first kernel, which TSD and D2Det were trained with.

    A RoI has P x P bins. Bin (i, j) is translated by ``gamma`` x its offset x
    the sides of the RoI, then sampled at S x S places:

    - ``'aligned'``: the RoI spans x1 s - 0.5 to x2 s - 0.5 cells for scale s;
      samples lie in the centers of S x S parts; one beyond -1 or the size of
      the map is 0. The mean is over all samples. As ``mmcv.ops.DeformRoIPool``
      and ``RoIAlign(aligned=True)``.
    - ``'legacy'``: x2 and y2 are the last pixel; the RoI spans
      round(x1) s - 0.5 to (round(x2) + 1) s - 0.5 and at least 0.1 cells,
      halves are rounded away from 0; samples lie at the left and upper ends of
      the parts; the mean is over those not beyond -0.5 or the size - 0.5, and
      0 without any.

    Gradients go to features and offsets. At whole numbers the slope is that
    of the cell to the right ('aligned') or 0 ('legacy'), as in the kernels.
    Memory beyond features and output is bounded: RoIs are processed in chunks,
    which the backward pass recomputes if there are several. Computes in
    float32 at least. RoIs and offsets that are not finite pool 0.

    Args:
        feats: L maps (B, C, H_l, W_l), or one map.
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels; no gradient.
        output_size: P, bins per axis.
        spatial_scales: 1 / stride of each map.
        offset: (N, 2, P, P) x and y in units of ``gamma`` x the RoI's sides,
            or (N, 2), the same for all bins; None: no offset.
        levels: (N,) int64 map of each RoI; may be None with one map.
        mode: ``'aligned'`` or ``'legacy'``.
        sampling_ratio: S, samples per bin and axis; 0 ('aligned' only): the
            cells that a bin spans, rounded up.
        gamma: Unit of the offsets.

    Returns:
        Tensor: (N, C, P, P) in the dtype of the features.

    Raises:
        ValueError: An argument is out of its range, or shapes don't fit.
    """
    maps = [feats] if isinstance(feats, Tensor) else list(feats)
    scales = (
        [spatial_scales]
        if isinstance(spatial_scales, int | float)
        else list(spatial_scales)
    )
    _check(
        maps, rois, output_size, scales, offset, levels, mode, sampling_ratio
    )
    dtype = torch.promote_types(maps[0].dtype, torch.float32)
    if levels is None:
        levels = rois.new_zeros(len(rois), dtype=torch.int64)
    grid = make_grid(
        maps, rois, output_size, scales, levels, mode, sampling_ratio, dtype
    )
    rows = [x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]) for x in maps]
    table = (rows[0] if len(rows) == 1 else torch.cat(rows)).to(dtype)
    move = None
    if offset is not None:
        move = offset.to(dtype).reshape(len(rois), 2, *_bins(offset))
        move = gamma * move * grid.size[..., None, None]
    outs, orders = [], []
    chunks = list(plan(grid, maps, rois, levels, output_size))
    for groups in chunks:
        args = (table, grid, move, groups, output_size, mode)
        if len(chunks) > 1 and torch.is_grad_enabled():
            out = checkpoint(
                pool, *args, use_reentrant=False, preserve_rng_state=False
            )
        else:
            out = pool(*args)
        outs.append(out)
        orders += [group.rois for group in groups]
    # without RoIs still a part of the graph
    out = torch.cat(outs or [table[:0]])
    if len(orders) > 1:
        back = torch.cat(orders).argsort()
        out = out.view(len(rois), -1)[back]
    shape = (len(rois), output_size, output_size, table.shape[1])
    return out.view(shape).permute(0, 3, 1, 2).to(maps[0].dtype)


def _bins(offset: Tensor) -> Sequence[int]:
    return offset.shape[2:] if offset.dim() == 4 else (1, 1)


def _check(
    maps: list[Tensor],
    rois: Tensor,
    output_size: int,
    scales: list[float],
    offset: Tensor | None,
    levels: Tensor | None,
    mode: str,
    sampling_ratio: int,
) -> None:
    """Refuse what is wrong by its type or shape."""
    if mode not in MODES:
        raise ValueError(
            f'mode must be one of {", ".join(MODES)}, got {mode!r}'
        )
    if output_size < 1:
        raise ValueError(f'output_size must be positive, got {output_size}')
    least = 1 if mode == 'legacy' else 0
    if sampling_ratio < least:
        raise ValueError(
            f'sampling_ratio must be {least} or more in mode {mode}, got '
            f'{sampling_ratio}'
        )
    if len(scales) != len(maps):
        raise ValueError(
            f'spatial_scales must be one number per map, got {len(scales)} '
            f'for {len(maps)} maps'
        )
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(f'rois must be (N, 5), got {tuple(rois.shape)}')
    count = len(rois)
    if levels is None and len(maps) > 1:
        raise ValueError(f'levels must be given for {len(maps)} maps')
    if levels is not None and levels.shape != (count,):
        raise ValueError(
            f'levels must be ({count},), one per RoI, got '
            f'{tuple(levels.shape)}'
        )
    shapes = [(count, 2), (count, 2, output_size, output_size)]
    if offset is not None and tuple(offset.shape) not in shapes:
        raise ValueError(
            f'offset must be {shapes[1]} or {shapes[0]}, got '
            f'{tuple(offset.shape)}'
        )
