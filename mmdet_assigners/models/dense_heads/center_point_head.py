"""CenterNet's head with the official targets, losses and stacks."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import CenterNetHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import get_box_tensor
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...ops import heatmaps
from ...ops.anchor_points import pad_gts
from ..checks import refuse_ignored_regions, refuse_pos_weight
from ..layers.merge_duplicates import merge_duplicates
from .center_point_views import CenterPointViews, ratios
from .instances import pad_instances
from .loss_inputs import LossInputs, LossInputsMixin

HEATMAP_BIAS = -2.19
CLAMP = 1e-4  # probabilities in the loss, from 0 and 1
COUNT_EPS = 1e-4  # added to the number of coordinates
# of detectors without an NMS of their own, once for all views
SOFT_NMS = dict(
    type='soft_nms',
    method='gaussian',
    sigma=0.5,
    min_score=0.001,
    offset=1,  # inclusive corners
)
RULES = ('official', 'mmdet')


@MODELS.register_module()
class CenterPointHead(CenterPointViews, LossInputsMixin, CenterNetHead):
    """CenterNet's head as in the official code, for one or more stacks.

    Unlike mmdet's it predicts for images of any pipeline, the targets of a
    batch are drawn at once, and losses are computed in float32 at least.

    Source: arXiv 1904.07850, xingyizhou/CenterNet.

    Args:
        in_channels: Channels of the map, or of the map of each stack.
        feat_channels: Channels between the two convolutions of a branch.
        num_classes: Number C of classes.
        gaussian_rule: ``'official'``: radius for an overlap of 0.7 by the
            formula of CornerNet, centers of boxes clipped to the map, a
            target for each object; ``'mmdet'``: mmdet's targets, one for each
            cell.
        num_stacks: Number S of maps that are supervised, as of an hourglass;
            the last one predicts.
        max_objects: Largest number of objects of an image that are used, by
            default all; the official code uses 128.
        class_sizes: Predict a size for each class (``cat_spec_wh`` of the
            official code).
        init_std: Standard deviation of the initial weights of the branches
            of size and offset, 0.001 in the official ResNets; by default
            PyTorch's initialization, as in the official DLA-34.
        **kwargs: As of ``CenterNetHead``. ``test_cfg`` also takes
            ``score_thr``, 0 by default; 0.3 is usual for drawing.

    Raises:
        ValueError: ``gaussian_rule`` is not one of the two, ``num_stacks``
            or ``max_objects`` is less than 1, or ``class_sizes`` or
            ``max_objects`` with mmdet's rule.
    """

    out_names: Sequence[str] = (
        'center_heatmap_preds',
        'wh_preds',
        'offset_preds',
    )

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        num_classes: int,
        gaussian_rule: str = 'official',
        num_stacks: int = 1,
        max_objects: int | None = None,
        class_sizes: bool = False,
        init_std: float | None = None,
        **kwargs: Any,
    ) -> None:
        if gaussian_rule not in RULES:
            raise ValueError(
                f'gaussian_rule must be one of {RULES}, got {gaussian_rule!r}'
            )
        if num_stacks < 1:
            raise ValueError(
                f'num_stacks must be at least 1, got {num_stacks}'
            )
        if max_objects is not None and max_objects < 1:
            raise ValueError(
                f'max_objects must be at least 1 or None, got {max_objects}'
            )
        if gaussian_rule == 'mmdet':
            for name, used in (
                ('class_sizes', class_sizes),
                ('max_objects', max_objects is not None),
            ):
                if used:
                    raise ValueError(f"{name} needs gaussian_rule='official'")
        super().__init__(in_channels, feat_channels, num_classes, **kwargs)
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has no assigner')
        self.gaussian_rule = gaussian_rule
        self.num_stacks = num_stacks
        self.max_objects = max_objects
        self.class_sizes = class_sizes
        self.init_std = init_std
        sizes = 2 * num_classes if class_sizes else 2
        outputs = dict(heatmap_head=num_classes, wh_head=sizes, offset_head=2)

        def build() -> nn.ModuleDict:
            return nn.ModuleDict(
                {
                    name: self._build_head(in_channels, feat_channels, width)
                    for name, width in outputs.items()
                }
            )

        if class_sizes:
            self.wh_head = build()['wh_head']
        # the last stack has the names of mmdet
        self.earlier = nn.ModuleList(build() for _ in range(num_stacks - 1))

    def init_weights(self) -> None:
        """Initialize the official way: only the bias of heat maps is set."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        for branches in (self, *self.earlier):
            branches.heatmap_head[-1].bias.data.fill_(HEATMAP_BIAS)
            for name in ('wh_head', 'offset_head'):
                for module in getattr(branches, name)[::2]:
                    module.bias.data.zero_()
                    if self.init_std is not None:
                        nn.init.normal_(module.weight, std=self.init_std)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Predict from the maps of the last stacks.

        Args:
            x: Up to S maps (B, C_in, H, W), the last stack at the end.

        Returns:
            tuple: Probabilities (B, C, H, W), sizes (B, 2, H, W), or
            (B, 2 C, H, W) for each class, and offsets (B, 2, H, W), each a
            list with a tensor for each map.

        Raises:
            ValueError: More maps than stacks.
        """
        if len(x) > self.num_stacks:
            raise ValueError(
                f'{type(self).__name__} takes num_stacks={self.num_stacks} '
                f'maps of one size, got {len(x)}'
            )
        owners = [*self.earlier, self][-len(x) :]
        outs = [
            self.forward_single(*pair) for pair in zip(x, owners, strict=True)
        ]
        return tuple(map(list, zip(*outs, strict=True)))

    def forward_single(
        self, x: Tensor, branches: nn.Module | None = None
    ) -> tuple[Tensor, ...]:
        """Predict from the map (B, C_in, H, W) of one stack."""
        branches = branches or self
        logits = branches.heatmap_head(x)
        # halves cannot hold 1 - 1e-4
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits.sigmoid(), branches.wh_head(x), branches.offset_head(x)

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch, the mean over the stacks.

        Args:
            inputs: Of ``loss_by_feat``, maps (B, channels, H, W).

        Returns:
            dict: ``loss_center_heatmap``, ``loss_wh``, ``loss_offset``.
        """
        stacks = zip(*inputs.outs, strict=True)
        if self.gaussian_rule == 'mmdet':
            rest = (inputs.gts, inputs.metas)
            losses = [
                CenterNetHead.loss_by_feat(self, *([o] for o in outs), *rest)
                for outs in stacks
            ]
        else:
            targets = self.center_targets(inputs)
            losses = [self.stack_losses(targets, *outs) for outs in stacks]
        return {
            name: sum(loss[name] for loss in losses) / len(losses)
            for name in losses[0]
        }

    def trained_targets(self, inputs: LossInputs) -> heatmaps.CenterTargets:
        """Targets by the rule of this head."""
        if self.gaussian_rule == 'official':
            return self.center_targets(inputs)
        boxes = [get_box_tensor(gt.bboxes) for gt in inputs.gts]
        return self.mmdet_targets(
            boxes,
            [gt.labels for gt in inputs.gts],
            inputs.outs[0][0].shape,
            inputs.metas[0]['batch_input_shape'],
        )

    def center_targets(self, inputs: LossInputs) -> heatmaps.CenterTargets:
        """Targets by the official rule."""
        boxes, labels, valid = self.objects(inputs)
        size = inputs.outs[0][0].shape[2:]
        return heatmaps.center_targets(
            boxes, labels, valid, self.num_classes, tuple(size)
        )

    def objects(self, inputs: LossInputs) -> tuple[Tensor, Tensor, Tensor]:
        """Ground truths: boxes (B, G, 4) in cells, labels, valid (B, G)."""
        heatmap = inputs.outs[0][0]
        boxes, labels, valid = pad_instances(inputs.gts, heatmap)
        limit = self.max_objects
        if limit is not None and boxes.shape[1] > limit:
            MMLogger.get_current_instance().warning(
                f'an image has {boxes.shape[1]} objects, of which '
                f'max_objects={limit} are used'
            )
            boxes, labels, valid = (
                t[:, :limit] for t in (boxes, labels, valid)
            )
        return boxes * ratios(heatmap, inputs.metas), labels, valid

    def stack_losses(
        self,
        targets: heatmaps.CenterTargets,
        heatmap: Tensor,
        sizes: Tensor,
        offsets: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of one stack by the official rule.

        Args:
            targets: Of the batch.
            heatmap: (B, C, H, W) probabilities.
            sizes: (B, 2, H, W) widths and heights in cells.
            offsets: (B, 2, H, W) in cells.
        """
        loss = self.loss_center_heatmap(
            heatmap.clamp(CLAMP, 1 - CLAMP),
            targets.heatmap,
            avg_factor=torch.count_nonzero(targets.heatmap == 1).clamp(min=1),
        )
        return dict(
            loss_center_heatmap=loss,
            loss_wh=self.object_loss(
                self.loss_wh, sizes, targets.size, targets
            ),
            loss_offset=self.object_loss(
                self.loss_offset, offsets, targets.offset, targets
            ),
        )

    def object_loss(
        self,
        loss: nn.Module,
        maps: Tensor,
        wanted: Tensor,
        targets: heatmaps.CenterTargets,
    ) -> Tensor:
        """A loss at the centers of objects, by the number of coordinates.

        Args:
            loss: The loss.
            maps: (B, 2, H, W) predictions, or (B, 2 C, H, W).
            wanted: (B, G, 2) targets.
            targets: Cells and classes of the objects.
        """
        predicted = heatmaps.gather_cells(maps, targets.index)
        predicted = _of_class(predicted, targets.labels)
        weight = targets.valid[..., None].expand_as(wanted).to(wanted)
        return loss(
            predicted, wanted, weight, avg_factor=weight.sum() + COUNT_EPS
        )

    def get_targets(
        self,
        gt_bboxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        feat_shape: Sequence[int],
        img_shape: Sequence[int],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Targets by mmdet's rule: those of ``CenterNetHead``, at once.

        Objects whose center is outside the map, where mmdet fails, are left
        out.

        Args:
            gt_bboxes: B tensors (G_b, 4) in pixels.
            gt_labels: B tensors (G_b,).
            feat_shape: (B, C, H, W) of the heat map.
            img_shape: (height, width) of the padded images.

        Returns:
            tuple: Maps as of ``CenterNetHead``, and the number of centers, at
            least 1.
        """
        batch, _, height, width = feat_shape
        found = self.mmdet_targets(gt_bboxes, gt_labels, feat_shape, img_shape)
        index, valid = found.index, found.valid
        owner = heatmaps.cell_owners(index, valid, height * width)[..., None]
        has = (owner >= 0).to(found.size)

        def dense(rows: Tensor) -> Tensor:
            picked = rows.gather(1, owner.clamp(min=0).expand(-1, -1, 2))
            maps = (picked * has).transpose(1, 2)
            return maps.reshape(batch, 2, height, width)

        targets = dict(
            center_heatmap_target=found.heatmap,
            wh_target=dense(found.size),
            offset_target=dense(found.offset),
            wh_offset_target_weight=dense(torch.ones_like(found.size)),
        )
        # distinct cells of a class, without another look at the maps
        places = found.labels * height * width + index
        places = places.where(valid, -1).sort(1).values
        first = places[:, :1] >= 0
        count = first.sum() + (places.diff() > 0).sum()
        return targets, count.clamp(min=1)

    def mmdet_targets(
        self,
        gt_bboxes: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        feat_shape: Sequence[int],
        img_shape: Sequence[int],
    ) -> heatmaps.CenterTargets:
        """What `get_targets` makes maps of, with its arguments.

        Returns:
            CenterTargets: Of the objects in B images, (B, G, ...).
        """
        height, width = feat_shape[2:]
        boxes, labels, valid = pad_gts(gt_bboxes, gt_labels)
        ratio = boxes.new_tensor((width / img_shape[1], height / img_shape[0]))
        return heatmaps.mmdet_center_targets(
            boxes, labels, valid, self.num_classes, (height, width), ratio
        )

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
        center_heatmap_preds: Sequence[Tensor],
        wh_preds: Sequence[Tensor],
        offset_preds: Sequence[Tensor],
        batch_img_metas: Sequence[dict] | None = None,
        rescale: bool = True,
        with_nms: bool = False,
        cfg: ConfigDict | None = None,
    ) -> InstanceList:
        """Detections of the last stack.

        Args:
            center_heatmap_preds: Probabilities (B, C, H, W) of each stack.
            wh_preds: Sizes (B, 2, H, W), or (B, 2 C, H, W), of each stack.
            offset_preds: Offsets (B, 2, H, W) of each stack.
            batch_img_metas: Meta information of B images; ``border`` is the
                place of the image in the input, by default at the top left.
            rescale: Return boxes in the original images.
            with_nms: Remove duplicates by ``nms`` of the config.
            cfg: Replaces ``test_cfg``.

        Returns:
            list: B instances with ``bboxes`` (K, 4), ``scores`` (K,),
            descending, and ``labels`` (K,).
        """
        cfg = cfg or self.test_cfg or {}
        metas = batch_img_metas or []
        limit = cfg.get('max_per_img', -1)
        rows, labels = self._decode_heatmap(
            center_heatmap_preds[-1].detach(),
            wh_preds[-1].detach(),
            offset_preds[-1].detach(),
            metas[0]['batch_input_shape'],
            k=cfg.get('topk', 100),
            kernel=cfg.get('local_maximum_kernel', 3),
        )
        results = []
        for boxes, classes, meta in zip(rows, labels, metas, strict=True):
            boxes, scores = boxes[:, :4], boxes[:, 4]
            if 'border' in meta:
                left_top = [meta['border'][2], meta['border'][0]] * 2
                boxes = boxes - boxes.new_tensor(left_top)
            if rescale and 'scale_factor' in meta:
                boxes = boxes / boxes.new_tensor(meta['scale_factor'] * 2)
            found = InstanceData(bboxes=boxes, scores=scores, labels=classes)
            if cfg.get('score_thr', 0) > 0:
                found = found[scores > cfg['score_thr']]
            if with_nms:
                found = merge_duplicates(found, cfg['nms'], limit)
            results.append(found[:limit] if limit > 0 else found)
        return results

    def _decode_heatmap(
        self,
        center_heatmap_pred: Tensor,
        wh_pred: Tensor,
        offset_pred: Tensor,
        img_shape: Sequence[int],
        k: int = 100,
        kernel: int = 3,
    ) -> tuple[Tensor, Tensor]:
        """Boxes and scores (B, K, 5), and labels (B, K), of a batch."""
        scores, index, labels, cells = heatmaps.peaks(
            center_heatmap_pred, k, kernel
        )
        sizes = heatmaps.gather_cells(wh_pred, index)
        half = _of_class(sizes, labels) / 2
        center = cells + heatmaps.gather_cells(offset_pred, index)
        height, width = center_heatmap_pred.shape[2:]
        stride = center.new_tensor(
            (img_shape[1] / width, img_shape[0] / height)
        )
        parts = ((center - half) * stride, (center + half) * stride)
        return torch.cat((*parts, scores[..., None]), -1), labels

    def merge_mirrored(
        self, heatmap: Tensor, sizes: Tensor, offsets: Tensor
    ) -> tuple[list[Tensor], ...]:
        """Predictions of images, averaged with those of their mirror images.

        The offset is that of the plain images.

        Args:
            heatmap: Shape (N, C, H, W) of N = 2 B images, the mirrored ones
                at the end.
            sizes: Shape (N, 2, H, W).
            offsets: Shape (N, 2, H, W).

        Returns:
            tuple: The arguments of :meth:`predict_by_feat` for B images.
        """
        merged = (
            heatmaps.merge_mirrored(heatmap),
            heatmaps.merge_mirrored(sizes),
            offsets.chunk(2)[0],
        )
        return tuple([maps] for maps in merged)


def _of_class(sizes: Tensor, labels: Tensor) -> Tensor:
    """(B, G, 2) of sizes (B, G, 2), or (B, G, 2 C) for each class."""
    if sizes.shape[-1] == 2:
        return sizes
    sizes = sizes.unflatten(-1, (-1, 2))
    index = labels[..., None, None].expand(*labels.shape, 1, 2)
    return sizes.gather(-2, index).squeeze(-2)
