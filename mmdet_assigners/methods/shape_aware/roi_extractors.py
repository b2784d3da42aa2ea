"""RoI extractors that look at the shape of an object."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads.roi_extractors import (
    BaseRoIExtractor,
    SingleRoIExtractor,
)
from mmdet.registry import MODELS
from torch import Tensor

from ...models.checks import pick
from .functional import masked_roi_align, relative_rois

# whether the mask multiplies every sample, and what is added to it
_MODES = dict(
    pooled_amplify=(False, 1.0),
    pooled_mask=(False, 0.0),
    sample_amplify=(True, 1.0),
    sample_mask=(True, 0.0),
)


@MODELS.register_module()
class ShapeGuidedRoIExtractor(SingleRoIExtractor):
    """``SingleRoIExtractor`` whose features are weighted by a mask.

    Shape-guided RoIAlign of Deeply Shape-guided Cascade for Instance
    Segmentation, CVPR 2021, arXiv 1911.11263. Without masks it is mmdet's.

    Args:
        *args: Of ``SingleRoIExtractor``.
        mode: ``'sample_amplify'``: each sample times 1 + m, the equation of
            the paper; ``'pooled_amplify'``: each bin times 1 + the mean of m,
            the official code; ``'sample_mask'`` and ``'pooled_mask'``: times
            m, which leaves nothing of the context.
        detach_mask: No gradient to the masks.
        **kwargs: Of ``SingleRoIExtractor``.

    Raises:
        ValueError: There is no such mode.
    """

    def __init__(
        self,
        *args: object,
        mode: str = 'pooled_amplify',
        detach_mask: bool = False,
        **kwargs: object,
    ) -> None:
        self.by_sample, self.context = pick(_MODES, mode, 'mode')
        super().__init__(*args, **kwargs)
        self.detach_mask = detach_mask

    def forward(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None = None,
        masks: Tensor | None = None,
    ) -> Tensor:
        """Features of RoIs.

        Args:
            feats: L maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            roi_scale_factor: Enlarges the RoIs about their centers; their
                levels are those of the original RoIs.
            masks: (N, 1, S, S) logits in the frames of the (enlarged) RoIs.

        Returns:
            Tensor: (N, channels, height, width).

        Raises:
            ValueError: The masks are not one for each RoI.
        """
        if masks is None:
            return super().forward(feats, rois, roi_scale_factor)
        if masks.shape[:2] != (len(rois), 1):
            raise ValueError(
                f'masks must be ({len(rois)}, 1, S, S), got '
                f'{tuple(masks.shape)}'
            )
        if self.detach_mask:
            masks = masks.detach()
        wide = torch.promote_types(masks.dtype, torch.float32)
        masks = masks.to(wide).sigmoid().to(feats[0].dtype)
        if self.by_sample:
            found = self._by_sample(feats, rois, roi_scale_factor, masks)
            if not self.context:
                return found
            plain = super().forward(feats, rois, roi_scale_factor)
            return plain * self.context + found
        plain = super().forward(feats, rois, roi_scale_factor)
        pooled = F.adaptive_avg_pool2d(masks, plain.shape[-2:])
        return plain * (self.context + pooled)

    def _by_sample(
        self,
        feats: Sequence[Tensor],
        rois: Tensor,
        roi_scale_factor: float | None,
        masks: Tensor,
    ) -> Tensor:
        """Means of feature times mask, (N, channels, height, width)."""
        rois = rois.to(feats[0].dtype)
        levels = self.map_roi_levels(rois, len(feats))
        if roi_scale_factor is not None:
            rois = self.roi_rescale(rois, roi_scale_factor)
        size = self.roi_layers[0].output_size
        out = feats[0].new_zeros(len(rois), self.out_channels, *size)
        for level, (feat, layer) in enumerate(
            zip(feats, self.roi_layers, strict=True)
        ):
            rows = (levels == level).nonzero()[:, 0]
            found = masked_roi_align(
                feat,
                rois[rows],
                masks[rows],
                size,
                layer.spatial_scale,
                layer.sampling_ratio,
                layer.aligned,
            )
            # all levels and masks in the graph, for DDP
            out = out.index_add(0, rows, found) + feat.sum() * 0
        return out + masks.sum() * 0


@MODELS.register_module()
class RelativeRoIExtractor(BaseRoIExtractor):
    """Features of RoIs from the maps of other RoIs.

    Deeply Shape-guided Cascade for Instance Segmentation, CVPR 2021, arXiv
    1911.11263: what the mask head of the last stage saw, aligned with the
    RoIs of this stage.

    Args:
        roi_layer: RoIAlign.
        out_channels: Channels of the maps.
        init_cfg: Initialization.
    """

    def __init__(
        self,
        roi_layer: dict,
        out_channels: int,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, [1], init_cfg)

    def forward(self, feats: Tensor, rois: Tensor, frames: Tensor) -> Tensor:
        """Features of RoIs.

        Args:
            feats: (N, channels, S, S), a map for each RoI.
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            frames: (N, 5), the RoIs whose features the maps are.

        Returns:
            Tensor: (N, channels, height, width).
        """
        layer = self.roi_layers[0]
        if len(rois) == 0:
            size = layer.output_size
            return feats.new_zeros(0, self.out_channels, *size)
        # RoIAlign knows no bfloat16
        wide = torch.promote_types(feats.dtype, torch.float32)
        relative = relative_rois(rois, frames, tuple(feats.shape[-2:]))
        return layer(feats.to(wide), relative.to(wide)).to(feats.dtype)
