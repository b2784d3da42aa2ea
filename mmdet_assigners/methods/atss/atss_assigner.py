"""Batched ATSS."""

from mmdet.registry import TASK_UTILS

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    need_levels,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import MARGIN, atss_match


@TASK_UTILS.register_module()
class BatchATSSAssigner(BatchAssigner):
    """Adaptive training sample selection (ATSS).

    Bridging the Gap Between Anchor-based and Anchor-free Detection via
    Adaptive Training Sample Selection, CVPR 2020, arXiv 1912.02424,
    algorithm 1. The rule is that of mmdet's ``ATSSAssigner``, and in mmdet's
    heads so is the result; heads of this package call it once per batch.

    Differences from mmdet: with several anchors per location ``topk`` counts
    locations, as in the official code (mmdet's heads don't say how many
    there are: multiply ``topk`` there); a ground truth with one candidate in
    all has a standard deviation of 0, not NaN, and so can be matched; an
    ignored anchor is no candidate, even where a level has too few others; no
    cost of predictions.

    Args:
        topk: Nearest locations of each level that are candidates (paper: 9).
        topk_per_location: False: ``topk`` counts anchors, as in mmdet.
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
        topk_per_location: bool = True,
        margin: float = MARGIN,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        if topk < 1:
            raise ValueError(f'topk must be at least 1, got {topk}')
        self.topk = topk
        self.topk_per_location = topk_per_location
        self.margin = margin

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: With ``level_sizes``.

        Returns:
            Assignment: ``iou`` is 0 but for positives.

        Raises:
            ValueError: There are no level sizes.
        """
        topk = self.topk
        if self.topk_per_location:
            topk *= inputs.anchors_per_location
        claims = atss_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            need_levels(inputs, type(self).__name__),
            topk,
            self.margin,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(claims.gt, claims.iou)
