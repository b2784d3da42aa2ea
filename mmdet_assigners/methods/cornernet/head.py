"""CornerNet's head: mmdet's, with targets and pairs of a whole batch."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import CornerHead
from mmdet.models.losses import AssociativeEmbeddingLoss
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import (
    check_parts,
    pick,
    refuse_ignored_regions,
    refuse_pos_weight,
)
from ...models.dense_heads.center_point_head import COUNT_EPS, SOFT_NMS
from ...models.dense_heads.instances import HeatmapView, pad_instances
from ...models.dense_heads.loss_inputs import LossInputs, LossInputsMixin
from ...ops.anchor_points import pad_gts
from ...ops.heatmaps import gather_cells, to_image
from .functional import (
    RULES,
    CornerTargets,
    Pairs,
    corner_targets,
    dense_offsets,
    embedding_losses,
    last_of_cells,
    mirror_boxes,
    pair_corners,
)
from .merging import merge_pairs

NO_PAIR = -0.1  # scores up to it


@MODELS.register_module()
class CornerPairHead(LossInputsMixin, CornerHead):
    """mmdet's ``CornerHead`` with what the official code does differently.

    By default targets, losses and detections are those of mmdet, computed for
    a whole batch at once and in float32 at least; weights are
    interchangeable. Each option switches one difference to the official code.

    Source: arXiv 1808.01244, princeton-vl/CornerNet.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the map of each stack.
        num_feat_levels: Number S of stacks, each of which is supervised; the
            last one predicts.
        gaussian_rule: ``'mmdet'``: radius for an overlap of 0.3 by the exact
            formula, as in later versions of the official code; or
            ``'official'``: for 0.7 by the formula of the paper's time, and
            boxes clipped to the last pixel.
        mean_stacks: Losses are means over the stacks, not sums.
        sum_corners: Losses of heat maps and offsets are sums over both
            corners, not means.
        clamp: Probabilities in the loss are this far from 0 and 1,
            officially 1e-4.
        object_offsets: Each object is in the loss of offsets, also where
            several share a cell; or the last of a cell alone.
        feat_channels: Channels between the two convolutions of a branch.
        **kwargs: As of ``CornerHead``. ``test_cfg`` also takes
            ``clip_border``: boxes end at the image (False), and
            ``merge_exponent``: average boxes with those that they suppress
            (None: they are not; officially 10 for several scales).

    Raises:
        TypeError: ``loss_embedding`` is of another type than
            ``AssociativeEmbeddingLoss``.
        ValueError: ``gaussian_rule`` is not one of the two,
            ``num_feat_levels`` is less than 1, ``clamp`` is not in [0, 0.5),
            or ``corner_emb_channels`` is not 1.
    """

    out_names = (
        'tl_heats',
        'br_heats',
        'tl_embs',
        'br_embs',
        'tl_offs',
        'br_offs',
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_feat_levels: int = 2,
        gaussian_rule: str = 'mmdet',
        mean_stacks: bool = False,
        sum_corners: bool = False,
        clamp: float = 0.0,
        object_offsets: bool = False,
        feat_channels: int = 256,
        **kwargs: Any,
    ) -> None:
        pick(RULES, gaussian_rule, 'gaussian_rule')
        if num_feat_levels < 1:
            raise ValueError(
                f'num_feat_levels must be at least 1, got {num_feat_levels}'
            )
        if not 0 <= clamp < 0.5:
            raise ValueError(f'clamp must be from 0 to below 0.5, got {clamp}')
        self.feat_channels = feat_channels
        super().__init__(num_classes, in_channels, num_feat_levels, **kwargs)
        if self.corner_emb_channels != 1:
            raise ValueError(
                'corner_emb_channels must be 1, got '
                f'{self.corner_emb_channels}'
            )
        check_parts(self, loss_embedding=AssociativeEmbeddingLoss)
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has no assigner')
        self.gaussian_rule = gaussian_rule
        self.mean_stacks = mean_stacks
        self.sum_corners = sum_corners
        self.clamp = clamp
        self.object_offsets = object_offsets

    def _make_layers(
        self, out_channels: int, in_channels: int = 256, *_: int
    ) -> nn.Sequential:
        return super()._make_layers(
            out_channels, in_channels, self.feat_channels
        )

    def forward(self, feats: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Predict from the maps of the last stacks.

        Args:
            feats: Up to S maps (B, C_in, H, W), the last stack at the end.

        Returns:
            tuple: Logits (B, C, H, W), embeddings (B, 1, H, W) and offsets
            (B, 2, H, W) in cells, each of top-left and of bottom-right
            corners; a list each with a tensor for each map.

        Raises:
            ValueError: More maps than stacks.
        """
        first = self.num_feat_levels - len(feats)
        if first < 0:
            raise ValueError(
                f'CornerPairHead takes num_feat_levels={self.num_feat_levels} '
                f'maps of one size, got {len(feats)}'
            )
        outs = [self.forward_single(x, first + i) for i, x in enumerate(feats)]
        return tuple(map(list, zip(*outs, strict=True)))

    def get_targets(
        self,
        gt_bboxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        feat_shape: Sequence[int],
        img_shape: Sequence[int],
        with_corner_emb: bool = False,
    ) -> dict[str, Any]:
        """Targets as ``CornerHead`` has them, at once.

        Args:
            gt_bboxes: B tensors (G_b, 4) in pixels.
            gt_labels: B tensors (G_b,).
            feat_shape: (B, C, H, W) of the heat maps.
            img_shape: (height, width) of the padded images.
            with_corner_emb: Also return the cells of the corners.

        Returns:
            dict: Heat maps (B, C, H, W), offsets (B, 2, H, W) and, of each
            image, a list of y, x of both corners of each object.
        """
        height, width = feat_shape[2:]
        targets = corner_targets(
            *pad_gts(gt_bboxes, gt_labels),
            self.num_classes,
            (height, width),
            (img_shape[0], img_shape[1]),
            self.gaussian_rule,
        )
        flat = dict(
            heatmap=targets.heatmaps,
            offset=dense_offsets(targets, height, width),
        )
        found: dict[str, Any] = {
            f'{corner}_{name}': maps[:, i]
            for i, corner in enumerate(('topleft', 'bottomright'))
            for name, maps in flat.items()
        }
        if with_corner_emb:
            cells = torch.stack(
                (targets.index // width, targets.index % width), -1
            )
            rows = cells.transpose(1, 2).tolist()
            real = targets.valid.tolist()
            found['corner_embedding'] = [
                [row for row, one in zip(*pair, strict=True) if one]
                for pair in zip(rows, real, strict=True)
            ]
        return found

    def targets_of(self, inputs: LossInputs) -> CornerTargets:
        """Targets of a batch.

        Boxes are clipped to the input; those without area are left out.
        """
        heat = inputs.outs[0][0]
        dtype = torch.promote_types(heat.dtype, torch.float32)
        height, width = heat.shape[-2:]
        rows, columns = inputs.metas[0]['batch_input_shape']
        return corner_targets(
            *pad_instances(inputs.gts, heat.new_empty(0, dtype=dtype)),
            self.num_classes,
            (height, width),
            (rows, columns),
            self.gaussian_rule,
        )

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch, summed over the stacks, or their means.

        Args:
            inputs: Of ``loss_by_feat``, maps (B, channels, H, W).

        Returns:
            dict: ``det_loss``, ``off_loss``, ``pull_loss``, ``push_loss``.
        """
        targets = self.targets_of(inputs)
        # (B, 2, channels, H, W) of each stack
        heats, embeddings, offsets = (
            [
                _both(*pair)
                for pair in zip(*inputs.outs[i : i + 2], strict=True)
            ]
            for i in (0, 2, 4)
        )
        stacks = [
            self.stack_losses(targets, *maps)
            for maps in zip(heats, embeddings, offsets, strict=True)
        ]
        share = len(stacks) if self.mean_stacks else 1
        return {
            name: sum(losses[name] for losses in stacks) / share
            for name in stacks[0]
        }

    def stack_losses(
        self,
        targets: CornerTargets,
        heat: Tensor,
        embedding: Tensor,
        offset: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of one stack.

        Args:
            targets: Of the batch.
            heat: (B, 2, C, H, W) logits.
            embedding: (B, 2, 1, H, W).
            offset: (B, 2, 2, H, W) in cells.
        """
        probs = heat.sigmoid()
        if self.clamp:
            probs = probs.clamp(self.clamp, 1 - self.clamp)
        near = gather_cells(
            embedding.flatten(0, 1), targets.index.flatten(0, 1)
        )
        first, second = near.view(targets.index.shape).unbind(1)
        pull, push = embedding_losses(first, second, targets.valid)
        pairs = zip(probs.unbind(1), targets.heatmaps.unbind(1), strict=True)
        detection = sum(self.heat_loss(*pair) for pair in pairs)
        share = 1 if self.sum_corners else 2
        return dict(
            det_loss=detection / share,
            off_loss=self.offset_loss(offset, targets) / share,
            pull_loss=self.loss_embedding.pull_weight * pull,
            push_loss=self.loss_embedding.push_weight * push,
        )

    def heat_loss(self, probs: Tensor, wanted: Tensor) -> Tensor:
        """Focal loss of one corner, by the number of its cells.

        Args:
            probs: (B, C, H, W).
            wanted: (B, C, H, W).
        """
        count = torch.count_nonzero(wanted == 1).clamp(min=1)
        return self.loss_heatmap(probs, wanted, avg_factor=count)

    def offset_loss(self, maps: Tensor, targets: CornerTargets) -> Tensor:
        """Loss of the offsets, the sum of both corners.

        Args:
            maps: (B, 2, 2, H, W) in cells.
            targets: Of the batch.
        """
        index = targets.index.flatten(0, 1)
        valid = targets.valid[:, None].expand(-1, 2, -1)
        if self.object_offsets:
            count = valid.sum((0, 2)) + COUNT_EPS
        else:
            flat = valid.flatten(0, 1)
            flat = last_of_cells(index, flat, maps[0, 0, 0].numel())
            valid = flat.view(valid.shape)
            count = valid.sum((0, 2)).clamp(min=1)
        found = gather_cells(maps.flatten(0, 1), index)
        # each corner has its own normalizer
        weight = valid / count[:, None]
        weight = weight[..., None].expand_as(targets.offsets)
        return self.loss_offset(
            found.view(weight.shape), targets.offsets, weight, avg_factor=1
        )

    def get_heatmaps(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
    ) -> list[HeatmapView]:
        """Heat maps of both corners of B images, the last stack.

        Args:
            outs: What ``forward`` returned, logits (B, C, H, W) first.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Meta information of B images.
        """
        last = tuple([maps[-1]] for maps in outs)
        targets = self.targets_of(
            LossInputs(last, batch_gt_instances, batch_img_metas)
        )
        probs = _both(last[0][0], last[1][0]).sigmoid()
        return [
            HeatmapView(
                ('top-left corners', 'bottom-right corners'),
                wanted,
                found,
                get_box_tensor(gt.bboxes)
                .unflatten(-1, (2, 2))
                .transpose(0, 1),
            )
            for wanted, found, gt in zip(
                targets.heatmaps, probs, batch_gt_instances, strict=True
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
        tl_heats: Sequence[Tensor],
        br_heats: Sequence[Tensor],
        tl_embs: Sequence[Tensor],
        br_embs: Sequence[Tensor],
        tl_offs: Sequence[Tensor],
        br_offs: Sequence[Tensor],
        batch_img_metas: Sequence[dict] | None = None,
        rescale: bool = False,
        with_nms: bool = True,
        cfg: ConfigDict | None = None,
        mirrored: bool = False,
    ) -> InstanceList:
        """Detections of the last stack.

        Args:
            tl_heats: Logits (B, C, H, W) of each stack.
            br_heats: The same of bottom-right corners.
            tl_embs: Embeddings (B, 1, H, W).
            br_embs: The same of bottom-right corners.
            tl_offs: Offsets (B, 2, H, W) in cells.
            br_offs: The same of bottom-right corners.
            batch_img_metas: Meta information of B images; ``border`` is the
                place of the image in the input, by default at the top left.
            rescale: Return boxes in the original images.
            with_nms: Merge duplicates; without it all pairs are returned, with
                ``corner_scores`` (N, 2).
            cfg: Replaces ``test_cfg``.
            mirrored: The second half of the maps, of 2 B images, is that of
                the mirror images.

        Returns:
            list: B instances with ``bboxes`` (N, 4), ``scores`` (N,),
            descending, and ``labels`` (N,).
        """
        cfg = cfg or self.test_cfg or {}
        pairs = pair_corners(
            _both(tl_heats[-1], br_heats[-1]).detach().sigmoid(),
            _both(tl_embs[-1], br_embs[-1]).detach(),
            _both(tl_offs[-1], br_offs[-1]).detach(),
            cfg.get('corner_topk', 100),
            cfg.get('local_maximum_kernel', 3),
            cfg.get('distance_threshold', 0.5),
        )
        height, width = tl_heats[-1].shape[2:]
        if mirrored:
            plain, other = zip(*(part.chunk(2) for part in pairs), strict=True)
            other = (mirror_boxes(other[0], width), *other[1:])
            both = zip(plain, other, strict=True)
            pairs = Pairs(*(torch.cat(parts, 1) for parts in both))
        results = []
        for *found, meta in zip(*pairs, batch_img_metas or [], strict=True):
            instances = self.to_instances(
                Pairs(*found), (height, width), meta, cfg, rescale
            )
            if with_nms:
                instances = self.finish(instances, meta, cfg, rescale)
            results.append(instances)
        return results

    @staticmethod
    def to_instances(
        found: Pairs,
        size: tuple[int, int],
        meta: dict,
        cfg: dict,
        rescale: bool,
    ) -> InstanceData:
        """Pairs of one image in pixels.

        Args:
            found: Boxes (N, 4), scores and labels (N,), corner_scores (N, 2).
            size: (H, W) of the map.
            meta: Meta information of the image.
            cfg: As ``test_cfg``.
            rescale: In the original image.
        """
        height, width = meta['img_shape'][:2]
        top, bottom, left, right = map(
            float, meta.get('border', (0, height, 0, width))
        )
        if not cfg.get('clip_border', False):
            bottom = right = float('inf')
        scale = meta.get('scale_factor', (1, 1)) if rescale else (1, 1)
        corners = to_image(
            found.boxes.unflatten(-1, (2, 2)),
            size,
            meta['batch_input_shape'],
            (top, bottom, left, right),
            scale,
        )
        keep = (corners[:, 1] > corners[:, 0]).all(-1)
        keep &= found.scores > NO_PAIR
        return InstanceData(
            bboxes=corners.flatten(1)[keep],
            scores=found.scores[keep],
            labels=found.labels[keep],
            corner_scores=found.corner_scores[keep],
        )

    def finish(
        self,
        found: InstanceData,
        meta: dict,
        cfg: dict | None = None,
        rescale: bool = False,
    ) -> InstanceData:
        """Merge duplicates by the NMS of the config, and keep the best.

        Args:
            found: Boxes of one image, of one or more views.
            meta: Meta information of the image.
            cfg: Replaces ``test_cfg``.
            rescale: The boxes are in the original image.

        Returns:
            InstanceData: By descending score.
        """
        cfg = cfg or self.test_cfg or {}
        limit = cfg.get('max_per_img', 100)
        exponent = cfg.get('merge_exponent')
        nms = dict(cfg.get('nms', SOFT_NMS))
        return merge_pairs(found, nms, limit, exponent)


def _both(first: Tensor, second: Tensor) -> Tensor:
    """(B, 2, ...) of two maps (B, ...), in float32 or finer."""
    both = torch.stack((first, second), 1)
    return both.to(torch.promote_types(both.dtype, torch.float32))
