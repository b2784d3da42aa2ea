"""mmdet's IoU assigners in memory that doesn't grow with the objects."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmdet.models.task_modules.assigners import (
    ApproxMaxIoUAssigner,
    AssignResult,
    BboxOverlaps2D,
    MaxIoUAssigner,
)
from mmdet.models.task_modules.assigners.max_iou_assigner import (
    perm_repeat_bboxes,
)
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from ....ops.anchor_match import best_matches, pairwise_iou
from ....ops.anchor_points import MAX_ELEMENTS, gt_chunks

_UNION = 1e-6  # mmdet's smallest union of two boxes


@TASK_UTILS.register_module()
class BoundedMaxIoUAssigner(MaxIoUAssigner):
    """``MaxIoUAssigner`` with the same results in bounded memory.

    mmdet computes the overlaps of all ground truths with all priors, several
    tensors of that size, and loops over the ground truths. Here each chunk of
    ground truths updates the best match of every prior; it has no loop and no
    synchronization. To use it, change the ``type`` of the assigner.

    Args:
        *args: Arguments of ``MaxIoUAssigner``; ``gpu_assign_thr`` has no
            effect.
        max_elements: Bound on the number of overlaps that exist at a time.
        **kwargs: Arguments of ``MaxIoUAssigner``.

    Raises:
        ValueError: ``max_elements`` is not positive.
    """

    def __init__(
        self, *args: Any, max_elements: int = MAX_ELEMENTS, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if max_elements < 1:
            raise ValueError(
                f'max_elements must be at least 1, got {max_elements}'
            )
        self.max_elements = max_elements

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: object,
    ) -> AssignResult:
        """Assign the priors of one image.

        Args:
            pred_instances: ``priors`` (P, 4) in pixels.
            gt_instances: ``bboxes`` (G, 4) in pixels and ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` (R, 4) of ignored regions.
            **kwargs: Not used.

        Returns:
            AssignResult: ``gt_inds`` (P,) with 0 negative, -1 ignored, n + 1
            for ground truth n; ``max_overlaps`` and ``labels`` (P,).
        """
        priors = get_box_tensor(pred_instances.priors)[..., :4]
        boxes = get_box_tensor(gt_instances.bboxes)
        if self.perm_repeat_gt_cfg is not None and len(priors):
            boxes = perm_repeat_bboxes(
                boxes, self.iou_calculator, self.perm_repeat_gt_cfg
            )
        return self._assign(
            lambda part: self._overlaps(boxes[part], priors),
            len(priors),
            priors,
            gt_instances,
            gt_instances_ignore,
        )

    def _overlaps(self, boxes: Tensor, priors: Tensor) -> Tensor:
        """IoU (G, P) by ``iou_calculator``, by a faster one if it is plain."""
        calculator = self.iou_calculator
        if type(calculator) is BboxOverlaps2D and calculator.dtype is None:
            return pairwise_iou(boxes[None], priors, min_union=_UNION)[0]
        return calculator(boxes, priors)

    def _assign(
        self,
        overlaps: Callable[[slice], Tensor],
        width: int,
        priors: Tensor,
        gts: InstanceData,
        regions: InstanceData | None,
    ) -> AssignResult:
        """Assign P priors.

        Args:
            overlaps: Overlaps (part, P) of a part of the ground truths.
            width: Number of overlaps that this computes of each.
            priors: (P, 4) in pixels, for the ignored regions.
            gts: G ground truths.
            regions: ``bboxes`` of ignored regions.
        """
        count = len(gts)
        if count == 0 or len(priors) == 0:
            none = priors.new_zeros(count, len(priors))
            return self.assign_wrt_overlaps(none, gts.labels)
        ignored = self._ignored(priors, regions)

        def chunks() -> Iterator[tuple[slice, Tensor]]:
            for part in gt_chunks(1, count, width, self.max_elements):
                chunk = overlaps(part)[None]
                if ignored is not None:
                    chunk = chunk.masked_fill(ignored, -1)
                yield part, chunk

        match = best_matches(
            chunks(),
            priors.new_full((1, len(priors)), -1),
            self.min_pos_iou if self.match_low_quality else None,
            zero_claims=True,
            all_ties=self.gt_max_assign_all,
        )
        highest, argmax, claim = (x[0] for x in match)
        gt_inds = torch.full_like(argmax, -1)
        bounds = self.neg_iou_thr
        if isinstance(bounds, float):
            bounds = (0.0, bounds)
        if isinstance(bounds, tuple):  # as mmdet: others give no negatives
            negative = (highest >= bounds[0]) & (highest < bounds[1])
            gt_inds = gt_inds.masked_fill(negative, 0)
        gt_inds = torch.where(highest >= self.pos_iou_thr, argmax + 1, gt_inds)
        gt_inds = torch.where(claim >= 0, claim + 1, gt_inds)
        labels = gts.labels[(gt_inds - 1).clamp(min=0)].to(gt_inds)
        return AssignResult(
            count, gt_inds, highest, labels.where(gt_inds > 0, -1)
        )

    def _ignored(
        self, priors: Tensor, regions: InstanceData | None
    ) -> Tensor | None:
        """Priors (P,) in ignored regions."""
        if self.ignore_iof_thr <= 0 or regions is None:
            return None
        boxes = get_box_tensor(regions.bboxes)
        share = priors.new_zeros(len(priors))
        for part in gt_chunks(1, len(boxes), len(priors), self.max_elements):
            if self.ignore_wrt_candidates:
                shares = self.iou_calculator(priors, boxes[part], mode='iof')
                shares = shares.T
            else:
                shares = self.iou_calculator(boxes[part], priors, mode='iof')
            share = torch.maximum(share, shares.amax(0))
        return share > self.ignore_iof_thr


@TASK_UTILS.register_module()
class BoundedApproxMaxIoUAssigner(BoundedMaxIoUAssigner, ApproxMaxIoUAssigner):
    """``ApproxMaxIoUAssigner`` with the same results in bounded memory.

    For Guided Anchoring, see :class:`BoundedMaxIoUAssigner`.

    Args:
        *args: Arguments of ``ApproxMaxIoUAssigner``; ``gpu_assign_thr`` has
            no effect.
        max_elements: Bound on the number of overlaps that exist at a time.
        **kwargs: Arguments of ``ApproxMaxIoUAssigner``.

    Raises:
        ValueError: ``max_elements`` is not positive.
    """

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: object,
    ) -> AssignResult:
        """Assign the squares of one image by the best of their anchors.

        Args:
            pred_instances: ``priors`` (P, 4), the squares, and ``approxs``
                (P, A, 4), the anchors around each, in pixels.
            gt_instances: ``bboxes`` (G, 4) in pixels and ``labels`` (G,).
            gt_instances_ignore: ``bboxes`` (R, 4) of ignored regions.
            **kwargs: Not used.

        Returns:
            AssignResult: As of :class:`BoundedMaxIoUAssigner`.
        """
        squares = get_box_tensor(pred_instances.priors)[..., :4]
        approxs = pred_instances.approxs.transpose(0, 1)
        boxes = get_box_tensor(gt_instances.bboxes)

        def overlaps(part: slice) -> Tensor:
            each = self._overlaps(boxes[part], approxs.flatten(0, 1))
            return each.unflatten(1, approxs.shape[:2]).amax(1)

        return self._assign(
            overlaps,
            approxs.shape[:2].numel(),
            squares,
            gt_instances,
            gt_instances_ignore,
        )
