"""Fast R-CNN head and RoI head of KL-Loss."""

from collections.abc import Sequence

from mmcv.ops import batched_nms
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor, scale_boxes
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_parts
from ...models.layers.box_voting import BoxVoting
from ...models.roi_heads.dict_roi_head import (
    BoxOutputs,
    DictBBoxHeadMixin,
    DictRoIHead,
)
from ...ops.own_columns import own_columns
from .coder import CornerDeltaBBoxCoder
from .loss import KLLoss

_CODER = dict(type='CornerDeltaBBoxCoder', target_stds=0.1)
_KL = dict(type='KLLoss', loss_weight=1.0)


@MODELS.register_module()
class KLBBoxHead(DictBBoxHeadMixin, Shared2FCBBoxHead):
    """Two-layer box head that also predicts the variance of each side.

    Bounding Box Regression with Uncertainty for Accurate Object Detection,
    CVPR 2019, arXiv 1809.08545. Beside ``fc_reg`` a layer ``fc_alpha``
    predicts alpha = log(sigma^2) of each side, in units of the coder; it
    starts near 0, where the loss is smooth L1. Use it in a ``KLRoIHead``.

    Predictions carry ``box_sigmas`` (N, 4), the standard deviations of x1,
    y1, x2, y2 in pixels; with ``test_cfg.rcnn.nms=dict(type='var_voting',
    ...)`` (keys: ``models.layers.box_voting.BoxVoting``) boxes vote, with any
    other NMS the result is mmdet's. A voted box keeps the sigmas of the box
    that was picked.

    The box loss is divided by the number of all sampled RoIs.

    Args:
        *args: Of ``Shared2FCBBoxHead``.
        bbox_coder: A ``CornerDeltaBBoxCoder``; stds 0.1 in the paper.
        loss_bbox: A ``KLLoss``.
        init_cfg: Initialization; by default that of ``Shared2FCBBoxHead`` and
            a normal distribution of std 0.0001 for ``fc_alpha``.
        **kwargs: Of ``Shared2FCBBoxHead``.

    Raises:
        TypeError: ``bbox_coder`` or ``loss_bbox`` is of another type.
        ValueError: ``with_reg`` is False or ``reg_decoded_bbox`` True.
    """

    def __init__(
        self,
        *args: object,
        bbox_coder: dict = _CODER,
        loss_bbox: dict = _KL,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(
            *args,
            bbox_coder=bbox_coder,
            loss_bbox=loss_bbox,
            init_cfg=init_cfg,
            **kwargs,
        )
        check_parts(self, bbox_coder=CornerDeltaBBoxCoder, loss_bbox=KLLoss)
        if not self.with_reg:
            raise ValueError('with_reg must be True, got False')
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: variances belong '
                'to deltas'
            )
        self.fc_alpha = nn.Linear(
            self.fc_reg.in_features, self.fc_reg.out_features
        )
        if init_cfg is None:
            self.init_cfg += [
                dict(type='Normal', std=0.0001, override=dict(name='fc_alpha'))
            ]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of N RoIs.

        Args:
            x: (N, channels, height, width) RoI features.

        Returns:
            dict: ``cls_score`` (N, C + 1), ``bbox_pred`` (N, 4 C) and
            ``alpha`` (N, 4 C), or (N, 4) if class-agnostic.
        """
        if self.with_avg_pool:
            x = self.avg_pool(x)
        x = x.flatten(1)
        for layer in self.shared_fcs:
            x = self.relu(layer(x))
        return BoxOutputs(
            cls_score=self.fc_cls(x) if self.with_cls else None,
            bbox_pred=self.fc_reg(x),
            alpha=self.fc_alpha(x),
        )

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
        *,
        alpha: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of N sampled RoIs of all images.

        Args:
            cls_score: (N, C + 1) logits, background last.
            bbox_pred: (N, 4 C) deltas, or (N, 4) if class-agnostic.
            rois: Not used.
            labels: (N,) int64 class, C for background.
            label_weights: (N,).
            bbox_targets: (N, 4) encoded boxes.
            bbox_weights: (N, 4), 0 for background.
            reduction_override: Replaces the reduction of the losses.
            alpha: Log-variances, like ``bbox_pred``.

        Returns:
            dict: What mmdet's head returns.
        """
        losses = super().loss(
            cls_score,
            None,
            rois,
            labels,
            label_weights,
            bbox_targets,
            bbox_weights,
            reduction_override,
        )
        positive = (labels >= 0) & (labels < self.num_classes)
        losses['loss_bbox'] = self.loss_bbox(
            own_columns(bbox_pred, labels),
            own_columns(alpha, labels),
            bbox_targets,
            bbox_weights * positive[:, None],
            avg_factor=max(len(labels), 1),
            reduction_override=reduction_override,
        )
        return losses

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
        *,
        alpha: Tensor,
    ) -> InstanceData:
        """One image; the raw result has sigmas of (N, 4 C)."""
        parent = super()._predict_by_feat_single
        inputs = (roi, cls_score, bbox_pred, img_meta, rescale)
        if len(roi) == 0:
            results = parent(*inputs, rcnn_test_cfg)
            return with_empty_sigmas(results)
        raw = parent(*inputs, None)
        pixels, normalized = self.bbox_coder.decode_sigmas(roi[:, 1:], alpha)
        if rescale:
            scale = [1 / side for side in img_meta['scale_factor']]
            pixels = scale_boxes(pixels, scale)
        if rcnn_test_cfg is None:
            raw.box_sigmas = pixels
            return raw
        chosen = raw.scores[:, :-1] > rcnn_test_cfg.score_thr
        row, label = chosen.nonzero(as_tuple=True)
        column = label * (not self.reg_class_agnostic)

        def pick(values: Tensor) -> Tensor:
            return values.view(len(roi), -1, 4)[row, column]

        results = InstanceData(
            bboxes=pick(get_box_tensor(raw.bboxes)),
            scores=raw.scores[row, label],
            labels=label,
            box_sigmas=pick(pixels),
            box_sigmas_normalized=pick(normalized),
        )
        results = self._nms(results, rcnn_test_cfg)
        del results.box_sigmas_normalized
        return results

    def _nms(self, results: InstanceData, cfg: ConfigDict) -> InstanceData:
        voting = BoxVoting.of(cfg.nms)
        if voting is not None:
            return voting(results, cfg.max_per_img, self)
        if len(results) == 0:
            return results
        dets, keep = batched_nms(
            results.bboxes, results.scores, results.labels, cfg.nms
        )
        results = results[keep]
        results.bboxes, results.scores = dets[:, :-1], dets[:, -1]
        limit = cfg.max_per_img
        return results[:limit] if limit > 0 else results


