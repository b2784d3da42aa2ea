"""Dense local regression of D2Det: targets, losses and averaged boxes.

Distances are l, r, t, b: from the center of a cell to the left, right, top
and bottom side. RoIs have S x S cells.
"""

import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox_overlaps
from torch import Tensor

from ...ops.anchor_points import move_ends

VARIANTS = ('v1', 'v2')


def cell_points(boxes: Tensor, size: int) -> Tensor:
    """Centers of the cells of RoIs.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        size: S, cells per axis.

    Returns:
        Tensor: (N, 4, S, S) x and y of the center, width and height of the
        RoI.
    """
    steps = (torch.arange(size).to(boxes) + 0.5) / size
    x1, y1, x2, y2 = boxes[:, :, None, None].unbind(1)
    x = x1 + steps * (x2 - x1)
    y = y1 + steps[:, None] * (y2 - y1)
    parts = torch.broadcast_tensors(x, y, x2 - x1, y2 - y1)
    shape = (len(boxes), size, size)
    return torch.stack([part.expand(shape) for part in parts], 1)


def distances(points: Tensor, gt_bboxes: Tensor) -> Tensor:
    """Signed distances to the sides of the ground truth.

    Args:
        points: (N, 4, S, S) of :func:`cell_points`.
        gt_bboxes: (N, 4) x1, y1, x2, y2.

    Returns:
        Tensor: (N, 4, S, S) l, r, t, b in pixels, negative outside.
    """
    x, y = points[:, 0], points[:, 1]
    x1, y1, x2, y2 = gt_bboxes[:, :, None, None].unbind(1)
    return torch.stack((x - x1, x2 - x, y - y1, y2 - y), 1)


def overlap_targets(points: Tensor, targets: Tensor) -> Tensor:
    """Cells that lie on the object, by a margin.

    As in the official code all four distances are at least a cell's distance
    from the next, (S - 1)-th of the RoI.

    Args:
        points: (N, 4, S, S) of :func:`cell_points`.
        targets: (N, 4, S, S) of :func:`distances`.

    Returns:
        Tensor: (N, 1, S, S), 0 or 1.
    """
    margin = points[:, [2, 2, 3, 3]] / (points.shape[-1] - 1)
    return (targets >= margin).all(1, keepdim=True).to(targets)


def decode(points: Tensor, reg: Tensor) -> Tensor:
    """The box of each cell.

    Args:
        points: (N, 4, S, S) of :func:`cell_points`.
        reg: (N, 4, S, S) l, r, t, b in sides of the RoI.

    Returns:
        Tensor: (N, S S, 4) x1, y1, x2, y2 in pixels.
    """
    x, y, width, height = points.unbind(1)
    left, right, top, bottom = reg.unbind(1)
    sides = (
        x - left * width,
        y - top * height,
        x + right * width,
        y + bottom * height,
    )
    return torch.stack(sides, -1).flatten(1, 2)


def box_losses(
    boxes: Tensor,
    gt_bboxes: Tensor,
    iou_floor: float = 0.1,
    eps: float = 1e-6,
    plus_one: bool = False,
) -> Tensor:
    """-log of the IoU of each cell's box, which is raised where it is small.

    Args:
        boxes: (N, M, 4) of M cells.
        gt_bboxes: (N, 4).
        iou_floor: An IoU up to this one is raised by it.
        eps: Smallest IoU.
        plus_one: Corners are inclusive.

    Returns:
        Tensor: (N, M).
    """
    gts = gt_bboxes[:, None].expand_as(boxes)
    if plus_one:
        boxes, gts = move_ends(boxes, 1), move_ends(gts, 1)
    iou = bbox_overlaps(boxes, gts, is_aligned=True).clamp(min=eps)
    return -torch.where(iou > iou_floor, iou, iou + iou_floor).log()


