"""Guided Anchoring heads for any batch and device."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import GARetinaHead, GARPNHead, GuidedAnchorHead
from mmdet.registry import MODELS
from mmdet.utils import InstanceList, reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_delta_loss
from ...models.dense_heads.instances import (
    assignment_instances,
    drop_empty,
    pad_instances,
)
from ...ops.anchor_match import IGNORED
from ...ops.anchor_points import flatten_levels
from .functional import location_mask, location_targets
from .layers import BatchFeatureAdaption, BatchMaskedConv

_LOC = dict(type='Normal', name='conv_loc', std=0.01, bias_prob=0.01)
_INIT = dict(type='Normal', layer='Conv2d', std=0.01, override=_LOC)


@MODELS.register_module()
class BatchGuidedAnchorHead(GuidedAnchorHead):
    """``GuidedAnchorHead`` for any batch and device.

    Parameters, their names and the results for one image are mmdet's, so its
    checkpoints load. What differs:

    - inference takes batches (mmdet uses the location mask of the first
      image for all) and runs on CPU;
    - no location above the threshold gives an empty result, not an error;
    - batched location targets, without loops;
    - the location loss trains centers as positives. mmdet 3 passes label 1
      for them to a focal loss that takes 1 of one class for background, and
      so teaches the opposite; ``invert_loc_target=True`` restores that;
    - ignored regions also reach the shape targets;
    - the default ``init_cfg`` sets the location bias (mmdet's has a
      misspelt key and raises);
    - the offsets of the feature adaption start as N(0, 0.1) as in the
      official code (mmdet 3 sets them to zero, with those of deformable
      convolutions that predict their own);
    - losses are float32 scalars instead of lists by level, and their
      normalizers are averaged over processes.

    Paper: Region Proposal by Guided Anchoring, CVPR 2019, arXiv 1901.03278.

    Args:
        *args: Arguments of ``GuidedAnchorHead``.
        invert_loc_target: Train the location branch as mmdet 3 does.
        init_cfg: Initialization; N(0, 0.01), location bias -log 99.
        **kwargs: Arguments of ``GuidedAnchorHead``.

    Raises:
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
        ValueError: ``loc_filter_thr`` is out of its range.
    """

    assignment_uses_predictions = True

    def __init__(
        self,
        *args: object,
        invert_loc_target: bool = False,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, init_cfg=init_cfg or _INIT, **kwargs)
        check_delta_loss(self)
        if not 0 <= self.loc_filter_thr <= 1:
            raise ValueError(
                f'loc_filter_thr must be in [0, 1], got {self.loc_filter_thr}'
            )
        self.invert_loc_target = invert_loc_target

    def _init_layers(self) -> None:
        super()._init_layers()
        self.feature_adaption = self._adaption(self.in_channels)
        self.conv_cls = BatchMaskedConv(
            self.feat_channels, self.num_base_priors * self.cls_out_channels, 1
        )
        self.conv_reg = BatchMaskedConv(
            self.feat_channels, self.num_base_priors * 4, 1
        )

    def _adaption(self, in_channels: int) -> BatchFeatureAdaption:
        return BatchFeatureAdaption(
            in_channels, self.feat_channels, deform_groups=self.deform_groups
        )

    def init_weights(self) -> None:
        """Initialize as ``init_cfg`` says, offsets as the official code."""
        super().init_weights()
        for module in self.modules():
            if isinstance(module, BatchFeatureAdaption):
                nn.init.normal_(module.conv_offset.weight, std=0.1)

    def _mask(self, loc_pred: Tensor) -> Tensor | None:
        """Where the last convolutions run: everywhere in training."""
        if self.training:
            return None
        return location_mask(loc_pred, self.loc_filter_thr)

    def forward_single(self, x: Tensor) -> tuple[Tensor, ...]:
        """Predictions of one level.

        Args:
            x: Feature map (B, in_channels, H, W).

        Returns:
            tuple: Class logits (B, C, H, W), deltas (B, 4, H, W), shapes (B,
            2, H, W) and location logits (B, 1, H, W).
        """
        loc_pred, shape_pred = self.conv_loc(x), self.conv_shape(x)
        mask = self._mask(loc_pred)
        x = self.feature_adaption(x, shape_pred)
        return (
            self.conv_cls(x, mask),
            self.conv_reg(x, mask),
            shape_pred,
            loc_pred,
        )

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        shape_preds: list[Tensor],
        loc_preds: list[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: InstanceList | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L deltas (B, 4, H_l, W_l).
            shape_preds: L shapes (B, 2, H_l, W_l).
            loc_preds: L location logits (B, 1, H_l, W_l).
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: B dicts.
            batch_gt_instances_ignore: B instances with bboxes; the assigners
                decide what becomes of them.

        Returns:
            dict: ``loss_cls``, ``loss_bbox``, ``loss_shape``, ``loss_loc``.
        """
        batch_gt_instances = drop_empty(batch_gt_instances)
        sizes = [tuple(scores.shape[-2:]) for scores in cls_scores]
        device = cls_scores[0].device
        with torch.autocast(device.type, enabled=False):
            loss_loc = self._loss_loc(loc_preds, sizes, batch_gt_instances)
            approxs, inside = self.get_sampled_approxs(
                sizes, batch_img_metas, device=device
            )
            squares, guided = self._guided_anchors(shape_preds)
            shape_targets = self.ga_shape_targets(
                approxs,
                inside,
                [squares for _ in batch_img_metas],
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore,
            )
            counts = [len(level) for level in squares]
            targets = self.get_targets(
                [list(anchors.split(counts)) for anchors in guided],
                inside,
                batch_gt_instances,
                batch_img_metas,
                batch_gt_instances_ignore=batch_gt_instances_ignore,
            )
            # averaged over processes: anchors, and so the numbers of
            # positives, depend on the predictions
            factors = loss_loc.new_tensor([targets[4], shape_targets[3]])
            num_boxes, num_shapes = reduce_mean(factors)
            cls, box = self._loss_boxes(
                cls_scores, bbox_preds, guided, targets[:4], num_boxes
            )
            return dict(
                loss_cls=cls,
                loss_bbox=box,
                loss_shape=self._loss_shape(
                    shape_preds, shape_targets[:3], num_shapes
                ),
                loss_loc=loss_loc,
            )

    def _loss_loc(
        self,
        loc_preds: list[Tensor],
        sizes: list[tuple],
        gts: InstanceList,
    ) -> Tensor:
        pred = _flatten(loc_preds)
        boxes, _, mask = pad_instances(gts, pred)
        generator = self.approx_anchor_generator
        target, weight = location_targets(
            boxes,
            mask,
            sizes,
            [stride[0] for stride in generator.strides],
            generator.octave_base_scale,
            self.train_cfg['center_ratio'],
            self.train_cfg['ignore_ratio'],
        )
        if self.invert_loc_target:
            target = 1 - target
        return self.loss_loc(
            pred.flatten(0, 1),
            target.view(-1, 1).long(),
            weight.flatten(),
            avg_factor=target.numel() / 200,  # as mmdet
        )

    def _guided_anchors(
        self, shape_preds: list[Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        """Squares by level and predicted anchors (B, P, 4), detached."""
        squares = self.square_anchor_generator.grid_priors(
            [pred.shape[-2:] for pred in shape_preds],
            device=shape_preds[0].device,
        )
        shapes = _flatten(shape_preds).detach()
        anchors = torch.cat(squares).to(shapes).expand(len(shapes), -1, -1)
        guided = self._decode_shapes(anchors, shapes)
        return squares, guided

    def _decode_shapes(self, anchors: Tensor, shapes: Tensor) -> Tensor:
        """Anchors (B, P, 4) with the predicted (B, P, 2) sides."""
        deltas = torch.cat((torch.zeros_like(shapes), shapes), -1)
        return self.anchor_coder.decode(
            anchors.flatten(0, 1), deltas.flatten(0, 1), wh_ratio_clip=1e-6
        ).view(anchors.shape)

    def _loss_shape(
        self, shape_preds: list[Tensor], targets: tuple, avg_factor: Tensor
    ) -> Tensor:
        anchors, boxes, weights = (torch.cat(part, 1) for part in targets)
        pred = self._decode_shapes(anchors, _flatten(shape_preds))
        return self.loss_shape(
            pred.flatten(0, 1),
            boxes.flatten(0, 1),
            weights.flatten(0, 1),
            avg_factor=avg_factor,
        )

    def _loss_boxes(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        guided: Tensor,
        targets: tuple,
        avg_factor: Tensor,
    ) -> tuple[Tensor, Tensor]:
        labels, label_weights, boxes, box_weights = (
            torch.cat(part, 1).flatten(0, 1) for part in targets
        )
        loss_cls = self.loss_cls(
            _flatten(cls_scores).flatten(0, 1),
            labels,
            label_weights,
            avg_factor=avg_factor,
        )
        pred = _flatten(bbox_preds).flatten(0, 1)
        if self.reg_decoded_bbox:
            pred = self.bbox_coder.decode(guided.flatten(0, 1), pred)
        loss_bbox = self.loss_bbox(
            pred, boxes, box_weights, avg_factor=avg_factor
        )
        return loss_cls, loss_bbox

    def _predict_by_feat_single(self, **inputs: Any) -> InstanceData:
        """Detections of one image; none if no location is kept."""
        if any(mask.any() for mask in inputs['mlvl_masks']):
            return super()._predict_by_feat_single(**inputs)
        scores = inputs['cls_scores'][0].new_zeros(0)
        return InstanceData(
            bboxes=scores.new_zeros(0, 4), scores=scores, labels=scores.long()
        )

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """The assignment of the predicted anchors, before sampling.

        Args:
            outs: Predictions of ``forward``.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: B dicts.
            feats: Not used.

        Returns:
            list: B instances with ``priors`` (P, 4) in pixels and, of shape
            (P,), ``level``, ``stride``, ``assigned_gt`` and ``weight``.
        """
        sizes = [tuple(scores.shape[-2:]) for scores in outs[0]]
        device = outs[0][0].device
        _, inside = self.get_sampled_approxs(
            sizes, batch_img_metas, device=device
        )
        squares, guided = self._guided_anchors(outs[2])
        level = torch.cat(
            [torch.full_like(s[:, 0], i).long() for i, s in enumerate(squares)]
        )
        strides = guided.new_tensor(
            [stride[0] for stride in self.square_anchor_generator.strides]
        )
        found = []
        for anchors, flags, gts in zip(
            guided, inside, batch_gt_instances, strict=True
        ):
            keep = torch.cat(flags)
            priors = InstanceData(priors=anchors[keep])
            gt = torch.full_like(level, IGNORED)
            gt[keep] = self.assigner.assign(priors, gts).gt_inds - 1
            found.append(gt)
        assigned = torch.stack(found)
        return assignment_instances(
            guided,
            level,
            strides[level],
            assigned,
            (assigned != IGNORED).to(guided),
        )


@MODELS.register_module()
class BatchGARPNHead(GARPNHead, BatchGuidedAnchorHead):
    """GA-RPN for any batch and device.

    mmdet's ``GARPNHead`` on :class:`BatchGuidedAnchorHead`, whose options it
    takes besides its own.

    Paper: Region Proposal by Guided Anchoring, CVPR 2019, arXiv 1901.03278.
    """

    def _predict_by_feat_single(self, **inputs: Any) -> InstanceData:
        """Proposals of one image; none if no location is kept."""
        if any(mask.any() for mask in inputs['mlvl_masks']):
            return super()._predict_by_feat_single(**inputs)
        # all masks are empty, so this is the empty result
        return BatchGuidedAnchorHead._predict_by_feat_single(self, **inputs)


@MODELS.register_module()
class BatchGARetinaHead(GARetinaHead, BatchGuidedAnchorHead):
    """GA-RetinaNet's head for any batch and device.

    mmdet's ``GARetinaHead`` on :class:`BatchGuidedAnchorHead`, whose options
    it takes besides its own.

    Paper: Region Proposal by Guided Anchoring, CVPR 2019, arXiv 1901.03278.
    """

    def _init_layers(self) -> None:
        super()._init_layers()
        width = self.feat_channels
        self.feature_adaption_cls = self._adaption(width)
        self.feature_adaption_reg = self._adaption(width)
        classes = self.num_base_priors * self.cls_out_channels
        self.retina_cls = BatchMaskedConv(width, classes, 3, padding=1)
        self.retina_reg = BatchMaskedConv(
            width, self.num_base_priors * 4, 3, padding=1
        )

    def forward_single(self, x: Tensor) -> tuple[Tensor, ...]:
        """Predictions of one level (B, in_channels, H, W), as the parent."""
        cls_feat = reg_feat = x
        for cls_conv in self.cls_convs:
            cls_feat = cls_conv(cls_feat)
        for reg_conv in self.reg_convs:
            reg_feat = reg_conv(reg_feat)
        loc_pred = self.conv_loc(cls_feat)
        shape_pred = self.conv_shape(reg_feat)
        mask = self._mask(loc_pred)
        cls_feat = self.feature_adaption_cls(cls_feat, shape_pred)
        reg_feat = self.feature_adaption_reg(reg_feat, shape_pred)
        return (
            self.retina_cls(cls_feat, mask),
            self.retina_reg(reg_feat, mask),
            shape_pred,
            loc_pred,
        )


def _flatten(maps: list[Tensor]) -> Tensor:
    """L maps (B, K, H_l, W_l), one prior per cell, as (B, P, K)."""
    return flatten_levels(maps, sum(x.shape[-2] * x.shape[-1] for x in maps))
