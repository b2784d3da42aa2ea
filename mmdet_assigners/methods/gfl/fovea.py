"""FoveaBox's assignment (arXiv 1904.03797), batched."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...ops.anchor_points import (
    MAX_ELEMENTS,
    AnchorPoints,
    assign_smallest_area,
)


def assign_fovea(
    points: AnchorPoints,
    boxes: Tensor,
    mask: Tensor,
    scale_ranges: Sequence[Sequence[float]],
    sigma: float = 0.4,
    max_elements: int = MAX_ELEMENTS,
) -> Tensor:
    """Positive cells: the shrunk box of an object on levels of its scale.

    An object belongs to the levels whose range holds the square root of its
    area. There the cells between the edges of its box, shrunk to ``sigma`` of
    its size, are positive; of several objects the smallest wins. Rounding and
    clipping (an object beyond the border takes cells at the border) are those
    of mmdet's ``FoveaHead``.

    Args:
        points: P points at the centers of the cells of L levels.
        boxes: (B, G, 4) xyxy pixels.
        mask: (B, G) bool, False for padding.
        scale_ranges: L pairs of minimum and maximum side in pixels, both ends
            included.
        sigma: Size of the shrunk box relative to the box; 0.4.
        max_elements: Bound on the size of the (B, G, P) tensors.

    Returns:
        Tensor: (B, P) int64 index of the object, -1 without one.

    Raises:
        ValueError: As many ranges as levels are expected.
    """
    levels = len(points.strides)
    if len(scale_ranges) != levels:
        raise ValueError(
            f'scale_ranges must have one pair per level, {levels}, got '
            f'{len(scale_ranges)}: {scale_ranges}'
        )
    # levels whose scale range holds the object
    low, high = boxes.new_tensor(scale_ranges).unbind(-1)
    side = (boxes[..., 2:] - boxes[..., :2]).prod(-1, keepdim=True).sqrt()
    candidates = (side >= low) & (side <= high) & mask[..., None]
    # column and row of each point, and the last ones of its level
    stride = points.stride[:, None]
    cell = (points.xy / stride - 0.5).round()
    last = (points.sizes[points.level] - 1).to(cell)

    def inside(part: slice) -> Tensor:
        chunk = boxes[:, part, None] / points.stride[:, None]
        half = (chunk[..., 2:] - chunk[..., :2]) / 2
        begin = (chunk[..., :2] + (1 - sigma) * half - 0.5).ceil()
        end = (chunk[..., :2] + (1 + sigma) * half - 0.5).floor()
        begin = torch.minimum(begin.clamp(min=0), last)
        end = torch.minimum(end.clamp(min=0), last)
        return ((cell >= begin) & (cell <= end)).all(-1)

    return assign_smallest_area(
        points, boxes, inside, candidates, max_elements=max_elements
    )
