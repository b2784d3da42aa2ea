"""RPN of PBM."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.checks import check_delta_loss, check_parts
from .boxes import split_pairs, with_pairs
from .coder import PairedDeltaXYWHBBoxCoder
from .functional import train_visible_of_negatives
from .nms import by_visible, swapped

PAIRS = dict(type='PairedDeltaXYWHBBoxCoder', target_stds=(1.0, 1.0, 1.0, 1.0))


@MODELS.register_module()
class PairedRPNHead(RPNHead):
    """RPN that proposes pairs of a full and a visible box.

    NMS by Representative Region, CVPR 2020, arXiv 2003.12729. An anchor has
    one objectness and 8 deltas, both boxes relative to the anchor. Proposals
    carry ``visible_bboxes``. NMS compares full boxes, or the visible ones with
    ``nms=dict(type='r2nms', iou_threshold=...)`` (then ``min_bbox_size`` is
    about these, too).

    Args:
        *args: Of ``RPNHead``.
        bbox_coder: A ``PairedDeltaXYWHBBoxCoder``.
        negative_visible_target: Deltas of the visible box that sampled
            negatives learn, e.g. (0, 0, -3, -3); None: they learn none.
        **kwargs: Of ``RPNHead``.

    Raises:
        TypeError: Another ``bbox_coder``, or a loss of decoded boxes.
        ValueError: ``reg_decoded_bbox`` is True, or not four deltas.
    """

    def __init__(
        self,
        *args: object,
        bbox_coder: dict = PAIRS,
        negative_visible_target: Sequence[float] | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, bbox_coder=bbox_coder, **kwargs)
        check_parts(self, bbox_coder=PairedDeltaXYWHBBoxCoder)
        check_delta_loss(self)
        refuse_decoded(self)
        target = negative_visible_target
        if target is not None and len(target) != 4:
            raise ValueError(
                f'negative_visible_target must be four deltas, got {target}'
            )
        self.negative_visible_target = target

    def loss_by_feat_single(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        anchors: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        avg_factor: int,
    ) -> tuple[Tensor, Tensor]:
        """Losses of a level, those of the two boxes as one tensor (2,)."""
        loss_cls, _ = super().loss_by_feat_single(
            cls_score,
            bbox_pred,
            anchors,
            labels,
            label_weights,
            bbox_targets,
            bbox_weights,
            avg_factor,
        )
        rows = bbox_pred.permute(0, 2, 3, 1), bbox_targets, bbox_weights
        parts = zip(*(x.reshape(-1, 8).chunk(2, 1) for x in rows), strict=True)
        boxes = [self.loss_bbox(*own, avg_factor=avg_factor) for own in parts]
        return loss_cls, torch.stack(boxes)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of B images.

        Args:
            cls_scores: L maps (B, A, H_l, W_l) of A anchors per location.
            bbox_preds: L maps (B, 8 A, H_l, W_l).
            batch_gt_instances: ``bboxes`` and ``visible_bboxes`` (G, 4),
                ``labels``.
            batch_img_metas: Meta information of B images.
            batch_gt_instances_ignore: Ignored regions.

        Returns:
            dict: ``loss_rpn_cls``, ``loss_rpn_bbox`` and
            ``loss_rpn_bbox_visible``.
        """
        losses = super().loss_by_feat(
            cls_scores,
            bbox_preds,
            [with_pairs(gt, labels=gt.labels) for gt in batch_gt_instances],
            batch_img_metas,
            batch_gt_instances_ignore,
        )
        full, visible = sum(losses['loss_rpn_bbox'])
        return dict(
            loss_rpn_cls=sum(losses['loss_rpn_cls']),
            loss_rpn_bbox=full,
            loss_rpn_bbox_visible=visible,
        )

    def _get_targets_single(self, *args: Any, **kwargs: Any) -> tuple:
        targets = super()._get_targets_single(*args, **kwargs)
        if self.negative_visible_target is None:
            return targets
        labels, label_weights, deltas, weights, *rest = targets
        deltas, weights = train_visible_of_negatives(
            deltas,
            weights,
            (labels == self.num_classes) & (label_weights > 0),
            self.negative_visible_target,
        )
        return (labels, label_weights, deltas, weights, *rest)

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        """NMS of one image's pairs."""
        if rescale and img_meta is not None:
            x, y = img_meta['scale_factor']
            results.bboxes.rescale_((1 / x, 1 / y))
        visible, nms = by_visible(cfg.nms)
        cfg = ConfigDict(cfg, nms=nms)

        def process(pairs: InstanceData) -> InstanceData:
            found = super(PairedRPNHead, self)._bbox_post_process(
                pairs, cfg, with_nms=with_nms, img_meta=img_meta
            )
            if 'visible_bboxes' not in found:  # mmdet made it: it is empty
                found.visible_bboxes = found.bboxes.clone()
            return found

        results = split_pairs(results)
        return swapped(results, process) if visible else process(results)


def refuse_decoded(head: Any) -> None:
    """Refuse losses of decoded boxes, which would mix the boxes of a pair.

    Raises:
        ValueError: ``reg_decoded_bbox`` is True.
    """
    if head.reg_decoded_bbox:
        raise ValueError(
            f'reg_decoded_bbox of {type(head).__name__} must be False, got '
            'True'
        )
