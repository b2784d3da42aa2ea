"""Base class of FCOS-like heads whose loss sees the whole batch at once."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.utils import InstanceList
from torch import Tensor

from ...ops.anchor_points import (
    AnchorPoints,
    anchor_points,
    flatten_levels,
)
from ...ops.fcos import point_limits, smallest_match
from ..checks import refuse_ignored_regions, refuse_pos_weight
from .instances import assignment_instances, pad_instances
from .loss_inputs import LossInputs, LossInputsMixin


@dataclass(frozen=True)
class FlatPoints:
    """Predictions, points and ground truths of B images, levels concatenated.

    Floating tensors are float32 or finer.

    Attributes:
        cls: (B, P, C) class logits.
        reg: (B, P, 4) distances as the head returned them.
        factor: (B, P) logits of centerness or objectness, None without them.
        points: The P points.
        boxes: (B, G, 4) ground truths in pixels, padded, G >= 1.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
    """

    cls: Tensor
    reg: Tensor
    factor: Tensor | None
    points: AnchorPoints
    boxes: Tensor
    labels: Tensor
    mask: Tensor


class FlatPointsMixin(LossInputsMixin):
    """Mixin before an ``FCOSHead``; a subclass writes ``loss_flat``.

    ``forward`` returns class logits, distances and, if there are any, the
    logits of score factors.

    Raises:
        ValueError: ``train_cfg`` has a positive ``pos_weight`` or
            ``assigner.ignore_iof_thr``, which FCOS doesn't use.
    """

    out_names: Sequence[str] = ('cls_scores', 'bbox_preds', 'centernesses')

    # of the FCOSHead behind it
    center_sample_radius: float
    center_sampling: bool
    prior_generator: Any
    regress_ranges: Sequence[Sequence[float]]
    strides: Sequence[int]

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has no assigner')

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: Of ``loss_by_feat``; each output a list of L maps
                (B, channels, H_l, W_l). Ignored regions are not used, as in
                FCOS.

        Returns:
            dict: What :meth:`loss_flat` returns.
        """
        return self.loss_flat(self.flatten(inputs.outs, inputs.gts))

    @abstractmethod
    def loss_flat(self, flat: FlatPoints) -> dict[str, Tensor]:
        """Losses of a batch; a subclass writes it.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            dict: Loss name -> scalar.
        """

    def flatten(
        self, outs: Sequence[list[Tensor]], gts: InstanceList
    ) -> FlatPoints:
        """Concatenate levels and stack images.

        Args:
            outs: Two or three lists of L maps (B, channels, H_l, W_l), see
                the class.
            gts: Ground truths of B images.

        Returns:
            FlatPoints: In float32 or finer.
        """
        cls, reg, *factor = (flatten_levels(maps) for maps in outs)
        points = anchor_points(
            [scores.shape[-2:] for scores in outs[0]],
            self.strides,
            self.prior_generator.offset,
            device=cls.device,
            dtype=torch.promote_types(cls.dtype, reg.dtype),
        )
        padded = pad_instances(gts, reg)
        logits = factor[0].squeeze(-1) if factor else None
        return FlatPoints(cls, reg, logits, points, *padded)

    def assign_flat(self, flat: FlatPoints) -> Tensor:
        """FCOS's assignment by the head's ranges and center sampling.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            Tensor: (B, P) int64 index of the ground truth, -1 without one.
        """
        radius = self.center_sample_radius if self.center_sampling else None
        limits = point_limits(flat.points, self.regress_ranges, radius)
        return smallest_match(limits, flat.boxes, flat.mask)

    def assigned(self, flat: FlatPoints) -> tuple[Tensor, Tensor]:
        """Assignment and weights, for the analysis tools.

        Args:
            flat: Predictions, points and ground truths.

        Returns:
            tuple: Index (B, P) of the ground truth, -1 without one, and the
            weight (B, P) of each point; here 1.
        """
        return self.assign_flat(flat), torch.ones_like(flat.reg[..., 0])

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """The assignment of B images, for the analysis tools.

        Args:
            outs: What ``forward`` returned.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            feats: Not used.

        Returns:
            list: B instances with ``priors`` (P, 2) in pixels and, of shape
            (P,), ``level``, ``stride``, ``assigned_gt`` and ``weight``, see
            :meth:`assigned`.
        """
        flat = self.flatten(outs, batch_gt_instances)
        points = flat.points
        return assignment_instances(
            points.xy, points.level, points.stride, *self.assigned(flat)
        )
