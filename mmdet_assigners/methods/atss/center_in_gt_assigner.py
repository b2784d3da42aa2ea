"""RetinaNet's assigner with the center constraint of the ATSS paper."""

from collections.abc import Sequence

from mmdet.registry import TASK_UTILS

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    check_thresholds,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import MARGIN, OUTSIDE, center_iou_match


@TASK_UTILS.register_module()
class CenterInGTMaxIoUAssigner(BatchAssigner):
    """Matches by highest IoU; the anchor's center must lie in the box.

    The definition of positives 'IoU' of ATSS (CVPR 2020, arXiv 1912.02424),
    "In-GT-Box" of its table 1: RetinaNet's matcher, low-quality matches
    included, then positives whose center is outside of their box are ignored.
    A ground truth may end up with no anchor.

    With ``outside='keep'`` and ``low_quality_own_argmax=False`` it is mmdet's
    ``MaxIoUAssigner(pos_iou_thr, neg_iou_thr, min_pos_iou)``, except that a
    ground truth that overlaps no anchor claims none.

    Args:
        pos_iou_thr: Minimum IoU of a match (paper: 0.5).
        neg_iou_thr: IoU below which an anchor is negative (paper: 0.4), or
            (minimum, maximum).
        outside: Matched anchors whose center is outside: 'ignore' (official),
            'negative' or 'keep' (no constraint).
        low_quality_own_argmax: The best anchors of a ground truth are matched
            whatever their IoU: True, with **their own** best ground truth
            (official); False, with the ground truth whose best they are
            (mmdet).
        min_pos_iou: Minimum IoU of such a match.
        margin: Minimum distance in pixels of the center to the sides of the
            box (official: 0.01).
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: A threshold is out of range or ``outside`` unknown.
    """

    def __init__(
        self,
        pos_iou_thr: float = 0.5,
        neg_iou_thr: float | Sequence[float] = 0.4,
        outside: str = 'ignore',
        low_quality_own_argmax: bool = True,
        min_pos_iou: float = 0.0,
        margin: float = MARGIN,
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
        if outside not in OUTSIDE:
            raise ValueError(
                f'outside must be one of {OUTSIDE}, got {outside!r}'
            )
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.outside = outside
        self.low_quality = 'own' if low_quality_own_argmax else 'gt'
        self.min_pos_iou = min_pos_iou
        self.margin = margin

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors and ground truths.

        Returns:
            Assignment: ``iou`` is the highest of each prior.
        """
        claims = center_iou_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            self.pos_iou_thr,
            self.neg_iou_thr,
            self.low_quality,
            self.outside,
            self.margin,
            self.min_pos_iou,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(claims.gt, claims.iou)
