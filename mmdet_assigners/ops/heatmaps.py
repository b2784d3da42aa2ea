"""Gaussian targets and peaks of keypoint heat maps, for whole batches.

Source: xingyizhou/CenterNet, arXiv 1904.07850, which has the radius from
CornerNet, arXiv 1808.01244.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.utils import (
    get_topk_from_heatmap,
    transpose_and_gather_feat,
)
from torch import Tensor


class CenterTargets(NamedTuple):
    """Targets of the centers of G objects in B images.

    Attributes:
        heatmap: (B, C, H, W), 1 at the cells of the objects.
        size: (B, G, 2) width and height of the clipped boxes in cells.
        offset: (B, G, 2) x, y of the center within its cell.
        labels: (B, G) int64 classes.
        index: (B, G) int64 cell, y * W + x; 0 where there is no object.
        valid: (B, G) bool, False for padding and objects outside the map.
        radius: (B, G) int64 radius of the Gaussian in cells, -1 if not valid.
    """

    heatmap: Tensor
    size: Tensor
    offset: Tensor
    labels: Tensor
    index: Tensor
    valid: Tensor
    radius: Tensor


def official_radius(height: Tensor, width: Tensor, overlap: float) -> Tensor:
    """Radius of the official code of CornerNet, CenterNet and ExtremeNet.

    Its roots are not divided by the leading coefficient, so the radius is
    not the one that the overlap asks for; `exact_radius` is.

    Args:
        height: Heights in cells, shape (...).
        width: Widths in cells, shape (...).
        overlap: IoU for which the formula was made.

    Returns:
        Radii in cells, float64, shape (...).
    """
    height, width = height.double(), width.double()
    both, area = height + width, height * width
    c = area * (1 - overlap) / (1 + overlap)
    one = (both + (both**2 - 4 * c).sqrt()) / 2
    b, c = 2 * both, area * (1 - overlap)
    inside = (b + (b**2 - 16 * c).sqrt()) / 2
    b, c = -2 * overlap * both, area * (overlap - 1)
    outside = (b + (b**2 - 16 * overlap * c).sqrt()) / 2
    return one.minimum(inside).minimum(outside)


def exact_radius(height: Tensor, width: Tensor, overlap: float) -> Tensor:
    """Largest radius in which moved corners keep an IoU; mmdet's rule.

    Args: as of `official_radius`; returns radii (...) in cells, float64.
    """
    height, width = height.double(), width.double()
    both, area = height + width, height * width
    c = area * (1 - overlap) / (1 + overlap)
    one = (both - (both**2 - 4 * c).sqrt()) / 2
    b, c = 2 * both, area * (1 - overlap)
    inside = (b - (b**2 - 16 * c).sqrt()) / 8
    b, c = -2 * overlap * both, area * (overlap - 1)
    outside = (b + (b**2 - 16 * overlap * c).sqrt()) / (8 * overlap)
    return one.minimum(inside).minimum(outside)


def draw_gaussians(
    shape: torch.Size | tuple[int, int, int, int],
    labels: Tensor,
    cells: Tensor,
    radius: Tensor,
    valid: Tensor,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Heat maps of a batch: at each cell the largest Gaussian of its class.

    A Gaussian has sigma ``(2 r + 1) / 6`` and ends at the radius r. Memory is
    proportional to the cells that are drawn. Synchronizes with the device
    once.

    Args:
        shape: (B, C, H, W) of the heat maps.
        labels: (B, G) int64 classes.
        cells: (B, G, 2) int64 x, y of the centers.
        radius: (B, G) int64 radii in cells.
        valid: (B, G) bool, which objects to draw; their cells must be in the
            map.
        dtype: Of the heat maps.

    Returns:
        Shape (B, C, H, W); exactly 1 at the centers.

    Raises:
        ValueError: A class beyond C.
    """
    batch, classes, height, width = shape
    low = (cells - radius[..., None]).clamp(min=0)
    size = cells.new_tensor((width, height))
    high = (cells + radius[..., None] + 1).minimum(size)
    sides = (high - low) * valid[..., None]
    area = sides.prod(-1).flatten()
    wrong = (valid & ((labels < 0) | (labels >= classes))).sum()
    total, num_wrong = torch.stack((area.sum(), wrong)).tolist()
    if num_wrong:
        raise ValueError(
            f'labels must be from 0 to {classes - 1}, got '
            f'{labels[valid].min()} to {labels[valid].max()}'
        )
    # one row for each cell of each object
    rows = torch.arange(len(area), device=area.device)
    rows = rows.repeat_interleave(area, output_size=total)
    within = torch.arange(total, device=area.device)
    within = within - (area.cumsum(0) - area)[rows]
    low, cells, sides = (t.flatten(0, 1)[rows] for t in (low, cells, sides))
    x = low[:, 0] + within % sides[:, 0]
    y = low[:, 1] + within // sides[:, 0]
    sigma = (2 * radius.flatten()[rows] + 1).to(dtype) / 6
    distance = (x - cells[:, 0]) ** 2 + (y - cells[:, 1]) ** 2
    values = (-distance / (2 * sigma**2)).exp()
    image = rows // labels.shape[1]
    plane = image * classes + labels.flatten()[rows]
    maps = values.new_zeros(batch * classes * height * width)
    index = (plane * height + y) * width + x
    maps.scatter_reduce_(0, index, values, 'amax')
    return maps.view(batch, classes, height, width)


