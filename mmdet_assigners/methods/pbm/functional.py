"""Tensor functions of PBM and R2NMS, arXiv 2003.12729."""

from collections.abc import Sequence

import torch
from mmcv.ops import nms
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from ...ops.anchor_match import BestMatches


def iof_of_visible(boxes: Tensor, visible: Tensor) -> Tensor:
    """How much of each visible box is inside each box.

    Args:
        boxes: (N, 4) xyxy.
        visible: (G, 4) xyxy.

    Returns:
        Tensor: (G, N) intersection over the area of the visible box, 0 for
        one without area.
    """
    return bbox_overlaps(visible, boxes, mode='iof')


def iou_of_visible(boxes: Tensor, visible: Tensor) -> Tensor:
    """IoU (G, N) of boxes (N, 4) with visible boxes (G, 4)."""
    return bbox_overlaps(visible, boxes)


def paired_match(
    match: BestMatches,
    highest: Tensor,
    pos_iou_thr: float,
    neg_iou_thr: float,
    ignored: Tensor | None = None,
) -> Tensor:
    """Match N priors with G pairs: both boxes have to fit the same pair.

    Args:
        match: Best pairs of the N priors of one image, of overlaps that are 0
            where the visible box does not fit.
        highest: (N,) overlap that decides about negatives.
        pos_iou_thr: Positive from this overlap with a pair that fits.
        neg_iou_thr: Negative below this overlap.
        ignored: (N,) priors that are excluded.

    Returns:
        Tensor: (N,) int64, -1 ignored, 0 negative, g + 1 pair g; ties go to
        the first.
    """
    best, index, claim = (one[0] for one in match)
    gt_inds = torch.full_like(index, -1).masked_fill(highest < neg_iou_thr, 0)
    gt_inds = gt_inds.where(best < pos_iou_thr, index + 1)
    if ignored is not None:
        gt_inds = gt_inds.masked_fill(ignored, -1)
    return gt_inds.where(claim < 0, claim + 1)


def visible_mask(
    full: Tensor, visible: Tensor, size: Sequence[int], rule: str = 'center'
) -> Tensor:
    """Where the visible box covers the bins of the full box.

    Args:
        full: (N, 4) xyxy.
        visible: (N, 4) xyxy.
        size: Bins along y and x.
        rule: ``'center'``, 1 if the center of the bin is in the visible box;
            ``'area'``, the share of the bin that it covers.

    Returns:
        Tensor: (N, 1, height, width) in [0, 1].
    """
    axes = []
    for axis, bins in ((1, size[0]), (0, size[1])):
        start, side = full[:, axis, None], (full[:, axis + 2] - full[:, axis])
        first, last = visible[:, axis, None], visible[:, axis + 2, None]
        step = side[:, None] / bins
        index = torch.arange(bins, dtype=full.dtype, device=full.device)
        if rule == 'center':
            center = start + (index + 0.5) * step
            axes.append(((center >= first) & (center <= last)).to(full))
        else:
            low = (start + index * step).maximum(first)
            high = (start + (index + 1) * step).minimum(last)
            tiny = torch.finfo(full.dtype).tiny
            axes.append((high - low).clamp(min=0) / step.clamp(min=tiny))
    y, x = axes
    return (y[:, :, None] * x[:, None, :])[:, None]


def fit_visible(full: Tensor, visible: Tensor) -> Tensor:
    """Visible boxes inside their full boxes.

    Args:
        full: (N, 4) xyxy.
        visible: (N, 4) xyxy, or NaN where there is none.

    Returns:
        Tensor: (N, 4) clipped to the full box; the full box where nothing of
        the visible box has area in it.
    """
    start = visible[:, :2].maximum(full[:, :2])
    end = visible[:, 2:].minimum(full[:, 2:])
    has_area = (end > start).all(1, keepdim=True)
    return torch.cat((start, end), 1).where(has_area, full)


def train_visible_of_negatives(
    targets: Tensor,
    weights: Tensor,
    negative: Tensor,
    visible_target: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Negatives regress a visible box, too, one that shrinks to nothing.

    Args:
        targets: (N, 8) deltas of full and visible box.
        weights: (N, 8).
        negative: (N,) which priors are sampled negatives.
        visible_target: Four deltas.

    Returns:
        tuple: Targets and weights (N, 8).
    """
    rows = negative[:, None]
    visible = targets[:, 4:].where(~rows, targets.new_tensor(visible_target))
    shown = weights[:, 4:].where(~rows, weights.new_ones(()))
    return (
        torch.cat((targets[:, :4], visible), 1),
        torch.cat((weights[:, :4], shown), 1),
    )


def r2nms(
    full: Tensor, visible: Tensor, scores: Tensor, iou_threshold: float
) -> tuple[Tensor, Tensor]:
    """NMS by representative region: visible boxes decide, pairs are kept.

    Args:
        full: (N, 4) xyxy, not compared.
        visible: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: A pair is removed if the IoU of its visible box with
            that of a better one is larger.

    Returns:
        tuple: Kept full boxes (K, 4) and their numbers (K,), best first.
    """
    _, keep = nms(visible.contiguous(), scores.contiguous(), iou_threshold)
    return full[keep], keep
