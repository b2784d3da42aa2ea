"""HAMBox's assigner: IoU matching and online compensation."""

from collections.abc import Sequence

from mmdet.registry import TASK_UTILS

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    check_thresholds,
    need_predictions,
)
from ...ops.anchor_match import max_iou_match
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import compensate, ignored_negatives


@TASK_UTILS.register_module()
class HAMBoxAssigner(BatchAssigner):
    """Matches by IoU, then tops up by the IoU of the regressed boxes.

    HAMBox: Delving into Mining High-Quality Anchors on Face Detection (CVPR
    2020, arXiv 1912.09231). No official code. The first step is that of
    ``MaxIoUAssigner``; the second gives ground truths with fewer than
    ``topk`` anchors the unmatched anchors that regress best to them
    (:func:`~.functional.compensate`). Needs predictions: for
    ``HAMBoxRetinaHead`` and ``HAMBoxRPNHead``.

    Args:
        pos_iou_thr: L, minimum IoU of a match (paper 0.35 for faces).
        neg_iou_thr: IoU below which an anchor is negative; faces: as
            ``pos_iou_thr``, no anchor is ignored by its own IoU. Or (minimum,
            maximum).
        online_iou_thr: T in (0, 1], minimum IoU of a regressed box to
            compensate with.
        topk: K, ground truths with fewer anchors are compensated up to K;
            0 turns compensation off.
        ignore_pred_iou: Negatives whose regressed box has at least this IoU
            with a ground truth are ignored (paper 0.5); above 1 none is.
        ignore_per_class: They are ignored only for the class of the ground
            truth that they overlap most, not for all classes.
        match_low_quality: Each ground truth gets its best anchors whatever
            their IoU, as in mmdet's RetinaNet (paper: no, such faces wait
            for the second step).
        min_pos_iou: Minimum IoU of a low-quality match.
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: A number is out of its range.
    """

    uses_predictions = True

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        online_iou_thr: float = 0.8,
        topk: int = 3,
        ignore_pred_iou: float = 0.5,
        ignore_per_class: bool = False,
        match_low_quality: bool = False,
        min_pos_iou: float = 0.0,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        if not 0 < pos_iou_thr <= 1:
            raise ValueError(
                f'pos_iou_thr must be in (0, 1], got {pos_iou_thr}'
            )
        check_thresholds(pos_iou_thr, neg_iou_thr)
        if not 0 < online_iou_thr <= 1:
            raise ValueError(
                f'online_iou_thr must be in (0, 1], got {online_iou_thr}'
            )
        if topk < 0:
            raise ValueError(f'topk must be at least 0, got {topk}')
        if ignore_pred_iou <= 0:
            raise ValueError(
                f'ignore_pred_iou must be positive, got {ignore_pred_iou}'
            )
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.online_iou_thr = online_iou_thr
        self.topk = topk
        self.ignore_pred_iou = ignore_pred_iou
        self.ignore_per_class = ignore_per_class
        self.low_quality = 'gt' if match_low_quality else None
        self.min_pos_iou = min_pos_iou

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the anchors of B images.

        Args:
            inputs: With ``pred_boxes``.

        Returns:
            Assignment: The matches of the first step, and as ``extra``, each
            (B, P): ``comp_gt`` ground truth of compensated anchors, else -1;
            ``comp_iou`` the IoU F of their regressed box, else 0;
            ``best_pred_iou`` and ``best_pred_gt`` greatest IoU of the
            regressed box and its ground truth; ``ignored`` negatives that
            are left out.

        Raises:
            ValueError: There are no predicted boxes.
        """
        pred_boxes = need_predictions(inputs, type(self).__name__).detach()
        match = max_iou_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            self.pos_iou_thr,
            self.neg_iou_thr,
            self.low_quality,
            self.min_pos_iou,
            inputs.valid,
            self.max_elements,
        )
        found = compensate(
            match.gt,
            pred_boxes,
            inputs.boxes,
            inputs.mask,
            self.online_iou_thr,
            self.topk,
            inputs.valid,
            self.max_elements,
        )
        extra = dict(
            comp_gt=found.gt,
            comp_iou=found.iou,
            best_pred_iou=found.best_iou,
            best_pred_gt=found.best_gt,
            ignored=ignored_negatives(match.gt, found, self.ignore_pred_iou),
        )
        return Assignment(match.gt, match.iou, extra)
