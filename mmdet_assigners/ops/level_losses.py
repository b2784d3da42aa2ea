"""Losses of ground truths by pyramid level, the rule of FSAF and SAPD.

For point methods that choose levels by loss. Names of dimensions:
B images, G ground truths (padded), L levels, P points, C classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    Inside,
    box_distances,
    distance_iou,
    gt_chunks,
    members,
)

EMPTY_LEVEL_LOSS = 1e7
"""Loss of a level on which a ground truth has no point."""


def shrink_boxes(boxes: Tensor, eps: float) -> Tensor:
    """Same center, sides times ``eps``; (..., 4) xyxy pixels."""
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = (boxes[..., 2:] - boxes[..., :2]) * (eps / 2)
    return torch.cat((center - half, center + half), -1)


def focal_terms(
    pred: Tensor,
    positive: bool,
    alpha: float = 0.25,
    gamma: float = 2.0,
    activated: bool = False,
) -> Tensor:
    """Focal loss of each score against a constant target.

    Args:
        pred: (...) logits, or probabilities if ``activated``.
        positive: The target, 1 or 0.
        alpha: Weight of target 1; 1 - alpha for target 0.
        gamma: Focusing exponent.
        activated: Scores are probabilities; they are clipped at 1e-7 and
            the logarithm adds 1e-7, as Keras does for the re-implementation.

    Returns:
        Tensor: (...) loss.
    """
    if activated:
        prob = pred.clamp(1e-7, 1 - 1e-7)
        wrong = 1 - pred if positive else pred
        cross_entropy = -torch.log((prob if positive else 1 - prob) + 1e-7)
    else:
        # the probability of the wrong answer: sigmoid of the flipped logit
        logit = -pred if positive else pred
        wrong, cross_entropy = logit.sigmoid(), F.softplus(logit)
    weight = alpha if positive else 1 - alpha
    return weight * wrong.pow(gamma) * cross_entropy


def point_cls_losses(
    cls_pred: Tensor,
    labels: Tensor,
    positive: Tensor,
    alpha: float,
    gamma: float,
    activated: bool = False,
) -> Tensor:
    """Focal loss of each point, summed over its C classes.

    Args:
        cls_pred: (B, P, C) logits or probabilities.
        labels: (B, P) int64 class in [0, C).
        positive: (B, P) bool; elsewhere all classes have target 0.
        alpha: See :func:`focal_terms`.
        gamma: See :func:`focal_terms`.
        activated: See :func:`focal_terms`.

    Returns:
        Tensor: (B, P).
    """
    options = (alpha, gamma, activated)
    background = focal_terms(cls_pred, False, *options).sum(-1)
    own = cls_pred.gather(-1, labels[..., None]).squeeze(-1)
    swap = focal_terms(own, True, *options) - focal_terms(own, False, *options)
    return background + swap * positive


@torch.no_grad()
def level_losses(
    points: AnchorPoints,
    boxes: Tensor,
    labels: Tensor,
    regions: Tensor | Inside,
    cls_pred: Tensor,
    reg_pred: Tensor,
    z: float = 4.0,
    alpha: float = 0.25,
    gamma: float = 2.0,
    activated: bool = False,
    iou_eps: float = 1e-7,
    max_elements: int = MAX_ELEMENTS,
    min_iou: float = 0.0,
    empty: float = EMPTY_LEVEL_LOSS,
) -> Tensor:
    """Loss of each ground truth on each level (the rule of FSAF).

    The mean over the points of the ground truth's region on the level of
    focal loss, summed over classes, plus the mean of -log IoU; weights of
    points don't enter.

    Args:
        points: P points of L levels.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        regions: (B, G, 1 or L, 4), or a function that gives the membership
            (B, part, P) of a slice of the ground truths.
        cls_pred: (B, P, C) logits, or probabilities if ``activated``.
        reg_pred: (B, P, 4) l, t, r, b in units of z * stride, at least 0.
        z: Normalizer of distances in strides.
        alpha: Focal alpha.
        gamma: Focal gamma.
        activated: See :func:`focal_terms`.
        iou_eps: Added to intersection and union, in units of (z * stride)^2.
        max_elements: Bound on the size of the (B, G, P) tensors.
        min_iou: Smaller IoU counts as this.
        empty: Loss of a level without a point of the ground truth.

    Returns:
        Tensor: (B, G, L); ``empty`` on levels without a point of the ground
        truth.
    """
    batch, num_gts = labels.shape
    options = (alpha, gamma, activated)
    background = focal_terms(cls_pred, False, *options).sum(-1)[:, None]
    by_class = cls_pred.transpose(1, 2)
    index = torch.arange(len(points.strides), device=points.level.device)
    on_level = (points.level[:, None] == index).to(reg_pred)
    unit = (z * points.stride)[:, None]
    parts = []
    for part in gt_chunks(batch, num_gts, len(points.xy), max_elements):
        # classification: all classes background, then swap in the true one
        own_class = labels[:, part, None].expand(-1, -1, len(points.xy))
        own = by_class.gather(1, own_class)
        loss = background + focal_terms(own, True, *options)
        loss = loss - focal_terms(own, False, *options)
        # regression: -log IoU of the distances
        target = box_distances(points.xy, boxes[:, part, None]).clamp(min=0)
        iou = distance_iou(reg_pred[:, None], target / unit, iou_eps)
        loss = loss - iou.clamp(min=min_iou).log()
        # mean over the points of the region, per level
        inside = members(points, regions, part).to(loss)
        count = inside @ on_level
        mean = (loss * inside) @ on_level / count.clamp(min=1)
        parts.append(mean.where(count > 0, empty))
    return torch.cat(parts, 1)
