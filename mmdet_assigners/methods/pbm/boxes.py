"""Pairs of a full and a visible box that move together."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from mmdet.structures.bbox import (
    BaseBoxes,
    HorizontalBoxes,
    register_box,
)
from mmengine.structures import InstanceData
from torch import Tensor


def _on_both(name: str) -> Callable[..., None]:
    """An in-place method of boxes, for both boxes of a pair."""
    method = getattr(HorizontalBoxes, name)

    def move(self: 'PairedBoxes', *args: Any, **kwargs: Any) -> None:
        parts = [HorizontalBoxes(box) for box in (self.full, self.visible)]
        for part in parts:
            method(part, *args, **kwargs)
        self.tensor = torch.cat([part.tensor for part in parts], -1)

    move.__doc__ = f'``HorizontalBoxes.{name}`` of both boxes.'
    return move


@register_box('pair')
class PairedBoxes(BaseBoxes):
    """N pairs of boxes, (N, 8): x1, y1, x2, y2 of the full and visible box.

    As ``gt_bboxes`` of a pipeline they pass through any transform of mmdet
    that treats boxes as boxes: both are flipped, scaled, moved and clipped,
    and a pair is kept or removed as a whole. Sizes, centers, overlaps and what
    is inside an image are those of the full boxes.
    """

    box_dim = 8
    flip_ = _on_both('flip_')
    translate_ = _on_both('translate_')
    clip_ = _on_both('clip_')
    rotate_ = _on_both('rotate_')
    project_ = _on_both('project_')
    rescale_ = _on_both('rescale_')
    resize_ = _on_both('resize_')

    @classmethod
    def of(cls, full: Tensor, visible: Tensor) -> 'PairedBoxes':
        """Pairs of boxes (N, 4) and (N, 4)."""
        return cls(torch.cat((full, visible), -1), clone=False)

    @property
    def full(self) -> Tensor:
        """Full boxes (N, 4)."""
        return self.tensor[..., :4]

    @property
    def visible(self) -> Tensor:
        """Visible boxes (N, 4)."""
        return self.tensor[..., 4:]

    @property
    def _boxes(self) -> HorizontalBoxes:
        return HorizontalBoxes(self.full, clone=False)

    @property
    def centers(self) -> Tensor:
        """Centers (N, 2) of the full boxes."""
        return self._boxes.centers

    @property
    def areas(self) -> Tensor:
        """Areas (N,) of the full boxes."""
        return self._boxes.areas

    @property
    def widths(self) -> Tensor:
        """Widths (N,) of the full boxes."""
        return self._boxes.widths

    @property
    def heights(self) -> Tensor:
        """Heights (N,) of the full boxes."""
        return self._boxes.heights

    def is_inside(self, *args: Any, **kwargs: Any) -> Tensor:
        """Whether full boxes are in the image, (N,)."""
        return self._boxes.is_inside(*args, **kwargs)

    def find_inside_points(self, *args: Any, **kwargs: Any) -> Tensor:
        """Whether points (P, 2) are in full boxes, (P, N)."""
        return self._boxes.find_inside_points(*args, **kwargs)

    @staticmethod
    def overlaps(
        boxes1: BaseBoxes, boxes2: BaseBoxes, *args: Any, **kwargs: Any
    ) -> Tensor:
        """``HorizontalBoxes.overlaps`` (N, M) of full boxes."""
        pair = [
            boxes._boxes if isinstance(boxes, PairedBoxes) else boxes
            for boxes in (boxes1, boxes2)
        ]
        return HorizontalBoxes.overlaps(*pair, *args, **kwargs)

    @staticmethod
    def from_instance_masks(masks: Any) -> HorizontalBoxes:
        """Boxes of masks have no pairs.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            'boxes of masks have no visible boxes: the transform must have '
            'recompute_bbox=False'
        )


def pairs_of(instances: InstanceData) -> PairedBoxes:
    """Full and visible boxes of instances.

    Without ``visible_bboxes``, as of an ordinary pipeline, full boxes are
    taken, with a warning.

    Args:
        instances: With ``bboxes`` and ``visible_bboxes`` (N, 4).

    Raises:
        ValueError: There are not as many of both.
    """
    full = instances.bboxes
    if isinstance(full, PairedBoxes):
        return full
    full = full.tensor if isinstance(full, BaseBoxes) else full
    visible = instances.get('visible_bboxes')
    if visible is None:
        warnings.warn(
            'instances have no visible_bboxes, so full boxes are taken: the '
            'pipeline needs LoadVisibleBoxes and PackPairedInputs',
            stacklevel=2,
        )
        visible = full
    if visible.shape != full.shape:
        raise ValueError(
            f'visible_bboxes must have the shape of bboxes, '
            f'{tuple(full.shape)}, got {tuple(visible.shape)}'
        )
    return PairedBoxes.of(full, visible.to(full))


def with_pairs(instances: InstanceData, **more: Any) -> InstanceData:
    """Instances whose ``bboxes`` are pairs, and other fields.

    Args:
        instances: With ``bboxes``, ``visible_bboxes``.
        **more: Fields of the result.
    """
    return InstanceData(bboxes=pairs_of(instances), **more)


def split_pairs(results: InstanceData) -> InstanceData:
    """Instances with ``bboxes`` and ``visible_bboxes`` in place of pairs."""
    pairs = results.bboxes
    if isinstance(pairs, PairedBoxes):
        results.bboxes = pairs.full
        results.visible_bboxes = pairs.visible
    return results


def halves(deltas: Tensor) -> tuple[Tensor, Tensor]:
    """Columns of full and of visible boxes.

    Args:
        deltas: (N, 8C), 8 for each of C classes.

    Returns:
        tuple: Both (N, 4C), with 4 columns (N, 4) for each class.
    """
    full, visible = deltas.unflatten(1, (-1, 2, 4)).unbind(2)
    return full.flatten(1), visible.flatten(1)
