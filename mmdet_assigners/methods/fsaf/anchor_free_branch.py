"""The anchor-free branch of FSAF: losses, boxes and images, no layers."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.losses import FocalLoss, IoULoss
from mmdet.utils import InstanceList, reduce_mean
from mmengine.config import ConfigDict
from mmengine.dist import get_world_size
from torch import Tensor, nn

from ...models.dense_heads.instances import assignment_instances, pad_instances
from ...ops.anchor_points import (
    AnchorPoints,
    anchor_points,
    flatten_levels,
)
from . import functional as fsaf

_LTRB_OF_TBLR = [2, 0, 3, 1]
_MIN_DISTANCE = 1e-4


class AnchorFreeBranch(BaseDenseHead):
    """Turns class logits and t, b, l, r maps into losses and detections.

    Has no parameters: the head that owns it has the convolutions, so their
    names are the head's.

    Args:
        num_classes: Number C of classes.
        prior_generator: One square of one stride per location; gives strides
            and the location of a point in its cell.
        bbox_coder: ``TBLRBBoxCoder`` with the normalizer of the rules.
        loss_cls: ``FocalLoss``; alpha, gamma and loss weight are used.
        loss_bbox: ``IoULoss`` with mode 'log'; eps and weight are used.
        rules: Which points learn what.
        test_cfg: Post-processing.

    Raises:
        TypeError: ``loss_cls`` or ``loss_bbox`` is of another type.
        ValueError: The normalizers of coder and rules differ.
    """

    def __init__(
        self,
        num_classes: int,
        prior_generator: Any,
        bbox_coder: Any,
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        rules: fsaf.FSAFRules,
        test_cfg: ConfigDict | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(loss_cls, FocalLoss):
            raise TypeError(
                f'loss_cls must be a FocalLoss, got {type(loss_cls).__name__}'
            )
        if not isinstance(loss_bbox, IoULoss) or loss_bbox.mode != 'log':
            raise TypeError(
                "loss_bbox must be an IoULoss of mode 'log', got "
                f'{type(loss_bbox).__name__}'
            )
        if bbox_coder.normalizer != rules.normalizer:
            raise ValueError(
                'bbox_coder.normalizer must equal the normalizer of the '
                f'rules, {rules.normalizer}, got {bbox_coder.normalizer}'
            )
        self.num_classes = self.cls_out_channels = num_classes
        self.use_sigmoid_cls = True
        self.prior_generator = prior_generator
        self.bbox_coder = bbox_coder
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.rules = rules
        self.test_cfg = test_cfg

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
    ) -> dict[str, Tensor]:
        """Losses from the predictions, in float32 or finer.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L distances t, b, l, r (B, 4, H_l, W_l), at least 0,
                in units of normalizer * stride.
            batch_gt_instances: B instances with bboxes and labels.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and, for the log, ``num_pos``
            per image.
        """
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            cls_pred, reg_pred = self._flatten(cls_scores, bbox_preds)
            points = self.points(cls_scores)
            targets = self._targets(
                points, cls_pred, reg_pred, batch_gt_instances
            )
            cls, box, num_pos = fsaf.fsaf_losses(
                cls_pred, reg_pred, targets, *self._focal(), self.rules.min_iou
            )
            norm = reduce_mean(num_pos).clamp(min=1 / get_world_size())
            return dict(
                loss_cls=self.loss_cls.loss_weight * cls / norm,
                loss_bbox=self.loss_bbox.loss_weight * box / norm,
                num_pos=num_pos / len(batch_gt_instances),
            )

    @torch.no_grad()
    def get_assignment(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
    ) -> InstanceList:
        """The assignment of the points, for the analysis tools.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L distances (B, 4, H_l, W_l).
            batch_gt_instances: B instances with bboxes and labels.

        Returns:
            list: See :func:`.instances.assignment_instances`; points that
            are ignored for some class count as ignored.
        """
        points = self.points(cls_scores)
        targets = self._targets(
            points, *self._flatten(cls_scores, bbox_preds), batch_gt_instances
        )
        kept = targets.cls_weight.amin(-1) > 0
        weight = (targets.positive | kept).to(targets.distances)
        assigned = targets.assigned.where(weight > 0, -2)
        return assignment_instances(
            points.xy, points.level, points.stride, assigned, weight
        )

    def points(self, levels: Sequence[Tensor]) -> AnchorPoints:
        """The P points of L maps (B, K, H_l, W_l), at least float32."""
        return anchor_points(
            [level.shape[-2:] for level in levels],
            [stride[0] for stride in self.prior_generator.strides],
            self.prior_generator.center_offset,
            levels[0].device,
            torch.promote_types(levels[0].dtype, torch.float32),
        )

    def _focal(self) -> tuple[float, float]:
        return self.loss_cls.alpha, self.loss_cls.gamma

    def _flatten(
        self, cls_scores: Sequence[Tensor], bbox_preds: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, P, C) and l, t, r, b (B, P, 4)."""
        # as mmdet: no predicted box without area
        distances = flatten_levels(bbox_preds).clamp(min=_MIN_DISTANCE)
        return flatten_levels(cls_scores), distances[..., _LTRB_OF_TBLR]

    def _targets(
        self,
        points: AnchorPoints,
        cls_pred: Tensor,
        reg_pred: Tensor,
        gts: InstanceList,
    ) -> fsaf.FSAFTargets:
        boxes, labels, mask = pad_instances(gts, reg_pred)
        return fsaf.fsaf_targets(
            points,
            boxes,
            labels,
            mask,
            cls_pred,
            reg_pred,
            self.rules,
            *self._focal(),
        )
