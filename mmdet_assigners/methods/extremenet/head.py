"""ExtremeNet's head: five heat maps per class, boxes by geometry."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import CornerHead
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import refuse_ignored_regions, refuse_pos_weight
from ...models.dense_heads.center_point_head import (
    CLAMP,
    COUNT_EPS,
    HEATMAP_BIAS,
    SOFT_NMS,
    merge_duplicates,
)
from ...models.dense_heads.instances import HeatmapView, pad_instances
from ...models.dense_heads.loss_inputs import LossInputs, LossInputsMixin
from ...ops.anchor_points import pad_rows
from ...ops.heatmaps import gather_cells, to_image, window_maxima
from .functional import (
    NUM_MAPS,
    ExtremeTargets,
    extreme_targets,
    octagon_masks,
    suppress_ghosts,
)
from .grouping import Groups, both_directions, find_peaks, group
from .points import edge_midpoints, warn_of_midpoints

POINTS = ('top', 'left', 'bottom', 'right')


@MODELS.register_module()
class ExtremeHead(LossInputsMixin, CornerHead):
    """Extreme points and centers of objects, grouped by geometry.

    For each class there are heat maps of the top, left, bottom and right-most
    point of objects and of the center of the box that these span. Four peaks
    with a center between them are an object. There are no embeddings and no
    corner pooling.

    Ground truths have ``extreme_points`` (G, 4, 2), x, y in pixels of the
    input, see ``LoadExtremePoints``; without them the middles of the sides of
    boxes are used, with a warning.

    Source: arXiv 1901.08043, xingyizhou/ExtremeNet.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the map, or of the map of each stack.
        feat_channels: Channels between the two convolutions of a branch.
        num_feat_levels: Number S of stacks, each of which is supervised; the
            last one predicts.
        train_cfg: Not used.
        test_cfg: ``extreme_topk`` (40), ``local_maximum_kernel`` (3),
            ``aggr_weight`` (0.1, 0 for no edge aggregation), ``score_thr`` of
            points and ``center_thr`` (0.1), ``center_kernel`` (1: the side of
            the window in which the center is looked for; 3 finds centers that
            rounding moved), ``num_dets`` before the NMS (1000), ``nms``
            (Gaussian soft-NMS), ``max_per_img`` (100), ``clip_border`` (True:
            boxes end at the image), ``suppress_ghost`` (False),
            ``ghost_multiplier`` (3), ``octagon_masks`` (False).
        loss_heatmap: Loss of the five heat maps.
        loss_offset: Loss of the offsets.
        clamp: Probabilities in the loss are this far from 0 and 1.

    Raises:
        ValueError: ``num_feat_levels`` is less than 1, or ``clamp`` is not in
            [0, 0.5).
    """

    out_names = ('heat_preds', 'offset_preds')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        num_feat_levels: int = 1,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        loss_heatmap: dict | None = None,
        loss_offset: dict | None = None,
        clamp: float = CLAMP,
    ) -> None:
        if num_feat_levels < 1:
            raise ValueError(
                f'num_feat_levels must be at least 1, got {num_feat_levels}'
            )
        if not 0 <= clamp < 0.5:
            raise ValueError(f'clamp must be from 0 to below 0.5, got {clamp}')
        self.feat_channels = feat_channels
        self.clamp = clamp
        super().__init__(
            num_classes,
            in_channels,
            num_feat_levels,
            corner_emb_channels=0,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            loss_heatmap=loss_heatmap
            or dict(type='GaussianFocalLoss', alpha=2.0, gamma=4.0),
            loss_embedding=None,
            loss_offset=loss_offset or dict(type='SmoothL1Loss', beta=1.0),
        )
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has no assigner')

    def _init_layers(self) -> None:
        def branch(width: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(self.in_channels, self.feat_channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(self.feat_channels, width, 1),
            )

        def stack() -> nn.ModuleDict:
            heat = {f'{p}_heat': self.num_classes for p in POINTS}
            heat['center_heat'] = self.num_classes
            offset = {f'{p}_offset': 2 for p in POINTS}
            widths = heat | offset
            return nn.ModuleDict({n: branch(w) for n, w in widths.items()})

        self.stacks = nn.ModuleList(
            stack() for _ in range(self.num_feat_levels)
        )

    def init_weights(self) -> None:
        """Initialize the official way: only the bias of heat maps is set."""
        for stack in self.stacks:
            for name, branch in stack.items():
                for conv in branch[::2]:
                    conv.reset_parameters()
                if name.endswith('heat'):
                    nn.init.constant_(branch[-1].bias, HEATMAP_BIAS)

    def forward(
        self, feats: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Predict from the maps of the last stacks.

        Args:
            feats: Up to S maps (B, C_in, H, W), the last stack at the end.

        Returns:
            tuple: Logits (B, 5, C, H, W) of top, left, bottom, right and
            center, and offsets (B, 4, 2, H, W), a list each with a tensor for
            each map.

        Raises:
            ValueError: More maps than stacks.
        """
        if len(feats) > self.num_feat_levels:
            raise ValueError(
                f'ExtremeHead takes num_feat_levels={self.num_feat_levels} '
                f'maps of one size, got {len(feats)}'
            )
        heats, offsets = [], []
        stacks = list(self.stacks)[-len(feats) :]
        for x, stack in zip(feats, stacks, strict=True):
            maps = [branch(x) for branch in stack.values()]
            heats.append(torch.stack(maps[:NUM_MAPS], 1))
            offsets.append(torch.stack(maps[NUM_MAPS:], 1))
        return heats, offsets

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch, the mean over the stacks.

        Args:
            inputs: Of ``loss_by_feat``, logits (B, 5, C, H, W) and offsets
                (B, 4, 2, H, W).

        Returns:
            dict: ``loss_heatmap``, of the extreme points, ``loss_center`` and
            ``loss_offset``.
        """
        return self.mean_losses(self.targets_of(inputs), *inputs.outs)

    def mean_losses(
        self,
        targets: ExtremeTargets,
        heats: Sequence[Tensor],
        offsets: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Losses of a batch, see :meth:`batch_losses`.

        Args:
            targets: Of the batch.
            heats: Logits (B, 5, C, H, W) of each stack.
            offsets: Offsets (B, 4, 2, H, W) of each stack.
        """
        stacks = [
            self.stack_losses(targets, heat, offset)
            for heat, offset in zip(heats, offsets, strict=True)
        ]
        return {
            name: sum(losses[name] for losses in stacks) / len(stacks)
            for name in stacks[0]
        }

    def targets_of(self, inputs: LossInputs) -> ExtremeTargets:
        """Targets of a batch.

        Boxes and points are clipped to the input; boxes without area are left
        out.
        """
        heat = inputs.outs[0][0]
        height, width = heat.shape[-2:]
        rows, columns = inputs.metas[0]['batch_input_shape']
        limit = heat.new_tensor((columns - 1, rows - 1)).float()
        ratio = limit.new_tensor((width / columns, height / rows))
        boxes, labels, valid = pad_instances(inputs.gts, limit)
        points = self.points_of(inputs.gts, boxes)
        corners = boxes.unflatten(-1, (2, 2)).clamp(min=0).minimum(limit)
        sizes = corners[:, :, 1] - corners[:, :, 0]
        points = points.clamp(min=0).minimum(limit)
        return extreme_targets(
            points * ratio,
            sizes * ratio,
            labels,
            valid & (sizes > 0).all(-1),
            self.num_classes,
            (height, width),
        )

    @staticmethod
    def points_of(gts: InstanceList, boxes: Tensor) -> Tensor:
        """Extreme points (B, G, 4, 2) in pixels, or what replaces them.

        Args:
            gts: B instances, with ``extreme_points`` (G_b, 4, 2) or without.
            boxes: (B, G, 4) their boxes, padded.

        Raises:
            ValueError: Another number of points than of boxes.
        """
        rows = []
        for gt, padded in zip(gts, boxes, strict=True):
            own = padded[: len(gt.bboxes)]
            points = gt.get('extreme_points')
            if points is None:
                points = edge_midpoints(own)
                if len(own):
                    warn_of_midpoints()
            if points.shape != (len(own), 4, 2):
                raise ValueError(
                    'extreme_points must have the shape '
                    f'{(len(own), 4, 2)}, got {tuple(points.shape)}'
                )
            rows.append(points.to(boxes))
        return pad_rows(rows)

    def stack_losses(
        self, targets: ExtremeTargets, heat: Tensor, offset: Tensor
    ) -> dict[str, Tensor]:
        """Losses of one stack.

        Args:
            targets: Of the batch.
            heat: (B, 5, C, H, W) logits.
            offset: (B, 4, 2, H, W) in cells.
        """
        dtype = torch.promote_types(heat.dtype, torch.float32)
        probs = heat.to(dtype).sigmoid().clamp(self.clamp, 1 - self.clamp)
        wanted = targets.heatmaps.unbind(1)
        parts = [
            self.loss_heatmap(
                probs[:, i],
                target,
                # each map has its own normalizer
                avg_factor=torch.count_nonzero(target == 1).clamp(min=1),
            )
            for i, target in enumerate(wanted)
        ]
        found = gather_cells(
            offset.to(dtype).flatten(0, 1), targets.index[:, :4].flatten(0, 1)
        )
        weight = targets.valid[:, None, :, None].to(found)
        weight = weight.expand_as(targets.offsets)
        loss_offset = self.loss_offset(
            found.view_as(weight),
            targets.offsets,
            weight,
            avg_factor=targets.valid.sum() + COUNT_EPS,
        )
        return dict(
            loss_heatmap=sum(parts[:4]),
            loss_center=parts[4],
            loss_offset=loss_offset,
        )

    def get_heatmaps(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
    ) -> list[HeatmapView]:
        """Heat maps of extreme points and centers, the last stack.

        Args:
            outs: What ``forward`` returned, logits (B, 5, C, H, W) first.
            batch_gt_instances: B instances with bboxes, labels and, if they
                are known, extreme_points.
            batch_img_metas: Meta information of B images.
        """
        last = tuple([maps[-1]] for maps in outs)
        inputs = LossInputs(last, batch_gt_instances, batch_img_metas)
        targets = self.targets_of(inputs)
        boxes, _, _ = pad_instances(inputs.gts, last[0][0])
        points = self.points_of(inputs.gts, boxes)
        middle = (points.amin(2) + points.amax(2)) / 2
        points = torch.cat((points, middle[:, :, None]), 2).transpose(1, 2)
        return [
            HeatmapView(
                (*(f'{name} points' for name in POINTS), 'centers'),
                wanted,
                found,
                points[i, :, : len(batch_gt_instances[i].bboxes)],
            )
            for i, (wanted, found) in enumerate(
                zip(targets.heatmaps, last[0][0].sigmoid(), strict=True)
            )
        ]

    def predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: Sequence[Any],
        rescale: bool = False,
    ) -> InstanceList:
        """Detect in a batch of images, by the last stack alone.

        Args:
            x: A map (B, C_in, H, W) for each stack.
            batch_data_samples: B samples with meta information.
            rescale: Return boxes in the original images.
        """
        return super().predict(x[-1:], batch_data_samples, rescale)

    def predict_by_feat(
        self,
        heat_preds: Sequence[Tensor],
        offset_preds: Sequence[Tensor],
        batch_img_metas: Sequence[dict] | None = None,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
        mirrored: bool = False,
    ) -> InstanceList:
        """Detections of the last stack.

        Args:
            heat_preds: Logits (B, 5, C, H, W) of each stack.
            offset_preds: Offsets (B, 4, 2, H, W) of each stack.
            batch_img_metas: Meta information of B images; ``border`` is the
                place of the image in the input, by default at the top left.
            cfg: Replaces ``test_cfg``.
            rescale: Return boxes in the original images.
            with_nms: Merge duplicates and suppress ghosts; without it all
                groups are returned.
            mirrored: The second half of the maps, of 2 B images, is that of
                the mirror images.

        Returns:
            list: B instances with ``bboxes`` (N, 4), ``scores`` (N,),
            descending, ``labels`` (N,), ``extreme_points`` (N, 4, 2) and,
            with ``octagon_masks``, ``masks``.
        """
        cfg = cfg or self.test_cfg or {}
        metas = batch_img_metas or []
        heat, offset = heat_preds[-1].detach(), offset_preds[-1].detach()
        size = (heat.shape[-2], heat.shape[-1])
        groups = self.decode(heat, offset, cfg)
        if mirrored:
            half = len(groups) // 2
            pairs = zip(groups[:half], groups[half:], strict=True)
            groups = [both_directions(*pair, size[1]) for pair in pairs]
        results = []
        for found, meta in zip(groups, metas, strict=True):
            clip = cfg.get('clip_border', True)
            instances = self.to_instances(found, size, meta, rescale, clip)
            if with_nms:
                instances = self.finish(instances, meta, cfg, rescale)
            results.append(instances)
        return results

    def decode(self, heat: Tensor, offset: Tensor, cfg: dict) -> list[Groups]:
        """Objects of B images in cells.

        Args:
            heat: (B, 5, C, H, W) logits.
            offset: (B, 4, 2, H, W) in cells.
            cfg: As ``test_cfg``.
        """
        dtype = torch.promote_types(heat.dtype, torch.float32)
        probs = heat.to(dtype).sigmoid()
        peaks = find_peaks(
            probs[:, :4],
            offset.to(dtype),
            cfg.get('extreme_topk', 40),
            cfg.get('local_maximum_kernel', 3),
            cfg.get('aggr_weight', 0.1),
        )
        centers = window_maxima(probs[:, 4], cfg.get('center_kernel', 1))
        return [
            group(
                found,
                center,
                cfg.get('score_thr', 0.1),
                cfg.get('center_thr', 0.1),
                cfg.get('num_dets', 1000),
            )
            for found, center in zip(peaks, centers, strict=True)
        ]

    @staticmethod
    def to_instances(
        found: Groups,
        size: tuple[int, ...],
        meta: dict,
        rescale: bool,
        clip: bool = True,
    ) -> InstanceData:
        """Objects in pixels.

        Args:
            found: Objects of an image in cells.
            size: (H, W) of the map.
            meta: Meta information of the image.
            rescale: In the original image.
            clip: Boxes and points end at the image.
        """
        height, width = meta['img_shape'][:2]
        places = torch.cat(
            (found.boxes.unflatten(-1, (2, 2)), found.points), 1
        )
        places = to_image(
            places,
            (size[0], size[1]),
            meta['batch_input_shape'],
            tuple(meta.get('border', (0, height, 0, width))),
            meta.get('scale_factor', (1.0, 1.0)) if rescale else (1.0, 1.0),
            clip,
        )
        return InstanceData(
            bboxes=places[:, :2].flatten(1),
            scores=found.scores,
            labels=found.labels,
            extreme_points=places[:, 2:],
        )

    def finish(
        self,
        found: InstanceData,
        meta: dict,
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> InstanceData:
        """Merge duplicates, keep the best, suppress ghosts, make masks.

        Args:
            found: Objects of one image, of one or more views.
            meta: Meta information of the image.
            cfg: Replaces ``test_cfg``.
            rescale: The objects are in the original image.

        Returns:
            InstanceData: By descending score.
        """
        cfg = cfg or self.test_cfg or {}
        limit = cfg.get('max_per_img', 100)
        found = merge_duplicates(found, dict(cfg.get('nms', SOFT_NMS)), limit)
        if cfg.get('suppress_ghost', False):
            for label in found.labels.unique():
                own = found.labels == label
                found.scores[own] = suppress_ghosts(
                    found.bboxes[own],
                    found.scores[own],
                    cfg.get('ghost_multiplier', 3.0),
                )
            order = found.scores.sort(descending=True, stable=True).indices
            found = found[order]
        found = found[:limit] if limit > 0 else found
        if cfg.get('octagon_masks', False):
            shape = meta['ori_shape' if rescale else 'img_shape']
            found.masks = octagon_masks(found, shape[:2])
        return found
