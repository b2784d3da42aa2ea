"""AlignDet: a box per location, then a RoI head that convolves."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList, reduce_mean
from mmengine.dist import get_world_size
from torch import Tensor

from ...models.checks import check_delta_loss
from ...models.dense_heads.flat_head import (
    FlatBatch,
    FlatLossMixin,
    refuse_sampling,
)
from ...models.dense_heads.instances import assignment_instances
from ...models.task_modules.assigners._base import Assignment
from ...ops.anchor_match import IGNORED, NEGATIVE
from ...ops.anchor_points import flatten_levels, move_ends
from .functional import stage_losses

Maps = list[Tensor]
Outs = tuple[Maps, Maps, Maps, Maps, Maps]


@MODELS.register_module()
class AlignDetHead(FlatLossMixin, RetinaHead):
    """AlignDet: RetinaNet's head regresses boxes, RoIConv looks into them.

    Stage 1 is RetinaNet's head with one anchor per location; the boxes that it
    regresses (learned anchors), clipped to the image and detached, say where
    RoIConv samples. Stage 2, an ``AlignStageHead``, classifies and refines
    each of them. No proposals are sorted or suppressed between the stages.
    Detections have the scores and boxes of stage 2.

    Both stages have a focal and a smooth L1 loss of weight 1, divided by the
    number of positives of this process plus one. Stage 1 assigns anchors with
    ``train_cfg.assigner``, stage 2 learned anchors with
    ``train_cfg.align_assigner``.

    Paper: Revisiting Feature Alignment for One-stage Object Detection, arXiv
    1908.01570. Official code: pull request 343 of SimpleDet (MXNet).

    Differences from the official code, and what restores it: RoIConv samples
    exactly the box (``align_head.legacy_plus_one=True``); class and box of a
    positive are those of one ground truth (``AlignDetAssigner``); the coder
    clamps the logarithm of sides (no option); the last level has a score
    threshold too (no option). The official corners are inclusive. With the
    exclusive ones of mmdet, x2 + 1, the official deltas and IoUs are mmdet's.

    Args:
        *args: Of ``RetinaHead``.
        align_head: Config of stage 2; ``num_classes`` and ``in_channels`` come
            from the head.
        sync_normalizer: Divide by the mean number of positives of all
            processes instead of that of this one. Not in the official code.
        **kwargs: Of ``RetinaHead``; one anchor per location.

    Raises:
        ValueError: There are several anchors per location, boxes are decoded
            for the loss, classes exclude each other or the sampler samples.
        TypeError: ``loss_bbox`` is an IoU loss.
    """

    assignment_uses_predictions = True
    out_names = (
        'cls_scores',
        'bbox_preds',
        'align_scores',
        'align_preds',
        'boxes',
    )

    def __init__(
        self,
        *args: object,
        align_head: dict = dict(type='AlignStageHead'),  # noqa: B006
        sync_normalizer: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        refuse_sampling(self)
        check_delta_loss(self)
        if self.num_base_priors != 1:
            raise ValueError(
                'anchor_generator must give one anchor per location (one '
                f'scale, one ratio), got {self.num_base_priors}'
            )
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: smooth L1 is '
                'computed on deltas'
            )
        if not self.use_sigmoid_cls:
            raise ValueError(
                'loss_cls.use_sigmoid must be True, got False: classes are '
                'independent'
            )
        stage = dict(
            num_classes=self.num_classes, in_channels=self.in_channels
        )
        self.sync_normalizer = sync_normalizer
        self.align_head = MODELS.build({**stage, **align_head})
        if self.train_cfg:
            if 'align_assigner' not in self.train_cfg:
                raise ValueError(
                    'train_cfg.align_assigner is missing: the assigner of '
                    'the second stage'
                )
            self.align_assigner = TASK_UTILS.build(
                self.train_cfg['align_assigner']
            )
            self.sampler = PseudoSampler()

    def forward(
        self, x: Sequence[Tensor], batch_img_metas: list | None = None
    ) -> Outs:
        """Predictions of both stages.

        Args:
            x: L maps (B, C_in, H_l, W_l).
            batch_img_metas: B dicts with ``img_shape``, to which the learned
                anchors are clipped. None: to the area of the feature maps.

        Returns:
            tuple: Five lists of L maps: class logits (B, C, H_l, W_l) and
            deltas (B, 4, H_l, W_l) of stage 1, the same of stage 2, and
            learned anchors (B, 4, H_l, W_l) in pixels, which are detached.
        """
        cls, deltas = super().forward(x)
        sizes = [tuple(level.shape[-2:]) for level in x]
        strides = self.prior_generator.strides
        limit = self._limits(x, batch_img_metas)
        levels = self.prior_generator.grid_priors(sizes, device=limit.device)
        refined, boxes = [], []
        for index, (feat, delta, (stride, _), anchors) in enumerate(
            zip(x, deltas, strides, levels, strict=True)
        ):
            box = self._learned_anchors(delta, anchors, limit)
            sampled = self._move_ends(box, -1)
            refined.append(self.align_head(feat, sampled, stride, index == 0))
            boxes.append(box.mT.unflatten(-1, sizes[index]))
        cls2, deltas2 = map(list, zip(*refined, strict=True))
        return cls, deltas, cls2, deltas2, boxes

    def _limits(self, feats: Sequence[Tensor], metas: list | None) -> Tensor:
        """Largest coordinates (B, 1, 4) of a box in pixels."""
        if metas is None:
            stride_w, stride_h = self.prior_generator.strides[0]
            height, width = feats[0].shape[-2:]
            shapes = [(height * stride_h, width * stride_w)] * len(feats[0])
        else:
            shapes = [meta['img_shape'][:2] for meta in metas]
        dtype = torch.promote_types(feats[0].dtype, torch.float32)
        sides = [[w, h, w, h] for h, w in shapes]
        limit = torch.tensor(sides, dtype=dtype, device=feats[0].device)
        if self.align_head.legacy_plus_one:
            limit = limit - 1  # the last pixel
        return limit[:, None]

    @torch.no_grad()
    def _learned_anchors(
        self, deltas: Tensor, anchors: Tensor, limit: Tensor
    ) -> Tensor:
        """Boxes (B, H W, 4) in pixels of deltas (B, 4, H, W)."""
        deltas = flatten_levels([deltas], len(anchors)).to(limit)
        anchors = anchors.to(limit).expand(deltas.shape)
        boxes = self.bbox_coder.decode(
            anchors.flatten(0, 1), deltas.flatten(0, 1)
        )
        boxes = self._move_ends(boxes.view(deltas.shape), -1)
        return self._move_ends(boxes.clamp(min=0).minimum(limit), 1)

    def _move_ends(self, boxes: Tensor, pixels: float) -> Tensor:
        """To and from the inclusive corners of the official operator."""
        if not self.align_head.legacy_plus_one:
            return boxes
        return move_ends(boxes, pixels)

    def loss(
        self, x: Sequence[Tensor], batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            x: L maps (B, C_in, H_l, W_l).
            batch_data_samples: B samples with ``gt_instances``.

        Returns:
            dict: See :meth:`loss_flat`.
        """
        gts, ignored, metas = unpack_gt_instances(batch_data_samples)
        return self.loss_by_feat(*self(x, metas), gts, metas, ignored)

    def loss_and_predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: SampleList,
        proposal_cfg: dict | None = None,
    ) -> tuple[dict[str, Tensor], InstanceList]:
        """Losses and detections of one forward pass.

        Args:
            x: L maps (B, C_in, H_l, W_l).
            batch_data_samples: B samples with ``gt_instances``.
            proposal_cfg: Instead of ``test_cfg``.

        Returns:
            tuple: What :meth:`loss` and :meth:`predict` return.
        """
        gts, ignored, metas = unpack_gt_instances(batch_data_samples)
        outs: Outs = self(x, metas)
        losses = self.loss_by_feat(*outs, gts, metas, ignored)
        return losses, self.predict_by_feat(
            *outs, batch_img_metas=metas, cfg=proposal_cfg
        )

    def predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> InstanceList:
        """Detections of a batch.

        Args:
            x: L maps (B, C_in, H_l, W_l).
            batch_data_samples: B samples with meta information.
            rescale: Boxes in the original image.

        Returns:
            list: B instances with ``bboxes``, ``scores`` and ``labels``.
        """
        metas = [sample.metainfo for sample in batch_data_samples]
        outs: Outs = self(x, metas)
        return self.predict_by_feat(
            *outs, batch_img_metas=metas, rescale=rescale
        )

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        align_scores: list[Tensor],
        align_preds: list[Tensor],
        boxes: list[Tensor],
        batch_img_metas: list[dict],
        cfg: dict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of stage 2; its anchors are the boxes of stage 1.

        Args:
            cls_scores: Not used.
            bbox_preds: Not used.
            align_scores: L class logits (B, C, H_l, W_l).
            align_preds: L deltas (B, 4, H_l, W_l).
            boxes: L learned anchors (B, 4, H_l, W_l).
            batch_img_metas: B dicts.
            cfg: Instead of ``test_cfg``.
            rescale: Boxes in the original image.
            with_nms: Suppress duplicates.

        Returns:
            list: B instances with ``bboxes``, ``scores`` and ``labels``.
        """
        results = []
        for image, meta in enumerate(batch_img_metas):
            result = self._predict_by_feat_single(
                cls_score_list=[
                    level[image].detach() for level in align_scores
                ],
                bbox_pred_list=[
                    level[image].detach() for level in align_preds
                ],
                score_factor_list=[None] * len(boxes),
                mlvl_priors=[level[image].flatten(1).mT for level in boxes],
                img_meta=meta,
                cfg=cfg,
                rescale=rescale,
                with_nms=with_nms,
            )
            results.append(result)
        return results

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of both stages.

        Args:
            flat: Of stage 1; ``others`` are the outputs of stage 2.

        Returns:
            dict: ``loss_cls_init`` and ``loss_bbox_init`` of stage 1,
            ``loss_cls`` and ``loss_bbox`` of stage 2, scalars.
        """
        first = self._stage_losses(flat, self.assign_flat(flat))
        second = self.second_stage(flat)
        assignment = self.assign_with(self.align_assigner, second)
        last = self._stage_losses(second, assignment)
        return dict(
            loss_cls_init=first[0],
            loss_bbox_init=first[1],
            loss_cls=last[0],
            loss_bbox=last[1],
        )

    def second_stage(self, flat: FlatBatch) -> FlatBatch:
        """The batch as stage 2 sees it: its anchors are (B, P, 4).

        Args:
            flat: Of stage 1; ``others`` are the outputs of stage 2.
        """
        cls, deltas, boxes = flat.others
        return replace(flat, cls=cls, deltas=deltas, anchors=boxes, others=())

    def _stage_losses(
        self, flat: FlatBatch, assignment: Assignment
    ) -> tuple[Tensor, Tensor]:
        """Both losses of the stage whose anchors ``flat`` has."""
        box_gt = assignment.gt
        label_gt = assignment.extra.get('label_gt', box_gt)
        anchors = flat.batch_anchors
        # a box without area can't be a reference
        area = (anchors[..., 2:] > anchors[..., :2]).all(-1)
        label_gt = label_gt.where(area | (label_gt < 0), NEGATIVE)
        positive = (label_gt >= 0)[..., None]
        # other boxes only have to be finite
        unit = anchors.new_tensor([0, 0, 1, 1])
        safe = replace(flat, anchors=anchors.where(positive, unit))
        boxes = self.matched_boxes(safe, box_gt).where(positive, unit)
        targets = self.encode(safe, boxes)
        labels = self.matched_labels(flat, label_gt)
        labels = labels.where(label_gt != IGNORED, -1)
        normalizer = None
        if self.sync_normalizer:
            count = reduce_mean(positive.sum().to(flat.cls))
            # one process with all images would add 1 once
            normalizer = count + 1 / get_world_size()
        return stage_losses(
            self.loss_cls,
            self.loss_bbox,
            flat.cls,
            flat.deltas,
            labels,
            targets,
            normalizer,
            (self.train_cfg or {}).get('pos_weight', -1),
        )

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
        stage: int = 2,
    ) -> InstanceList:
        """The assignment of one stage, for the analysis tools.

        Args:
            outs: What ``forward`` returned.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: B dicts.
            feats: Not used.
            stage: 1 or 2.

        Returns:
            list: B instances with ``priors`` (P, 4) in pixels, anchors or
            learned anchors, and, of shape (P,), ``level``, ``stride``,
            ``assigned_gt`` and ``weight``.

        Raises:
            ValueError: ``stage`` is neither.
        """
        if stage not in (1, 2):
            raise ValueError(f'stage must be 1 or 2, got {stage}')
        flat = self.flatten(outs, batch_gt_instances, batch_img_metas)
        assigner = self.assigner
        if stage == 2:
            flat, assigner = self.second_stage(flat), self.align_assigner
            # `outs` may come without the sizes of the images
            limit = self._limits(outs[0], batch_img_metas)
            flat = replace(flat, anchors=flat.anchors.minimum(limit))
        assignment = self.assign_with(assigner, flat)
        weights = self.assignment_weight(flat, assignment)
        return assignment_instances(
            flat.anchors, flat.level, flat.strides, assignment.gt, weights
        )
