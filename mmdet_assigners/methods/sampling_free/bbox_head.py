"""Fast R-CNN head of Sampling-Free."""

import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.losses import CrossEntropyLoss, accuracy
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_delta_loss
from . import functional as sampling_free
from .guided_loss import guide


@MODELS.register_module()
class SamplingFreeBBoxHead(Shared2FCBBoxHead):
    """Fast R-CNN head trained on all proposals.

    Sampling-Free, arXiv 1909.04868. The network is that of
    ``Shared2FCBBoxHead``. L_cls is the mean softmax cross entropy of all
    proposals, L_reg the mean box loss over the coordinates of the positives;
    L_cls is guided by L_reg and weighted by ``loss_cls.loss_weight``, 2 in
    the official code. Without positives both are 0. Use it with
    ``FullSampler``. ``test_cfg.rcnn.class_score_thr``, C numbers or a file of
    ``prior_statistics.py``, sets a score threshold per class; the
    official code has 1e-4 for all.

    Args:
        *args: Of ``Shared2FCBBoxHead``.
        guided: Rescale the classification loss to the box loss.
        sync: Take the ratio of the mean losses of all processes; in the
            official code each GPU has its own.
        prior_prob: N_f / N of the proposals: sets the optimal bias of the
            background logit. None, as official, leaves it 0.
        **kwargs: Of ``Shared2FCBBoxHead``. ``loss_cls`` must be
            ``CrossEntropyLoss``; official: ``SmoothL1Loss`` of beta 1.

    Raises:
        ValueError: ``prior_prob`` is not in (0, 1), or
            ``reg_decoded_bbox`` is True.
        TypeError: ``loss_cls`` is of another type, or ``loss_bbox`` is an IoU
            loss.
    """

    def __init__(
        self,
        *args: object,
        guided: bool = True,
        sync: bool = False,
        prior_prob: float | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        if prior_prob is not None:
            sampling_free.check_prior(prior_prob, 'prior_prob')
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: the box loss is '
                'computed on deltas'
            )
        check_delta_loss(self)
        loss = self.loss_cls
        if not isinstance(loss, CrossEntropyLoss) or loss.use_sigmoid:
            raise TypeError(
                'SamplingFreeBBoxHead needs loss_cls=dict(type='
                "'CrossEntropyLoss', use_sigmoid=False), got "
                f'{type(loss).__name__}'
            )
        self.guided = guided
        self.sync = sync
        self.prior_prob = prior_prob

    def init_weights(self) -> None:
        """Initialize; with ``prior_prob`` also the background bias."""
        super().init_weights()
        if self.prior_prob is not None:
            bias = sampling_free.softmax_background_bias(
                self.prior_prob, self.num_classes
            )
            nn.init.constant_(self.fc_cls.bias[-1:], bias)

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
        """Losses of N proposals of all images.

        Args:
            cls_score: (N, C + 1) logits, background last.
            bbox_pred: (N, 4 C) deltas, or (N, 4) if class-agnostic.
            rois: Not used.
            labels: (N,) int64 class, C for background.
            label_weights: (N,) 0 for proposals that are excluded.
            bbox_targets: (N, 4) encoded boxes.
            bbox_weights: Not used: the positives weigh 1.
            reduction_override: Must be None.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and ``acc``.

        Raises:
            ValueError: ``reduction_override`` is not None.
        """
        if reduction_override is not None:
            raise ValueError(
                'reduction_override must be None, got '
                f'{reduction_override!r}: guided losses are scalars'
            )
        with torch.autocast(cls_score.device.type, enabled=False):
            dtype = torch.promote_types(cls_score.dtype, torch.float32)
            score, deltas = cls_score.to(dtype), bbox_pred.to(dtype)
            counted = label_weights > 0
            positive = (labels >= 0) & (labels < self.num_classes)
            num_positives = positive.sum()
            cls = self.loss_cls(score, labels, reduction_override='none')
            cls = cls * label_weights.to(dtype)
            loss_cls = sampling_free.masked_sum(cls, counted)
            loss_cls = loss_cls / counted.sum().clamp(min=1)
            if not self.reg_class_agnostic:
                own = labels.clamp(0, self.num_classes - 1)[:, None, None]
                deltas = deltas.view(len(labels), self.num_classes, 4)
                deltas = deltas.gather(1, own.expand(-1, -1, 4))[:, 0]
            reg = self.loss_bbox(
                deltas, bbox_targets.to(dtype), reduction_override='none'
            )
            loss_reg = sampling_free.masked_sum(reg, positive)
            loss_reg = loss_reg / (4 * num_positives).clamp(min=1)
            if self.guided:
                scale = self.loss_cls.loss_weight
                loss_cls = guide(loss_cls, loss_reg, scale, self.sync)
        return dict(
            loss_cls=loss_cls,
            loss_bbox=loss_reg,
            acc=accuracy(cls_score, labels),
        )

    def _predict_by_feat_single(
        self,
        roi: Tensor,
        cls_score: Tensor,
        bbox_pred: Tensor,
        img_meta: dict,
        rescale: bool = False,
        rcnn_test_cfg: ConfigDict | None = None,
    ) -> InstanceData:
        """One image; ``class_score_thr`` replaces ``score_thr``."""
        parent = super()._predict_by_feat_single
        inputs = (roi, cls_score, bbox_pred, img_meta, rescale)
        if rcnn_test_cfg is None or len(roi) == 0:
            return parent(*inputs, rcnn_test_cfg)
        value = rcnn_test_cfg.get('class_score_thr')
        if value is None:
            return parent(*inputs, rcnn_test_cfg)
        raw = parent(*inputs, None)
        thresholds = raw.scores.new_tensor(
            (*sampling_free.read_class_thresholds(value, self.num_classes), 0)
        )
        # -1 is below every threshold
        scores = raw.scores.where(raw.scores > thresholds, -1)
        dets, labels = multiclass_nms(
            raw.bboxes,
            scores,
            -0.5,
            rcnn_test_cfg.nms,
            rcnn_test_cfg.max_per_img,
        )
        return InstanceData(
            bboxes=dets[:, :4], scores=dets[:, 4], labels=labels
        )
