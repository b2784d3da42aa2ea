"""Features that a box head pools itself."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor

from ...ops.anchor_points import move_ends
from ...ops.deform_roi_pool import deform_roi_pool


class PyramidRoIs(NamedTuple):
    """Where a head can pool features of RoIs of its own.

    Attributes:
        maps: L maps (B, channels, H_l, W_l).
        strides: Of the maps in pixels.
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
        levels: (N,) int64 map of each RoI.
    """

    maps: Sequence[Tensor]
    strides: Sequence[int]
    rois: Tensor
    levels: Tensor


def pyramid_rois(
    extractor: SingleRoIExtractor, x: Sequence[Tensor], rois: Tensor
) -> PyramidRoIs:
    """RoIs on the levels on which an extractor pools them.

    Args:
        extractor: Decides on the levels.
        x: Feature maps (B, channels, H_l, W_l).
        rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

    Raises:
        TypeError: The extractor pools RoIs on all levels.
    """
    if not isinstance(extractor, SingleRoIExtractor):
        raise TypeError(
            'bbox_roi_extractor of TSD must be a SingleRoIExtractor, got '
            f'{type(extractor).__name__}'
        )
    maps = x[: extractor.num_inputs]
    levels = extractor.map_roi_levels(rois, len(maps))
    return PyramidRoIs(maps, extractor.featmap_strides, rois, levels)


def pool_moved(
    pyramid: PyramidRoIs,
    offsets: Sequence[Tensor],
    size: int,
    legacy: bool,
    sampling_ratio: int,
    gamma: float,
) -> Sequence[Tensor]:
    """Features of RoIs whose bins are moved, for one or more offsets.

    All in one call, which lays out the pyramid once.

    Args:
        pyramid: N RoIs with exclusive corners.
        offsets: (N, 2, P P) x and y of each bin or (N, 2, 1) of all.
        size: P, bins per axis.
        legacy: The definition that the released weights need, which takes
            the last pixel for a corner.
        sampling_ratio: Samples per bin and axis.
        gamma: Unit of the offsets in sides of the RoI.

    Returns:
        Sequence: (N, channels, P, P) for each.
    """
    rois = move_ends(pyramid.rois, -1) if legacy else pyramid.rois
    count = len(offsets)
    bins = [offset.expand(-1, -1, size * size) for offset in offsets]
    pooled = deform_roi_pool(
        pyramid.maps,
        rois.repeat(count, 1),
        size,
        [1 / stride for stride in pyramid.strides],
        torch.cat(bins).unflatten(2, (size, size)),
        pyramid.levels.repeat(count),
        mode='legacy' if legacy else 'aligned',
        sampling_ratio=sampling_ratio,
        gamma=gamma,
    )
    return pooled.chunk(count)
