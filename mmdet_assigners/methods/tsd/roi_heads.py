"""RoI heads of TSD."""

from collections.abc import Sequence

from mmdet.registry import MODELS
from torch import Tensor

from ...models.roi_heads.dict_roi_head import DictCascadeRoIHead, DictRoIHead
from .bbox_head import TSDBBoxHead
from .pyramid import pyramid_rois


@MODELS.register_module()
class TSDRoIHead(DictRoIHead):
    """RoI head of Faster and Mask R-CNN with a ``TSDBBoxHead``.

    Revisiting the Sibling Head in Object Detector, CVPR 2020, arXiv
    2003.07540. Gives the box head the pyramid. Takes the arguments of
    ``StandardRoIHead``; with an ordinary box head it is mmdet's.
    """

    def box_feats(self, x: Sequence[Tensor], rois: Tensor) -> tuple:
        """What the box head takes.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

        Returns:
            tuple: Features of the RoIs and where they come from.
        """
        feats = super().box_feats(x, rois)
        if not isinstance(self.bbox_head, TSDBBoxHead):
            return feats
        return *feats, pyramid_rois(self.bbox_roi_extractor, x, rois)


@MODELS.register_module()
class TSDCascadeRoIHead(DictCascadeRoIHead):
    """RoI head of Cascade R-CNN whose stages have a ``TSDBBoxHead``.

    As ``TSDRoIHead``. The next stage starts from the boxes of TSD.
    """

    def box_feats(
        self, stage: int, x: Sequence[Tensor], rois: Tensor
    ) -> tuple:
        """What the box head of a stage takes.

        Args:
            stage: From 0.
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

        Returns:
            tuple: Features of the RoIs and where they come from.
        """
        feats = super().box_feats(stage, x, rois)
        if not isinstance(self.bbox_head[stage], TSDBBoxHead):
            return feats
        extractor = self.bbox_roi_extractor[stage]
        return *feats, pyramid_rois(extractor, x, rois)
