"""RDSNet, a single-stage detector with masks."""

from mmdet.models.detectors.single_stage_instance_seg import (
    SingleStageInstanceSegmentor,
)
from mmdet.registry import MODELS
from mmdet.structures import OptSampleList
from torch import Tensor

from ...models.checks import check_parts
from .head import RDSRetinaHead
from .mask_head import RDSMaskHead


@MODELS.register_module()
class RDSNet(SingleStageInstanceSegmentor):
    """RDSNet: objects and pixels in two streams that meet in the masks.

    A New Deep Architecture for Reciprocal Object Detection and Instance
    Segmentation, AAAI 2020, arXiv 1912.05070. ``bbox_head`` is an
    ``RDSRetinaHead``, ``mask_head`` an ``RDSMaskHead``.

    Takes the arguments of ``SingleStageInstanceSegmentor``.

    Raises:
        TypeError: A head is of another type.
        ValueError: The heads have different ``rep_channels``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        check_parts(self, bbox_head=RDSRetinaHead, mask_head=RDSMaskHead)
        ours, theirs = (
            head.rep_channels for head in (self.mask_head, self.bbox_head)
        )
        if ours != theirs:
            raise ValueError(
                f'rep_channels of mask_head and bbox_head must agree, got '
                f'{ours} and {theirs}'
            )

    def _forward(
        self, batch_inputs: Tensor, batch_data_samples: OptSampleList = None
    ) -> tuple:
        """Outputs of the network without post-processing.

        Args:
            batch_inputs: (B, 3, H, W).
            batch_data_samples: Not used.

        Returns:
            tuple: Those of ``bbox_head``, and the embedding of the pixels
            (B, d, h, w).
        """
        del batch_data_samples
        feats = self.extract_feat(batch_inputs)
        return (*self.bbox_head(feats), self.mask_head.embed(feats))
