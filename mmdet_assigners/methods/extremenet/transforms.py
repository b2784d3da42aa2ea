"""Loads extreme points and carries them through the pipeline.

The key ``gt_extreme_points`` is a tensor (N, 4, 2): x, y in pixels of the top,
left, bottom and right point of each box.
"""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs, RandomFlip, Resize
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import get_box_tensor

from ...datasets.transforms import RandomCenterWarp
from .points import (
    MIRRORED,
    TOLERANCE,
    UPSIDE_DOWN,
    edge_midpoints,
    extreme_points,
    outline,
    warn_of_midpoints,
)

KEY = 'gt_extreme_points'
MISSING = ('midpoints', 'skip')


@TRANSFORMS.register_module()
class LoadExtremePoints(BaseTransform):
    """Extreme points of the segmentations of an image.

    After ``LoadAnnotations`` and before all that moves boxes. It needs no
    ``with_mask``: the polygons or RLE of the dataset are read.

    Required keys: ``instances``, ``gt_bboxes``. Added:
    ``gt_extreme_points``. With ``missing='skip'`` also modified:
    ``gt_bboxes``, ``gt_bboxes_labels``, ``gt_ignore_flags``.

    Source: arXiv 1901.08043.

    Args:
        tolerance: Vertices this near to the most extreme one, relative to the
            box, are on one edge with it, whose middle is the point.
        missing: Objects without a mask get the middles of the sides of their
            boxes, with one warning (``'midpoints'``), or are left out
            (``'skip'``).

    Raises:
        ValueError: ``missing`` is neither, or ``tolerance`` is negative.
    """

    def __init__(
        self, tolerance: float = TOLERANCE, missing: str = 'midpoints'
    ) -> None:
        if missing not in MISSING:
            raise ValueError(
                f'missing must be one of {MISSING}, got {missing!r}'
            )
        if tolerance < 0:
            raise ValueError(f'tolerance must be at least 0, got {tolerance}')
        self.tolerance = tolerance
        self.missing = missing

    def transform(self, results: dict) -> dict:
        """Add the points.

        Args:
            results: Of the pipeline.

        Raises:
            ValueError: Boxes are not those of the dataset any more, or a
                segmentation is wrong.
        """
        boxes = get_box_tensor(results['gt_bboxes'])
        instances = results['instances']
        if len(instances) != len(boxes):
            raise ValueError(
                'LoadExtremePoints must follow LoadAnnotations: there are '
                f'{len(instances)} objects, but {len(boxes)} boxes'
            )
        points = edge_midpoints(boxes)
        found: np.ndarray = np.zeros(len(boxes), bool)
        for row, instance in enumerate(instances):
            segmentation = instance.get('mask')
            try:
                vertices = outline(segmentation) if segmentation else None
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f'{results.get("img_path")}, object {row}: {error}'
                ) from error
            if vertices is not None:
                own = extreme_points(vertices, self.tolerance)
                points[row] = torch.from_numpy(own)
                found[row] = True
        results[KEY] = points
        if not found.all():
            if self.missing == 'skip':
                keep_rows(results, found)
            else:
                warn_of_midpoints()
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(tolerance={self.tolerance}, '
            f'missing={self.missing!r})'
        )


def keep_rows(results: dict, keep: np.ndarray) -> None:
    """Keep objects (N,), bool, in all keys that are here, in place."""
    for key in ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', KEY):
        if key in results:
            results[key] = results[key][keep]


@TRANSFORMS.register_module()
class RandomExtremeWarp(RandomCenterWarp):
    """Warp a random square to the input, with extreme points.

    Points outside the input are moved to its border. Those of removed boxes
    are removed.

    Args:
        size: Width and height of the input in pixels; a square.
        scales: From which one is drawn.
        border: As of ``RandomCenterWarp``.
        flip_prob: How often the image is mirrored.
        relative: As of ``RandomCenterWarp``.
    """

    def __init__(
        self,
        size: Sequence[int] = (511, 511),
        scales: Sequence[float] = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3),
        border: int = 128,
        flip_prob: float = 0.5,
        relative: bool = False,
    ) -> None:
        super().__init__(size, scales, border, flip_prob, relative)

    def move_boxes(
        self, results: dict, factor: np.ndarray, shift: np.ndarray
    ) -> np.ndarray:
        """Move boxes and points; returns which objects are kept, (N,)."""
        keep = super().move_boxes(results, factor, shift)
        if KEY in results:
            points = results[KEY][keep]
            points = points * torch.as_tensor(factor) + torch.as_tensor(shift)
            if factor[0] < 0:
                points = points[:, MIRRORED]
            limit = points.new_tensor(self.size)
            points = points.clamp(min=0).minimum(limit)
            results[KEY] = points.to(results[KEY])
        return keep


@TRANSFORMS.register_module()
class ExtremeResize(Resize):
    """mmdet's ``Resize``, which also resizes ``gt_extreme_points``."""

    def _resize_bboxes(self, results: dict) -> None:
        super()._resize_bboxes(results)
        if KEY in results:
            points = results[KEY]
            points = points * points.new_tensor(results['scale_factor'])
            if self.clip_object_border:
                height, width = results['img_shape'][:2]
                limit = points.new_tensor((width, height))
                points = points.clamp(min=0).minimum(limit)
            results[KEY] = points


@TRANSFORMS.register_module()
class ExtremeFlip(RandomFlip):
    """mmdet's ``RandomFlip``, which also mirrors ``gt_extreme_points``.

    Left and right, or top and bottom, points are exchanged.
    """

    def _flip(self, results: dict) -> None:
        super()._flip(results)
        if KEY not in results:
            return
        height, width = results['img'].shape[:2]
        points = results[KEY].clone()
        if results['flip_direction'] in ('horizontal', 'diagonal'):
            points = points[:, MIRRORED]
            points[..., 0] = width - points[..., 0]
        if results['flip_direction'] in ('vertical', 'diagonal'):
            points = points[:, UPSIDE_DOWN]
            points[..., 1] = height - points[..., 1]
        results[KEY] = points


@TRANSFORMS.register_module()
class PackExtremeInputs(PackDetInputs):
    """mmdet's ``PackDetInputs`` with ``extreme_points`` in the instances."""

    mapping_table = PackDetInputs.mapping_table | {KEY: 'extreme_points'}
