"""mmdet's ``MaxIoUAssigner``, batched."""

from collections.abc import Sequence

import torch
from mmdet.registry import TASK_UTILS

from ....ops.anchor_match import max_iou_match
from ....ops.anchor_points import MAX_ELEMENTS
from ._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    check_thresholds,
)


@TASK_UTILS.register_module()
class BatchMaxIoUAssigner(BatchAssigner):
    """``MaxIoUAssigner`` without loops over images or synchronization.

    Differs from mmdet's in one point: an object that overlaps no prior
    matches none; with ``min_pos_iou=0`` mmdet gives it all priors that
    overlap nothing.

    Args:
        pos_iou_thr: Minimum IoU of a positive.
        neg_iou_thr: IoU below which a prior is negative; from here to
            ``pos_iou_thr`` it is ignored. (minimum, maximum): below the
            minimum it is ignored, too.
        min_pos_iou: Minimum IoU of a low-quality match.
        low_quality: The priors with the best IoU of some object are positive
            whatever that IoU is. 'gt', as in mmdet: assigned to that object;
            'own', as in maskrcnn-benchmark: to the object of their own best
            IoU; None: no such matches.
        legacy_plus_one: Corners are inclusive, sides are ``x2 - x1 + 1``, and
            IoUs are computed in float64, as in older code.
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        low_quality: str | None = 'gt',
        max_elements: int = MAX_ELEMENTS,
        legacy_plus_one: bool = False,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        check_thresholds(pos_iou_thr, neg_iou_thr)
        if low_quality not in (None, 'gt', 'own'):
            raise ValueError(
                f"low_quality must be 'gt', 'own' or None, got {low_quality!r}"
            )
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.min_pos_iou = min_pos_iou
        self.low_quality = low_quality
        self.legacy_plus_one = legacy_plus_one

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors (P, 4) and ground truths; predictions aren't used.

        Returns:
            Assignment: Ground truth and best IoU of each prior.
        """
        priors, boxes = inputs.priors, inputs.boxes
        if self.legacy_plus_one:
            shift = priors.new_tensor([0, 0, 1, 1], dtype=torch.float64)
            priors, boxes = priors + shift, boxes + shift
        match = max_iou_match(
            priors,
            boxes,
            inputs.mask,
            self.pos_iou_thr,
            self.neg_iou_thr,
            self.low_quality,
            self.min_pos_iou,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(match.gt, match.iou.to(inputs.boxes))
