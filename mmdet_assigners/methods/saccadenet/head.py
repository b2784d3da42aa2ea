"""SaccadeNet's head: CenterNet's, with a second look at the corners."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from torch import Tensor

from ...models.dense_heads.center_point_head import (
    CLAMP,
    HEATMAP_BIAS,
    CenterPointHead,
)
from ...models.dense_heads.loss_inputs import LossInputs
from ...ops import heatmaps
from .aggregation import AggregationAttention

CORNERS = 4


@MODELS.register_module()
class SaccadeHead(CenterPointHead):
    """Refines CenterNet's sizes by features at the corners of the boxes.

    A branch for heat maps of corners, which is trained with the rest and does
    not run in prediction, makes the features attend to them.

    Source: arXiv 2003.12125, voidrank/SaccadeNet.

    Args:
        in_channels: Channels of the map.
        feat_channels: Channels between the two convolutions of a branch.
        num_classes: Number C of classes.
        agg_mode: Where features are sampled, see ``AggregationAttention``.
        refine_offset: Also correct the offset (``ctreg`` of the official
            code, which trains it with a loss of the first offset; here it has
            a loss of its own).
        single_channel: Draw the corners of all four kinds in one channel, as
            the released code does; by default each has its own.
        loss_corner: Loss of the heat maps of corners.
        loss_final_wh: Loss of the corrected sizes.
        loss_final_offset: Loss of the corrected offsets.
        **kwargs: As of ``CenterPointHead``, without stacks, sizes of classes
            and mmdet's rule.

    Raises:
        ValueError: One of those, or no such ``agg_mode``.
    """

    out_names = (
        'center_heatmap_preds',
        'wh_preds',
        'offset_preds',
        'final_wh_preds',
        'final_offset_preds',
        'corner_preds',
    )

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_classes: int,
        agg_mode: str = 'corners',
        refine_offset: bool = False,
        single_channel: bool = False,
        loss_corner: dict | None = None,
        loss_final_wh: dict | None = None,
        loss_final_offset: dict | None = None,
        **kwargs: Any,
    ) -> None:
        for name, fixed in (
            ('num_stacks', 1),
            ('class_sizes', False),
            ('gaussian_rule', 'official'),
        ):
            if kwargs.get(name, fixed) != fixed:
                raise ValueError(
                    f'SaccadeHead takes {name}={fixed!r} alone, got '
                    f'{kwargs[name]!r}'
                )
        super().__init__(in_channels, feat_channels, num_classes, **kwargs)
        self.refine_offset = refine_offset
        self.single_channel = single_channel
        self.agg_att = AggregationAttention(
            in_channels, feat_channels, 4 if refine_offset else 2, agg_mode
        )
        self.corner_head = self._build_head(
            in_channels, feat_channels, CORNERS
        )
        self.loss_corner = MODELS.build(
            loss_corner or dict(type='GaussianFocalLoss', loss_weight=1.0)
        )
        self.loss_final_wh = MODELS.build(
            loss_final_wh or dict(type='L1Loss', loss_weight=0.1)
        )
        self.loss_final_offset = MODELS.build(
            loss_final_offset or dict(type='L1Loss', loss_weight=1.0)
        )

    def init_weights(self) -> None:
        """Initialize as ``CenterPointHead``; corrections start at zero."""
        super().init_weights()
        self.agg_att.init_weights()
        self.corner_head[-1].bias.data.fill_(HEATMAP_BIAS)

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: Sequence[Any]
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            x: One map (B, C_in, H, W).
            batch_data_samples: B samples with ground truths.
        """
        outs = self.forward(x, corners=True)
        gts, ignored, metas = unpack_gt_instances(batch_data_samples)
        return self.loss_by_feat(*outs, gts, metas, ignored)

    def predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: Sequence[Any],
        rescale: bool = False,
    ) -> InstanceList:
        """Detect in a batch of images.

        Args:
            x: One map (B, C_in, H, W).
            batch_data_samples: B samples with meta information.
            rescale: Return boxes in the original images.
        """
        metas = [sample.metainfo for sample in batch_data_samples]
        heatmap, sizes, offsets, *final = self.forward(x, corners=False)
        return self.predict_by_feat(
            heatmap,
            sizes,
            offsets,
            final[0],
            final[1],
            batch_img_metas=metas,
            rescale=rescale,
        )

    def forward(
        self, x: Sequence[Tensor], corners: bool | None = None
    ) -> tuple[list[Tensor], ...]:
        """Predict from one map.

        Args:
            x: One map (B, C_in, H, W).
            corners: Also predict the heat maps of corners; by default in
                training.

        Returns:
            tuple: Probabilities (B, C, H, W), sizes and offsets (B, 2, H, W),
            the corrected ones and, where asked for, probabilities of corners
            (B, 4, H, W), each a list of one tensor.
        """
        outs = super().forward(x)
        (feats,), (sizes,), (offsets,) = x, outs[1], outs[2]
        change = self.agg_att(feats, sizes)
        final_sizes = change[:, :2] + sizes.detach()
        final_offsets = offsets
        if self.refine_offset:
            final_offsets = change[:, 2:] + offsets.detach()
        outs = (*outs, [final_sizes], [final_offsets])
        if self.training if corners is None else corners:
            logits = self.corner_head(feats)
            dtype = torch.promote_types(logits.dtype, torch.float32)
            outs = (*outs, [logits.to(dtype).sigmoid()])
        return outs

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: Of ``loss_by_feat``, maps (B, channels, H, W).

        Returns:
            dict: Those of ``CenterPointHead``, ``loss_corner``,
            ``loss_final_wh`` and, with ``refine_offset``,
            ``loss_final_offset``.
        """
        targets = self.center_targets(inputs)
        corners = self.corner_targets(inputs, targets)
        return self.saccade_losses(
            targets, corners, *(maps for (maps,) in inputs.outs)
        )

    def saccade_losses(
        self,
        targets: heatmaps.CenterTargets,
        corners: Tensor,
        heatmap: Tensor,
        sizes: Tensor,
        offsets: Tensor,
        final_sizes: Tensor,
        final_offsets: Tensor,
        corner_probs: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of a batch, see :meth:`batch_losses`.

        Args:
            targets: Of the centers.
            corners: (B, 4, H, W) heat maps of the corners.
            heatmap: (B, C, H, W) probabilities.
            sizes: (B, 2, H, W) in cells.
            offsets: (B, 2, H, W) in cells.
            final_sizes: (B, 2, H, W) in cells.
            final_offsets: (B, 2, H, W) in cells.
            corner_probs: (B, 4, H, W) probabilities.
        """
        losses = self.stack_losses(targets, heatmap, sizes, offsets)
        # weight 4 in the official code, divided by the number of kinds
        losses['loss_corner'] = self.loss_corner(
            corner_probs.clamp(CLAMP, 1 - CLAMP),
            corners,
            avg_factor=(corners == 1).sum().clamp(min=1),
        )
        losses['loss_final_wh'] = self.object_loss(
            self.loss_final_wh, final_sizes, targets.size, targets
        )
        if self.refine_offset:
            losses['loss_final_offset'] = self.object_loss(
                self.loss_final_offset, final_offsets, targets.offset, targets
            )
        return losses

    def corner_targets(
        self, inputs: LossInputs, targets: heatmaps.CenterTargets
    ) -> Tensor:
        """Heat maps (B, 4, H, W) of the corners of all objects."""
        boxes = self.objects(inputs)[0]
        size = tuple(inputs.outs[0][0].shape[2:])
        return corner_maps(boxes, targets, size, self.single_channel)

    def predict_by_feat(  # type: ignore[override]
        self,
        center_heatmap_preds: Sequence[Tensor],
        wh_preds: Sequence[Tensor],
        offset_preds: Sequence[Tensor],
        final_wh_preds: Sequence[Tensor],
        final_offset_preds: Sequence[Tensor],
        corner_preds: Sequence[Tensor] | None = None,
        batch_img_metas: Sequence[dict] | None = None,
        rescale: bool = True,
        with_nms: bool = False,
        cfg: ConfigDict | None = None,
    ) -> InstanceList:
        """Detections with the corrected sizes and offsets.

        Args:
            center_heatmap_preds: One map (B, C, H, W) of probabilities.
            wh_preds: One map (B, 2, H, W), not used.
            offset_preds: One map (B, 2, H, W), not used.
            final_wh_preds: One map (B, 2, H, W).
            final_offset_preds: One map (B, 2, H, W).
            corner_preds: One map (B, 4, H, W), not used.
            batch_img_metas: Meta information of B images.
            rescale: Return boxes in the original images.
            with_nms: Remove duplicates by ``nms`` of the config.
            cfg: Replaces ``test_cfg``.

        Returns:
            list: B instances, as of ``CenterPointHead``.
        """
        return super().predict_by_feat(
            center_heatmap_preds,
            final_wh_preds,
            final_offset_preds,
            batch_img_metas,
            rescale,
            with_nms,
            cfg,
        )

    def merge_mirrored(  # type: ignore[override]
        self,
        heatmap: Tensor,
        sizes: Tensor,
        offsets: Tensor,
        final_sizes: Tensor,
        final_offsets: Tensor,
    ) -> tuple[list[Tensor], ...]:
        """Predictions of images, averaged with those of their mirror images.

        Offsets are those of the plain images.

        Args:
            heatmap: Shape (N, C, H, W) of N = 2 B images, the mirrored ones
                at the end.
            sizes: Shape (N, 2, H, W), as the following.
            offsets: Of the first stage.
            final_sizes: Corrected.
            final_offsets: Corrected.

        Returns:
            tuple: The arguments of :meth:`predict_by_feat` for B images.
        """
        merged = super().merge_mirrored(heatmap, final_sizes, final_offsets)
        plain = ([maps.chunk(2)[0]] for maps in (sizes, offsets))
        return (merged[0], *plain, *merged[1:])


