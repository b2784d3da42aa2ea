"""Base class of heads whose points predict distances to the box sides."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads import AnchorFreeHead
from mmdet.models.utils import multi_apply, unpack_gt_instances
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ...models.dense_heads.distance_init import distance_init
from ...ops.anchor_points import AnchorPoints, anchor_points


class DistanceHead(AnchorFreeHead):
    """Two towers, class logits and rectified distances in units of z * stride.

    For methods that differ in training only. A subclass writes
    ``loss_by_feat``, which also receives the feature maps.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        feat_channels: Width of the towers.
        stacked_convs: Convolutions per tower.
        strides: Stride of each of the L levels in pixels.
        z: Normalizer of distances in strides.
        with_centerness: Predict centerness logits on the regression tower and
            multiply scores by their sigmoid.
        dcn_on_last_conv: Deformable last convolution of the towers.
        conv_bias: Bias of the towers; 'auto' if there is no norm.
        loss_cls: Config of the classification loss.
        loss_bbox: Config of the box loss.
        conv_cfg: Config of the towers' convolutions.
        norm_cfg: Config of the towers' norm.
        train_cfg: Config for training.
        test_cfg: Config of the post-processing.
        distance_bias: Initial bias of the distances.
        init_cfg: Initialization; by default N(0, 0.01), class prior 0.01 and
            ``distance_bias``, which is used by the default alone.

    Raises:
        ValueError: ``z`` or ``distance_bias`` is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int,
        stacked_convs: int,
        strides: Sequence[int],
        z: float,
        with_centerness: bool,
        dcn_on_last_conv: bool,
        conv_bias: bool | str,
        loss_cls: dict,
        loss_bbox: dict,
        conv_cfg: dict | None,
        norm_cfg: dict | None,
        train_cfg: dict | None,
        test_cfg: dict | None,
        distance_bias: float,
        init_cfg: dict | list | None,
    ) -> None:
        if not z > 0:
            raise ValueError(f'z must be positive, got {z}')
        self.z = z
        self.with_centerness = (
            with_centerness  # read by the parent's constructor
        )
        super().__init__(
            num_classes,
            in_channels,
            feat_channels,
            stacked_convs,
            strides,
            dcn_on_last_conv,
            conv_bias,
            loss_cls,
            loss_bbox,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg
            or distance_init(['conv_cls'], 'conv_reg', distance_bias),
        )

    def _init_predictor(self) -> None:
        super()._init_predictor()
        if self.with_centerness:
            self.conv_centerness = nn.Conv2d(
                self.feat_channels, 1, 3, padding=1
            )

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Predictions of all levels.

        Args:
            x: L feature maps (B, in_channels, H_l, W_l).

        Returns:
            tuple: Lists over the L levels: class logits (B, C, H_l, W_l),
            distances (B, 4, H_l, W_l), at least 0, in units of z * stride
            and, ``with_centerness``, its logits (B, 1, H_l, W_l).
        """
        return multi_apply(self.forward_single, x)

    def forward_single(self, x: Tensor) -> tuple[Tensor, ...]:
        """Predictions of one level (B, in_channels, H_l, W_l)."""
        cls_score, bbox_pred, _, reg_feat = super().forward_single(x)
        if self.with_centerness:
            return cls_score, bbox_pred.relu(), self.conv_centerness(reg_feat)
        return cls_score, bbox_pred.relu()

    def loss(self, x: Sequence[Tensor], batch_data_samples: list) -> dict:
        """Losses of a batch, see ``loss_by_feat``.

        Args:
            x: L feature maps (B, in_channels, H_l, W_l).
            batch_data_samples: B data samples.

        Returns:
            dict: Loss name -> scalar.
        """
        return self._loss(x, self(x), batch_data_samples)

    def loss_and_predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: list,
        proposal_cfg: ConfigDict | None = None,
    ) -> tuple[dict, InstanceList]:
        """Losses and detections of one forward pass.

        Args:
            x: L feature maps (B, in_channels, H_l, W_l).
            batch_data_samples: B data samples.
            proposal_cfg: Post-processing instead of ``test_cfg``.

        Returns:
            tuple: What :meth:`loss` and :meth:`predict` return.
        """
        outs = self(x)
        losses = self._loss(x, outs, batch_data_samples)
        detections = self.predict_by_feat(
            outs[0],
            outs[1],
            outs[2] if self.with_centerness else None,
            [sample.metainfo for sample in batch_data_samples],
            proposal_cfg,
        )
        return losses, detections

    def _loss(
        self,
        x: Sequence[Tensor],
        outs: tuple[list[Tensor], ...],
        samples: list,
    ) -> dict:
        gts, ignored, metas = unpack_gt_instances(samples)
        centernesses = outs[2] if self.with_centerness else None
        return self.loss_by_feat(
            outs[0], outs[1], gts, metas, ignored, centernesses, x
        )

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
            bbox_preds: L distances (B, 4, H_l, W_l) in units of z * stride.
            score_factors: L centerness logits (B, 1, H_l, W_l), if there are.
            batch_img_metas: B dicts.
            cfg: Post-processing instead of ``test_cfg``.
            rescale: Boxes in pixels of the original image.
            with_nms: Suppress overlapping boxes.

        Returns:
            list: B instances with bboxes (N, 4), scores and labels (N,).
        """
        pixels = [
            pred * (self.z * stride)
            for pred, stride in zip(bbox_preds, self.strides, strict=True)
        ]
        return super().predict_by_feat(
            cls_scores,
            pixels,
            score_factors,
            batch_img_metas=batch_img_metas,
            cfg=cfg,
            rescale=rescale,
            with_nms=with_nms,
        )

    def get_targets(
        self, points: list[Tensor], batch_gt_instances: InstanceList
    ) -> None:
        """Not used; targets (B, P) may depend on the predictions."""
        raise NotImplementedError(
            f'{type(self).__name__} has no get_targets: its targets may '
            'depend on the predictions; use get_assignment'
        )

    def points(self, levels: Sequence[Tensor]) -> AnchorPoints:
        """The P points of L maps (B, K, H_l, W_l), at least float32."""
        return anchor_points(
            [level.shape[-2:] for level in levels],
            self.strides,
            device=levels[0].device,
            dtype=torch.promote_types(levels[0].dtype, torch.float32),
        )
