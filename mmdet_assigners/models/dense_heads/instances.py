"""Between mmdet's lists of instances and whole tensors of a batch."""

from typing import NamedTuple

import torch
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor
from torch.nn import functional as F

from ...ops.anchor_points import pad_gts


class HeatmapView(NamedTuple):
    """Heat maps of one image, for the analysis tools.

    Attributes:
        names: What is a peak of each of the M maps.
        targets: (M, C, H, W).
        predictions: (M, C, H, W) probabilities.
        points: (M, G, 2) x, y in pixels of the input, of each object.
    """

    names: tuple[str, ...]
    targets: Tensor
    predictions: Tensor
    points: Tensor


def pad_instances(
    gts: InstanceList, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Ground truths of B images, padded to the same number G >= 1.

    Boxes without area, which a crop or a wrong annotation leaves, and boxes
    of NaN or Inf count as padding: their targets would not be finite.

    Args:
        gts: B instances with ``bboxes`` and ``labels``.
        like: Gives type and device of the boxes.

    Returns:
        tuple: Boxes (B, G, 4) in pixels, labels (B, G) and the mask (B, G)
        of the real ones; boxes of padding are zero.
    """
    boxes, labels, mask = pad_gts(
        [get_box_tensor(gt.bboxes).to(like) for gt in gts],
        [gt.labels for gt in gts],
    )
    mask = mask & has_area(boxes)
    return boxes.where(mask[..., None], 0), labels, mask


def has_area(boxes: Tensor) -> Tensor:
    """Which boxes (..., 4) have an area and finite corners, (...) bool."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return ((sides > 0) & sides.isfinite()).all(-1)


def drop_empty(gts: InstanceList) -> InstanceList:
    """Ground truths without those that have no area, see `pad_instances`.

    Args:
        gts: B instances with ``bboxes``; those that lack none are returned
            as they are.
    """
    kept = [has_area(_first_boxes(gt)) for gt in gts]
    if not kept or torch.cat(kept).all():  # one wait for the whole batch
        return gts
    return [_select(gt, keep) for gt, keep in zip(gts, kept, strict=True)]


def _first_boxes(gt: InstanceData) -> Tensor:
    boxes = get_box_tensor(gt.bboxes)
    # boxes in pairs: the first one counts
    return boxes[:, :4] if boxes.dim() == 2 else boxes.reshape(-1, 4)


def _select(gt: InstanceData, keep: Tensor) -> InstanceData:
    on_host = keep.cpu().numpy()  # masks are arrays
    return InstanceData(
        metainfo=gt.metainfo,
        **{
            name: value[keep if isinstance(value, Tensor) else on_host]
            for name, value in gt.items()
            if name != 'bboxes'
        },
        bboxes=gt.bboxes[keep],
    )


def padded_index(gt: Tensor, mask: Tensor) -> Tensor:
    """Rows of padded ground truths, from rows of the real ones alone.

    Args:
        gt: (P,) int64 rows of the real ones; negative values stay.
        mask: (G,) of :func:`pad_instances`.

    Returns:
        Tensor: (P,) int64 rows of all G.
    """
    rows = F.pad(mask.nonzero()[:, 0], (0, 1))  # none: any row
    return rows[gt.clamp(min=0)].where(gt >= 0, gt)


def assignment_instances(
    priors: Tensor, level: Tensor, stride: Tensor, gt: Tensor, weight: Tensor
) -> InstanceList:
    """What ``get_assignment`` of a head returns.

    Args:
        priors: Points (P, 2) or boxes (P, 4) in pixels; with a first
            dimension B if every image has its own.
        level: (P,) int64 level of each prior, from 0.
        stride: (P,) stride of its level in pixels.
        gt: (B, P) int64 index of the ground truth, -1 negative, -2 ignored.
        weight: (B, P) weight in the loss.

    Returns:
        list: B instances with ``priors``, ``level``, ``stride``,
        ``assigned_gt`` and ``weight``.
    """
    rows = priors.expand(len(gt), *priors.shape[-2:])
    return [
        InstanceData(
            priors=own,
            level=level,
            stride=stride,
            assigned_gt=assigned,
            weight=factor,
        )
        for own, assigned, factor in zip(rows, gt, weight, strict=True)
    ]
