"""Flip and multi-scale test of heads that group points to objects."""

from typing import Any

from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from torch import Tensor

from .center_point_tta import KeypointTTA


class GroupedTTA(KeypointTTA):
    """Merges objects of images, of their mirror images and of all scales.

    Points are grouped in each view on its own. ``finish`` of the head, with
    one NMS, follows over the objects of all views.

    Args: as of ``KeypointTTA``: ``flip`` also takes the mirrored input.
    """

    def detect(
        self, outs: tuple[list[Tensor], ...], metas: list[dict]
    ) -> InstanceList:
        """Objects of B images of one scale before the NMS, boxes (N, 4)."""
        model: Any = self.module
        return model.bbox_head.predict_by_feat(
            *outs,
            batch_img_metas=metas,
            rescale=True,
            with_nms=False,
            mirrored=self.flip,
        )

    def merge_preds(self, data_samples_list: list) -> SampleList:
        """Merge the objects of each image.

        Args:
            data_samples_list: For each image the data samples of all scales.
        """
        model: Any = self.module
        merged = []
        for views in data_samples_list:
            found = [view.pred_instances for view in views]
            sample = views[0]
            sample.pred_instances = model.bbox_head.finish(
                type(found[0]).cat(found), sample.metainfo, rescale=True
            )
            merged.append(sample)
        return merged
