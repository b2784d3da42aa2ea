"""Discriminative RoI pooling of D2Det."""

import functools

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from torch import Tensor, nn

from ...models.checks import pick
from ...ops.anchor_points import move_ends
from ...ops.deform_roi_pool import deform_roi_pool


class WeightedPool(nn.Module):
    """Average pooling with weights that are learned from the features.

    The weights are exp(coeff sigmoid(IN(conv(x)))), up to 1.6e5 for 12:
    they are computed in float32. They start equal.

    Args:
        channels: Of the input.
        coeff: Scale of the exponent.
        kernel_size: Of the pooling.
        stride: Of the pooling.
        padding: Zeros around, which do not count.
        eps: Of the instance norm.
    """

    def __init__(
        self,
        channels: int,
        coeff: float = 12.0,
        kernel_size: int = 3,
        stride: int = 2,
        padding: int = 1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.coeff = coeff
        self.window = (kernel_size, stride, padding)
        self.weight = nn.Sequential()
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(conv.weight)
        self.weight.add_module('conv', conv)
        norm = nn.InstanceNorm2d(channels, eps=eps, affine=True)
        self.weight.add_module('bn', norm)

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, H, W) to (N, C, H', W')."""
        dtype = x.dtype
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(torch.promote_types(dtype, torch.float32))
            weight = (self.coeff * self.weight(x).sigmoid()).exp()
            out = F.avg_pool2d(x * weight, *self.window)
            return (out / F.avg_pool2d(weight, *self.window)).to(dtype)


class DiscriminativeRoIPool(BaseModule):
    """RoI features for classification, of one level.

    D2Det, CVPR 2020, section 3.2. Offsets of P x P bins are predicted from a
    small plain pooling and double in number; 2P x 2P bins are pooled with
    them and weighted down to P x P.

    Args:
        output_size: P.
        spatial_scale: 1 / stride.
        in_channels: Of the level.
        fc_out_channels: Width of the two layers that predict offsets.
        sampling_ratio: Samples per bin and axis: 2, or 1 in the official
            R-101 configs.
        gamma: Unit of the offsets in sides of the RoI.
        light_size: Bins per axis of the plain pooling.
        coeff: Of :class:`WeightedPool`.
        pool_mode: Of ``deform_roi_pool``.
    """

    def __init__(
        self,
        output_size: int,
        spatial_scale: float,
        in_channels: int = 256,
        fc_out_channels: int = 1024,
        sampling_ratio: int = 2,
        gamma: float = 0.1,
        light_size: int = 3,
        coeff: float = 12.0,
        pool_mode: str = 'aligned',
    ) -> None:
        super().__init__()
        pick(dict(aligned=0, legacy=0), pool_mode, 'pool_mode')
        self.output_size = (output_size, output_size)
        self.spatial_scale = spatial_scale
        self.light_size = light_size
        self.pool = functools.partial(
            deform_roi_pool,
            mode=pool_mode,
            sampling_ratio=sampling_ratio,
            gamma=gamma,
        )
        self.offset_fc = nn.Sequential(
            nn.Linear(in_channels * light_size**2, fc_out_channels),
            nn.ReLU(inplace=True),
            nn.Linear(fc_out_channels, fc_out_channels),
            nn.ReLU(inplace=True),
            nn.Linear(fc_out_channels, 2 * output_size**2),
        )
        nn.init.zeros_(self.offset_fc[-1].weight)
        nn.init.zeros_(self.offset_fc[-1].bias)
        self.awp = WeightedPool(in_channels, coeff)

    def light(self, feat: Tensor, rois: Tensor) -> Tensor:
        """Plain pooling of (B, C, H, W) by RoIs (N, 5)."""
        return self.pool(feat, rois, self.light_size, self.spatial_scale)

    def offsets(self, light: Tensor) -> Tensor:
        """Offsets (N, 2, P, P), x first, of features (N, C, 3, 3)."""
        return self.offset_fc(light.flatten(1)).view(-1, 2, *self.output_size)

    def oversampled(
        self, feat: Tensor, rois: Tensor, offsets: Tensor
    ) -> Tensor:
        """Deformable pooling to (N, C, 2P, 2P)."""
        return self.pool(
            feat,
            rois,
            2 * self.output_size[0],
            self.spatial_scale,
            F.interpolate(offsets, scale_factor=2, mode='nearest'),
        )

    def forward(self, feat: Tensor, rois: Tensor) -> Tensor:
        """Features (N, C, P, P) of RoIs (N, 5) on a level (B, C, H, W)."""
        offsets = self.offsets(self.light(feat, rois))
        return self.awp(self.oversampled(feat, rois, offsets))


@MODELS.register_module()
class DiscriminativeRoIExtractor(SingleRoIExtractor):
    """``SingleRoIExtractor`` of :class:`DiscriminativeRoIPool`, one per level.

    D2Det: Towards High Quality Object Detection and Instance Segmentation,
    CVPR 2020. The levels have weights of their own. RoIs have exclusive
    corners in both modes of the pooling.

    Args:
        roi_layer: Arguments of ``DiscriminativeRoIPool``, no ``spatial_scale``
            and no ``type``.
        out_channels: Channels of the levels.
        featmap_strides: Of the levels in pixels.
        finest_scale: RoIs below twice this scale are on the first level.
        init_cfg: Initialization.
    """

    def build_roi_layers(
        self, layer_cfg: ConfigDict, featmap_strides: list[int]
    ) -> nn.ModuleList:
        """A pooling for each level."""
        self.legacy = layer_cfg.get('pool_mode') == 'legacy'
        return nn.ModuleList(
            DiscriminativeRoIPool(spatial_scale=1 / stride, **layer_cfg)
            for stride in featmap_strides
        )

    def forward(
        self,
        feats: tuple[Tensor, ...],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Features of RoIs.

        Args:
            feats: L maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            roi_scale_factor: Enlarges the RoIs.

        Returns:
            Tensor: (N, channels, P, P).
        """
        if self.legacy:  # takes the last pixel
            rois = move_ends(rois, -1)
        return super().forward(feats, rois, roi_scale_factor)

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """Levels (N,) of the RoIs (N, 5) that :meth:`forward` pools."""
        if self.legacy:
            rois = move_ends(rois, 1)
        return super().map_roi_levels(rois, num_levels)
