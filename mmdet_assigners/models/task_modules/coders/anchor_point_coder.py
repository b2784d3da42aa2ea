"""Distances from the center of an anchor, in strides."""

from collections.abc import Sequence

import torch
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import BaseBoxes, HorizontalBoxes, get_box_tensor
from torch import Tensor

from ....ops.anchor_points import box_distances


@TASK_UTILS.register_module()
class AnchorPointCoder(BaseBBoxCoder):
    """Regression from a point: l, t, r, b from the center of the anchor.

    'POINT' of ATSS (CVPR 2020, arXiv 1912.02424): the distances of the
    anchor's center to the sides of the box, in strides. The stride is the
    anchor's side divided by ``octave_base_scale``: the width for l and r, the
    height for t and b, as in the official code.

    Args:
        octave_base_scale: Side of an anchor in strides, that of the anchor
            generator (paper: 8).
        clip_border: Clip decoded boxes to ``max_shape``.
        use_box_type: Return mmdet's ``HorizontalBoxes`` from :meth:`decode`.

    Raises:
        ValueError: ``octave_base_scale`` isn't positive.
    """

    def __init__(
        self,
        octave_base_scale: float = 8,
        clip_border: bool = True,
        use_box_type: bool = False,
    ) -> None:
        super().__init__(use_box_type)
        if not octave_base_scale > 0:
            raise ValueError(
                f'octave_base_scale must be positive, got {octave_base_scale}'
            )
        self.octave_base_scale = octave_base_scale
        self.clip_border = clip_border

    def encode(
        self, bboxes: Tensor | BaseBoxes, gt_bboxes: Tensor | BaseBoxes
    ) -> Tensor:
        """Distances to the sides of boxes.

        Args:
            bboxes: (..., 4) anchors x1, y1, x2, y2 in pixels.
            gt_bboxes: (..., 4) in pixels.

        Returns:
            Tensor: (..., 4) left, top, right, bottom in strides, negative
            where the center is outside.
        """
        center, stride = self._points(get_box_tensor(bboxes))
        return box_distances(center, get_box_tensor(gt_bboxes)) / stride

    def decode(
        self,
        bboxes: Tensor | BaseBoxes,
        pred_bboxes: Tensor,
        max_shape: Sequence[int] | None = None,
    ) -> Tensor | BaseBoxes:
        """Boxes of predicted distances.

        Args:
            bboxes: (..., 4) anchors in pixels.
            pred_bboxes: (..., 4) left, top, right, bottom in strides.
            max_shape: Height and width of the image in pixels.

        Returns:
            Tensor | BaseBoxes: (..., 4) x1, y1, x2, y2 in pixels.
        """
        center, stride = self._points(get_box_tensor(bboxes))
        distances = pred_bboxes * stride
        corners = center - distances[..., :2], center + distances[..., 2:]
        boxes = torch.cat(corners, -1)
        if self.clip_border and max_shape is not None:
            height, width = max_shape[:2]
            x, y = boxes[..., 0::2], boxes[..., 1::2]
            x, y = x.clamp(0, width), y.clamp(0, height)
            boxes = torch.stack((x, y), -1).flatten(-2)
        return HorizontalBoxes(boxes) if self.use_box_type else boxes

    def _points(self, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Center (..., 2) and stride (..., 4) of anchors, in pixels."""
        low, high = anchors[..., :2], anchors[..., 2:]
        stride = (high - low) / self.octave_base_scale
        return (low + high) / 2, torch.cat((stride, stride), -1)
