"""Guided Anchoring: masks, targets and losses, batched.

Region Proposal by Guided Anchoring, Wang, Chen, Yang, Loy, Lin, CVPR 2019,
arXiv 1901.03278. Names of dimensions: B images, G ground truths (padded), L
levels, P locations of all levels.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...ops.anchor_points import MAX_ELEMENTS, gt_chunks


class LocationTargets(NamedTuple):
    """Targets of the location branch.

    Attributes:
        target: (B, P) 1 in center regions, else 0.
        weight: (B, P) 1 in center regions, 0 in ignored ones, else the weight
            of negatives.
    """

    target: Tensor
    weight: Tensor


def location_mask(loc_pred: Tensor, threshold: float) -> Tensor:
    """Locations that are processed at inference.

    Args:
        loc_pred: (B, 1, H, W) location logits.
        threshold: Minimum probability; 0.01 in mmdet's configs.

    Returns:
        Tensor: (B, 1, H, W) bool.
    """
    return loc_pred.sigmoid() >= threshold


def masked_conv(
    x: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: int | Sequence[int],
) -> Tensor:
    """Convolution at the locations of a mask, zero elsewhere.

    A dense convolution with the result masked: the same as mmcv's masked
    convolution for one image, but for any batch, on any device and with a
    gradient.

    Args:
        x: (B, C, H, W).
        mask: (B, 1, H', W') bool.
        weight: (C_out, C, K, K).
        bias: (C_out,), added inside the mask only.
        padding: Zero padding in cells.

    Returns:
        Tensor: (B, C_out, H', W').

    Raises:
        ValueError: The mask doesn't fit the output.
    """
    out = F.conv2d(x, weight, bias, padding=padding)
    expected = (out.shape[0], 1, *out.shape[2:])
    if mask.shape != expected:
        raise ValueError(
            f'mask must have shape {expected}, one map per image, got '
            f'{tuple(mask.shape)}'
        )
    return out.masked_fill(~mask, 0)


def shape_loss(pred_wh: Tensor, gt_wh: Tensor, beta: float = 0.2) -> Tensor:
    """The paper's bounded IoU loss of an anchor's width and height (Eq. 6).

    ``smooth_l1(1 - min(w / w_g, w_g / w))`` plus the same of the heights.

    Args:
        pred_wh: (..., 2) width and height of predicted anchors in pixels.
        gt_wh: (..., 2) of their ground truths.
        beta: Where the loss turns from quadratic to linear; 0.2 in mmdet.

    Returns:
        Tensor: (...) loss; finite for sides of zero.
    """
    low = torch.minimum(pred_wh, gt_wh)
    high = torch.maximum(pred_wh, gt_wh)
    miss = 1 - low / high.clamp(min=1e-6)
    quadratic = 0.5 * miss.square() / beta
    return quadratic.where(miss < beta, miss - 0.5 * beta).sum(-1)


@torch.no_grad()
def location_targets(
    boxes: Tensor,
    mask: Tensor,
    shapes: Sequence[Sequence[int]],
    strides: Sequence[int],
    scale: float,
    center_ratio: float = 0.2,
    ignore_ratio: float = 0.5,
    negative_weight: float = 0.1,
    max_elements: int = MAX_ELEMENTS,
) -> LocationTargets:
    """Center, ignored and outside regions of the ground truths (Sec. 3.4).

    1. A ground truth belongs to level ``floor(log2(sqrt(w h) / (scale s_0)) +
       1/2)``, clamped, where s_0 is the finest stride.
    2. On it the cells of its center region are positive and those of the
       rest of its ignore region are ignored (bounds rounded, inclusive). Of
       several ground truths the last decides about the weight of a cell.
    3. On the adjacent levels its ignore region is ignored where no ground
       truth of that level has decided.
    4. All other cells are negative.

    As mmdet's ``ga_loc_targets``, without its loops.

    Args:
        boxes: (B, G, 4) xyxy pixels.
        mask: (B, G) bool, False for padding.
        shapes: Height and width of each of the L levels in cells.
        strides: Stride of each level in pixels.
        scale: Side of the square of an anchor in strides; 8 for GA-RPN.
        center_ratio: Factor of the center region; 0.2 in the paper.
        ignore_ratio: Factor of the ignore region; 0.5 in the paper.
        negative_weight: Weight of a negative; 0.1 in mmdet.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        LocationTargets: Per location, level-major, then row-major.
    """
    # level of each ground truth
    cells, limits, level_of, stride_of = _cells(shapes, strides, boxes)
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1).sqrt()
    own = (size.log2() - math.log2(scale * strides[0]) + 0.5).floor()
    own = own.clamp(0, len(shapes) - 1).long()
    state = boxes.new_full((len(boxes), len(cells)), -1)
    center = torch.zeros_like(state, dtype=torch.bool)
    near = torch.zeros_like(center)
    batch, num_gts = mask.shape
    for part in gt_chunks(batch, num_gts, len(cells), max_elements):
        # cells in the regions; steps 0: own level, 1: an adjacent one
        steps = level_of - own[:, part, None]
        valid = mask[:, part, None]
        region = boxes[:, part, None] / stride_of[:, None]
        ignore = _inside(cells, limits, region, ignore_ratio) & valid
        middle = _inside(cells, limits, region, center_ratio) & (steps == 0)
        middle = middle & valid
        near = near | (ignore & (steps.abs() == 1)).any(1)
        center = center | middle.any(1)
        # the last ground truth wins: 2 n + 1 in its center, else 2 n
        number = 2 * torch.arange(part.start, part.stop, device=cells.device)
        code = (number[:, None] + middle).to(state)
        code = code.where(middle | (ignore & (steps == 0)), -1)
        state = torch.maximum(state, code.amax(1))
    # on a level of its own the parity decides, elsewhere the neighbors
    weight = torch.where(near, 0.0, negative_weight).to(state)
    weight = torch.where(state >= 0, state % 2, weight)
    return LocationTargets(center.to(state), weight)


def _cells(
    shapes: Sequence[Sequence[int]], strides: Sequence[int], like: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Column and row, width and height of its level, level, stride of each."""
    cells, limits, level_of = [], [], []
    for level, (height, width) in enumerate(shapes):
        y, x = torch.meshgrid(
            torch.arange(height, device=like.device),
            torch.arange(width, device=like.device),
            indexing='ij',
        )
        grid = torch.stack((x, y), -1).view(-1, 2).to(like)
        cells.append(grid)
        limits.append(like.new_tensor([width, height]).expand_as(grid))
        level_of.append(torch.full_like(grid[:, 0], level).long())
    level = torch.cat(level_of)
    return (
        torch.cat(cells),
        torch.cat(limits),
        level,
        like.new_tensor(strides)[level],
    )


def _inside(
    cells: Tensor, limits: Tensor, boxes: Tensor, ratio: float
) -> Tensor:
    """Which cells lie in the boxes (in cells) shrunk by ``ratio``."""
    edge = (1 - ratio) / 2
    first, second = boxes[..., :2], boxes[..., 2:]
    low = ((1 - edge) * first + edge * second).round()
    high = (edge * first + (1 - edge) * second).round()
    # clamped to the size, not size - 1: outside on the right means no cell
    low, high = (
        torch.minimum(value.clamp(min=0), limits) for value in (low, high)
    )
    return ((cells >= low) & (cells <= high)).all(-1)
