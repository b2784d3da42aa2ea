"""The feature-selection network of SAPD."""

from collections.abc import Sequence

import torch
from mmcv.ops import RoIAlign
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_ROI_SIZE = 7
_MAX_ROIS = 512


@MODELS.register_module()
class FeatureSelectNet(BaseModule):
    """Predicts how well each pyramid level suits each ground truth.

    RoIAlign cuts the same box out of every level (each with its own stride),
    the 7x7 features are concatenated on channels, and three unpadded 3x3
    convolutions with ReLU and a linear layer give one logit per level.
    Training only; detectors don't touch it at inference.

    Paper: Soft Anchor-Point Object Detection, ECCV 2020, arXiv 1911.12448,
    section 3.3 ("meta-selection network").

    Differences from the re-implementation (xuannianz/SAPD): RoIAlign with
    ``sampling_ratio`` samples per bin side instead of crop-and-resize with one
    sample; no option restores it.

    Args:
        in_channels: Channels of each level; 256 in the paper.
        strides: Stride of each of the L levels in pixels.
        channels: Width of the convolutions; ``in_channels`` by default.
        sampling_ratio: Samples per side of a RoIAlign bin; at least 1.
        init_cfg: Initialization; N(0, 0.01), bias 0 as in the paper.
    """

    def __init__(
        self,
        in_channels: int,
        strides: Sequence[int],
        channels: int | None = None,
        sampling_ratio: int = 2,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(
            init_cfg
            or dict(type='Normal', layer=['Conv2d', 'Linear'], std=0.01)
        )
        if sampling_ratio < 1:
            # an adaptive ratio divides by zero for boxes without area
            raise ValueError(
                f'sampling_ratio must be at least 1, got {sampling_ratio}'
            )
        channels = in_channels if channels is None else channels
        widths = [in_channels * len(strides), channels, channels]
        self.roi_aligns = nn.ModuleList(
            RoIAlign(_ROI_SIZE, 1 / stride, sampling_ratio, aligned=True)
            for stride in strides
        )
        self.convs = nn.ModuleList(nn.Conv2d(c, channels, 3) for c in widths)
        self.fc = nn.Linear(channels, len(strides))

    def forward(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Level logits of boxes.

        Args:
            feats: L feature maps (B, in_channels, H_l, W_l).
            rois: (N, 5) index of the image and x1, y1, x2, y2 in pixels.

        Returns:
            Tensor: (N, L) logits.

        Raises:
            ValueError: As many feature maps as strides are expected.
        """
        if len(feats) != len(self.roi_aligns):
            raise ValueError(
                f'feats has {len(feats)} levels, but the network was built '
                f'for {len(self.roi_aligns)}'
            )
        # mmcv's kernels know no bfloat16 and misread other memory formats
        dtype = self.fc.weight.dtype
        feats = [feat.to(dtype).contiguous() for feat in feats]
        rois = rois.to(dtype)
        parts = rois.split(_MAX_ROIS)
        if len(parts) == 1:
            return self._logits(rois, *feats)
        # RoI features take 250 kB per box: of a crowd they are made twice
        # rather than kept for the backward pass
        return torch.cat(
            [
                checkpoint(self._logits, part, *feats, use_reentrant=False)
                for part in parts
            ]
        )

    def _logits(self, rois: Tensor, *feats: Tensor) -> Tensor:
        pooled = [
            align(feat, rois)
            for align, feat in zip(self.roi_aligns, feats, strict=True)
        ]
        return self.head(torch.cat(pooled, 1))

    def head(self, roi_feats: Tensor) -> Tensor:
        """Level logits (N, L) of RoI features (N, L * in_channels, 7, 7)."""
        for conv in self.convs:
            roi_feats = conv(roi_feats).relu()
        return self.fc(roi_feats.flatten(1))
