"""Features of pairs of proposals."""

import torch
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor

from ...models.checks import pick
from .functional import visible_mask

_MODES = dict(mask=2, concat=2, full=1)
_RULES = dict.fromkeys(('center', 'area'), True)


@MODELS.register_module()
class PairedRoIExtractor(SingleRoIExtractor):
    """RoIAlign of the full and of the visible proposal, side by side.

    Paired Proposal Feature Extractor of NMS by Representative Region, CVPR
    2020, arXiv 2003.12729. The box head has ``in_channels`` of both.

    Args:
        *args: Of ``SingleRoIExtractor``.
        mode: ``'mask'``, features of the full box are 0 outside the visible
            box (the paper's visible attention); ``'concat'``, they stay;
            ``'full'``, features of the full box alone, half the channels.
        mask_rule: What a bin of the mask is: ``'center'``, whether its center
            is in the visible box; ``'area'``, the share that the box covers.
        share_level: The visible box has the pyramid level of the full box,
            instead of its own.
        **kwargs: Of ``SingleRoIExtractor``.

    Raises:
        ValueError: An unknown ``mode`` or ``mask_rule``.
    """

    def __init__(
        self,
        *args: object,
        mode: str = 'mask',
        mask_rule: str = 'center',
        share_level: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        pick(_MODES, mode, 'mode')
        pick(_RULES, mask_rule, 'mask_rule')
        self.mode = mode
        self.mask_rule = mask_rule
        self.share_level = share_level

    def forward(
        self,
        feats: tuple[Tensor, ...],
        rois: Tensor,
        roi_scale_factor: float | None = None,
    ) -> Tensor:
        """Features of N pairs.

        Args:
            feats: L maps (B, channels, H_l, W_l).
            rois: (N, 9) image index, full and visible box in pixels.
            roi_scale_factor: Enlarges the boxes.

        Returns:
            Tensor: (N, 2 channels, height, width), first of the full box; in
            mode ``'full'`` (N, channels, height, width).

        Raises:
            ValueError: RoIs are no pairs.
        """
        if rois.shape[1] != 9:
            raise ValueError(
                'PairedRoIExtractor needs pairs, rois (N, 9), got '
                f'{tuple(rois.shape)}: use it in a PairedRoIHead behind a '
                'PairedRPNHead'
            )
        full = rois[:, :5].contiguous()  # mmcv's operator needs it
        visible = torch.cat((rois[:, :1], rois[:, 5:]), 1)
        found = super().forward(feats, full, roi_scale_factor)
        if self.mode == 'full':
            return found
        if self.mode == 'mask':
            found = found * self.mask(rois).to(found)
        if self.share_level:
            second = self._on_levels(feats, full, visible, roi_scale_factor)
        else:
            second = super().forward(feats, visible, roi_scale_factor)
        return torch.cat((found, second), 1)

    def mask(self, rois: Tensor) -> Tensor:
        """Masks (N, 1, height, width) of pairs (N, 9)."""
        size = self.roi_layers[0].output_size
        return visible_mask(rois[:, 1:5], rois[:, 5:], size, self.mask_rule)

    def _on_levels(
        self,
        feats: tuple[Tensor, ...],
        full: Tensor,
        visible: Tensor,
        roi_scale_factor: float | None,
    ) -> Tensor:
        """Features of visible boxes on the levels of their full boxes."""
        levels = self.map_roi_levels(full, len(feats))
        if roi_scale_factor is not None:
            visible = self.roi_rescale(visible, roi_scale_factor)
        size = self.roi_layers[0].output_size
        found = feats[0].new_zeros(len(full), self.out_channels, *size)
        for level, feat in enumerate(feats):
            index = (levels == level).nonzero()[:, 0]
            if len(index):
                own = visible[index].to(feat)
                found[index] = self.roi_layers[level](feat, own)
        return found
