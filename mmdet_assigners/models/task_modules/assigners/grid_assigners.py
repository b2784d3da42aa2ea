"""Batched assigners of YOLOv3."""

from collections.abc import Sequence

from mmdet.registry import TASK_UTILS

from ....ops.anchor_match import IGNORED, iou_bounds
from ....ops.anchor_points import MAX_ELEMENTS
from ....ops.yolo_match import (
    YOLOGrid,
    darknet_match,
    grid_match,
    grid_of_priors,
)
from ._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    need_levels,
    need_predictions,
)


def _grid(inputs: AssignInputs, name: str) -> YOLOGrid:
    sizes = need_levels(inputs, name)
    return grid_of_priors(inputs.priors, sizes, inputs.anchors_per_location)


@TASK_UTILS.register_module()
class BatchGridAssigner(BatchAssigner):
    """mmdet's ``GridAssigner``, batched, without synchronization.

    The same assignment (tested), by
    :func:`~mmdet_assigners.ops.yolo_match.grid_match`; the cells come from
    the priors, so the caller passes no ``responsible_flags``. A
    ground truth whose center lies outside the grid has no cell of its own
    (mmdet: an error, or a wrong cell).

    Args:
        pos_iou_thr: IoU above which an anchor of a responsible cell is
            positive; 0.5 in mmdet's YOLOv3.
        neg_iou_thr: IoU up to which an anchor is negative; 0.5; of a pair of
            numbers above the first.
        min_pos_iou: Minimum IoU of the best anchor of a ground truth; 0.
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: A threshold is not in [0, 1].
    """

    def __init__(
        self,
        pos_iou_thr: float = 0.5,
        neg_iou_thr: float | Sequence[float] = 0.5,
        min_pos_iou: float = 0.0,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.min_pos_iou = min_pos_iou
        for name, values in (
            ('pos_iou_thr', (pos_iou_thr,)),
            ('neg_iou_thr', iou_bounds(neg_iou_thr)),
            ('min_pos_iou', (min_pos_iou,)),
        ):
            for value in values:
                if not 0 <= value <= 1:
                    raise ValueError(f'{name} must be in [0, 1], got {value}')

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors of ``YOLOAnchorGenerator``, with level sizes and
                anchors per location, and ground truths.

        Returns:
            Assignment: Priors that are not valid are ignored.

        Raises:
            ValueError: The level sizes are missing.
        """
        gt, iou = grid_match(
            _grid(inputs, type(self).__name__),
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            self.pos_iou_thr,
            self.neg_iou_thr,
            self.min_pos_iou,
            self.max_elements,
            inputs.valid,
        )
        return Assignment(gt, iou)


@TASK_UTILS.register_module()
class DarknetGridAssigner(BatchAssigner):
    """The assignment of Darknet's YOLOv3 and of Gaussian YOLOv3.

    One positive per ground truth: in the cell of its center, the anchor among
    those of all levels whose shape fits best. Objectness is not trained where
    the **predicted** box overlaps a ground truth by more than
    ``ignore_iou_thr``. mmdet's ``GridAssigner`` differs in all three: it
    compares anchors at their place, takes further positives of IoU above 0.5,
    and ignores by the IoU of anchors. Rule in
    :func:`~mmdet_assigners.ops.yolo_match.darknet_match`.

    ``Assignment.extra['class_targets']`` (B, P, C) has the classes of all
    ground truths that share a prior.

    Args:
        ignore_iou_thr: 0.5 in both released configs of Gaussian YOLOv3.
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: ``ignore_iou_thr`` is not in [0, 1].
    """

    uses_predictions = True

    def __init__(
        self,
        ignore_iou_thr: float = 0.5,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        if not 0 <= ignore_iou_thr <= 1:
            raise ValueError(
                f'ignore_iou_thr must be in [0, 1], got {ignore_iou_thr}'
            )
        self.ignore_iou_thr = ignore_iou_thr

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: Priors of ``YOLOAnchorGenerator``, with level sizes and
                anchors per location, ground truths and predictions.

        Returns:
            Assignment: With ``class_targets`` in ``extra``. Priors that are
            not valid are ignored.

        Raises:
            ValueError: Level sizes or predictions are missing.
        """
        name = type(self).__name__
        pred_boxes = need_predictions(inputs, name)
        if inputs.pred_scores is None:
            raise ValueError(
                f'{name} needs the class logits (pred_instances.scores), '
                'got none'
            )
        match = darknet_match(
            _grid(inputs, name),
            inputs.boxes,
            inputs.labels,
            inputs.mask,
            pred_boxes,
            self.ignore_iou_thr,
            inputs.pred_scores.shape[-1],
            self.max_elements,
        )
        gt = match.gt
        if inputs.valid is not None:
            gt = gt.masked_fill(~inputs.valid, IGNORED)
        return Assignment(
            gt, match.iou, dict(class_targets=match.class_targets)
        )
