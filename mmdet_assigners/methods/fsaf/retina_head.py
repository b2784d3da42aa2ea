"""RetinaNet's head with FSAF's anchor-free branch beside the anchors."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures.bbox import cat_boxes
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import refuse_ignored_regions, refuse_pos_weight
from ...models.dense_heads.distance_init import distance_init
from ...models.dense_heads.flat_retina_head import FlatRetinaHead
from ...models.dense_heads.loss_inputs import LossInputs
from .anchor_free_branch import AnchorFreeBranch
from .functional import FSAFRules

_FOCAL = dict(
    type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0
)
_IOU = dict(type='IoULoss', mode='log', eps=1e-6, loss_weight=1.0)


@MODELS.register_module()
class RetinaFSAFHead(FlatRetinaHead):
    """Anchor-based and anchor-free branches on the same towers.

    The joint model of the paper, its main result. Two 3x3 convolutions are
    added to RetinaNet's head: ``fsaf_cls`` (C outputs) on the class tower and
    ``fsaf_reg`` (4 distances t, b, l, r, rectified) on the box tower. The
    loss is ``L_retina + 0.5 (L_cls + L_reg)`` of the anchor-free branch, see
    :class:`FSAFPaperHead`. At inference the boxes of both branches, each
    with its own best 1000 per level, go into one NMS.

    Paper: Feature Selective Anchor-Free Module for Single-Shot Object
    Detection, CVPR 2019, arXiv 1903.00621, sections 3.1 to 3.4. No official
    code; mmdet has the anchor-free branch alone.

    RetinaNet checkpoints load into the anchor-based branch; the anchor-free
    convolutions of mmdet's FSAF checkpoints are called ``retina_*`` and have
    to be renamed to ``fsaf_*``.

    Args:
        num_classes: Number C of classes.
        in_channels: Channels of the feature maps.
        *args: Further arguments of ``RetinaHead``.
        af_weight: Weight of the anchor-free losses; lambda = 0.5 in the
            paper. With 0 the losses are RetinaNet's.
        effective_scale: See :class:`FSAFPaperHead`, as the next six.
        ignore_scale: 0.5 in the paper.
        ignore_adjacent_levels: True in the paper.
        unselected: 'negative' in the paper.
        level_select: 'online', or 'heuristic' for the paper's ablation.
        region_rule: 'cell_overlap' or 'point'.
        distance_bias: 0.1 in the paper.
        normalizer: Normalizer S of the distances in strides; 4 in the paper.
        loss_af_cls: ``FocalLoss``; alpha, gamma and loss weight are used.
        loss_af_bbox: ``IoULoss`` with mode 'log'; eps and weight are used.
        init_cfg: Initialization instead of the paper's; ``distance_bias`` is
            not used then.
        **kwargs: Further arguments of ``RetinaHead``.

    Raises:
        ValueError: An option is out of its range, or ``train_cfg`` asks for
            weights of positives or ignored regions.
        TypeError: A loss of the anchor-free branch is of another type.
    """

    assignment_uses_predictions = True  # the level with the smallest loss
    out_names = (
        'cls_scores',
        'bbox_preds',
        'af_cls_scores',
        'af_bbox_preds',
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *args: object,
        af_weight: float = 0.5,
        effective_scale: float = 0.2,
        ignore_scale: float = 0.5,
        ignore_adjacent_levels: bool = True,
        unselected: str = 'negative',
        level_select: str = 'online',
        region_rule: str = 'cell_overlap',
        distance_bias: float = 0.1,
        normalizer: float = 4.0,
        loss_af_cls: dict = _FOCAL,
        loss_af_bbox: dict = _IOU,
        init_cfg: dict | list | None = None,
        **kwargs: object,
    ) -> None:
        if not af_weight >= 0:
            raise ValueError(f'af_weight must be at least 0, got {af_weight}')
        super().__init__(
            num_classes,
            in_channels,
            *args,
            init_cfg=init_cfg
            or distance_init(
                ['retina_cls', 'fsaf_cls'], 'fsaf_reg', distance_bias
            ),
            **kwargs,
        )
        refuse_pos_weight(self)
        refuse_ignored_regions(self, 'has a branch without assigner')
        self.af_weight = af_weight
        loss_bbox = MODELS.build(loss_af_bbox)
        rules = FSAFRules(
            effective_scale,
            ignore_scale,
            ignore_adjacent_levels,
            unselected,
            level_select,
            region_rule,
            normalizer,
            getattr(loss_bbox, 'eps', 1e-6),
        )
        # one square of one stride around each point, in its corner (offset 0)
        squares = dict(
            type='AnchorGenerator',
            octave_base_scale=1,
            scales_per_octave=1,
            ratios=[1.0],
            strides=[stride[0] for stride in self.prior_generator.strides],
        )
        coder = dict(type='TBLRBBoxCoder', normalizer=float(normalizer))
        self.branch = AnchorFreeBranch(
            num_classes,
            TASK_UTILS.build(squares),
            TASK_UTILS.build(coder),
            MODELS.build(loss_af_cls),
            loss_bbox,
            rules,
            self.test_cfg,
        )

    def _init_layers(self) -> None:
        super()._init_layers()
        width = self.retina_cls.in_channels
        self.fsaf_cls = nn.Conv2d(width, self.num_classes, 3, padding=1)
        self.fsaf_reg = nn.Conv2d(width, 4, 3, padding=1)

    def forward_single(self, x: Tensor) -> tuple[Tensor, ...]:
        """Predictions of one level.

        Args:
            x: Feature map (B, in_channels, H, W).

        Returns:
            tuple: Class logits (B, A C, H, W) and deltas (B, A 4, H, W) of
            the anchors; class logits (B, C, H, W) and distances t, b, l, r
            (B, 4, H, W) of the points.
        """
        cls_feat = reg_feat = x
        for cls_conv in self.cls_convs:
            cls_feat = cls_conv(cls_feat)
        for reg_conv in self.reg_convs:
            reg_feat = reg_conv(reg_feat)
        return (
            self.retina_cls(cls_feat),
            self.retina_reg(reg_feat),
            self.fsaf_cls(cls_feat),
            self.fsaf_reg(reg_feat).relu(),
        )

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of both branches.

        Args:
            inputs: Of ``loss_by_feat``, L levels (B, A * channels, H_l, W_l)
                of each output of :meth:`forward`.

        Returns:
            dict: ``loss_cls``, ``loss_bbox``, ``loss_af_cls``,
            ``loss_af_bbox`` (weighted) and, for the log, ``num_pos_af``.
        """
        *anchors, af_cls, af_bbox = inputs.outs
        losses = super().batch_losses(replace(inputs, outs=tuple(anchors)))
        free = self.branch.loss_by_feat(af_cls, af_bbox, inputs.gts)
        losses['loss_af_cls'] = self.af_weight * free['loss_cls']
        losses['loss_af_bbox'] = self.af_weight * free['loss_bbox']
        losses['num_pos_af'] = free['num_pos']
        return losses

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        af_cls_scores: list[Tensor],
        af_bbox_preds: list[Tensor],
        batch_img_metas: list[dict],
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of both branches after one NMS.

        Args:
            cls_scores: L class logits of the anchors.
            bbox_preds: L deltas of the anchors.
            af_cls_scores: L class logits of the points.
            af_bbox_preds: L distances of the points.
            batch_img_metas: B dicts.
            cfg: Post-processing instead of ``test_cfg``.
            rescale: Boxes in pixels of the original image.
            with_nms: Suppress overlapping boxes; else the union is returned,
                anchors first.

        Returns:
            list: B instances with bboxes (N, 4), scores and labels (N,).
        """
        cfg = self.test_cfg if cfg is None else cfg
        options = dict(
            batch_img_metas=batch_img_metas,
            cfg=cfg,
            rescale=rescale,
            with_nms=False,
        )
        anchors = super().predict_by_feat(cls_scores, bbox_preds, **options)
        points = self.branch.predict_by_feat(
            af_cls_scores, af_bbox_preds, **options
        )
        results = []
        for *both, meta in zip(anchors, points, batch_img_metas, strict=True):
            merged = InstanceData(
                bboxes=cat_boxes([part.bboxes for part in both]),
                scores=torch.cat([part.scores for part in both]),
                labels=torch.cat([part.labels for part in both]),
            )
            if with_nms:
                merged = self._bbox_post_process(
                    merged, cfg, rescale=False, img_meta=meta
                )
            results.append(merged)
        return results

    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """What the points are trained on; the anchors are RetinaNet's.

        Args:
            outs: Predictions of ``forward``.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: Not used.
            feats: Not used.

        Returns:
            list: B instances with ``priors`` (P, 2) in pixels and, of shape
            (P,), ``level``, ``stride``, ``assigned_gt`` and ``weight``.
        """
        return self.branch.get_assignment(*outs[2:], batch_gt_instances)
