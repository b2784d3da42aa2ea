"""FCOS's definition of positives for anchors."""

from collections.abc import Sequence

import torch
from mmdet.registry import TASK_UTILS
from torch import Tensor

from ...models.task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    need_levels,
)
from ...ops.anchor_points import MAX_ELEMENTS
from .functional import MARGIN, ssc_match


@TASK_UTILS.register_module()
class SSCAssigner(BatchAssigner):
    """Spatial and scale constraint: FCOS's rule for the centers of anchors.

    The definition of positives 'SSC' of ATSS (CVPR 2020, arXiv 1912.02424).
    An anchor is positive for boxes that hold its center and whose farthest
    side is in the range of its level; the box with the smallest area wins. No
    anchor is ignored. With ``margin=0`` and anchors centered at FCOS's points
    the targets are those of mmdet's ``FCOSHead``.

    Args:
        regress_ranges: Minimum and maximum distance to the farthest side in
            pixels, for each of the L levels, both ends included (paper and
            FCOS: the default).
        center_radius: Center sampling: the center is also at most this many
            strides from the box's center (FCOS: 1.5); None: anywhere inside.
        strides: Stride of each of the L levels in pixels, for center
            sampling.
        margin: Minimum distance in pixels of the center to the sides of the
            box (official ATSS: 0.01, FCOS: 0).
        max_elements: Bound on the number of elements of (B, G, P) tensors.
        ignore_iof_thr: Share of a prior in an ignored region above which it
            is ignored, see ``BatchAssigner``; -1: off.
        ignore_wrt_candidates: See ``BatchAssigner``.

    Raises:
        ValueError: A range is empty, the numbers of levels differ or
            ``center_radius`` isn't positive.
    """

    def __init__(
        self,
        regress_ranges: Sequence[Sequence[float]] = (
            (-1, 64),
            (64, 128),
            (128, 256),
            (256, 512),
            (512, float('inf')),
        ),
        center_radius: float | None = None,
        strides: Sequence[float] = (8, 16, 32, 64, 128),
        margin: float = MARGIN,
        max_elements: int = MAX_ELEMENTS,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
    ) -> None:
        super().__init__(max_elements, ignore_iof_thr, ignore_wrt_candidates)
        for pair in regress_ranges:
            if len(pair) != 2 or not pair[0] <= pair[1]:
                raise ValueError(
                    'regress_ranges must hold pairs (minimum, maximum), got '
                    f'{tuple(pair)}'
                )
        if center_radius is not None:
            if not center_radius > 0:
                raise ValueError(
                    'center_radius must be positive or None, got '
                    f'{center_radius}'
                )
            if len(strides) != len(regress_ranges):
                raise ValueError(
                    f'strides has {len(strides)} levels but regress_ranges '
                    f'has {len(regress_ranges)}'
                )
        self.regress_ranges = regress_ranges
        self.center_radius = center_radius
        self.strides = strides
        self.margin = margin

    def match_batch(self, inputs: AssignInputs) -> Assignment:
        """Assign the priors of B images.

        Args:
            inputs: With ``level_sizes``.

        Returns:
            Assignment: ``iou`` is 0 everywhere.

        Raises:
            ValueError: There are no level sizes, or not one for each range.
        """
        sizes = need_levels(inputs, type(self).__name__)
        if len(sizes) != len(self.regress_ranges):
            raise ValueError(
                f'regress_ranges has {len(self.regress_ranges)} levels but '
                f'the priors have {len(sizes)}'
            )
        radius = None
        if self.center_radius is not None:
            radius = _spread(self.strides, sizes, inputs.priors)
            radius = radius * self.center_radius
        claims = ssc_match(
            inputs.priors,
            inputs.boxes,
            inputs.mask,
            _spread(self.regress_ranges, sizes, inputs.priors),
            self.margin,
            radius,
            inputs.valid,
            self.max_elements,
        )
        return Assignment(claims.gt, claims.iou)


def _spread(values: Sequence, sizes: Sequence[int], like: Tensor) -> Tensor:
    """Values of L levels for each of the P priors, (P, ...)."""
    counts = torch.tensor(sizes, device=like.device)
    return like.new_tensor(values).repeat_interleave(
        counts, 0, output_size=sum(sizes)
    )