def weigh(losses: Tensor, overlap: Tensor, variant: str) -> Tensor:
    """Mean over all cells of the losses of those on the object.

    Args:
        losses: (N, M) of each cell.
        overlap: (N, M), 0 or 1.
        variant: ``'v2'``; ``'v1'`` is the product of the means, which a
            broadcast in the first official code makes of it.

    Returns:
        Tensor: Scalar; 0 without cells.
    """
    count = max(losses.numel(), 1)
    if variant == 'v1':
        return losses.sum() / count * (overlap.sum() / count)
    return (losses * overlap).sum() / count


def overlap_loss(logits: Tensor, overlap: Tensor) -> Tensor:
    """Mean binary cross entropy of all cells; 0 without cells.

    Args:
        logits: (N, 1, S, S).
        overlap: (N, 1, S, S), 0 or 1.
    """
    total = F.binary_cross_entropy_with_logits(
        logits, overlap, reduction='sum'
    )
    return total / max(logits.numel(), 1)


def jitter(boxes: Tensor, noise: Tensor, img_shape: tuple[int, int]) -> Tensor:
    """Move and resize boxes; the result is a copy inside the image.

    Args:
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        noise: (N, 4) shift of x and y in sides, relative change of width and
            height.
        img_shape: Height and width in pixels.

    Returns:
        Tensor: (N, 4), clipped to the centers of the border pixels.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    center = (boxes[:, :2] + boxes[:, 2:]) / 2 + sides * noise[:, :2]
    half = sides * (1 + noise[:, 2:]) / 2
    return clip(torch.cat((center - half, center + half), 1), img_shape)


def clip(boxes: Tensor, img_shape: tuple[int, int], last: int = 1) -> Tensor:
    """Clip boxes (N, 4) to 0 and the sides of the image minus ``last``."""
    height, width = (side - last for side in img_shape[:2])
    return torch.minimum(
        boxes.clamp(min=0), boxes.new_tensor([width, height, width, height])
    )


def average_boxes(
    boxes: Tensor, reg: Tensor, logits: Tensor, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Mean box of the cells that lie on the object.

    Args:
        boxes: (N, 4) RoIs.
        reg: (N, 4, S, S) l, r, t, b in sides of the RoI.
        logits: (N, 1, S, S), positive on the object.
        eps: Added to the number of cells.

    Returns:
        tuple: (N, 4), zero where there is no such cell, and their number (N,).
    """
    cells = decode(cell_points(boxes, reg.shape[-1]), reg)
    on = (logits.flatten(1) > 0).to(cells)
    count = on.sum(1)
    return (cells * on[..., None]).sum(1) / (count[:, None] + eps), count


def mask_overlap(masks: Tensor, size: int) -> Tensor:
    """Cells on the object by its mask.

    Args:
        masks: (N, 4 S, 4 S) binary.
        size: S, cells per axis.

    Returns:
        Tensor: (N, S, S), 0 or 1.
    """
    small = F.interpolate(
        masks[:, None], (size, size), mode='bilinear', align_corners=False
    )
    return (small[:, 0] > 0.5).to(masks)


def mask_ious(
    logits: Tensor, masks: Tensor, area_ratios: Tensor, threshold: float = 0.5
) -> Tensor:
    """IoU of predicted masks with the whole instances.

    Args:
        logits: (N, H, W) of the class of the ground truth.
        masks: (N, H, W) binary, cropped to the RoI.
        area_ratios: (N,) share of the instance inside the RoI.
        threshold: A logit above it counts as object.

    Returns:
        Tensor: (N,).
    """
    found = (logits > threshold).to(masks)
    inside = (found * masks).sum((1, 2))
    whole = masks.sum((1, 2)) / area_ratios.clamp(min=1e-7)
    union = found.sum((1, 2)) + whole - inside
    return inside / union.clamp(min=1e-7)


def iou_loss(pred: Tensor, targets: Tensor) -> Tensor:
    """Squared error of predicted IoUs, of targets above 0.1 and up to 1.

    Args:
        pred: (N,).
        targets: (N,).

    Returns:
        Tensor: Scalar, the mean over all N.
    """
    counted = (targets > 0.1) & (targets <= 1)
    error = (pred - targets) ** 2
    return (error * counted).sum() / max(len(pred), 1)
