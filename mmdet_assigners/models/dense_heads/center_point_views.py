"""What the analysis tools see of CenterNet's head."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from torch import Tensor

from ...ops import heatmaps
from .instances import HeatmapView, assignment_instances
from .loss_inputs import LossInputs


class CenterPointViews:
    """Assignment and heat maps of a ``CenterPointHead``."""

    trained_targets: Any
    assignment_uses_predictions = False

    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """The assignment of B images, for the analysis tools.

        An object has the cell of its center, the last of a cell has it. The
        weight of another cell is that of a negative in the heat map of the
        class for which it is least.

        Args:
            outs: What ``forward`` returned.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Meta information of B images.
            feats: Not used.

        Returns:
            list: B instances with ``priors`` (P, 2) in pixels and, of shape
            (P,), ``level``, ``stride``, ``assigned_gt`` and ``weight``.
        """
        heatmap = outs[0][-1]
        inputs = LossInputs(([heatmap],), batch_gt_instances, batch_img_metas)
        targets = self.trained_targets(inputs)
        height, width = heatmap.shape[2:]
        columns, rows = ratios(heatmap, batch_img_metas)[:2].tolist()
        y, x = torch.meshgrid(
            torch.arange(height), torch.arange(width), indexing='ij'
        )
        cells = torch.stack((x, y), -1).flatten(0, 1).to(heatmap)
        priors = (cells + 0.5) / heatmap.new_tensor((columns, rows))
        owner = heatmaps.cell_owners(
            targets.index, targets.valid, height * width
        )
        weight = (1 - targets.heatmap.amax(1).flatten(1)) ** 4
        level = torch.zeros(len(priors), dtype=torch.long)
        return assignment_instances(
            priors,
            level.to(owner.device),
            priors.new_full((len(priors),), 1 / columns),
            owner,
            weight.where(owner < 0, 1),
        )

    def get_heatmaps(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
    ) -> list[HeatmapView]:
        """Heat maps of B images, the last stack.

        Args:
            outs: What ``forward`` returned, heat maps (B, C, H, W) first.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Meta information of B images.
        """
        heatmap = outs[0][-1]
        inputs = LossInputs(([heatmap],), batch_gt_instances, batch_img_metas)
        targets = self.trained_targets(inputs)
        return [
            HeatmapView(
                ('centers',), wanted[None], found[None], centers_of(gt.bboxes)
            )
            for wanted, found, gt in zip(
                targets.heatmap, heatmap, batch_gt_instances, strict=True
            )
        ]


def centers_of(boxes: Any) -> Tensor:
    """Centers (1, G, 2) of boxes (G, 4)."""
    low, high = get_box_tensor(boxes).chunk(2, -1)
    return ((low + high) / 2)[None]


def ratios(heatmap: Tensor, metas: Sequence[dict]) -> Tensor:
    """Cells per pixel for x1, y1, x2, y2, (4,), of maps (B, C, H, W)."""
    height, width = heatmap.shape[2:]
    rows, columns = metas[0]['batch_input_shape']
    return heatmap.new_tensor((width / columns, height / rows) * 2)
