"""Mask-based refinement of the boxes of any detector with masks."""

from typing import Any

from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmengine.model import BaseTTAModel

from .refinement import MaskBoundaryRefinement


@MODELS.register_module()
class MaskBoundaryTTA(BaseTTAModel):
    """A detector with masks, at test time, whose boxes its masks refine.

    Around Mask R-CNN, CondInst or whatever predicts masks::

        model = dict(type='MaskBoundaryTTA', module=<the model>)

    Checkpoints of the detector load into it. It is for testing: ``RDSNet`` has
    the refinement as an option of its own, and trains with it.

    Args:
        module: The detector, or its config.
        refinement: Config of ``MaskBoundaryRefinement``.
        data_preprocessor: Of the detector, if it has none.
    """

    def __init__(
        self,
        module: Any,
        refinement: dict | None = None,
        data_preprocessor: Any = None,
    ) -> None:
        super().__init__(module, data_preprocessor)
        self.refinement = MaskBoundaryRefinement(**(refinement or {}))

    def test_step(self, data: Any) -> SampleList:
        """Detections of one view of each image, refined.

        Args:
            data: Batch of a test loader.

        Returns:
            list: Data samples of the detector with refined boxes.
        """
        samples = self.module.test_step(data)
        for sample in samples:
            sample.pred_instances = self.refinement.refine(
                sample.pred_instances
            )
        return samples

    def merge_preds(self, data_samples_list: list) -> SampleList:
        """There is one view of each image: its samples."""
        return [views[0] for views in data_samples_list]
