"""Box head and RoI head of PBM."""

from collections.abc import Sequence

from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.checks import check_delta_loss, check_parts
from ...models.roi_heads.dict_roi_head import DictRoIHead
from .boxes import halves, pairs_of, with_pairs
from .coder import PairedDeltaXYWHBBoxCoder
from .nms import paired_nms
from .rpn_head import refuse_decoded

_PAIRS = dict(
    type='PairedDeltaXYWHBBoxCoder', target_stds=(0.1, 0.1, 0.2, 0.2)
)


@MODELS.register_module()
class PairedBBoxHead(Shared2FCBBoxHead):
    """Two-layer box head that scores a pair and regresses both boxes.

    NMS by Representative Region, CVPR 2020, arXiv 2003.12729. The full box is
    relative to the full proposal, the visible one to the visible proposal.
    Detections carry ``visible_bboxes``. With ``test_cfg.rcnn.nms =
    dict(type='r2nms', iou_threshold=0.5)`` pairs compete by their visible
    boxes, with any other NMS by their full boxes.

    Args:
        *args: Of ``Shared2FCBBoxHead``.
        bbox_coder: A ``PairedDeltaXYWHBBoxCoder``.
        **kwargs: Of ``Shared2FCBBoxHead``.

    Raises:
        TypeError: Another ``bbox_coder``, or a loss of decoded boxes.
        ValueError: ``reg_decoded_bbox`` is True.
    """

    def __init__(
        self, *args: object, bbox_coder: dict = _PAIRS, **kwargs: object
    ) -> None:
        super().__init__(*args, bbox_coder=bbox_coder, **kwargs)
        check_parts(self, bbox_coder=PairedDeltaXYWHBBoxCoder)
        refuse_decoded(self)
        check_delta_loss(self)

    def loss(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        labels: Tensor,
        label_weights: Tensor,
        bbox_targets: Tensor,
        bbox_weights: Tensor,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """Losses of N sampled pairs of all images.

        Args:
            cls_score: (N, C + 1) logits, background last.
            bbox_pred: (N, 8 C) deltas, or (N, 8) if class-agnostic.
            rois: (N, 9), not used.
            labels: (N,) int64 class, C for background.
            label_weights: (N,).
            bbox_targets: (N, 8) encoded pairs.
            bbox_weights: (N, 8), 0 for background.
            reduction_override: Replaces the reduction of the losses.

        Returns:
            dict: What mmdet's head returns, and ``loss_bbox_visible``.
        """
        full, visible = halves(bbox_pred)
        targets = zip(
            bbox_targets.chunk(2, 1), bbox_weights.chunk(2, 1), strict=True
        )
        losses, other = (
            super(PairedBBoxHead, self).loss(
                scores, pred, rois, labels, label_weights, *own,
                reduction_override,
            )
            for scores, pred, own in zip(
                (cls_score, None), (full, visible), targets, strict=True
            )
        )  # fmt: skip
        return losses | dict(loss_bbox_visible=other['loss_bbox'])

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        """One image; the raw result has boxes (N, 4 C) of both sorts."""
        parent = super()._predict_by_feat_single
        inputs = (roi, cls_score, bbox_pred, img_meta, rescale)
        if len(roi) == 0:
            return with_visible(parent(*inputs, rcnn_test_cfg))
        raw = parent(*inputs, None)
        pairs = raw.bboxes.view(len(roi), -1, 8)
        if rcnn_test_cfg is None:
            raw.bboxes, raw.visible_bboxes = halves(raw.bboxes)
            return raw
        row, label = (raw.scores[:, :-1] > rcnn_test_cfg.score_thr).nonzero(
            as_tuple=True
        )
        chosen = pairs[row, label * (not self.reg_class_agnostic)]
        results = InstanceData(
            bboxes=chosen[:, :4],
            visible_bboxes=chosen[:, 4:],
            scores=raw.scores[row, label],
            labels=label,
        )
        results = paired_nms(results, results.labels, rcnn_test_cfg.nms)
        limit = rcnn_test_cfg.max_per_img
        return results[:limit] if limit > 0 else results


@MODELS.register_module()
class PairedRoIHead(DictRoIHead):
    """RoI head whose proposals, ground truths and detections are pairs.

    NMS by Representative Region, CVPR 2020, arXiv 2003.12729. Takes the
    arguments of ``StandardRoIHead``; a ``PairedRoIExtractor``, a
    ``PairedBBoxHead`` and, in ``train_cfg``, a ``PairedMaxIoUAssigner``
    belong to it. Ground truths have ``visible_bboxes`` (``LoadVisibleBoxes``
    and ``PackPairedInputs``).

    Raises:
        TypeError: ``bbox_head`` is another one.
        ValueError: There is a mask head.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        check_parts(self, bbox_head=PairedBBoxHead)
        if self.with_mask:
            raise ValueError(
                'PairedRoIHead has no masks: mask_head must be None'
            )

    def loss(
        self,
        x: Sequence[Tensor],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list,
    ) -> dict[str, Tensor]:
        """Losses of B images.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rpn_results_list: Pairs that the RPN proposes.
            batch_data_samples: Ground truths; not changed.

        Returns:
            dict: Losses of the box head.
        """
        samples = []
        for sample in batch_data_samples:
            samples.append(sample.clone())
            gts = sample.gt_instances
            samples[-1].gt_instances = with_pairs(gts, labels=gts.labels)
        return super().loss(x, as_pairs(rpn_results_list), samples)

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list | None = None,
    ) -> tuple:
        """The raw outputs of all pairs.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rpn_results_list: Pairs of B images.
            batch_data_samples: Not used.

        Returns:
            tuple: Scores and deltas.
        """
        return super().forward(x, as_pairs(rpn_results_list))

    def predict_bbox(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: ConfigDict | None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of B images, with ``visible_bboxes``.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            rpn_results_list: Pairs of B images.
            rcnn_test_cfg: Post-processing; None: raw boxes and scores.
            rescale: Give boxes in the original image.

        Returns:
            list: B instances.
        """
        found = super().predict_bbox(
            x,
            batch_img_metas,
            as_pairs(rpn_results_list),
            rcnn_test_cfg,
            rescale,
        )
        # without any proposal mmdet makes the result
        return [with_visible(results) for results in found]


def as_pairs(rpn_results_list: list[InstanceData]) -> list[InstanceData]:
    """Proposals whose ``bboxes`` are pairs."""
    return [
        InstanceData(bboxes=pairs_of(results)) for results in rpn_results_list
    ]


def with_visible(results: InstanceData) -> InstanceData:
    """Give an empty result the ``visible_bboxes`` of others, in place."""
    if 'visible_bboxes' not in results:
        results.visible_bboxes = results.bboxes.clone()
    return results
