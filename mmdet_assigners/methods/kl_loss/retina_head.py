"""RetinaNet's head with predicted variances."""

from collections.abc import Sequence

from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_parts
from ...models.dense_heads.box_fields import join_maps
from ...models.dense_heads.box_sigmas import BoxSigmaMixin
from ...models.dense_heads.flat_head import FlatBatch
from ...models.dense_heads.flat_retina_head import FlatRetinaHead
from .coder import CornerDeltaBBoxCoder
from .loss import KLLoss

_CODER = dict(type='CornerDeltaBBoxCoder', target_stds=0.1)
_KL = dict(type='KLLoss', loss_weight=1.0)


@MODELS.register_module()
class KLRetinaHead(BoxSigmaMixin, FlatRetinaHead):
    """RetinaNet that also predicts the variance of each side of its boxes.

    The loss of Bounding Box Regression with Uncertainty for Accurate Object
    Detection, CVPR 2019, arXiv 1809.08545, in a one-stage detector, which the
    paper doesn't do: a convolution ``retina_alpha`` beside ``retina_reg``
    predicts alpha = log(sigma^2) of the deltas. The class loss is
    ``FlatRetinaHead``'s, and the box loss is divided by the positives too.

    Predictions carry ``box_sigmas``; ``test_cfg.nms`` may be variance voting,
    see ``BoxSigmaMixin``.

    Args:
        *args: Of ``RetinaHead``.
        bbox_coder: A ``CornerDeltaBBoxCoder``; stds 0.1 as in the R-CNN head.
        loss_bbox: A ``KLLoss``.
        **kwargs: Of ``RetinaHead``.

    Raises:
        TypeError: ``bbox_coder`` or ``loss_bbox`` is of another type.
        ValueError: ``reg_decoded_bbox`` is True or ``train_cfg.sampler``
            samples.
    """

    out_names = ('cls_scores', 'bbox_preds', 'alphas')

    def __init__(
        self,
        *args: object,
        bbox_coder: dict = _CODER,
        loss_bbox: dict = _KL,
        **kwargs: object,
    ) -> None:
        super().__init__(
            *args, bbox_coder=bbox_coder, loss_bbox=loss_bbox, **kwargs
        )
        check_parts(self, bbox_coder=CornerDeltaBBoxCoder, loss_bbox=KLLoss)
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: variances belong '
                'to deltas'
            )

    def _init_layers(self) -> None:
        super()._init_layers()
        reg = self.retina_reg
        self.retina_alpha = nn.Conv2d(
            reg.in_channels, reg.out_channels, 3, padding=1
        )

    def init_weights(self) -> None:
        """Initialize; alpha starts near 0, as in ``KLBBoxHead``."""
        super().init_weights()
        nn.init.normal_(self.retina_alpha.weight, std=0.0001)
        nn.init.zeros_(self.retina_alpha.bias)

    def forward_single(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of a level.

        Args:
            x: (B, channels, H, W).

        Returns:
            tuple: Logits (B, A * C, H, W), deltas and alpha (B, A * 4, H, W).
        """
        cls_feat = reg_feat = x
        for layer in self.cls_convs:
            cls_feat = layer(cls_feat)
        for layer in self.reg_convs:
            reg_feat = layer(reg_feat)
        return (
            self.retina_cls(cls_feat),
            self.retina_reg(reg_feat),
            self.retina_alpha(reg_feat),
        )

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: ``loss_cls`` and ``loss_bbox``, scalars.
        """
        gt = self.assign_flat(flat).gt
        positive = gt >= 0
        avg_factor = self.count_positives(positive).to(flat.cls)
        loss_cls = self.class_loss(flat, gt, avg_factor)
        target = self.encode(flat, self.matched_boxes(flat, gt))
        weight = positive[..., None].expand_as(target).to(target)
        values = (flat.deltas, flat.others[0], target, weight)
        loss_bbox = self.loss_bbox(
            *(value.flatten(0, 1) for value in values), avg_factor=avg_factor
        )
        return dict(loss_cls=loss_cls, loss_bbox=loss_bbox)

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        alphas: Sequence[Tensor],
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> list[InstanceData]:
        """Detections of B images.

        Args:
            cls_scores: L class logits (B, A * C, H_l, W_l).
            bbox_preds: L deltas (B, A * 4, H_l, W_l).
            alphas: L log-variances (B, A * 4, H_l, W_l).
            batch_img_metas: Meta information of B images.
            cfg: Replaces ``test_cfg``.
            rescale: Give boxes in the original image.
            with_nms: False: leave out NMS and voting.

        Returns:
            list: B instances with ``box_sigmas`` among their fields.
        """
        return super().predict_by_feat(
            cls_scores,
            join_maps(self.num_base_priors, bbox_preds, alphas),
            batch_img_metas=batch_img_metas,
            cfg=cfg,
            rescale=rescale,
            with_nms=with_nms,
        )

    def decode_level(
        self,
        pred: Tensor,
        priors: Tensor,
        stride: float,
        max_shape: Sequence[int],
    ) -> dict[str, Tensor]:
        """Boxes and their standard deviations, see ``BoxSigmaMixin``.

        Args:
            pred: (N, 8) deltas and alpha.
            priors: (N, 4) anchors in pixels.
            stride: Not used.
            max_shape: Height and width of the image.

        Returns:
            dict: ``bboxes`` and ``box_sigmas`` in pixels and
            ``box_sigmas_normalized`` in units of the deltas, (N, 4) each.
        """
        deltas, alpha = pred.split(4, -1)
        pixels, normalized = self.bbox_coder.decode_sigmas(priors, alpha)
        return dict(
            bboxes=self.bbox_coder.decode(priors, deltas, max_shape),
            box_sigmas=pixels,
            box_sigmas_normalized=normalized,
        )
