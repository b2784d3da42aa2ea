"""Recall and ambiguity of an assignment rule over a dataset.

An object is recalled if at least one prior is assigned to it: an object that
no prior learns can't be detected, so the share of recalled objects bounds the
recall (best possible recall, BPR). A positive prior is ambiguous if it could
have been assigned to more than one object. Paper: FCOS, ICCV 2019, arXiv
1904.01355, Sec. 4.1.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..ops.anchor_match import max_iou_match
from ..ops.anchor_points import anchor_points, pad_gts
from ..ops.fcos import count_candidates, point_limits, smallest_match

_BATCH = 16


class Counts(NamedTuple):
    """Numbers of a dataset, or of a part of it; add them with ``+``.

    Attributes:
        recalled: Objects with at least one prior.
        objects: All objects.
        positive: Priors assigned to an object.
        ambiguous: Positive priors that could have had another object.
        mixed: Ambiguous priors whose candidates are of several classes.
    """

    recalled: int = 0
    objects: int = 0
    positive: int = 0
    ambiguous: int = 0
    mixed: int = 0

    def __add__(self, other: object) -> 'Counts':
        """The sum, number by number."""
        if not isinstance(other, Counts):
            return NotImplemented
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


class Rule(Protocol):
    """An assignment rule that can count images of one size."""

    def count(
        self,
        boxes: Tensor,
        labels: Tensor,
        mask: Tensor,
        shape: tuple[int, int],
    ) -> Counts:
        """Count B images of one size, with objects padded to (B, G)."""


@dataclass(frozen=True)
class PointRule:
    """Points as FCOS assigns them, see :class:`.fcos.PointLimits`.

    Attributes:
        strides: Stride of each of the L levels in pixels.
        ranges: Smallest and largest regression distance of each level in
            pixels, inclusive; None for no limits.
        center_radius: Radius of center sampling in strides; None without.
        offset: Location of the point in its cell, 0.5 is the center.
    """

    strides: Sequence[int] = (8, 16, 32, 64, 128)
    ranges: Sequence[Sequence[float]] | None = None
    center_radius: float | None = None
    offset: float = 0.5

    def count(
        self,
        boxes: Tensor,
        labels: Tensor,
        mask: Tensor,
        shape: tuple[int, int],
    ) -> Counts:
        """Count B images of one size.

        Args:
            boxes: (B, G, 4) xyxy pixels.
            labels: (B, G) int64.
            mask: (B, G) bool, False for padding.
            shape: Height and width of the images in pixels.

        Returns:
            Counts: Sums over the images.
        """
        points = anchor_points(
            level_shapes(shape, self.strides),
            self.strides,
            self.offset,
            device=boxes.device,
            dtype=boxes.dtype,
        )
        limits = point_limits(points, self.ranges, self.center_radius)
        found = count_candidates(limits, boxes, labels, mask)
        gt = smallest_match(limits, boxes, mask)
        return count_priors(gt, mask, found.number, found.mixed)


@dataclass(frozen=True)
class AnchorRule:
    """Anchors as RetinaNet assigns them, by IoU; ambiguity isn't defined.

    Attributes:
        strides: Stride of each of the L levels in pixels.
        pos_iou_thr: Smallest IoU of a positive anchor with its best object.
        low_quality: Anchors that have the highest IoU of an object are
            positive too, each for its own best object.
        base_scale: Side of the smallest square anchor in strides.
        scales_per_octave: Number of scales from ``base_scale`` to twice it.
        ratios: Height / width of the anchors.
    """

    strides: Sequence[int] = (8, 16, 32, 64, 128)
    pos_iou_thr: float = 0.5
    low_quality: bool = False
    base_scale: float = 4
    scales_per_octave: int = 3
    ratios: Sequence[float] = (0.5, 1.0, 2.0)

    def count(
        self,
        boxes: Tensor,
        labels: Tensor,
        mask: Tensor,
        shape: tuple[int, int],
    ) -> Counts:
        """Count B images of one size.

        Args:
            boxes: (B, G, 4) xyxy pixels.
            labels: (B, G) int64, not used.
            mask: (B, G) bool, False for padding.
            shape: Height and width of the images in pixels.

        Returns:
            Counts: Sums over the images; nothing about positive priors.
        """
        match = max_iou_match(
            self.anchors(shape, boxes),
            boxes,
            mask,
            self.pos_iou_thr,
            self.pos_iou_thr,
            'own' if self.low_quality else None,
        )
        found = count_priors(match.gt, mask)
        return Counts(found.recalled, found.objects)

    def anchors(self, shape: tuple[int, int], like: Tensor) -> Tensor:
        """Anchors (P, 4) of an image, centered at stride * (column, row)."""
        points = anchor_points(
            level_shapes(shape, self.strides),
            self.strides,
            0.0,
            device=like.device,
            dtype=like.dtype,
        )
        # Python floats: roots of tensors are rounded differently on some
        # processors, and the last bit decides ties between anchors
        scales = [
            self.base_scale * 2 ** (k / self.scales_per_octave)
            for k in range(self.scales_per_octave)
        ]
        sides = [
            (scale / math.sqrt(ratio), scale * math.sqrt(ratio))
            for ratio in self.ratios
            for scale in scales
        ]
        half = like.new_tensor(sides) / 2 * points.stride[:, None, None]
        center = points.xy[:, None]
        return torch.cat((center - half, center + half), -1).flatten(0, 1)


def fcos_rules() -> dict[str, Rule]:
    """The six assignments that the FCOS paper compares, name -> rule."""
    bounds = (-1, 64, 128, 256, 512, math.inf)
    ranges = tuple(itertools.pairwise(bounds))
    return {
        'fcos_fpn': PointRule(ranges=ranges),
        'fcos_fpn_center15': PointRule(ranges=ranges, center_radius=1.5),
        'fcos_p4': PointRule(strides=(16,)),
        'retina_050': AnchorRule(),
        'retina_040': AnchorRule(pos_iou_thr=0.4),
        'retina_all': AnchorRule(pos_iou_thr=0.4, low_quality=True),
    }


def level_shapes(
    shape: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    """Height and width of each level in cells, rounded up."""
    height, width = shape
    return [(-(-height // s), -(-width // s)) for s in strides]


def count_priors(
    gt: Tensor,
    mask: Tensor,
    candidates: Tensor | None = None,
    mixed: Tensor | None = None,
) -> Counts:
    """Count what B images assign.

    Args:
        gt: (B, P) int64 index of the object, less than 0 if there is none.
        mask: (B, G) bool, False for padding.
        candidates: (B, P) number of objects that the prior could have; None
            counts no ambiguity.
        mixed: (B, P) bool, the candidates are of several classes.

    Returns:
        Counts: Sums over the images.
    """
    positive = gt >= 0
    # (B, G) number of priors of each object
    hits = torch.zeros_like(mask, dtype=torch.long)
    hits.scatter_add_(1, gt.clamp(min=0), positive.long())
    several = torch.zeros_like(positive)
    if candidates is not None:
        several = positive & (candidates > 1)
    different = several & mixed if mixed is not None else several & False
    numbers = ((hits > 0) & mask, mask, positive, several, different)
    return Counts(*(int(x.sum()) for x in numbers))


def count_dataset(
    rule: Rule,
    boxes: Tensor,
    labels: Tensor,
    image: Tensor,
    shapes: Tensor,
) -> Counts:
    """Count a dataset, images of the same size together.

    Args:
        rule: Decides which priors an object gets.
        boxes: (N, 4) objects of all images, xyxy px of the network input.
        labels: (N,) int64.
        image: (N,) int64 index of the image.
        shapes: (M, 2) int64 height and width of the images in pixels.

    Returns:
        Counts: Of all images.

    Raises:
        ValueError: ``image`` is not an index into ``shapes``.
    """
    if image.numel():
        low, high = int(image.min()), int(image.max())
        if low < 0 or high >= len(shapes):
            raise ValueError(
                f'image must be in 0..{len(shapes) - 1}, the rows of shapes, '
                f'got {low}..{high}'
            )
    total = Counts()
    for shape, group in _by_shape(shapes):
        own = [image == index for index in group]
        padded = pad_gts([boxes[o] for o in own], [labels[o] for o in own])
        total = total + rule.count(*padded, shape)
    return total


def _by_shape(
    shapes: Tensor,
) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Each size with the indices of its images, in batches."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(shapes.tolist()):
        groups.setdefault((height, width), []).append(index)
    for shape, indices in groups.items():
        for start in range(0, len(indices), _BATCH):
            yield shape, indices[start : start + _BATCH]
