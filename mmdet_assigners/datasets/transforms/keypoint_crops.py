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


def refuse_masks(transform: BaseTransform, results: dict) -> None:
    """Refuse masks, which a transform would leave where they are.

    Raises:
        ValueError: There are masks.
    """
    if 'gt_masks' in results:
        raise ValueError(
            f'{type(transform).__name__} moves boxes only: LoadAnnotations '
            'must have with_mask=False'
        )


@TRANSFORMS.register_module()
class CenterWarp(BaseTransform):
    """Fit an image into the input, its center in the center.

    What is outside the image is black. Boxes are clipped to the input; those
    without area are removed. Masks are not supported.

    Required keys: ``img``. Modified: ``img``, ``img_shape``,
    ``scale_factor``, and, where they are, ``gt_bboxes``,
    ``gt_bboxes_labels``, ``gt_ignore_flags``. Added: ``border``, the place of
    the image in the input.

    Source: xingyizhou/CenterNet, arXiv 1904.07850.

    Args:
        size: Width and height of the input in pixels; a square.

    Raises:
        ValueError: ``size`` is something else.
    """

    def __init__(self, size: Sequence[int] = (512, 512)) -> None:
        sides = tuple(size) if isinstance(size, Sequence) else (size,)
        if len(sides) != 2 or sides[0] != sides[1] or sides[0] < 1:
            raise ValueError(
                'size must be width and height of a square in pixels, e.g. '
                f'(512, 512), got {size!r}'
            )
        self.size = sides

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Resize and pad.

        Args:
            results: Of the pipeline.

        Raises:
            ValueError: There are masks.
        """
        height, width = results['img'].shape[:2]
        return self.warp(results, max(height, width), (width / 2, height / 2))

    def warp(
        self,
        results: dict,
        side: float,
        center: Sequence[float],
        mirror: bool = False,
    ) -> dict:
        """Warp a square of the image to the input.

        Args:
            results: Of the pipeline; changed in place.
            side: Of the square, in pixels.
            center: x, y of the square in pixels.
            mirror: Exchange left and right.

        Raises:
            ValueError: There are masks.
        """
        refuse_masks(self, results)
        height, width = results['img'].shape[:2]
        # x' = factor * x + shift
        scale = self.size[0] / side
        factor = np.array([-scale if mirror else scale, scale])
        shift = np.array(self.size) / 2 - factor * np.array(center)
        matrix = np.column_stack((np.diag(factor), shift))
        results['img'] = cv2.warpAffine(
            results['img'], matrix, self.size, flags=cv2.INTER_LINEAR
        )
        results['img_shape'] = results['img'].shape[:2]
        results['scale_factor'] = (scale, scale)
        left, top = shift
        results['border'] = np.array(
            [top, top + scale * height, left, left + scale * width],
            np.float32,
        )
        if 'gt_bboxes' in results:
            self.move_boxes(results, factor, shift)
        return results

    def move_boxes(
        self, results: dict, factor: np.ndarray, shift: np.ndarray
    ) -> np.ndarray:
        """Move boxes, and remove those without area, in place.

        Args:
            results: Of the pipeline.
            factor: (2,) by which x and y are multiplied, negative for x of a
                mirrored image.
            shift: (2,) that is added then.

        Returns:
            Which of the N boxes are kept, (N,), bool.
        """
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
        return keep.numpy()

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size})'


@TRANSFORMS.register_module()
class RandomCenterWarp(CenterWarp):
    """Warp a square around a random point, mirrored or not, to the input.

    The side of the square is the longer one of the image, or that of the
    input, times a random scale. One interpolation does all. Pixel x of a
    mirrored image is pixel ``width - 1 - x`` of the plain one.

    Keys as of `CenterWarp`; also ``flip`` and ``flip_direction``.

    Args:
        size: Width and height of the input in pixels; a square.
        scales: From which one is drawn.
        border: The point is at least this far from the sides of the image, in
            pixels; halved where the image is too small.
        flip_prob: How often the image is mirrored.
        relative: The side is that of the image, as in CenterNet; or that of
            the input, as in CornerNet.
    """

    def __init__(
        self,
        size: Sequence[int] = (512, 512),
        scales: Sequence[float] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        border: int = 128,
        flip_prob: float = 0.5,
        relative: bool = True,
    ) -> None:
        super().__init__(size)
        self.scales = tuple(scales)
        self.border = border
        self.flip_prob = flip_prob
        self.relative = relative

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Crop, mirror and resize.

        Args:
            results: Of the pipeline.

        Raises:
            ValueError: There are masks.
        """
        height, width = results['img'].shape[:2]
        side = self.side_of(height, width) * random.choice(self.scales)
        center = (self._draw(width), self._draw(height))
        mirror = random.random() < self.flip_prob
        results['flip'] = mirror
        results['flip_direction'] = 'horizontal' if mirror else None
        return self.warp(results, side, center, mirror)

    def side_of(self, height: int, width: int) -> int:
        """Side of the square, before the random scale, in pixels.

        Args:
            height: Of the image.
            width: Of the image.
        """
        return max(height, width) if self.relative else self.size[0]

    def _draw(self, size: int) -> int:
        border = self.border
        while size - border <= border:
            border //= 2
        return random.randrange(border, size - border)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(size={self.size}, scales={self.scales}, '
            f'border={self.border}, flip_prob={self.flip_prob}, '
            f'relative={self.relative})'
        )


@TRANSFORMS.register_module()
class KeepResolution(Resize):
    """Resize by a factor and pad around it to the next multiple of a number.

    At least one pixel is added, unless sides are odd. Sides of the image are
    rounded down; predictions are divided by the factor itself, as in the
    official code. Masks are not supported.

    Required keys: ``img``. Modified: ``img``, ``img_shape``,
    ``scale_factor`` and, where they are, ``gt_bboxes``. Added: ``border``,
    the place of the image in the input.

    Args:
        scale: The factor.
        divisor: Sides of the input are multiples of it, in pixels.
        odd: One pixel less, as in CornerNet and ExtremeNet: sides are 127,
            255, ... with a divisor of 128.
    """

    def __init__(
        self, scale: float = 1.0, divisor: int = 32, odd: bool = False
    ) -> None:
        super().__init__(scale_factor=scale, keep_ratio=False)
        self.factor = scale
        self.divisor = divisor
        self.odd = odd

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Resize and pad.

        Args:
            results: Of the pipeline.

        Raises:
            ValueError: There are masks.
        """
        refuse_masks(self, results)
        height, width = results['img'].shape[:2]
        factor = self.factor
        results['scale'] = (int(width * factor), int(height * factor))
        self._resize_img(results)
        self._resize_bboxes(results)
        results['scale_factor'] = (factor, factor)
        height, width = results['img'].shape[:2]
        sides = [
            (n // self.divisor + 1) * self.divisor - self.odd
            for n in (height, width)
        ]
        top, left = sides[0] // 2 - height // 2, sides[1] // 2 - width // 2
        image = results['img']
        padded = np.zeros((*sides, *image.shape[2:]), image.dtype)
        padded[top : top + height, left : left + width] = image
        if 'gt_bboxes' in results:
            results['gt_bboxes'].translate_((left, top))
        results['img'] = padded
        results['img_shape'] = padded.shape[:2]
        results['border'] = np.array(
            [top, top + height, left, left + width], np.float32
        )
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale={self.factor}, '
            f'divisor={self.divisor}, odd={self.odd})'
        )
