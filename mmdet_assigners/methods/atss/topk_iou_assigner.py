"""The definition of positives TOPK of the official ATSS code."""

from mmdet.registry import TASK_UTILS

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import MARGIN, topk_match


@TASK_UTILS.register_module()
class TopkIoUAssigner(BatchAssigner):
    """The k anchors of highest IoU whose center lies in the box.

    'TOPK' of the official code of ATSS (CVPR 2020, arXiv 1912.02424); the
    paper has no number for it. See
    :func:`~.functional.topk_match`. Other anchors are negative, none is
    ignored. Unlike ``TopNIoUAssigner`` (Noisy Anchors) an anchor
    belongs to a ground truth that lists it.

    Args:
        topk: Number k of anchors per ground truth (official: 9).
        margin: Minimum distance in pixels of an anchor's center to the sides
            of its box (official: 0.01).
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: ``topk`` is less than 1.
    """

    def __init__(
        self,
        topk: int = 9,
        margin: float = MARGIN,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        if topk < 1:
            raise ValueError(f'topk must be at least 1, got {topk}')
        self.topk = topk
        self.margin = margin

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors and ground truths.

        Returns:
            Assignment: ``iou`` is 0 but for positives.
        """
        claims = topk_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            self.topk,
            self.margin,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(claims.gt, claims.iou)
