"""Assigner of PBM."""

from collections.abc import Iterator

import torch
from mmdet.models.task_modules.assigners import AssignResult, BaseAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.checks import pick
from ...ops.anchor_match import best_matches
from ...ops.anchor_points import MAX_ELEMENTS, gt_chunks
from .boxes import PairedBoxes, pairs_of
from .functional import iof_of_visible, iou_of_visible, paired_match

_METRICS = dict(iof=iof_of_visible, iou=iou_of_visible)
_HALF = dict.fromkeys(('ignore', 'negative'), True)


@TASK_UTILS.register_module()
class PairedMaxIoUAssigner(BaseAssigner):
    """Positive if both boxes of a pair fit the same ground truth.

    NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Beside
    ``MaxIoUAssigner`` an overlap with a full box counts only if the prior also
    fits the visible box. Priors are pairs in the second stage and anchors,
    the prior of both boxes, in the first. Ground truths are matched in chunks,
    so memory does not grow with them.

    Args:
        pos_iou_thr: Positive from this IoU of the full boxes: alpha, 0.7 in
            the RPN and 0.5 behind.
        neg_iou_thr: Negative below this IoU.
        visible_thr: A visible box fits from this on: beta, 0.7 and 0.5.
        visible_metric: ``'iof'``, the share of the ground truth's visible box
            that is in the prior (RPN), or ``'iou'`` of the visible boxes.
        min_pos_iou: Smallest IoU of a low-quality match.
        match_low_quality: The best priors of a ground truth are positive.
        half_match: What a prior is that fits a full box only: ``'ignore'`` or
            ``'negative'``.
        ignore_iof_thr: Priors with a larger share in an ignored region are
            ignored; -1: none.

    Raises:
        ValueError: An unknown ``visible_metric`` or ``half_match``, a
            threshold outside [0, 1], or ``neg_iou_thr > pos_iou_thr``.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float,
        visible_thr: float,
        visible_metric: str = 'iof',
        min_pos_iou: float = 0.0,
        match_low_quality: bool = False,
        half_match: str = 'ignore',
        ignore_iof_thr: float = -1,
    ) -> None:
        self.visible_overlaps = pick(
            _METRICS, visible_metric, 'visible_metric'
        )
        pick(_HALF, half_match, 'half_match')
        for name, value in (
            ('pos_iou_thr', pos_iou_thr),
            ('neg_iou_thr', neg_iou_thr),
            ('visible_thr', visible_thr),
        ):
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ValueError(f'{name} must be 0 to 1, got {value}')
        if neg_iou_thr > pos_iou_thr:
            raise ValueError(
                f'neg_iou_thr must be at most pos_iou_thr={pos_iou_thr}, got '
                f'{neg_iou_thr}'
            )
        self.visible_thr = visible_thr
        self.ignore_iof_thr = ignore_iof_thr
        self.half_match = half_match
        self.min_claim = min_pos_iou if match_low_quality else None
        self.thresholds = dict(
            pos_iou_thr=pos_iou_thr, neg_iou_thr=neg_iou_thr
        )
        self.max_elements = MAX_ELEMENTS  # of overlaps that exist at a time

    @torch.no_grad()
    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: object,
    ) -> AssignResult:
        """Match N priors of an image with its G ground truths.

        Args:
            pred_instances: ``priors``, (N, 4) or N pairs.
            gt_instances: ``bboxes``, G pairs, or (G, 4) beside
                ``visible_bboxes`` (G, 4); ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` of ignored regions.
            **kwargs: Not used.

        Returns:
            AssignResult: Of N priors; ``max_overlaps`` with full boxes.
        """
        priors = pred_instances.priors
        full = visible = get_box_tensor(priors)
        if isinstance(priors, PairedBoxes):
            full, visible = priors.full, priors.visible
        gts = pairs_of(gt_instances)
        count = len(gts)
        largest = full.new_zeros(len(full))
        if count == 0 or len(full) == 0:
            negative = torch.zeros_like(largest, dtype=torch.long)
            labels = torch.full_like(negative, -1)
            return AssignResult(count, negative, largest, labels)
        ignored = None
        regions = getattr(gt_instances_ignore, 'bboxes', None)
        if self.ignore_iof_thr > 0 and regions is not None and len(regions):
            regions = get_box_tensor(regions)[:, :4]
            shares = bbox_overlaps(full, regions, mode='iof')
            ignored = shares.amax(1) > self.ignore_iof_thr

        def chunks() -> Iterator[tuple[slice, Tensor]]:
            for part in gt_chunks(1, count, len(full), self.max_elements):
                overlaps = bbox_overlaps(gts.full[part], full)
                torch.maximum(largest, overlaps.amax(0), out=largest)
                fit = self.visible_overlaps(visible, gts.visible[part])
                overlaps = overlaps.masked_fill(fit < self.visible_thr, 0)
                if ignored is not None:
                    overlaps = overlaps.masked_fill(ignored, -1)
                yield part, overlaps[None]

        match = best_matches(
            chunks(),
            full.new_full((1, len(full)), -1),
            self.min_claim,
            zero_claims=True,
        )
        gt_inds = paired_match(
            match,
            largest if self.half_match == 'ignore' else match.overlap[0],
            ignored=ignored,
            **self.thresholds,
        )
        labels = gt_instances.labels[(gt_inds - 1).clamp(min=0)]
        labels = labels.to(gt_inds).where(gt_inds > 0, -1)
        return AssignResult(count, gt_inds, largest, labels)
