"""Crops and sizes of CenterNet's official preprocessing."""

import random
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type


@TRANSFORMS.register_module()
class RandomCenterWarp(BaseTransform):
    """Warp a square around a random point, mirrored or not, to the input.

    The side of the square is the longer one of the image times a random
    scale; what is outside the image is black. One interpolation does all.
    Pixel x of a mirrored image is pixel ``width - 1 - x`` of the plain one.

    Boxes are clipped to the input; those without area are removed. Masks are
    not supported.

    Required keys: ``img``, ``gt_bboxes``. Modified: ``img``, ``img_shape``,
    ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``, ``flip``.

    Source: xingyizhou/CenterNet, arXiv 1904.07850.

    Args:
        size: Width and height of the input in pixels.
        scales: From which one is drawn.
        border: The point is at least this far from the sides of the image, in
            pixels; divided by powers of two where the image is too small.
        flip_prob: How often the image is mirrored.
    """

    def __init__(
        self,
        size: Sequence[int] = (512, 512),
        scales: Sequence[float] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        border: int = 128,
        flip_prob: float = 0.5,
    ) -> None:
        self.size = tuple(size)
        self.scales = tuple(scales)
        self.border = border
        self.flip_prob = flip_prob

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Crop, mirror and resize.

        Args:
            results: Of the pipeline.

        Raises:
            ValueError: There are masks.
        """
        if 'gt_masks' in results:
            raise ValueError(
                'RandomCenterWarp moves boxes only: LoadAnnotations must have '
                'with_mask=False'
            )
        height, width = results['img'].shape[:2]
        side = max(height, width) * random.choice(self.scales)
        center = np.array([self._draw(width), self._draw(height)], float)
        flip = random.random() < self.flip_prob
        # x' = factor * x + shift
        scale = self.size[0] / side
        factor = np.array([scale, scale])
        shift = np.array(self.size) / 2 - scale * center
        if flip:
            # the center moves to width - 1 - x with the image
            factor[0] = -scale
            shift[0] = self.size[0] / 2 + scale * center[0]
        matrix = np.column_stack((np.diag(factor), shift))
        results['img'] = cv2.warpAffine(
            results['img'], matrix, self.size, flags=cv2.INTER_LINEAR
        )
        results['img_shape'] = results['img'].shape[:2]
        results['flip'] = bool(flip)
        results['flip_direction'] = 'horizontal' if flip else None
        self._move_boxes(results, factor, shift)
        return results

    def _draw(self, size: int) -> int:
        border = self.border
        while size - border <= border:
            border //= 2
        return random.randrange(border, size - border)

    def _move_boxes(
        self, results: dict, factor: np.ndarray, shift: np.ndarray
    ) -> None:
        boxes = results['gt_bboxes']
        corners = boxes.tensor.reshape(-1, 2, 2)
        corners = corners * torch.as_tensor(factor) + torch.as_tensor(shift)
        corners = corners.sort(1).values  # a mirror exchanges left and right
        limit = corners.new_tensor(self.size)
        corners = corners.clamp(min=0).minimum(limit).to(boxes.tensor)
        keep = (corners[:, 1] > corners[:, 0]).all(1)
        results['gt_bboxes'] = type(boxes)(corners.flatten(1)[keep])
        for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
            if key in results:
                results[key] = results[key][keep.numpy()]

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size={self.size}, scales={self.scales}, '
            f'border={self.border}, flip_prob={self.flip_prob})'
        )


@TRANSFORMS.register_module()
class KeepResolution(Resize):
    """Resize by a factor, to whole pixels rounded down.

    Predictions are divided by the factor itself, as in the official code, not
    by the ratio of the rounded sides.

    Args:
        scale: The factor.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(scale_factor=scale, keep_ratio=False)

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Resize image and annotations.

        Args:
            results: Of the pipeline.
        """
        height, width = results['img'].shape[:2]
        factor = self.scale_factor
        results['scale'] = (int(width * factor), int(height * factor))
        self._resize_img(results)
        self._resize_bboxes(results)
        self._resize_masks(results)
        self._resize_seg(results)
        results['scale_factor'] = (factor, factor)
        self._record_homography_matrix(results)
        return results
