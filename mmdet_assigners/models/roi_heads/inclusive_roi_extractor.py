"""RoIAlign of Detectron and maskrcnn-benchmark."""

from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from mmdet.registry import MODELS
from torch import Tensor

from ...ops.anchor_points import move_ends


@MODELS.register_module()
class InclusiveRoIExtractor(SingleRoIExtractor):
    """RoIs that are sampled up to their last pixel, for released weights.

    In Detectron and maskrcnn-benchmark x2 and y2 of a RoI are its last pixel.
    The level of a RoI depends on its size, x2 - x1 + 1, but RoIAlign samples
    between x1 and x2. Here boxes are exclusive: the level is that of the whole
    box, RoIAlign gets a box that is a pixel smaller. Goes with
    ``roi_layer=dict(aligned=False, sampling_ratio=2)``.

    Takes the arguments of ``SingleRoIExtractor``.
    """

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
            roi_scale_factor: Enlarges the RoIs about their centers; their
                levels are those of the original RoIs.

        Returns:
            Tensor: (N, channels, height, width).
        """
        return super().forward(feats, move_ends(rois, -1), roi_scale_factor)

    def map_roi_levels(self, rois: Tensor, num_levels: int) -> Tensor:
        """Levels (N,) of RoIs (N, 5) whose x2 and y2 are the last pixel."""
        return super().map_roi_levels(move_ends(rois, 1), num_levels)

    def roi_rescale(self, rois: Tensor, scale_factor: float) -> Tensor:
        """Enlarged RoIs (N, 5) whose x2 and y2 are the last pixel."""
        rois = super().roi_rescale(move_ends(rois, 1), scale_factor)
        return move_ends(rois, -1)