def center_targets(
    boxes: Tensor,
    labels: Tensor,
    valid: Tensor,
    num_classes: int,
    size: tuple[int, int],
    overlap: float = 0.7,
) -> CenterTargets:
    """Targets of CenterNet by the official rule.

    Boxes are clipped to the map; those without area are left out.

    Args:
        boxes: (B, G, 4) x1, y1, x2, y2 in cells.
        labels: (B, G) int64 classes.
        valid: (B, G) bool, False for padding.
        num_classes: Number C of classes.
        size: (H, W) of the map.
        overlap: Of `official_radius`.

    Raises:
        ValueError: A class beyond C.
    """
    height, width = size
    limit = boxes.new_tensor((width - 1, height - 1) * 2)
    boxes = boxes.clamp(min=0).minimum(limit)
    low, high = boxes.chunk(2, -1)
    sides = high - low
    valid = valid & (sides > 0).all(-1)
    sides = sides.where(valid[..., None], 0)
    center = ((low + high) / 2).where(valid[..., None], 0)
    whole = sides.ceil()
    radius = official_radius(whole[..., 1], whole[..., 0], overlap).long()
    return _drawn(center, sides, radius, labels, valid, num_classes, size)


def mmdet_center_targets(
    boxes: Tensor,
    labels: Tensor,
    valid: Tensor,
    num_classes: int,
    size: tuple[int, int],
    ratio: Tensor,
    overlap: float = 0.3,
) -> CenterTargets:
    """Targets of CenterNet by mmdet's rule.

    Boxes are not clipped; those whose center is outside the map are left out.

    Args:
        boxes: (B, G, 4) x1, y1, x2, y2 in px.
        labels: (B, G) int64 classes.
        valid: (B, G) bool, False for padding.
        num_classes: Number C of classes.
        size: (H, W) of the map.
        ratio: (2,) cells per pixel, x and y.
        overlap: Of `exact_radius`.

    Raises:
        ValueError: A class beyond C.
    """
    height, width = size
    low, high = boxes.chunk(2, -1)
    center = (low + high) * ratio / 2
    sides = (high - low) * ratio
    cells = center.long()
    inside = (cells >= 0) & (cells < cells.new_tensor((width, height)))
    valid = valid & inside.all(-1)
    radius = exact_radius(sides[..., 1], sides[..., 0], overlap)
    radius = radius.long().clamp(min=0)
    return _drawn(center, sides, radius, labels, valid, num_classes, size)


def _drawn(
    center: Tensor,
    sides: Tensor,
    radius: Tensor,
    labels: Tensor,
    valid: Tensor,
    num_classes: int,
    size: tuple[int, int],
) -> CenterTargets:
    """Targets of centers (B, G, 2) and sides (B, G, 2) in cells."""
    height, width = size
    cells = center.long()
    heatmap = draw_gaussians(
        (len(center), num_classes, height, width),
        labels,
        cells,
        radius,
        valid,
        center.dtype,
    )
    index = cells[..., 1] * width + cells[..., 0]
    return CenterTargets(
        heatmap=heatmap,
        size=sides,
        offset=center - cells,
        labels=labels,
        index=index.where(valid, 0),
        valid=valid,
        radius=radius.where(valid, -1),
    )


