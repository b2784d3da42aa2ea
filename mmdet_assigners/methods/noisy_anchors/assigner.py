"""Assigner of Noisy Anchors."""

from mmdet.registry import TASK_UTILS

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import topn_match


@TASK_UTILS.register_module()
class TopNIoUAssigner(BatchAssigner):
    """The N anchors of highest IoU of each ground truth are positive.

    Learning from Noisy Anchors for One-stage Object Detection, CVPR 2020,
    arXiv 1912.05086. No IoU thresholds and no ignored zone. A positive
    belongs to the ground truth of its highest IoU, even if another one lists
    it. ``Assignment.extra['lists']`` says how many ground truths list an
    anchor (in mmdet's heads an extra property of the result).

    Args:
        topn: Number N of anchors; 30 in the released configs.
        min_iou: Minimum IoU of a positive. With 0, as official, a ground truth
            that overlaps fewer than N anchors also lists anchors far away,
            which belong to the first ground truth of the image.
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: ``topn`` is less than 1 or ``min_iou`` not in [0, 1].
    """

    def __init__(
        self,
        topn: int = 30,
        min_iou: float = 0.0,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        if topn < 1:
            raise ValueError(f'topn must be at least 1, got {topn}')
        if not 0 <= min_iou <= 1:
            raise ValueError(f'min_iou must be in [0, 1], got {min_iou}')
        self.topn = topn
        self.min_iou = min_iou

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors (P, 4) and ground truths; predictions aren't used.

        Returns:
            Assignment: With ``lists`` (B, P) int64 in ``extra``.
        """
        match = topn_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            self.topn,
            self.min_iou,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(match.gt, match.iou, dict(lists=match.lists))
