"""RoI head of DSC."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, get_box_tensor
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.checks import masks_of
from ...models.real_boxes import real_samples
from .losses import with_every_loss
from .stages import Inputs, Shape, ShapeCascadeRoIHead


class Samples(NamedTuple):
    """N sampled RoIs of a batch, image by image, positives first.

    Attributes:
        results: Sampling results of B images.
        rows: (N,) int64 places among the boxes before sampling.
    """

    results: list
    rows: Tensor

    @property
    def rois(self) -> Tensor:
        """Image and corners (N, 5)."""
        return bbox2roi([get_box_tensor(one.priors) for one in self.results])

    @property
    def positive(self) -> Tensor:
        """Which are positive, (N,) bool."""
        flags = []
        for one in self.results:
            flags += [torch.ones_like(one.pos_inds)]
            flags += [torch.zeros_like(one.neg_inds)]
        return torch.cat(flags).bool()

    @property
    def is_gt(self) -> Tensor:
        """Which are ground truths that the sampler added, (N,) bool."""
        flags = []
        for one in self.results:
            flags += [one.pos_is_gt.bool()]
            flags += [torch.zeros_like(one.neg_inds).bool()]
        return torch.cat(flags)


@MODELS.register_module()
class DSCRoIHead(ShapeCascadeRoIHead):
    """Cascade whose stages first propose a mask, then look at its shape.

    Deeply Shape-guided Cascade for Instance Segmentation, CVPR 2021, arXiv
    1911.11263. Each stage enlarges its RoIs, predicts class-agnostic masks in
    them, and gives the box head features that the masks weigh and those of
    the mask head. The next stage gets both, aligned with its RoIs.

    RoIs are sampled once: ``train_cfg.rcnn`` has the assigner and sampler of
    each stage and, last, of the final masks; only the first sampler adds
    ground truths, and these are not moved by the stages.

    Args:
        mpn_roi_extractor: Features for the mask proposals of all stages.
        mpn: A ``DSCMaskHead`` for each stage.
        relative_roi_extractor: A ``RelativeRoIExtractor``.
        num_stages: Stages of boxes.
        stage_loss_weights: Of these.
        enlarge_ratios: Size of the RoIs in which each stage, and the final
            mask head, predicts masks.
        num_score_stages: Scores are the mean of that many last stages.
        clip: Keep enlarged RoIs inside the image and those of the previous
            stage, as the official code means to, but doesn't.
        **kwargs: Of ``HybridTaskCascadeRoIHead``. ``mask_head`` is one
            ``DSCMaskHead``; without it boxes alone are predicted.

    Raises:
        ValueError: Ratios, stages or samplers do not fit.
    """

    def _sample(
        self,
        stage: int,
        inputs: Inputs,
        boxes: Sequence[Tensor],
        gts: InstanceList,
        ignored: InstanceList,
    ) -> Samples:
        """Assign and sample the boxes (n, 4) of each image."""
        results, rows, before = [], [], 0
        for i, own in enumerate(boxes):
            priors = InstanceData(priors=own)
            assigned = self.bbox_assigner[stage].assign(
                priors, gts[i], ignored[i]
            )
            feats = [level[i][None] for level in inputs.x]
            result = self.bbox_sampler[stage].sample(
                assigned, priors, gts[i], feats=feats
            )
            rows += [result.pos_inds + before, result.neg_inds + before]
            before += len(own)
            results.append(result)
        return Samples(results, torch.cat(rows))

    def loss(
        self,
        x: Sequence[Tensor],
        rpn_results_list: InstanceList,
        batch_data_samples: list,
    ) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rpn_results_list: Proposals of B images.
            batch_data_samples: B images with ground truths and, for a
                semantic head, ``gt_sem_seg``.

        Returns:
            dict: Losses by name.

        Raises:
            ValueError: A head of masks gets ground truths without them, or
                a semantic head images without ``gt_sem_seg``.
        """
        samples = real_samples(batch_data_samples)
        gts, ignored, metas = unpack_gt_instances(samples)
        if self.with_mask:
            for gt in gts:
                masks_of(gt, type(self).__name__)
        inputs, losses = Inputs(x, None, metas), {}
        if self.with_semantic:
            logits, feat = self.semantic_head(x)
            inputs = inputs._replace(semantic_feat=feat)
            if not all('gt_sem_seg' in one for one in samples):
                raise ValueError(
                    'gt_sem_seg is missing: the semantic head trains on maps '
                    'of stuff, which data_prefix.seg names; without them use '
                    'dsc-without-semantic_r50_fpn_1x_coco'
                )
            labels = torch.stack([one.gt_sem_seg.sem_seg for one in samples])
            losses['loss_semantic_seg'] = self.semantic_head.loss(
                logits, labels
            )
        boxes = [get_box_tensor(found.bboxes) for found in rpn_results_list]
        chosen = self._sample(0, inputs, boxes, gts, ignored)
        shape, is_gt = None, chosen.is_gt
        for stage, weight in enumerate(self.stage_loss_weights):
            if shape is not None:
                chosen = self._sample(stage, inputs, boxes, gts, ignored)
                shape, is_gt = shape.take(chosen.rows), is_gt[chosen.rows]
            shape, moved, own = self._stage_loss(
                stage, inputs, chosen, shape, gts
            )
            for name, value in own.items():
                factor = weight if 'loss' in name else 1
                losses[f's{stage}.{name}'] = value * factor
            boxes = chosen.rois[:, 1:].where(is_gt[:, None], moved)
            boxes = boxes.split([len(one.priors) for one in chosen.results])
        if self.with_mask:
            assert shape is not None
            chosen = self._sample(self.num_stages, inputs, boxes, gts, ignored)
            rows = chosen.positive
            masks = self._final_masks(
                inputs, chosen.rois[rows], shape.take(chosen.rows[rows])
            )
            losses |= self.mask_head.loss_and_target(
                masks, chosen.results, gts, self.train_cfg[-1]
            )['loss_mask']
        names = [
            f's{stage}.{name}'
            for stage in range(self.num_stages)
            for name in ('loss_cls', 'acc', 'loss_bbox')
        ]
        return with_every_loss(losses, names, self)

    def _stage_loss(
        self,
        stage: int,
        inputs: Inputs,
        chosen: Samples,
        shape: Shape | None,
        gts: InstanceList,
    ) -> tuple[Shape, Tensor, dict[str, Tensor]]:
        """Losses of a stage.

        Args:
            stage: From 0.
            inputs: Of the batch.
            chosen: N sampled RoIs.
            shape: Of the previous stage for these.
            gts: Ground truths.

        Returns:
            tuple: Shapes, moved boxes (N, 4) and losses by name.
        """
        rois = chosen.rois
        shape = self._propose_masks(stage, inputs, rois, shape)
        scores, deltas = self._predict_boxes(stage, inputs, rois, shape)
        head, cfg = self.bbox_head[stage], self.train_cfg[stage]
        found = head.loss_and_target(scores, deltas, rois, chosen.results, cfg)
        losses = dict(found['loss_bbox'])
        masks = shape.logits[chosen.positive]
        if self.with_mask or all('masks' in gt for gt in gts):
            own = self.mpn[stage].loss_and_target(
                masks, chosen.results, gts, cfg
            )
            losses['loss_mpn'] = own['loss_mask']['loss_mask']
        else:  # boxes alone are trained
            losses['loss_mpn'] = masks.sum() * 0
        with torch.no_grad():
            labels = found['bbox_targets'][0]
            labels = labels.where(
                labels < head.num_classes, self._likeliest(stage, scores)
            )
            moved = self._refine(stage, inputs.metas, rois, labels, deltas)
        return shape, moved, losses

    def _cascade(
        self, inputs: Inputs, proposals: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Shape]:
        """RoIs (N, 5), scores, deltas and shapes of the last stage.

        Args:
            inputs: Of the batch.
            proposals: (n, 4) of each image, N in all.
        """
        rois, shape, stages = bbox2roi(proposals), None, []
        for stage in range(self.num_stages):
            shape = self._propose_masks(stage, inputs, rois, shape)
            scores, deltas = self._predict_boxes(stage, inputs, rois, shape)
            stages.append(scores)
            if stage < self.num_stages - 1:
                labels = self._likeliest(stage, scores)
                boxes = self._refine(stage, inputs.metas, rois, labels, deltas)
                rois = torch.cat((rois[:, :1], boxes), 1)
        assert shape is not None
        last = stages[-self.num_score_stages :]
        return rois, sum(last) / len(last), deltas, shape

    def predict_bbox(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        rpn_results_list: InstanceList,
        rcnn_test_cfg: ConfigDict | None,
        rescale: bool = False,
        semantic_feat: Tensor | None = None,
    ) -> InstanceList:
        """Detections of B images.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            rpn_results_list: Proposals of B images.
            rcnn_test_cfg: Post-processing; None: raw boxes and scores.
            rescale: Give boxes in the original image.
            semantic_feat: (B, channels, H, W).

        Returns:
            list: B instances. For the mask head each detection has the
            ``mask_feats`` and ``mask_frames`` of its RoI.
        """
        proposals = [get_box_tensor(r.bboxes) for r in rpn_results_list]
        sizes = [len(boxes) for boxes in proposals]
        if sum(sizes) == 0:
            return super().predict_bbox(
                x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale
            )
        inputs = Inputs(x, semantic_feat, batch_img_metas)
        rois, scores, deltas, shape = self._cascade(inputs, proposals)
        results = self.bbox_head[-1].predict_by_feat(
            rois=rois.split(sizes),
            cls_scores=scores.split(sizes),
            bbox_preds=deltas.split(sizes),
            batch_img_metas=batch_img_metas,
            rcnn_test_cfg=rcnn_test_cfg,
            rescale=rescale,
        )
        feats, frames = shape.feats.split(sizes), shape.frames.split(sizes)
        for i, found in enumerate(results):
            rows = found.pop('rows', None)
            if self.with_mask and rows is not None:
                found.mask_feats = feats[i][rows]
                found.mask_frames = frames[i][rows]
        return results

    def predict_mask(
        self,
        x: Sequence[Tensor],
        semantic_heat: Tensor | None,
        batch_img_metas: list[dict],
        results_list: InstanceList,
        rescale: bool = False,
    ) -> InstanceList:
        """Masks of the detections of B images.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            semantic_heat: (B, channels, H, W) semantic features.
            batch_img_metas: Meta information of B images.
            results_list: Detections of B images.
            rescale: Give boxes and masks in the original image.

        Returns:
            list: B instances with ``masks``.
        """
        rois = bbox2roi([found.bboxes for found in results_list])
        feats = [found.pop('mask_feats', None) for found in results_list]
        frames = [found.pop('mask_frames', None) for found in results_list]
        if len(rois) == 0:
            return super().predict_mask(
                x, semantic_heat, batch_img_metas, results_list, rescale
            )
        shape = Shape(
            rois.new_zeros(len(rois), 0),
            torch.cat([part for part in feats if part is not None]),
            torch.cat([part for part in frames if part is not None]),
        )
        inputs = Inputs(x, semantic_heat, batch_img_metas)
        masks = self._final_masks(inputs, rois, shape)
        return self.mask_head.predict_by_feat(
            mask_preds=masks.split([len(found) for found in results_list]),
            results_list=results_list,
            batch_img_metas=batch_img_metas,
            rcnn_test_cfg=self.test_cfg,
            rescale=rescale,
        )

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: InstanceList,
        batch_data_samples: list,
    ) -> tuple:
        """The raw outputs of all RoIs.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rpn_results_list: Proposals of B images.
            batch_data_samples: B images.

        Returns:
            tuple: Scores and deltas, B of each, and, with a mask head, mask
            logits of the first 100 RoIs of the last stage.
        """
        metas = [sample.metainfo for sample in batch_data_samples]
        proposals = [get_box_tensor(r.bboxes) for r in rpn_results_list]
        sizes = [len(boxes) for boxes in proposals]
        feat = self.semantic_head(x)[1] if self.with_semantic else None
        inputs = Inputs(x, feat, metas)
        rois, scores, deltas, shape = self._cascade(inputs, proposals)
        outs = (scores.split(sizes), deltas.split(sizes))
        if not self.with_mask:
            return outs
        first = torch.arange(min(100, len(rois)), device=rois.device)
        masks = self._final_masks(inputs, rois[first], shape.take(first))
        return *outs, masks
