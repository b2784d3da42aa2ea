"""Flip and multi-scale test of ExtremeNet."""

from typing import Any

from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from torch import Tensor

from ...models.test_time_augs.center_point_tta import KeypointTTA


@MODELS.register_module()
class ExtremeTTA(KeypointTTA):
    """Merges objects of images, of their mirror images and of all scales.

    Each view is grouped on its own. One NMS, and where ``suppress_ghost`` of
    the head's ``test_cfg`` asks for it the suppression of ghosts, follow over
    all of them.

    Source: arXiv 1901.08043.

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
