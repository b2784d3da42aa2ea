"""RoIAlign with the shape of an object, and RoIs that are enlarged."""

import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from torch import Tensor

# values that are sampled at a time
_CHUNK = 2**24


def own_mask(logits: Tensor, classes: Tensor) -> Tensor:
    """The mask of one class of each RoI.

    Args:
        logits: (N, C, S, S), or (N, 1, S, S) for all classes.
        classes: (N,) int64, 0 to C - 1.

    Returns:
        Tensor: (N, 1, S, S).
    """
    if logits.shape[1] == 1:
        return logits
    return torch.take_along_dim(logits, classes[:, None, None, None], 1)


def sample_grid(
    rois: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Sample points of RoIAlign in a bin, along y and x.

    Args:
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
        output_size: Bins along y and x.
        spatial_scale: 1 / stride.
        sampling_ratio: Points along each axis; 0: as many as a bin has cells.
        aligned: As in mmcv's ``RoIAlign``.

    Returns:
        Tensor: (N, 2) int64.
    """
    if sampling_ratio > 0:
        return rois.new_full((len(rois), 2), sampling_ratio, dtype=torch.long)
    corners = rois[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    sides = (corners[:, 2:] - corners[:, :2]).flip(1)
    if not aligned:
        sides = sides.clamp(min=1)
    return (sides / sides.new_tensor(output_size)).ceil().long()


def masked_roi_align(
    feat: Tensor,
    rois: Tensor,
    masks: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Mean over the sample points of feature times mask.

    Points outside the map are 0 and count, as in RoIAlign. A RoI without
    area has no points and gives 0.

    Args:
        feat: (B, channels, H, W).
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
        masks: (N, 1, S, S), each in the frame of its RoI.
        output_size: Bins along y and x.
        spatial_scale: 1 / stride.
        sampling_ratio: Points of a bin along each axis; 0: adaptive.
        aligned: As in mmcv's ``RoIAlign``.

    Returns:
        Tensor: (N, channels, height, width).
    """
    grids = sample_grid(
        rois, output_size, spatial_scale, sampling_ratio, aligned
    )
    side = float(masks.shape[-1])
    out = feat.new_zeros(len(rois), feat.shape[1], *output_size)
    for grid in grids.unique(dim=0):
        points = grid.tolist()
        if min(points) < 1:
            continue
        # a bin per point
        fine = (output_size[0] * points[0], output_size[1] * points[1])
        step = max(1, _CHUNK // (feat.shape[1] * fine[0] * fine[1]))
        for rows in (grids == grid).all(1).nonzero()[:, 0].split(step):
            frames = rois.new_tensor([0, 0, 0, side, side])
            frames = frames.repeat(len(rows), 1)
            frames[:, 0] = torch.arange(len(rows), device=rois.device)
            values = roi_align(
                feat, rois[rows], fine, spatial_scale, 1, 'avg', aligned
            )
            shape = roi_align(masks[rows], frames, fine, 1.0, 1, 'avg', True)
            out[rows] = F.avg_pool2d(values * shape, points)
    return out


def enlarge(rois: Tensor, ratio: float) -> Tensor:
    """RoIs (N, 5) with ``ratio`` times their sides, about their centers."""
    margin = (rois[:, 3:] - rois[:, 1:3]) * ((ratio - 1) / 2)
    corners = (rois[:, 1:3] - margin, rois[:, 3:] + margin)
    return torch.cat((rois[:, :1], *corners), 1)


def clip_rois(rois: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """RoIs (N, 5) inside frames.

    Args:
        rois: (N, 5) image index and x1, y1, x2, y2.
        low: (N, 2) or (2,) smallest x and y.
        high: (N, 2) or (2,) largest x and y.
    """
    corners = (
        torch.minimum(torch.maximum(corner, low), high)
        for corner in (rois[:, 1:3], rois[:, 3:])
    )
    return torch.cat((rois[:, :1], *corners), 1)


def relative_rois(
    rois: Tensor, frames: Tensor, size: tuple[int, int]
) -> Tensor:
    """RoIs on the maps of other RoIs.

    Args:
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
        frames: (N, 5), the RoIs whose features the maps are.
        size: Height and width of the maps.

    Returns:
        Tensor: (N, 5) index of the map and x1, y1, x2, y2 in its cells.
    """
    index = torch.arange(len(rois), device=rois.device).to(rois)
    cells = rois.new_tensor(size).flip(0)
    # a frame without area has a RoI without area, at the same place
    scale = cells / (frames[:, 3:] - frames[:, 1:3]).clamp(min=1e-3)
    low = (rois[:, 1:3] - frames[:, 1:3]) * scale
    high = (rois[:, 3:] - frames[:, 1:3]) * scale
    return torch.cat((index[:, None], low, high), 1)
