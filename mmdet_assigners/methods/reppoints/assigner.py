"""RepPoints' assignment of locations, batched."""

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import nearest_points


@TASK_UTILS.register_module()
class BatchPointAssigner(BatchAssigner):
    """``PointAssigner`` without a loop over ground truths, on any device.

    Each ground truth gets the ``pos_num`` locations nearest to its center on
    the level of its size, see :func:`~.functional.nearest_points`. mmdet's
    class indexes a tensor on the CPU by a mask on the device of the data,
    which PyTorch refuses on a GPU.

    For ``BatchRepPointsHead``: mmdet's ``RepPointsHead`` gives boxes instead
    of points to any assigner that isn't called ``PointAssigner``.

    Paper: RepPoints, ICCV 2019, arXiv 1904.11490.

    Args:
        scale: Side of an object of level 0 in pixels; 4 in the paper.
        pos_num: Locations per ground truth; 1 in the paper.
        max_elements: Bound on the number of elements of (B, G, P) tensors.

    Raises:
        ValueError: An argument is not positive.
    """

    def __init__(
        self,
        scale: float = 4,
        pos_num: int = 1,
        max_elements: int = MAX_ELEMENTS,
    ) -> None:
        super().__init__(max_elements)
        if not scale > 0:
            raise ValueError(f'scale must be positive, got {scale}')
        if pos_num < 1:
            raise ValueError(f'pos_num must be at least 1, got {pos_num}')
        self.scale = scale
        self.pos_num = pos_num

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the locations of B images.

        Args:
            inputs: ``priors`` are points (P, 4): x, y, stride, stride.

        Returns:
            Assignment: Ground truth of each point; IoU 0.
        """
        priors = inputs.priors
        gt = nearest_points(
            priors[:, :2],
            priors[:, 2],
            inputs.boxes,
            inputs.mask,
            self.scale,
            self.pos_num,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(gt, torch.zeros_like(gt, dtype=priors.dtype))

    def assign(
        self, pred_instances: InstanceData, *args: Any, **named: Any
    ) -> AssignResult:
        """Assign the points of one image; mmdet's interface.

        Args:
            pred_instances: ``priors`` (P, 4): x, y, stride, stride.
            *args: Of :meth:`BatchAssigner.assign`.
            **named: Of :meth:`BatchAssigner.assign`.

        Raises:
            ValueError: ``priors`` are boxes.
        """
        priors = pred_instances.priors
        stride = priors[:, 2]
        if not ((stride == priors[:, -1]) & (stride > 0)).all():
            raise ValueError(
                'pred_instances.priors must be points (x, y, stride, stride), '
                "got boxes: mmdet's RepPointsHead gives points only to "
                'PointAssigner; use BatchRepPointsHead'
            )
        return super().assign(pred_instances, *args, **named)
