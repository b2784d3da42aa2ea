"""FSAF's anchor-free branch: levels, targets and losses.

Feature Selective Anchor-Free Module for Single-Shot Object Detection, Zhu, He,
Savvides, CVPR 2019, arXiv 1903.00621. No official code was released. Names of
dimensions: B images, G ground truths (padded), L levels, P points of all
levels, C classes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ...ops.anchor_match import gather_gts
from ...ops.anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    Inside,
    assign_smallest_area,
    box_distances,
    distance_iou,
    gt_chunks,
)
from ...ops.level_losses import focal_terms, level_losses, shrink_boxes

EMPTY_LEVEL_LOSS = 1e6
"""Loss of a level on which a ground truth has no point."""

MIN_OVERLAP = 0.01
"""Part of a cell that must lie inside a region (rule 'cell_overlap')."""

LEVEL_SELECT = ('online', 'heuristic')
REGION_RULES = ('cell_overlap', 'point')
UNSELECTED = ('negative', 'ignore')

_UNION_EPS = 1e-12


@dataclass(frozen=True)
class FSAFRules:
    """Rules of level selection and assignment.

    Attributes:
        effective_scale: Factor of the effective box, whose points are
            positive; 0.2 in the paper.
        ignore_scale: Factor of the ignoring box; 0.5 in the paper.
        ignore_adjacent_levels: Ignore the ignoring box also on the levels
            next to the selected one, as the paper does.
        unselected: What the ground truth's boxes are on the other levels:
            'negative' (paper), or 'ignore' (mmdet): ignored on all levels,
            and of several ground truths the smallest owns a point *before*
            levels are selected, from the losses of the points it owns.
        level_select: 'online', the level with the smallest loss, or
            'heuristic', by size (the paper's ablation).
        region_rule: 'cell_overlap' (mmdet): more than 1 % of the point's
            cell, a square of one stride around it, lies in the box and for
            positives the point lies inside the ground truth; 'point': the
            point lies inside the box.
        normalizer: Distances are in units of this times the stride; the S =
            4.0 of the paper.
        min_iou: Smaller IoU counts as this in -log IoU.

    Raises:
        ValueError: A value is out of its range.
    """

    effective_scale: float = 0.2
    ignore_scale: float = 0.5
    ignore_adjacent_levels: bool = True
    unselected: str = 'negative'
    level_select: str = 'online'
    region_rule: str = 'cell_overlap'
    normalizer: float = 4.0
    min_iou: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 < self.effective_scale <= 1:
            raise ValueError(
                f'effective_scale must be in (0, 1], got '
                f'{self.effective_scale}'
            )
        if not self.effective_scale <= self.ignore_scale <= 1:
            raise ValueError(
                'ignore_scale must be in [effective_scale, 1] = '
                f'[{self.effective_scale}, 1], got {self.ignore_scale}'
            )
        for name, values in (
            ('unselected', UNSELECTED),
            ('level_select', LEVEL_SELECT),
            ('region_rule', REGION_RULES),
        ):
            if getattr(self, name) not in values:
                raise ValueError(
                    f'{name} must be one of {", ".join(values)}, got '
                    f'{getattr(self, name)!r}'
                )
        for name in ('normalizer', 'min_iou'):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f'{name} must be positive, got {getattr(self, name)}'
                )


class FSAFTargets(NamedTuple):
    """Targets of each point.

    Attributes:
        assigned: (B, P) int64 index of the ground truth, -1 not positive.
        positive: (B, P) bool.
        labels: (B, P) int64 class of the ground truth, 0 if not positive.
        cls_weight: (B, P, C) weight of each class; 0 ignored, else 1.
        distances: (B, P, 4) l, t, r, b in units of normalizer * stride, 0 if
            not positive.
        level: (B, G) int64 selected level.
    """

    assigned: Tensor
    positive: Tensor
    labels: Tensor
    cls_weight: Tensor
    distances: Tensor
    level: Tensor


def effective_points(
    points: AnchorPoints, boxes: Tensor, rules: FSAFRules
) -> Inside:
    """Membership in the effective boxes, on all levels.

    Args:
        points: P points.
        boxes: (B, G, 4) xyxy pixels.
        rules: Scale and rule.

    Returns:
        Callable: Slice of G -> (B, slice, P) bool.
    """
    shrunk = shrink_boxes(boxes, rules.effective_scale)

    def inside(part: slice) -> Tensor:
        if rules.region_rule == 'point':
            return _strictly_inside(points.xy, shrunk[:, part, None])
        overlap = _cell_overlap(points, shrunk[:, part, None])
        center = _strictly_inside(points.xy, boxes[:, part, None])
        return (overlap > MIN_OVERLAP) & center

    return inside


def ignoring_points(
    points: AnchorPoints, boxes: Tensor, rules: FSAFRules
) -> Inside:
    """Membership in the ignoring boxes (they contain the effective ones).

    Args:
        points: P points.
        boxes: (B, G, 4) xyxy pixels.
        rules: Scale and rule.

    Returns:
        Callable: Slice of G -> (B, slice, P) bool.
    """
    shrunk = shrink_boxes(boxes, rules.ignore_scale)

    def inside(part: slice) -> Tensor:
        if rules.region_rule == 'point':
            return _strictly_inside(points.xy, shrunk[:, part, None])
        return _cell_overlap(points, shrunk[:, part, None]) > MIN_OVERLAP

    return inside


def _strictly_inside(xy: Tensor, boxes: Tensor) -> Tensor:
    return box_distances(xy, boxes).amin(-1) > 0


def _cell_overlap(points: AnchorPoints, boxes: Tensor) -> Tensor:
    """Part of each point's cell that lies inside the boxes."""
    half = (points.stride / 2)[:, None]
    low = torch.maximum(points.xy - half, boxes[..., :2])
    high = torch.minimum(points.xy + half, boxes[..., 2:])
    return (high - low).clamp(min=0).prod(-1) / points.stride**2


def heuristic_levels(boxes: Tensor, strides: Tensor) -> Tensor:
    """The level by size: floor(5 + log2(sqrt(w h) / 224)), clamped.

    Args:
        boxes: (..., 4) xyxy pixels.
        strides: (L,) pixels, powers of two; level l has stride 2^l.

    Returns:
        Tensor: (...) int64 in [0, L), 0 for the finest.
    """
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    level = (5 + (sides.prod(-1).sqrt() / 224).log2()).floor()
    # clamped before the cast: without area the level is minus infinity
    return (level - strides[0].log2()).clamp(0, len(strides) - 1).long()


@torch.no_grad()
def fsaf_level_losses(
    points: AnchorPoints,
    boxes: Tensor,
    labels: Tensor,
    cls_pred: Tensor,
    reg_pred: Tensor,
    rules: FSAFRules,
    alpha: float = 0.25,
    gamma: float = 2.0,
    regions: Inside | None = None,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Loss of each ground truth on each level, for the online selection.

    Mean over the points of its effective box of the focal loss, summed over
    classes, plus mean of -log IoU.

    Args:
        points: P points of L levels.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        cls_pred: (B, P, C) logits.
        reg_pred: (B, P, 4) l, t, r, b in units of normalizer * stride.
        rules: The rules.
        alpha: Focal alpha; 0.25 in the paper.
        gamma: Focal gamma; 2 in the paper.
        regions: Membership instead of that in the effective boxes.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, G, L); 1e6 on levels without a point.
    """
    return level_losses(
        points,
        boxes,
        labels,
        regions or effective_points(points, boxes, rules),
        cls_pred,
        reg_pred,
        rules.normalizer,
        alpha,
        gamma,
        iou_eps=_UNION_EPS,
        max_elements=max_elements,
        min_iou=rules.min_iou,
        empty=EMPTY_LEVEL_LOSS,
    )


@torch.no_grad()
def fsaf_targets(
    points: AnchorPoints,
    boxes: Tensor,
    labels: Tensor,
    mask: Tensor,
    cls_pred: Tensor,
    reg_pred: Tensor,
    rules: FSAFRules,
    alpha: float = 0.25,
    gamma: float = 2.0,
    max_elements: int = MAX_ELEMENTS,
) -> FSAFTargets:
    """Select a level for each ground truth and assign the points.

    1. The level of each ground truth is that with the smallest loss (ties go
       to the finest), or the heuristic one.
    2. Points of its effective box there are positive; of several ground
       truths the one with the smallest area wins; ties go to the first.
    3. Its class is ignored in its ignoring box there and, whole, on the
       adjacent levels; a point that is positive for the class stays so.
    4. Everything else is a negative.

    Args:
        points: P points of L levels.
        boxes: (B, G, 4) xyxy pixels.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        cls_pred: (B, P, C) logits.
        reg_pred: (B, P, 4) l, t, r, b in units of normalizer * stride.
        rules: The rules, see :class:`FSAFRules` for variants.
        alpha: Focal alpha.
        gamma: Focal gamma.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        FSAFTargets: Per point.
    """
    num_levels = len(points.strides)
    everywhere = mask[..., None].expand(-1, -1, num_levels)
    core = effective_points(points, boxes, rules)
    regions = core
    # mmdet's variant: the smallest ground truth owns a point beforehand
    owner = None
    if rules.unselected == 'ignore':
        owner = assign_smallest_area(
            points, boxes, core, everywhere, max_elements=max_elements
        )
        index = torch.arange(boxes.shape[1], device=boxes.device)

        def regions(part: slice) -> Tensor:
            return owner[:, None] == index[part, None]

    # step 1: level of each ground truth
    if rules.level_select == 'heuristic':
        level = heuristic_levels(boxes, points.strides)
    else:
        level = fsaf_level_losses(
            points,
            boxes,
            labels,
            cls_pred,
            reg_pred,
            rules,
            alpha,
            gamma,
            regions,
            max_elements,
        ).argmin(-1)
    # step 2: points of the effective boxes on the selected level
    steps = torch.arange(num_levels, device=level.device) - level[..., None]
    selected = everywhere & (steps == 0)
    if owner is None:
        reach = 1 if rules.ignore_adjacent_levels else 0
        near = everywhere & (steps.abs() <= reach)
        assigned = assign_smallest_area(
            points, boxes, core, selected, max_elements=max_elements
        )
    else:
        near = everywhere
        trained = gather_gts(level, owner) == points.level
        assigned = owner.where(trained, -1)
    positive = assigned >= 0
    labels_of = gather_gts(labels, assigned) * positive
    # step 3: classes ignored at each point, by any ground truth
    ignoring = ignoring_points(points, boxes, rules)
    ignored = cls_pred.new_zeros(cls_pred.transpose(1, 2).shape)
    batch, num_gts = labels.shape
    for part in gt_chunks(batch, num_gts, len(points.xy), max_elements):
        hit = ignoring(part) | core(part)
        hit = hit & near[:, part, points.level]
        ignored.scatter_reduce_(
            1,
            labels[:, part, None].expand_as(hit),
            hit.to(ignored),
            'amax',
        )
    # a positive keeps the weight 1 for its own class
    weight = 1 - ignored.transpose(1, 2)
    own = weight.gather(2, labels_of[..., None])
    own = own.where(~positive[..., None], 1)
    weight = weight.scatter(2, labels_of[..., None], own)
    # regression targets in units of the level
    distances = box_distances(points.xy, gather_gts(boxes, assigned))
    unit = (rules.normalizer * points.stride)[:, None]
    return FSAFTargets(
        assigned=assigned,
        positive=positive,
        labels=labels_of,
        cls_weight=weight,
        distances=distances.clamp(min=0) / unit * positive[..., None],
        level=level,
    )


def fsaf_losses(
    cls_pred: Tensor,
    reg_pred: Tensor,
    targets: FSAFTargets,
    alpha: float = 0.25,
    gamma: float = 2.0,
    min_iou: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the losses and number of positives.

    Args:
        cls_pred: (B, P, C) logits.
        reg_pred: (B, P, 4) l, t, r, b in units of normalizer * stride.
        targets: Targets.
        alpha: Focal alpha.
        gamma: Focal gamma.
        min_iou: Smaller IoU counts as this.

    Returns:
        tuple: Scalars: focal loss of all entries that aren't ignored, -log
        IoU of the positives, number of positives. Both losses are to be
        divided by the last, at least 1.
    """
    options = (alpha, gamma)
    background = focal_terms(cls_pred, False, *options) * targets.cls_weight
    own = cls_pred.gather(-1, targets.labels[..., None]).squeeze(-1)
    swap = focal_terms(own, True, *options) - focal_terms(own, False, *options)
    cls = background.sum() + (swap * targets.positive).sum()
    iou = distance_iou(reg_pred, targets.distances, _UNION_EPS)
    box = -iou.clamp(min=min_iou).log()
    # `where`, so that no gradient passes where the target is undefined
    box = box.where(targets.positive, 0).sum()
    return cls, box, targets.positive.sum().to(cls)
