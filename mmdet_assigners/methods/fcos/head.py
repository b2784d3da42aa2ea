"""FCOS with the options of its ablation tables."""

from collections.abc import Sequence

import torch
from mmcv.cnn import Scale
from mmdet.models.dense_heads import AnchorFreeHead, FCOSHead
from mmdet.models.losses.utils import weight_reduce_loss
from mmdet.registry import MODELS
from mmdet.utils import InstanceList, reduce_mean
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ...models.dense_heads.flat_points import FlatPoints, FlatPointsMixin
from ...models.dense_heads.inclusive_corners import InclusiveCornersMixin
from ...ops import fcos
from ...ops.anchor_match import gather_gts
from ...ops.anchor_points import box_distances, centerness

USE_CENTERNESS = ('branch', 'none', 'from_reg')


@MODELS.register_module()
class FCOSAblationHead(InclusiveCornersMixin, FlatPointsMixin, FCOSHead):
    """FCOS head without or with another centerness.

    Paper: FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019,
    arXiv 1904.01355, Table 4 (centerness) and Sec. 3. With the defaults
    network, losses and detections are those of mmdet's ``FCOSHead``; targets
    and losses are batched, so losses are equal up to the
    order of summation.

    Differences from the official code are those of ``FCOSHead``: scores are
    not square-rooted, the best 1000 per level are chosen by class score,
    corners are exclusive (``inclusive_corners=True`` restores it), and the
    towers have no bias before GN (``conv_bias=True`` restores it).

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        use_centerness: 'branch': predicted by a convolution (paper's best);
            'none': no centerness; 'from_reg': no branch, at test the
            centerness of the predicted distances.
        weight_reg_by_centerness: Weigh the box loss by the centerness
            targets, divided by their sum, or all positives by 1, divided by
            their number. None: True with 'branch' (official), else False.
        use_scale: Multiply distances by a learnable scalar per level.
        inclusive_corners: For released weights, see
            :class:`~mmdet_assigners.models.dense_heads.inclusive_corners
            .InclusiveCornersMixin`.
        **kwargs: Arguments of ``FCOSHead``.

    Raises:
        ValueError: ``use_centerness`` is unknown, or ``strides`` and
            ``regress_ranges`` differ in length.
    """

    assignment_uses_predictions = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        use_centerness: str = 'branch',
        weight_reg_by_centerness: bool | None = None,
        use_scale: bool = True,
        inclusive_corners: bool = False,
        **kwargs: object,
    ) -> None:
        if use_centerness not in USE_CENTERNESS:
            raise ValueError(
                f'use_centerness must be one of {", ".join(USE_CENTERNESS)}, '
                f'got {use_centerness!r}'
            )
        if weight_reg_by_centerness is None:
            weight_reg_by_centerness = use_centerness == 'branch'
        self.use_centerness = (
            use_centerness  # read by the parent's constructor
        )
        self.weight_reg_by_centerness = weight_reg_by_centerness
        self.use_scale = use_scale
        self.inclusive_corners = inclusive_corners
        super().__init__(num_classes, in_channels, **kwargs)
        if len(self.strides) != len(self.regress_ranges):
            raise ValueError(
                f'regress_ranges has {len(self.regress_ranges)} levels but '
                f'strides has {len(self.strides)}'
            )

    @property
    def out_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of what ``forward`` returns."""
        names = ('cls_scores', 'bbox_preds', 'centernesses')
        return names if self.use_centerness == 'branch' else names[:2]

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.use_centerness != 'branch':
            del self.conv_centerness
        if not self.use_scale:
            self.scales = nn.ModuleList(nn.Identity() for _ in self.strides)

    def forward_single(
        self, x: Tensor, scale: Scale, stride: int
    ) -> tuple[Tensor, ...]:
        """Predictions of one level.

        Args:
            x: (B, in_channels, H, W).
            scale: Scalar of the level.
            stride: In pixels.

        Returns:
            tuple: Class logits (B, C, H, W), distances (B, 4, H, W), in
            strides if ``norm_on_bbox`` and training, else in pixels, and,
            with the branch, centerness logits (B, 1, H, W).
        """
        if self.use_centerness == 'branch':
            return super().forward_single(x, scale, stride)
        scores, reg, *_ = AnchorFreeHead.forward_single(self, x)
        reg = scale(reg).float()
        if not self.norm_on_bbox:
            return scores, reg.exp()
        reg = reg.clamp(min=0)
        return scores, reg if self.training else reg * stride

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        score_factors: Sequence[Tensor] | None = None,
        batch_img_metas: list[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections from predictions.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L distances (B, 4, H_l, W_l) in pixels.
            score_factors: L centerness logits (B, 1, H_l, W_l) of the branch.
            batch_img_metas: B dicts.
            cfg: Post-processing instead of ``test_cfg``.
            rescale: Boxes in pixels of the original image.
            with_nms: Suppress overlapping boxes.

        Returns:
            list: B instances with bboxes (N, 4), scores and labels (N,).
        """
        if self.use_centerness == 'from_reg':
            score_factors = [
                fcos.reg_centerness(reg.movedim(1, -1))[:, None]
                for reg in bbox_preds
            ]
        return super().predict_by_feat(
            cls_scores,
            bbox_preds,
            score_factors,
            batch_img_metas=batch_img_metas,
            cfg=cfg,
            rescale=rescale,
            with_nms=with_nms,
        )

    def flatten(
        self, outs: Sequence[list[Tensor]], gts: InstanceList
    ) -> FlatPoints:
        """Concatenate levels and stack images.

        Args:
            outs: What ``forward`` returned, lists of L maps
                (B, channels, H_l, W_l).
            gts: Ground truths of B images.

        Returns:
            FlatPoints: In float32 or finer.
        """
        return super().flatten(outs, self.inner_gts(gts))

    def loss_flat(self, flat: FlatPoints) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions (B, P, C) and (B, P, 4), points and ground
                truths.

        Returns:
            dict: ``loss_cls``, ``loss_bbox`` and, with the branch,
            ``loss_centerness``.
        """
        gt = self.assign_flat(flat)
        positive = gt >= 0
        labels = gather_gts(flat.labels, gt).where(positive, self.num_classes)
        target = self._distances(flat, gt)
        central = centerness(target) * positive
        if self.norm_on_bbox:
            target = target / flat.points.stride[:, None]
        pred = flat.reg.where(positive[..., None], target)
        # weighted below: given weights, the loss synchronizes
        terms = self.loss_bbox(
            self._decode(flat, pred),
            self._decode(flat, target),
            reduction_override='none',
        ).view(gt.shape)
        box, weight = fcos.box_loss(
            terms, central, positive, self.weight_reg_by_centerness
        )
        local = torch.stack((positive.sum().to(weight), weight))
        num_pos, weight = reduce_mean(local)
        num_pos = num_pos.clamp(min=1).float()  # a count, as in mmdet
        norm = num_pos
        if self.weight_reg_by_centerness:
            norm = weight.clamp(min=1e-6)
        scores = flat.cls.flatten(0, 1)
        losses = dict(
            loss_cls=self.loss_cls(
                scores, labels.flatten(), avg_factor=num_pos
            ),
            loss_bbox=weight_reduce_loss(box, avg_factor=norm),
        )
        if flat.factor is not None:
            losses['loss_centerness'] = self.loss_centerness(
                flat.factor.flatten(),
                central.flatten(),
                positive.to(central).flatten(),
                avg_factor=num_pos,
            )
        if getattr(self.loss_cls, 'custom_accuracy', False):
            losses |= self.loss_cls.get_accuracy(scores, labels.flatten())
        return losses

    def _distances(self, flat: FlatPoints, gt: Tensor) -> Tensor:
        """Targets (B, P, 4) in pixels; 1 for negatives, finite and small."""
        ltrb = box_distances(flat.points.xy, gather_gts(flat.boxes, gt))
        return ltrb.where((gt >= 0)[..., None], 1)

    def _decode(self, flat: FlatPoints, ltrb: Tensor) -> Tensor:
        xy = flat.points.xy.expand(len(ltrb), -1, -1)
        return self.bbox_coder.decode(xy.flatten(0, 1), ltrb.flatten(0, 1))

    def assigned(self, flat: FlatPoints) -> tuple[Tensor, Tensor]:
        """The assignment; positives weigh what they weigh in the box loss.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            tuple: Index (B, P), -1 without one, and weight (B, P).
        """
        gt, weight = super().assigned(flat)
        if self.weight_reg_by_centerness:
            central = centerness(self._distances(flat, gt))
            weight = central.where(gt >= 0, weight)
        return gt, weight