@MODELS.register_module()
class KLRoIHead(DictRoIHead):
    """RoI head of Fast, Faster and Mask R-CNN with ``KLBBoxHead``.

    KL-Loss, CVPR 2019, arXiv 1809.08545. Takes the arguments of
    ``StandardRoIHead``. With an ordinary box head it is mmdet's.
    """

    def predict_bbox(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        rpn_results_list: list[InstanceData],
        rcnn_test_cfg: ConfigDict | None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Detections of B images, with ``box_sigmas`` from a ``KLBBoxHead``.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            rpn_results_list: Proposals of B images.
            rcnn_test_cfg: Post-processing; None: raw boxes and scores.
            rescale: Give boxes in the original image.

        Returns:
            list: B instances.
        """
        found = super().predict_bbox(
            x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale
        )
        if isinstance(self.bbox_head, KLBBoxHead):
            for results in found:
                # without any proposal mmdet makes the result
                with_empty_sigmas(results)
        return found

    def predict_mask(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Masks; mmdet rescales the boxes here, so the sigmas follow.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            results_list: Detections of B images, changed in place.
            rescale: Give boxes and masks in the original image.

        Returns:
            list: B instances.
        """
        found = super().predict_mask(x, batch_img_metas, results_list, rescale)
        for results, meta in zip(found, batch_img_metas, strict=True):
            if rescale and 'box_sigmas' in results:
                scale = [1 / side for side in meta['scale_factor']]
                results.box_sigmas = scale_boxes(results.box_sigmas, scale)
        return found


def with_empty_sigmas(results: InstanceData) -> InstanceData:
    """Give an empty result the ``box_sigmas`` that others have, in place."""
    if 'box_sigmas' not in results:
        results.box_sigmas = results.bboxes.new_zeros(len(results), 4)
    return results
