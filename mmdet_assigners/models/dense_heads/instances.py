"""Between mmdet's lists of instances and whole tensors of a batch."""

from typing import NamedTuple

from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops.anchor_points import pad_gts


class HeatmapView(NamedTuple):
    """Heat maps of one image, for the analysis tools.

    Attributes:
        names: What is a peak of each of the M maps.
        targets: (M, C, H, W).
        predictions: (M, C, H, W) probabilities.
        points: (M, G, 2) x, y in pixels of the input, of each object.
    """

    names: tuple[str, ...]
    targets: Tensor
    predictions: Tensor
    points: Tensor


def pad_instances(
    gts: InstanceList, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Ground truths of B images, padded to the same number G >= 1.

    Args:
        gts: B instances with ``bboxes`` and ``labels``.
        like: Gives type and device of the boxes.

    Returns:
        tuple: Boxes (B, G, 4) in pixels, labels (B, G) and the mask (B, G)
        of the real ones.
    """
    return pad_gts(
        [get_box_tensor(gt.bboxes).to(like) for gt in gts],
        [gt.labels for gt in gts],
    )


def assignment_instances(
    priors: Tensor, level: Tensor, stride: Tensor, gt: Tensor, weight: Tensor
) -> InstanceList:
    """What ``get_assignment`` of a head returns.

    Args:
        priors: Points (P, 2) or boxes (P, 4) in pixels; with a first
            dimension B if every image has its own.
        level: (P,) int64 level of each prior, from 0.
        stride: (P,) stride of its level in pixels.
        gt: (B, P) int64 index of the ground truth, -1 negative, -2 ignored.
        weight: (B, P) weight in the loss.

    Returns:
        list: B instances with ``priors``, ``level``, ``stride``,
        ``assigned_gt`` and ``weight``.
    """
    rows = priors.expand(len(gt), *priors.shape[-2:])
    return [
        InstanceData(
            priors=own,
            level=level,
            stride=stride,
            assigned_gt=assigned,
            weight=factor,
        )
        for own, assigned, factor in zip(rows, gt, weight, strict=True)
    ]
