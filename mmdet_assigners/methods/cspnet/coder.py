"""YOLO's box coder with a stretched grid."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import YOLOBBoxCoder
from mmdet.registry import TASK_UTILS
from torch import Tensor


@TASK_UTILS.register_module()
class ScaledYOLOBBoxCoder(YOLOBBoxCoder):
    """``YOLOBBoxCoder`` whose sigmoids reach past the cell.

    The center is ``(sigmoid - 0.5) * scale + 0.5`` cells, so that a center on
    the border of a cell needs no infinite logit: Darknet's ``scale_x_y``.

    Args:
        scales: Of each level, at least 1.
        strides: Of each level in pixels, by which the level is known.
        eps: As in ``YOLOBBoxCoder``.

    Raises:
        ValueError: Lists of different lengths, or a scale below 1.
    """

    def __init__(
        self,
        scales: Sequence[float],
        strides: Sequence[int],
        eps: float = 1e-6,
    ) -> None:
        super().__init__(eps=eps)
        if len(scales) != len(strides) or min(scales, default=0) < 1:
            raise ValueError(
                'scales must be at least 1, one for each of the strides '
                f'{list(strides)}, got {list(scales)}'
            )
        self.scales = tuple(scales)
        self.strides = tuple(strides)

    def _scale(self, stride: Tensor | int, like: Tensor) -> Tensor:
        stride = torch.as_tensor(stride, device=like.device)
        if stride.dim() == 1:
            stride = stride[..., None]
        scale = torch.ones_like(stride, dtype=like.dtype)
        for value, own in zip(self.scales, self.strides, strict=True):
            scale = torch.where(stride == own, value, scale)
        return scale

    def encode(
        self, bboxes: Tensor, gt_bboxes: Tensor, stride: Tensor | int
    ) -> Tensor:
        """Targets of boxes whose centers are in the cells of the priors.

        Args:
            bboxes: Priors (N, 4), xyxy in pixels.
            gt_bboxes: (N, 4).
            stride: (N,) or a number, in pixels.

        Returns:
            Tensor: (N, 4) x and y in [0, 1], w and h as logarithms.
        """
        xy, wh = super().encode(bboxes, gt_bboxes, stride).split(2, -1)
        xy = (xy - 0.5) / self._scale(stride, xy) + 0.5
        return torch.cat([xy, wh], -1)

    def decode(
        self, bboxes: Tensor, pred_bboxes: Tensor, stride: Tensor | int
    ) -> Tensor:
        """Boxes of predictions.

        Args:
            bboxes: Priors (..., N, 4), xyxy in pixels.
            pred_bboxes: (..., N, 4) x and y after the sigmoid, w and h.
            stride: (N, 1) or a number, in pixels.

        Returns:
            Tensor: (..., N, 4) xyxy in pixels.
        """
        xy, wh = pred_bboxes.split(2, -1)
        xy = (xy - 0.5) * self._scale(stride, xy) + 0.5
        return super().decode(bboxes, torch.cat([xy, wh], -1), stride)