def corner_maps(
    boxes: Tensor,
    targets: heatmaps.CenterTargets,
    size: tuple[int, int],
    single_channel: bool = False,
) -> Tensor:
    """Heat maps of the corners of all classes, with the radius of the center.

    Args:
        boxes: (B, G, 4) in cells.
        targets: Of their centers.
        size: (H, W) of the map.
        single_channel: Draw all corners in the first channel.

    Returns:
        Shape (B, 4, H, W), in the order top left, top right, bottom left,
        bottom right.
    """
    height, width = size
    limit = boxes.new_tensor((width - 1, height - 1) * 2)
    clipped = boxes.clamp(min=0).minimum(limit)
    valid = targets.valid[..., None].expand(-1, -1, CORNERS)
    # [B, G, 4 corners, x and y]
    corners = clipped[..., [0, 1, 2, 1, 0, 3, 2, 3]].unflatten(-1, (4, 2))
    cells = corners.where(valid[..., None], 0).long()
    kinds = torch.arange(CORNERS, device=boxes.device).expand_as(valid)
    if single_channel:
        kinds = torch.zeros_like(kinds)
    return heatmaps.draw_gaussians(
        (len(boxes), CORNERS, height, width),
        kinds.flatten(1),
        cells.flatten(1, 2),
        targets.radius.repeat_interleave(CORNERS, 1),
        valid.flatten(1),
        boxes.dtype,
    )
