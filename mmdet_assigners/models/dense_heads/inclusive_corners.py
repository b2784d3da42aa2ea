"""Dense heads whose weights were trained on inclusive corners."""

from collections.abc import Sequence
from typing import Any

from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops.anchor_points import move_ends


class InclusiveCornersMixin(BaseDenseHead):
    """Before a dense head that regresses the sides of a box from a point.

    In Detectron, maskrcnn-benchmark and mmdet 1.x x2 and y2 of a box are its
    last pixel; their evaluation writes the width x2 - x1 + 1. Distances from a
    point, unlike deltas of anchors, don't change with that convention. So with
    ``inclusive_corners`` ground truths lose a pixel at the right and the
    bottom where they come in (:meth:`inner_gts`), boxes are clipped to the
    last pixel of the image, and detections get the pixel back: they are the
    boxes of the official result file.
    """

    inclusive_corners = False

    def inner_gts(self, gts: InstanceList) -> InstanceList:
        """Ground truths with the corners that the head works with.

        Args:
            gts: B instances with ``bboxes`` and ``labels``.

        Returns:
            list: The same, or copies whose boxes end at their last pixel.
        """
        if not self.inclusive_corners:
            return gts
        moved = []
        for own in gts:
            own = own.clone()
            own.bboxes = move_ends(get_box_tensor(own.bboxes), -1)
            moved.append(own)
        return moved

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: Sequence[Any],
        mlvl_priors: list[Tensor],
        img_meta: dict,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        if self.inclusive_corners:
            height, width = img_meta['img_shape'][:2]
            img_meta = dict(img_meta, img_shape=(height - 1, width - 1))
        return super()._predict_by_feat_single(
            cls_score_list,
            bbox_pred_list,
            score_factor_list,
            mlvl_priors,
            img_meta,
            cfg,
            rescale,
            with_nms,
        )

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        if self.inclusive_corners:
            results.bboxes = move_ends(get_box_tensor(results.bboxes), 1)
        return super()._bbox_post_process(
            results, cfg, rescale, with_nms, img_meta
        )
