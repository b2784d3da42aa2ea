"""Batched matching of YOLO's anchors on a grid.

The priors of a level stand at the centers ``(i + 0.5) * stride`` of its cells
(``YOLOAnchorGenerator``), cell-major, then anchor of the cell. A ground truth
belongs to the cell that its center falls into.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .anchor_match import IGNORED, NEGATIVE, iou_bounds, iou_chunks
from .anchor_points import MAX_ELEMENTS


class YOLOGrid(NamedTuple):
    """The N anchors of all levels and where their priors are.

    Attributes:
        wh: (N, 2) width and height in pixels.
        stride: (N,) of the anchor's level in pixels.
        cells: (N, 2) int64 columns and rows of the level; 0 for an anchor
            that has no priors.
        start: (N,) int64 index of the level's first prior.
        per_cell: (N,) int64 anchors per cell of the level.
        slot: (N,) int64 index of the anchor in its cell.
    """

    wh: Tensor
    stride: Tensor
    cells: Tensor
    start: Tensor
    per_cell: Tensor
    slot: Tensor


class DarknetMatch(NamedTuple):
    """The assignment by Darknet's rule.

    Attributes:
        gt: (B, P) int64 ground truth, ``NEGATIVE`` or ``IGNORED``.
        iou: (B, P) largest IoU of the predicted box with a ground truth.
        class_targets: (B, P, C) 1 for the class of each ground truth of the
            prior, else 0.
    """

    gt: Tensor
    iou: Tensor
    class_targets: Tensor


def grid_of_priors(
    priors: Tensor, level_sizes: Sequence[int], per_cell: int
) -> YOLOGrid:
    """Read the grid off the priors, without synchronization.

    Args:
        priors: (P, 4) xyxy in pixels.
        level_sizes: Number of priors of each level, none of them 0.
        per_cell: Number A of anchors per cell.

    Returns:
        YOLOGrid: Of N = L * A anchors.
    """
    device = priors.device
    starts = [sum(level_sizes[:i]) for i in range(len(level_sizes))]
    start = torch.tensor(starts, device=device).repeat_interleave(
        per_cell, output_size=len(starts) * per_cell
    )
    slot = torch.arange(per_cell, device=device).repeat(len(starts))
    first = priors[start + slot]
    ends = [s + n for s, n in zip(starts, level_sizes, strict=True)]
    last = priors[
        torch.tensor(ends, device=device).repeat_interleave(
            per_cell, output_size=len(starts) * per_cell
        )
        - per_cell
        + slot
    ]
    # the first center is half a stride from the start, the last from the end
    stride = (first[:, :2] + first[:, 2:]).mean(-1)
    cells = (last[:, :2] + last[:, 2:]) / (2 * stride[:, None]) + 0.5
    return YOLOGrid(
        first[:, 2:] - first[:, :2],
        stride,
        cells.round().long(),
        start,
        torch.full_like(start, per_cell),
        slot,
    )


def cell_priors(grid: YOLOGrid, boxes: Tensor, mask: Tensor) -> Tensor:
    """The prior of each anchor in the cell of each ground truth.

    Args:
        grid: Of N anchors.
        boxes: (B, G, 4) xyxy in pixels.
        mask: (B, G) bool, False for padding.

    Returns:
        Tensor: (B, G, N) int64 index; -1 where the center lies outside.
    """
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    cell = (center[:, :, None] / grid.stride[:, None]).floor().long()
    inside = ((cell >= 0) & (cell < grid.cells)).all(-1) & mask[..., None]
    location = cell[..., 1] * grid.cells[:, 0] + cell[..., 0]
    index = grid.start + location * grid.per_cell + grid.slot
    return index.where(inside, -1)


def shape_iou(boxes: Tensor, wh: Tensor) -> Tensor:
    """IoU of boxes and anchors laid on the same center.

    Args:
        boxes: (B, G, 4) xyxy in pixels.
        wh: (N, 2) width and height of the anchors in pixels.

    Returns:
        Tensor: (B, G, N); 0 where a box has no area.
    """
    size = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)[:, :, None]
    overlap = torch.minimum(size, wh).prod(-1)
    union = size.prod(-1) + wh.prod(-1) - overlap
    return overlap / union.clamp(min=torch.finfo(union.dtype).tiny)


def darknet_match(
    grid: YOLOGrid,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    pred_boxes: Tensor,
    ignore_iou_thr: float,
    num_classes: int,
    max_elements: int = MAX_ELEMENTS,
) -> DarknetMatch:
    """One prior per ground truth: its cell, the anchor of its shape.

    1. The anchor of highest shape IoU among all levels (ties go to the
       first), in the cell of the ground truth's center, is positive. Of
       several ground truths the last has the box; all give their classes.
    2. Other priors whose predicted box has an IoU above ``ignore_iou_thr``
       with any ground truth are ignored. The rest is negative.

    Args:
        grid: Of the priors.
        boxes: (B, G, 4) xyxy in pixels. Centers outside: no prior.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        pred_boxes: (B, P, 4) decoded predictions in pixels.
        ignore_iou_thr: See above.
        num_classes: Number C of classes.
        max_elements: Bound on the size of (B, G, P) tensors.

    Returns:
        DarknetMatch: Without gradient.
    """
    batch, priors = pred_boxes.shape[:2]
    # rule 1: the prior of the best anchor shape in the cell of the center
    best = shape_iou(boxes, grid.wh).argmax(-1, keepdim=True)
    own = cell_priors(grid, boxes, mask).gather(-1, best)[..., 0]
    own = own.where(own >= 0, priors)  # centers outside: an extra slot
    gts = torch.arange(boxes.shape[1], device=boxes.device)
    gt = own.new_full((batch, priors + 1), NEGATIVE)
    gt = gt.scatter_reduce(1, own, gts.expand_as(own), 'amax')[:, :priors]
    classes = pred_boxes.new_zeros(batch, (priors + 1) * num_classes)
    classes = classes.scatter(1, own * num_classes + labels, 1.0)
    # rule 2: predictions that overlap any ground truth are ignored
    iou = pred_boxes.new_zeros(batch, priors)
    for _, part in iou_chunks(
        pred_boxes.detach(), boxes, mask, None, max_elements
    ):
        iou = torch.maximum(iou, part.amax(1))
    ignored = (iou > ignore_iou_thr) & (gt < 0)
    return DarknetMatch(
        gt.masked_fill(ignored, IGNORED),
        iou,
        classes.unflatten(1, (-1, num_classes))[:, :priors],
    )


def grid_match(
    grid: YOLOGrid,
    priors: Tensor,
    boxes: Tensor,
    mask: Tensor,
    pos_iou_thr: float,
    neg_iou_thr: float | Sequence[float],
    min_pos_iou: float = 0.0,
    max_elements: int = MAX_ELEMENTS,
    valid: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The rules of mmdet's ``GridAssigner``, batched.

    Responsible are the priors of cells that hold the center of any ground
    truth. IoU is that of priors.

    1. IoU with every ground truth <= ``neg_iou_thr`` (and above the first of a
       pair): negative, else ignored.
    2. A responsible prior is positive for its ground truth of highest IoU,
       if that is above ``pos_iou_thr``.
    3. Each ground truth gets the responsible priors of its highest IoU, ties
       included, if that is above ``min_pos_iou``; the last of several.

    Args:
        grid: Of the priors.
        priors: (P, 4) xyxy in pixels.
        boxes: (B, G, 4) xyxy in pixels.
        mask: (B, G) bool, False for padding.
        pos_iou_thr: See above.
        neg_iou_thr: See above.
        min_pos_iou: See above.
        max_elements: Bound on the size of (B, G, P) tensors.
        valid: (B, P) bool; others are ignored and match nothing.

    Returns:
        tuple: Ground truth (B, P), and the IoU (B, P) with the best one among
        the responsible, 0 elsewhere.
    """
    # priors of the cells that hold a center
    batch, count = len(boxes), len(priors)
    index = cell_priors(grid, boxes, mask).flatten(1)
    index = index.where(index >= 0, count)
    responsible = torch.zeros(
        batch, count + 1, dtype=torch.bool, device=boxes.device
    )
    responsible = responsible.scatter(1, index, True)[:, :count]
    others = ~responsible[:, None]
    # best IoU over all priors, and over the responsible ones
    overall = boxes.new_full((batch, count), -1.0)
    best, argmax = overall, torch.zeros_like(overall, dtype=torch.long)
    bounds = []
    for part, iou in iou_chunks(priors, boxes, mask, valid, max_elements):
        overall = torch.maximum(overall, iou.amax(1))
        iou.masked_fill_(others, -1)
        highest, place = iou.max(1)
        argmax = torch.where(highest > best, place + part.start, argmax)
        best = torch.maximum(best, highest)
        bounds.append(iou.amax(2))
    bound = torch.cat(bounds, 1)[..., None]
    # rules 1 and 2, then 3 over them
    gt = torch.full_like(argmax, IGNORED)
    low, high = iou_bounds(neg_iou_thr)
    negative = overall <= high
    if low > 0:
        # without ground truths all are negative
        negative = negative & (overall > low) | ~mask.any(1, keepdim=True)
    gt = gt.masked_fill(negative, NEGATIVE)
    gt = torch.where(best > pos_iou_thr, argmax, gt)
    for part, iou in iou_chunks(priors, boxes, mask, valid, max_elements):
        ties = (iou == bound[:, part]) & (bound[:, part] > min_pos_iou)
        ties &= ~others
        rows = torch.arange(part.start, part.stop, device=gt.device)
        last = rows[:, None].where(ties, NEGATIVE).amax(1)
        gt = torch.where(last >= 0, last, gt)
    if valid is not None:
        gt = gt.masked_fill(~valid, IGNORED)
    return gt, best.clamp(min=0)
