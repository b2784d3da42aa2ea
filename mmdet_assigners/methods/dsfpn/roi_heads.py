"""RoI heads of DSFPN: twins on the bottom-up side, in training only."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList, MultiConfig
from mmengine.logging import print_log
from mmengine.model import ModuleDict
from torch import Tensor, nn

from ...models.real_boxes import RealBoxesMixin
from .dual_pyramid import laterals_of

Losses = dict[str, Tensor]
_AUX = ('aux_bbox_head.', 'aux_mask_head.')


@MODELS.register_module()
class DuallySupervisedRoIHead(RealBoxesMixin, StandardRoIHead):
    """Box and mask heads with auxiliary twins on the laterals of the FPN.

    In training the twins see the RoIs, labels and targets of the main heads,
    and features of the lateral maps, before anything is added top-down; their
    losses are ``aux.loss_cls``, ``aux.loss_bbox`` and ``aux.loss_mask``.
    They have weights of their own, aren't run in evaluation, and checkpoints
    without any of them load. Use it with the neck ``DuallySupervisedFPN``.

    Paper: Dually Supervised Feature Pyramid for Object Detection and
    Segmentation, arXiv 1912.03730. As the official code (fyangneil/DSFPN) it
    has no auxiliary RPN. The decoupled head of the paper is mmdet's
    ``ConvFCBBoxHead`` with two fully connected layers per branch.

    Args:
        bbox_roi_extractor: As in ``StandardRoIHead``.
        bbox_head: As in ``StandardRoIHead``.
        mask_roi_extractor: As in ``StandardRoIHead``; its own, not shared.
        mask_head: As in ``StandardRoIHead``.
        train_cfg: As in ``StandardRoIHead``.
        test_cfg: As in ``StandardRoIHead``.
        init_cfg: As in ``StandardRoIHead``.
        aux_bbox_head: Config of the twin; None is that of ``bbox_head``.
        aux_mask_head: Config of the twin; None is that of ``mask_head``.
        aux_loss_weight: Factor of the auxiliary losses; 1 in the official
            code.

    Raises:
        ValueError: ``aux_loss_weight`` is negative, or a mask head has no RoI
            extractor of its own.
    """

    def __init__(
        self,
        bbox_roi_extractor: ConfigType,
        bbox_head: ConfigType,
        mask_roi_extractor: ConfigType | None = None,
        mask_head: ConfigType | None = None,
        train_cfg: ConfigType | None = None,
        test_cfg: ConfigType | None = None,
        init_cfg: MultiConfig | None = None,
        aux_bbox_head: ConfigType | None = None,
        aux_mask_head: ConfigType | None = None,
        aux_loss_weight: float = 1.0,
    ) -> None:
        _check(aux_loss_weight, mask_head, mask_roi_extractor)
        super().__init__(
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.aux_loss_weight = aux_loss_weight
        self.aux_bbox_roi_extractor = copy.deepcopy(self.bbox_roi_extractor)
        self.aux_bbox_head = MODELS.build(aux_bbox_head or bbox_head)
        if self.with_mask:
            self.aux_mask_roi_extractor = copy.deepcopy(
                self.mask_roi_extractor
            )
            self.aux_mask_head = MODELS.build(aux_mask_head or mask_head)
        self.register_load_state_dict_post_hook(_allow_missing)

    def bbox_loss(
        self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult]
    ) -> dict[str, Any]:
        """Losses of both box heads; targets are made once.

        Args:
            x: Levels (B, C, H_l, W_l); in training a ``DualPyramid``.
            sampling_results: Of each image.

        Returns:
            dict: As in ``StandardRoIHead``.
        """
        rois = bbox2roi([result.priors for result in sampling_results])
        results = self._bbox_forward(x, rois)
        main = self.bbox_head.loss_and_target(
            cls_score=results['cls_score'],
            bbox_pred=results['bbox_pred'],
            rois=rois,
            sampling_results=sampling_results,
            rcnn_train_cfg=self.train_cfg,
        )
        results['loss_bbox'] = main['loss_bbox']
        if self.training:
            extractor = self.aux_bbox_roi_extractor
            feats = extractor(laterals_of(x)[: extractor.num_inputs], rois)
            aux = box_losses(
                self.aux_bbox_head, feats, rois, main['bbox_targets']
            )
            results['loss_bbox'].update(auxiliary(aux, self.aux_loss_weight))
        return results

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: InstanceList,
    ) -> dict[str, Any]:
        """Losses of both mask heads; targets are made once.

        Args:
            x: Levels (B, C, H_l, W_l); in training a ``DualPyramid``.
            sampling_results: Of each image.
            bbox_feats: Not used.
            batch_gt_instances: Of each image, with masks.

        Returns:
            dict: As in ``StandardRoIHead``.
        """
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        results = self._mask_forward(x, rois)
        main = self.mask_head.loss_and_target(
            mask_preds=results['mask_preds'],
            sampling_results=sampling_results,
            batch_gt_instances=batch_gt_instances,
            rcnn_train_cfg=self.train_cfg,
        )
        results['loss_mask'] = main['loss_mask']
        if self.training:
            extractor = self.aux_mask_roi_extractor
            feats = extractor(laterals_of(x)[: extractor.num_inputs], rois)
            labels = [result.pos_gt_labels for result in sampling_results]
            aux = mask_losses(
                self.aux_mask_head,
                feats,
                torch.cat(labels),
                main['mask_targets'],
            )
            results['loss_mask'].update(auxiliary(aux, self.aux_loss_weight))
        return results


@MODELS.register_module()
class DuallySupervisedCascadeRoIHead(RealBoxesMixin, CascadeRoIHead):
    """Cascade whose stages have twins on the laterals of the FPN.

    `DuallySupervisedRoIHead` for Cascade R-CNN: a stage's twin sees the RoIs
    and targets of the stage and weighs what the stage weighs.

    Args:
        num_stages: As in ``CascadeRoIHead``.
        stage_loss_weights: As in ``CascadeRoIHead``.
        bbox_roi_extractor: As in ``CascadeRoIHead``.
        bbox_head: As in ``CascadeRoIHead``.
        mask_roi_extractor: As in ``CascadeRoIHead``; its own, not shared.
        mask_head: As in ``CascadeRoIHead``.
        train_cfg: As in ``CascadeRoIHead``.
        test_cfg: As in ``CascadeRoIHead``.
        init_cfg: As in ``CascadeRoIHead``.
        aux_stages: Stages with twins; the first one, 0, in the official code.
        aux_bbox_head: Config of the twins; None is that of the stage.
        aux_mask_head: Config of the twins; None is that of the stage.
        aux_loss_weight: Factor of the auxiliary losses; 1 in the official
            code.

    Raises:
        ValueError: ``aux_stages`` are not different stages,
            ``aux_loss_weight`` is negative, or a mask head has no RoI
            extractor of its own.
    """

    def __init__(
        self,
        num_stages: int,
        stage_loss_weights: Sequence[float],
        bbox_roi_extractor: MultiConfig,
        bbox_head: MultiConfig,
        mask_roi_extractor: MultiConfig | None = None,
        mask_head: MultiConfig | None = None,
        train_cfg: MultiConfig | None = None,
        test_cfg: ConfigType | None = None,
        init_cfg: MultiConfig | None = None,
        aux_stages: Sequence[int] = (0,),
        aux_bbox_head: ConfigType | None = None,
        aux_mask_head: ConfigType | None = None,
        aux_loss_weight: float = 1.0,
    ) -> None:
        _check(aux_loss_weight, mask_head, mask_roi_extractor)
        stages = sorted(set(aux_stages))
        if len(stages) < len(aux_stages) or not set(stages) <= set(
            range(num_stages)
        ):
            raise ValueError(
                f'aux_stages must be different stages of 0..{num_stages - 1}, '
                f'got {tuple(aux_stages)}'
            )
        super().__init__(
            num_stages=num_stages,
            stage_loss_weights=stage_loss_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
            train_cfg=train_cfg,
            test_cfg=test_cfg,
            init_cfg=init_cfg,
        )
        self.aux_loss_weight = aux_loss_weight
        self.aux_bbox_roi_extractor = copy.deepcopy(self.bbox_roi_extractor)
        self.aux_bbox_head = _twins(aux_bbox_head or bbox_head, stages)
        if self.with_mask:
            self.aux_mask_roi_extractor = copy.deepcopy(
                self.mask_roi_extractor
            )
            self.aux_mask_head = _twins(aux_mask_head or mask_head, stages)
        self.register_load_state_dict_post_hook(_allow_missing)

    def bbox_loss(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
    ) -> dict[str, Any]:
        """Losses of a stage's box head and its twin.

        Args:
            stage: Which.
            x: Levels (B, C, H_l, W_l); in training a ``DualPyramid``.
            sampling_results: Of each image.

        Returns:
            dict: As in ``CascadeRoIHead``.
        """
        results = super().bbox_loss(stage, x, sampling_results)
        if self.training and str(stage) in self.aux_bbox_head:
            extractor = self.aux_bbox_roi_extractor[stage]
            rois = results['rois']
            feats = extractor(laterals_of(x)[: extractor.num_inputs], rois)
            aux = box_losses(
                self.aux_bbox_head[str(stage)],
                feats,
                rois,
                results['bbox_targets'],
            )
            results['loss_bbox'].update(auxiliary(aux, self.aux_loss_weight))
        return results

    def mask_loss(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        batch_gt_instances: InstanceList,
    ) -> dict[str, Any]:
        """Losses of a stage's mask head and its twin.

        Args:
            stage: Which.
            x: Levels (B, C, H_l, W_l); in training a ``DualPyramid``.
            sampling_results: Of each image.
            batch_gt_instances: Of each image, with masks.

        Returns:
            dict: As in ``CascadeRoIHead``.
        """
        # before the parent: mmdet's mask targets clip boxes in place on a CPU
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        results = super().mask_loss(
            stage, x, sampling_results, batch_gt_instances
        )
        if self.training and str(stage) in self.aux_mask_head:
            extractor = self.aux_mask_roi_extractor[stage]
            feats = extractor(laterals_of(x)[: extractor.num_inputs], rois)
            labels = [result.pos_gt_labels for result in sampling_results]
            aux = mask_losses(
                self.aux_mask_head[str(stage)],
                feats,
                torch.cat(labels),
                results['mask_targets'],
            )
            results['loss_mask'].update(auxiliary(aux, self.aux_loss_weight))
        return results


def box_losses(
    head: nn.Module, feats: Tensor, rois: Tensor, targets: Sequence[Tensor]
) -> Losses:
    """Losses of a box head on given targets.

    Args:
        head: mmdet's ``BBoxHead``.
        feats: (R, C, S, S) features of R RoIs.
        rois: (R, 5) image and xyxy pixels.
        targets: Labels (R,), their weights (R,), encoded boxes (R, 4) and
            their weights (R, 4).

    Returns:
        dict: ``loss_cls``, ``loss_bbox`` and ``acc``, 0 without RoIs.
    """
    cls_score, bbox_pred = head(feats)
    losses = head.loss(cls_score, bbox_pred, rois, *targets)
    if len(rois) == 0:  # mmdet leaves these two out
        losses.update(loss_cls=cls_score.sum(), acc=cls_score.new_zeros(1))
    return losses


def mask_losses(
    head: nn.Module, feats: Tensor, labels: Tensor, targets: Tensor
) -> Losses:
    """Loss of a mask head on given targets.

    Args:
        head: mmdet's ``FCNMaskHead``.
        feats: (R, C, S, S) features of R positive RoIs.
        labels: (R,) int64 classes.
        targets: (R, M, M) masks.

    Returns:
        dict: ``loss_mask``, 0 without RoIs.
    """
    preds = head(feats)
    if len(preds) == 0:
        return dict(loss_mask=preds.sum())
    if head.class_agnostic:
        labels = torch.zeros_like(labels)
    return dict(loss_mask=head.loss_mask(preds, targets, labels))


def auxiliary(losses: Losses, weight: float) -> Losses:
    """Name and weigh the losses of a twin."""
    return {
        f'aux.{name}': weight * value if 'loss' in name else value
        for name, value in losses.items()
    }


def _check(
    weight: float, mask_head: Any, mask_roi_extractor: MultiConfig | None
) -> None:
    if weight < 0:
        raise ValueError(f'aux_loss_weight must be >= 0, got {weight}')
    if mask_head is not None and mask_roi_extractor is None:
        raise ValueError(
            'mask_roi_extractor must be given with a mask_head, got None'
        )


def _twins(configs: MultiConfig, stages: Sequence[int]) -> ModuleDict:
    """One head per stage of a config or a list of one per stage."""
    each = isinstance(configs, list | tuple)
    return ModuleDict(
        {
            str(stage): MODELS.build(configs[stage] if each else configs)
            for stage in stages
        }
    )


def _allow_missing(module: nn.Module, keys: Any) -> None:
    """Load a state dict without auxiliary heads, unless it has some."""
    own = [n for n, _ in module.named_parameters() if n.startswith(_AUX)]
    missing = [k for k in keys.missing_keys if any(a in k for a in _AUX)]
    if own and all(any(k.endswith(n) for k in missing) for n in own):
        for key in missing:
            keys.missing_keys.remove(key)
        print_log(
            'no weights of the auxiliary heads: they keep theirs',
            logger='current',
            level=logging.INFO,
        )
