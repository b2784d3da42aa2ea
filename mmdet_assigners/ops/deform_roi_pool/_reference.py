"""Deformable RoI pooling as its definition reads."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ._grid import round_half_away


def deform_roi_pool_reference(
    feats: Sequence[Tensor],
    rois: Tensor,
    output_size: int,
    spatial_scales: Sequence[float],
    offset: Tensor,
    levels: Tensor,
    *,
    mode: str = 'aligned',
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """`deform_roi_pool` as it reads, RoI by RoI: all samples are kept.

    Args: as of `deform_roi_pool`, with (N, 2, P, P) offsets and finite RoIs.
    """
    outs = []
    legacy = mode == 'legacy'
    index = torch.arange(output_size).to(rois)
    for roi, move, level in zip(rois, offset, levels.tolist(), strict=True):
        x = feats[level][int(roi[0])]
        corners = roi[1:].view(2, 2)
        if legacy:
            corners = round_half_away(corners) + corners.new_tensor([[0], [1]])
        start, end = corners * spatial_scales[level] - 0.5
        sides = (end - start).clamp(min=0.1) if legacy else end - start
        places, kept = [], []
        for axis, (side, cells) in enumerate(
            zip(sides, (x.shape[2], x.shape[1]), strict=True)
        ):
            width = side / output_size
            count = sampling_ratio or max(0, int(width.ceil()))
            sample = torch.arange(count).to(x) + (0 if legacy else 0.5)
            bins = index[None, :] if axis == 0 else index[:, None]
            at = start[axis] + bins * width + gamma * move[axis] * side
            at = at[..., None] + sample * (width / max(count, 1))
            border = 0.5 if legacy else 1
            kept.append((at >= -border) & (at <= cells - 1 + border))
            places.append(at.clamp(0, cells - 1))
        # (P, P, S of y, S of x)
        at_x, at_y = torch.broadcast_tensors(
            places[0][..., None, :], places[1][..., :, None]
        )
        inside = kept[0][..., None, :] & kept[1][..., :, None]
        value = _bilinear(x, at_x, at_y, legacy) * inside
        counted = inside if legacy else torch.ones_like(inside)
        total = counted.sum((-1, -2)).clamp(min=1)
        outs.append(value.sum((-1, -2)) / total)
    return torch.stack(outs)


def _bilinear(x: Tensor, at_x: Tensor, at_y: Tensor, legacy: bool) -> Tensor:
    """Samples (C, ...) of a map (C, H, W) at places inside it."""
    low_x, low_y = at_x.floor(), at_y.floor()
    if legacy:
        high_x, high_y = at_x.ceil(), at_y.ceil()
    else:
        high_x = (low_x + 1).clamp(max=x.shape[2] - 1)
        high_y = (low_y + 1).clamp(max=x.shape[1] - 1)
    part_x, part_y = at_x - low_x.detach(), at_y - low_y.detach()
    value = x.new_zeros(())
    for row, by_y in ((low_y, 1 - part_y), (high_y, part_y)):
        for column, by_x in ((low_x, 1 - part_x), (high_x, part_x)):
            value = value + x[:, row.long(), column.long()] * by_y * by_x
    return value