def cell_owners(index: Tensor, valid: Tensor, cells: int) -> Tensor:
    """The object of each cell, the last one of several; -1 without any.

    Args:
        index: (B, G) int64 cells.
        valid: (B, G) bool, False for objects without a cell.
        cells: Number P of cells.

    Returns:
        Shape (B, P), int64.
    """
    index = index.where(valid, cells)
    order = torch.arange(index.shape[1], device=index.device)
    owner = index.new_full((len(index), cells + 1), -1)
    owner.scatter_reduce_(1, index, order.expand_as(index), 'amax')
    return owner[:, :-1]


def gather_cells(maps: Tensor, index: Tensor) -> Tensor:
    """Values (B, G, C) of maps (B, C, H, W) at cells (B, G)."""
    return transpose_and_gather_feat(maps, index)


def window_maxima(heatmap: Tensor, kernel: int = 3) -> Tensor:
    """The highest value in the window around each cell.

    Rows and columns are taken one after the other, see
    ``tools/benchmark/keypoints.py``.

    Args:
        heatmap: (..., H, W) probabilities.
        kernel: Side of the window in cells, odd.

    Raises:
        ValueError: An even kernel, or one below 1.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f'kernel must be odd and at least 1, got {kernel}')
    if kernel == 1:
        return heatmap
    reach = kernel // 2
    highest = heatmap
    for dim, pad in ((-1, (reach, reach)), (-2, (0, 0, reach, reach))):
        size = heatmap.shape[dim]
        padded = F.pad(highest, pad, value=float('-inf'))
        highest = padded.narrow(dim, 0, size)
        for shift in range(1, 2 * reach + 1):
            highest = highest.maximum(padded.narrow(dim, shift, size))
    return highest


def local_maxima(heatmap: Tensor, kernel: int = 3) -> Tensor:
    """The values of the highest cells of their windows; others are zero.

    All cells of a plateau are maxima.

    Args:
        heatmap: (..., H, W) probabilities.
        kernel: Side of the window in cells, odd.
    """
    return heatmap * (window_maxima(heatmap, kernel) == heatmap)


def peaks(
    heatmap: Tensor, k: int, kernel: int = 3
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The highest local maxima of each image, over all classes.

    Args:
        heatmap: (B, C, H, W) probabilities.
        k: How many K; at most C * H * W are returned.
        kernel: Side of the window in cells.

    Returns:
        tuple: Scores (B, K), descending, cells (B, K), classes (B, K) and
        x, y of the cells (B, K, 2).
    """
    maxima = local_maxima(heatmap, kernel)
    k = min(k, heatmap[0].numel())
    scores, index, labels, y, x = get_topk_from_heatmap(maxima, k)
    return scores, index, labels, torch.stack((x, y.to(x)), -1)


def merge_mirrored(maps: Tensor) -> Tensor:
    """Mean of maps and those of the mirrored images.

    Args:
        maps: (2 B, C, H, W), first the images, then their mirror images.

    Returns:
        Shape (B, C, H, W).
    """
    plain, mirrored = maps.chunk(2)
    return (plain + mirrored.flip(-1)) / 2


def to_image(
    places: Tensor,
    cells: tuple[int, int],
    pixels: tuple[int, int],
    border: tuple[float, ...],
    scale: tuple[float, float] = (1.0, 1.0),
    clip: bool = True,
) -> Tensor:
    """Places on a map in pixels of the image.

    Args:
        places: (..., 2) x, y in cells.
        cells: (H, W) of the map.
        pixels: (height, width) of the input of the network.
        border: Top, bottom, left and right of the image in the input.
        scale: By which width and height of the image were multiplied.
        clip: Move places outside the image to its sides.
    """
    stride = (pixels[1] / cells[1], pixels[0] / cells[0])
    top, bottom, left, right = border
    places = places * places.new_tensor(stride)
    places = places - places.new_tensor((left, top))
    if clip:
        limit = places.new_tensor((right - left, bottom - top))
        places = places.clamp(min=0).minimum(limit)
    return places / places.new_tensor(scale)
