"""Flip and multi-scale test of CenterNet and the methods that build on it."""

from abc import abstractmethod
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from mmengine.model import BaseTTAModel
from torch import Tensor

from ..layers.merge_duplicates import merge_duplicates


class KeypointTTA(BaseTTAModel):
    """Tests each scale once, with the mirrored input beside the plain one.

    The pipeline gives a view for each scale, not for each direction: the
    input is mirrored here, after padding.

    Args:
        flip: Also predict from the mirrored input.
        **kwargs: As of ``BaseTTAModel``.
    """

    def __init__(self, flip: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.flip = flip

    def test_step(self, data: dict) -> SampleList:
        """Detect in a batch of images.

        Args:
            data: ``inputs`` and ``data_samples``, each a list over the scales
                of lists over the images.

        Returns:
            list: Data samples with ``pred_instances``.
        """
        scales = len(data['inputs'])
        views = [
            self.predict_view({key: value[i] for key, value in data.items()})
            for i in range(scales)
        ]
        return self.merge_preds(list(zip(*views, strict=True)))

    def predict_view(self, data: dict) -> SampleList:
        """Detect in a batch of images of one scale.

        Args:
            data: ``inputs`` and ``data_samples``, a list over the images.

        Returns:
            list: Data samples with ``pred_instances`` in the original images.
        """
        model: Any = self.module
        data = model.data_preprocessor(data, False)
        inputs, samples = data['inputs'], data['data_samples']
        if self.flip:
            inputs = torch.cat((inputs, inputs.flip(-1)))
        outs = model.bbox_head(model.extract_feat(inputs)[-1:])
        metas = [sample.metainfo for sample in samples]
        return model.add_pred_to_datasample(samples, self.detect(outs, metas))

    @abstractmethod
    def detect(
        self, outs: tuple[list[Tensor], ...], metas: list[dict]
    ) -> InstanceList:
        """Detections, boxes (N, 4), of B images in the original images.

        Args:
            outs: What the head returns for one scale, a list of one tensor
                each; of 2 B images with ``flip``, the mirrored ones at the
                end.
            metas: Meta information of the images.
        """


@MODELS.register_module()
class CenterPointTTA(KeypointTTA):
    """Averages maps with those of the mirrored input, and merges scales.

    With several scales, or where ``nms_single`` asks for it, duplicates are
    removed by an NMS.

    Source: xingyizhou/CenterNet, arXiv 1904.07850.

    Args:
        flip: Average with the mirrored input.
        nms: NMS over the detections of all scales, class by class; by default
            the Gaussian soft-NMS of the paper.
        max_per_img: Detections that are kept of all scales.
        nms_single: Also run it with one scale (``--nms`` of the official
            code).
        **kwargs: As of ``BaseTTAModel``.
    """

    def __init__(
        self,
        flip: bool = True,
        nms: dict | None = None,
        max_per_img: int = 100,
        nms_single: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(flip, **kwargs)
        self.nms = nms or dict(
            type='soft_nms',
            method='gaussian',
            sigma=0.5,
            min_score=0.001,
            offset=1,  # inclusive corners
        )
        self.max_per_img = max_per_img
        self.nms_single = nms_single

    def merge_preds(self, data_samples_list: list) -> SampleList:
        """Merge the detections of each image.

        Args:
            data_samples_list: For each image the data samples of all scales.
        """
        merged = []
        for views in data_samples_list:
            sample = views[0]
            if len(views) > 1 or self.nms_single:
                found = [view.pred_instances for view in views]
                sample.pred_instances = merge_duplicates(
                    type(found[0]).cat(found), self.nms, self.max_per_img
                )
            merged.append(sample)
        return merged

    def detect(
        self, outs: tuple[list[Tensor], ...], metas: list[dict]
    ) -> InstanceList:
        """Detections of B images of one scale, boxes (N, 4)."""
        model: Any = self.module
        head = model.bbox_head
        if self.flip:
            outs = head.merge_mirrored(*(maps for (maps,) in outs))
        return head.predict_by_feat(*outs, batch_img_metas=metas, rescale=True)
