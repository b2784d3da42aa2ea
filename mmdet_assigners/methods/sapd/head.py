"""SAPD: soft-weighted anchor points on soft-selected pyramid levels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from mmdet.models.losses import FocalLoss, IoULoss
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import InstanceList, reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor

from ...models.checks import refuse_ignored_regions, refuse_pos_weight
from ...models.dense_heads.instances import assignment_instances, pad_instances
from ...ops.anchor_points import (
    AnchorPoints,
    flatten_levels,
    pad_rows,
)
from . import functional as sapd
from .distance_head import (
    DistanceHead,
)

if TYPE_CHECKING:
    from ...engine.hooks.train_progress_hook import TrainProgress

_FOCAL = dict(
    type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
)
_IOU = dict(type='IoULoss', mode='log', eps=1e-7, loss_weight=1.0)
_SELECT = dict(type='CrossEntropyLoss', loss_weight=0.1)
_CENTERNESS = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0)


@MODELS.register_module()
class SAPDHead(DistanceHead):
    r"""Soft Anchor-Point Detector head.

    The network is that of an anchor-free FSAF: two towers, class logits and
    four distances per point. Training differs. (1) Soft-weighted points
    (Eqs. 3, 4): a positive point weighs its whole loss by
    ``[min(l,r) min(t,b) / (max(l,r) max(t,b))]^eta``. (2) Soft-selected
    levels (Eqs. 5, 6): a small network looks at the features of a ground
    truth on all levels and predicts a weight for each; the ``topk`` levels of
    largest weight train on it. The loss (Eq. 7) is

    .. math::
        L = \frac{\sum_p w_p FL_p - \sum_{p \in P^+} w_p \log IoU_p}
                 {\sum_{p \in P^+} w_p} + \lambda CE

    where negatives weigh 1 and CE teaches the network the level on which the
    ground truth's loss is smallest. In the first part of the schedule
    (``soft_select_begin``) each ground truth trains on that level only, with
    level weight 1, as in FSAF.

    Paper: Soft Anchor-Point Object Detection, ECCV 2020, arXiv 1911.12448.
    No official code; "re-implementation" is xuannianz/SAPD (Keras).

    Differences from the re-implementation, and what restores it: only the
    top levels train (``topk=5``); a point is positive if it lies strictly
    inside the shrunk box (``min_one_cell=True``: whole cells, at least one);
    on unselected levels points are negatives (``unselected='hide'``); the
    detection loss doesn't train the selection network
    (``detach_level_weights=False``); RoIAlign instead of crop-and-resize (no
    option).

    ``loss_cls`` and ``loss_bbox`` are read, not called: the level rule needs
    their terms per point and the weights may carry gradients.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        feat_channels: Width of the towers; 256 in the paper.
        stacked_convs: Convolutions per tower; 4 as in FSAF.
        strides: Stride of each of the L levels in pixels.
        eps: Factor of the valid box in (0, 1]; 0.2 in the paper.
        z: Normalizer of distances in strides; 4 in the paper.
        soft_weight: Weigh points by generalized centerness (SW).
        eta: Exponent of the generalized centerness; 1 in the paper.
        soft_select: Weigh levels by the selection network (SS). False trains
            each ground truth on its level with the smallest loss, without
            network.
        soft_select_begin: Fraction of the schedule after which levels are
            soft; 0.5 in the paper. Needs ``TrainProgressHook``; without it
            levels are soft from the start.
        topk: Levels kept per ground truth; 3 in the paper.
        unselected: Points in the valid box on a level that isn't selected:
            'negative' (paper), 'ignore' or 'hide', see
            :func:`~.functional.soft_targets`.
        min_one_cell: Give each ground truth at least one cell per level.
        detach_level_weights: Keep the gradient of the detection loss from
            the selection network.
        select_net: Config of the selection network; ``in_channels`` and
            ``strides`` come from the head unless given.
        with_centerness: Predict the centerness of FCOS on the regression
            tower and multiply scores by it. Not in the paper.
        loss_cls: ``FocalLoss``; alpha, gamma and loss weight are used.
        loss_bbox: ``IoULoss`` with mode 'log'; eps and weight are used.
        loss_select: Loss of the selection network; weight 0.1 in the paper.
        loss_centerness: Loss of the centerness.
        dcn_on_last_conv: Deformable last convolution of the towers.
        conv_bias: Bias of the towers; 'auto' if there is no norm.
        conv_cfg: Config of the towers' convolutions.
        norm_cfg: Config of the towers' norm; none in the paper.
        train_cfg: Not used, for mmdet's detectors.
        test_cfg: Post-processing.
        distance_bias: Initial bias of the distances in units of z strides:
            untrained points predict boxes of ``2 * z * distance_bias``
            strides. 0.1 in the paper, 0.25 in mmdet's FSAF.
        init_cfg: Initialization instead of the paper's; ``distance_bias`` is
            not used then.

    Raises:
        ValueError: An option is out of its range.
        TypeError: ``loss_cls`` or ``loss_bbox`` is of another type.
    """

    assignment_uses_predictions = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        *,
        eps: float = 0.2,
        z: float = 4.0,
        soft_weight: bool = True,
        eta: float = 1.0,
        soft_select: bool = True,
        soft_select_begin: float = 0.5,
        topk: int = 3,
        unselected: str = 'negative',
        min_one_cell: bool = False,
        detach_level_weights: bool = True,
        select_net: dict = dict(type='FeatureSelectNet'),  # noqa: B006
        with_centerness: bool = False,
        loss_cls: dict = _FOCAL,
        loss_bbox: dict = _IOU,
        loss_select: dict = _SELECT,
        loss_centerness: dict = _CENTERNESS,
        dcn_on_last_conv: bool = False,
        conv_bias: bool | str = 'auto',
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        train_cfg: dict | None = None,
        test_cfg: dict | None = None,
        distance_bias: float = 0.1,
        init_cfg: dict | list | None = None,
    ) -> None:
        if not 0 < eps <= 1:
            raise ValueError(f'eps must be in (0, 1], got {eps}')
        if not eta >= 0:
            raise ValueError(f'eta must be at least 0, got {eta}')
        if not 1 <= topk <= len(strides):
            raise ValueError(
                f'topk must be in 1..{len(strides)}, the levels, got {topk}'
            )
        if not 0 <= soft_select_begin <= 1:
            raise ValueError(
                'soft_select_begin is a fraction of the schedule in [0, 1], '
                f'got {soft_select_begin}'
            )
        if unselected not in sapd.UNSELECTED:
            raise ValueError(
                f'unselected must be one of {", ".join(sapd.UNSELECTED)}, '
                f'got {unselected!r}'
            )
        super().__init__(
            num_classes,
            in_channels,
            feat_channels,
            stacked_convs,
            strides,
            z,
            with_centerness,
            dcn_on_last_conv,
            conv_bias,
            loss_cls,
            loss_bbox,
            conv_cfg,
            norm_cfg,
            train_cfg,
            test_cfg,
            distance_bias,
            init_cfg,
        )
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has no assigner')
        if not isinstance(self.loss_cls, FocalLoss):
            raise TypeError(f'loss_cls must be a FocalLoss, got {loss_cls}')
        if not isinstance(self.loss_bbox, IoULoss) or (
            self.loss_bbox.mode != 'log'
        ):
            raise TypeError(
                f"loss_bbox must be an IoULoss of mode 'log', got {loss_bbox}"
            )
        self.eps = eps
        self.eta = eta if soft_weight else 0.0
        self.soft_select = soft_select
        self.soft_select_begin = soft_select_begin
        self.topk = topk
        self.unselected = unselected
        self.min_one_cell = min_one_cell
        self.detach_level_weights = detach_level_weights
        self.soft_phase = soft_select
        if soft_select:
            net = dict(in_channels=in_channels, strides=strides)
            self.select_net = MODELS.build({**net, **select_net})
            self.loss_select = MODELS.build(loss_select)
        if with_centerness:
            self.loss_centerness = MODELS.build(loss_centerness)

    @property
    def follows_progress(self) -> bool:
        """Whether the head needs a ``TrainProgressHook``."""
        return self.soft_select

    def set_train_progress(self, progress: 'TrainProgress') -> None:
        """Choose the phase; called by ``TrainProgressHook``."""
        begin = self.soft_select_begin
        self.soft_phase = self.soft_select and progress.fraction >= begin

    def loss_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: InstanceList | None = None,
        centernesses: Sequence[Tensor] | None = None,
        feats: Sequence[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Losses from the predictions; everything in float32 or finer.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L distances (B, 4, H_l, W_l).
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            batch_gt_instances_ignore: Not used, as in FCOS.
            centernesses: L centerness logits, if there are.
            feats: L feature maps, needed with ``soft_select``.

        Returns:
            dict: ``loss_cls``, ``loss_bbox``, ``loss_select`` with
            ``soft_select`` and ``loss_centerness`` with ``with_centerness``;
            for the log ``num_pos`` per image and, with ``soft_select``,
            ``select_acc``, how often the network names the level with the
            smallest loss.
        """
        with torch.autocast(cls_scores[0].device.type, enabled=False):
            cls_pred, reg_pred = (
                flatten_levels(cls_scores),
                flatten_levels(bbox_preds),
            )
            points, iou_eps = self.points(cls_scores), self.loss_bbox.eps
            targets, select = self._assign(
                points, cls_pred, reg_pred, batch_gt_instances, feats
            )
            cls, box, weight = sapd.weighted_losses(
                cls_pred, reg_pred, targets, *self._focal(), iou_eps=iou_eps
            )
            num_pos = targets.positive.sum().to(weight)
            # one all-reduce for all normalizers
            local = torch.stack(
                [weight.detach(), num_pos, select['weight'].sum()]
            )
            norm, num_all, num_gt = reduce_mean(local).clamp(
                min=1 / get_world_size()
            )
            if not self.detach_level_weights:
                # the gradient of this process' share of the normalizer
                share = weight - weight.detach()
                norm = norm + share * (norm > 1 / get_world_size())
            losses = dict(
                loss_cls=self.loss_cls.loss_weight * cls / norm,
                loss_bbox=self.loss_bbox.loss_weight * box / norm,
            )
            if self.soft_select:
                losses['loss_select'] = self.loss_select(
                    select['logits'],
                    select['target'],
                    select['weight'],
                    avg_factor=num_gt,
                )
            if centernesses is not None:
                losses['loss_centerness'] = self.loss_centerness(
                    flatten_levels(centernesses).flatten(),
                    targets.centerness.sqrt().flatten(),
                    targets.positive.to(weight).flatten(),
                    avg_factor=num_all,
                )
            losses['num_pos'] = num_pos / len(batch_gt_instances)
            if self.soft_select:
                hit = select['logits'].argmax(-1) == select['target']
                right = (hit * select['weight']).sum()
                losses['select_acc'] = right / local[2].clamp(min=1)
        return losses

    def _focal(self) -> tuple[float, float]:
        return self.loss_cls.alpha, self.loss_cls.gamma

    def _assign(
        self,
        points: AnchorPoints,
        cls_pred: Tensor,
        reg_pred: Tensor,
        gts: InstanceList,
        feats: Sequence[Tensor] | None,
    ) -> tuple[sapd.SAPDTargets, dict[str, Tensor]]:
        """Targets of the points, and what the selection network learns.

        Args:
            points: P points.
            cls_pred: (B, P, C) logits.
            reg_pred: (B, P, 4) distances.
            gts: B instances.
            feats: L feature maps.

        Returns:
            tuple: Targets; logits (B * G, L), target level (B * G,) and
            weight (B * G,) of the selection network, G >= 1 padded.
        """
        boxes, labels, mask = pad_instances(gts, reg_pred)
        regions = sapd.valid_regions(
            boxes, points, self.eps, self.min_one_cell
        )
        losses = sapd.level_losses(
            points,
            boxes,
            labels,
            regions,
            cls_pred,
            reg_pred,
            self.z,
            *self._focal(),
            iou_eps=self.loss_bbox.eps,
        )
        smallest, target = losses.min(-1)
        index = torch.arange(len(self.strides), device=target.device)
        selected = target[..., None] == index
        level_weights = selected.to(losses)
        # a ground truth without any point has no level to learn
        learns = mask & (smallest < sapd.EMPTY_LEVEL_LOSS)
        select = dict(target=target.flatten(), weight=learns.flatten())
        if self.soft_select:
            rois = [own[: len(gt)] for own, gt in zip(boxes, gts, strict=True)]
            logits = self._select(feats, rois)
            select['logits'] = logits.flatten(0, 1)
            if self.soft_phase:
                if self.detach_level_weights:
                    logits = logits.detach()
                level_weights = logits.softmax(-1)
                selected = sapd.top_levels(level_weights, self.topk)
        select['weight'] = select['weight'].to(losses)
        targets = sapd.soft_targets(
            points,
            boxes,
            labels,
            mask,
            regions,
            level_weights,
            selected,
            self.eta,
            self.z,
            self.unselected,
        )
        return targets, select

    def _select(
        self, feats: Sequence[Tensor] | None, bboxes: list[Tensor]
    ) -> Tensor:
        """Level logits (B, G, L) of the selection network, zero padded."""
        if feats is None:
            raise ValueError(
                'feats is None, but the selection network (soft_select=True) '
                'needs the feature maps'
            )
        if not any(len(box) for box in bboxes):
            # one dummy, whose loss weighs 0, keeps the network in the graph
            bboxes = [bboxes[0].new_zeros(1, 4), *bboxes[1:]]
        logits = self.select_net(feats, bbox2roi(bboxes))
        return pad_rows([*logits.split([len(box) for box in bboxes])])

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[Sequence[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """The assignment of the points, for the analysis tools.

        Args:
            outs: Predictions of :meth:`forward`.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            feats: L feature maps, needed with ``soft_select``.

        Returns:
            list: B instances with, for each of the P points, ``priors``
            (P, 2) pixels, ``level`` and ``stride`` (P,), ``assigned_gt`` (P,)
            int64, -1 negative, -2 ignored, and ``weight`` (P,).
        """
        points = self.points(outs[0])
        targets, _ = self._assign(
            points,
            flatten_levels(outs[0]),
            flatten_levels(outs[1]),
            batch_gt_instances,
            feats,
        )
        weight = targets.weight
        assigned = targets.assigned.where(weight > 0, -2)
        return assignment_instances(
            points.xy, points.level, points.stride, assigned, weight
        )
