"""The assignment of AlignDet, as in its official code."""

from collections.abc import Sequence

from mmdet.registry import TASK_UTILS

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    check_thresholds,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import official_match


@TASK_UTILS.register_module()
class AlignDetAssigner(BatchAssigner):
    """IoU thresholds where class and box can come from two ground truths.

    The rule of SimpleDet's RetinaNet, which AlignDet uses in both stages: a
    box that is the best of several ground truths learns the class of the last
    one but the box of the one that it overlaps most. ``BatchMaxIoUAssigner``
    is mmdet's rule, with one ground truth for both.

    Paper: Revisiting Feature Alignment for One-stage Object Detection, arXiv
    1908.01570. ``iou_plus_one=True`` goes with its inclusive corners.

    ``Assignment.gt`` is the ground truth of the box, ``extra['label_gt']``
    that of the class, which ``AlignDetHead`` reads.

    Args:
        pos_iou_thr: Minimum IoU of a positive; 0.4 in the first stage, 0.7 in
            the second.
        neg_iou_thr: IoU below which a box is negative; 0.3, then 0.7; or
            (minimum, maximum).
        min_pos_iou: Minimum IoU of the best box of a ground truth; with 0 one
            that overlaps nothing takes all boxes, as in the official code.
        iou_plus_one: IoU of inclusive pixels.
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
        iou_plus_one: bool = False,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        check_thresholds(pos_iou_thr, neg_iou_thr)
        if not 0 <= min_pos_iou <= 1:
            raise ValueError(
                f'min_pos_iou must be in [0, 1], got {min_pos_iou}'
            )
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.min_pos_iou = min_pos_iou
        self.iou_plus_one = iou_plus_one

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors and ground truths; predictions aren't used.

        Returns:
            Assignment: Ground truth of the box and best IoU of each prior,
            ``label_gt`` in ``extra``.
        """
        match = official_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            self.pos_iou_thr,
            self.neg_iou_thr,
            self.min_pos_iou,
            self.iou_plus_one,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(
            match.box_gt, match.iou, dict(label_gt=match.label_gt)
        )
