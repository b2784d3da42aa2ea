"""RoI head of Mask Refining R-CNN."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.roi_heads import CascadeRoIHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from torch import Tensor, nn

from ...models.real_boxes import RealBoxesMixin
from .functional import own_mask
from .losses import with_every_loss
from .roi_extractors import ShapeGuidedRoIExtractor


@MODELS.register_module()
class MaskRefiningRoIHead(RealBoxesMixin, CascadeRoIHead):
    """Mask R-CNN whose masks guide a second box head and mask head.

    Shape-aware Feature Extraction for Instance Segmentation, 2019, arXiv
    1911.11263v1. The boxes of Mask R-CNN are the RoIs of the second stage, and
    its masks on them weigh the features there. No code of this version was
    released: scores are the mean of both stages' probabilities, boxes and
    masks are those of the second stage.

    ``train_cfg.rcnn`` is a list of two. Without mask heads this is a Cascade
    R-CNN of two stages.

    Args:
        bbox_roi_extractor: Of the first stage.
        bbox_head: Of the first stage.
        refine_bbox_roi_extractor: A ``ShapeGuidedRoIExtractor``; masks don't
            guide another one.
        refine_bbox_head: Of the second stage.
        mask_roi_extractor: Of the first stage.
        mask_head: Of the first stage.
        refine_mask_roi_extractor: As the one of the boxes.
        refine_mask_head: Of the second stage.
        stage_loss_weights: Of the two stages.
        **kwargs: Of ``CascadeRoIHead``.

    Raises:
        ValueError: A part of the second stage or of ``train_cfg.rcnn`` is
            missing.
    """

    def __init__(
        self,
        bbox_roi_extractor: ConfigType,
        bbox_head: ConfigType,
        refine_bbox_roi_extractor: ConfigType,
        refine_bbox_head: ConfigType,
        mask_roi_extractor: OptConfigType = None,
        mask_head: OptConfigType = None,
        refine_mask_roi_extractor: OptConfigType = None,
        refine_mask_head: OptConfigType = None,
        stage_loss_weights: Sequence[float] = (1.0, 1.0),
        **kwargs: Any,
    ) -> None:
        train_cfg = kwargs.get('train_cfg')
        if train_cfg is not None and (
            not isinstance(train_cfg, list) or len(train_cfg) != 2
        ):
            raise ValueError(
                'train_cfg.rcnn of MaskRefiningRoIHead must be a list of 2, '
                'one for each stage'
            )
        masks = {}
        if mask_head is not None:
            masks = dict(
                mask_roi_extractor=[
                    mask_roi_extractor,
                    refine_mask_roi_extractor,
                ],
                mask_head=[mask_head, refine_mask_head],
            )
            for name, parts in masks.items():
                if None in parts:
                    raise ValueError(
                        f'mask_head needs {name} and refine_{name}'
                    )
        super().__init__(
            num_stages=2,
            stage_loss_weights=list(stage_loss_weights),
            bbox_roi_extractor=[bbox_roi_extractor, refine_bbox_roi_extractor],
            bbox_head=[bbox_head, refine_bbox_head],
            **masks,
            **kwargs,
        )
        # classes of the refined boxes of each image, between the stages
        self._classes: list[Tensor] = []

    def _guide(
        self,
        extractor: nn.Module,
        x: Sequence[Tensor],
        rois: Tensor,
        classes: Tensor,
    ) -> Tensor | None:
        """Logits (N, 1, S, S) of the first mask head on N RoIs.

        None for an extractor that takes no masks.
        """
        guided = isinstance(extractor, ShapeGuidedRoIExtractor)
        if not guided or not self.with_mask:
            return None
        logits = super()._mask_forward(0, x, rois)['mask_preds']
        return own_mask(logits, classes)

    def _bbox_forward(
        self,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        record: list[Tensor] | None = None,
        masks: Tensor | None = None,
    ) -> dict[str, Any]:
        """Outputs of a stage.

        Args:
            stage: 0 or 1.
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            record: In prediction: gets the logits of each stage.
            masks: In training: (N, 1, S, S) logits for the second stage.
        """
        extractor = self.bbox_roi_extractor[stage]
        if record:
            classes = record[0][:, :-1].argmax(1)
            masks = self._guide(extractor, x, rois, classes)
        guide = {} if masks is None else dict(masks=masks)
        feats = extractor(x[: extractor.num_inputs], rois, **guide)
        cls_score, bbox_pred = self.bbox_head[stage](feats)
        if record is not None:
            record.append(cls_score)
        return dict(cls_score=cls_score, bbox_pred=bbox_pred, bbox_feats=feats)

    def _mask_forward(
        self,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        masks: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Masks of a stage.

        Args:
            stage: 0 or 1.
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            masks: (N, 1, S, S) logits for the second stage.
        """
        if masks is None:
            return super()._mask_forward(stage, x, rois)
        extractor = self.mask_roi_extractor[stage]
        feats = extractor(x[: extractor.num_inputs], rois, masks=masks)
        return dict(mask_preds=self.mask_head[stage](feats))

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
            batch_data_samples: B images with ground truths.

        Returns:
            dict: Losses by name.
        """
        losses = super().loss(x, rpn_results_list, batch_data_samples)
        self._classes = []
        names = ['loss_cls', 'acc', 'loss_bbox']
        names += ['loss_mask'] * self.with_mask
        stages = [f's{stage}.{name}' for stage in (0, 1) for name in names]
        return with_every_loss(losses, stages, self)

    def bbox_loss(
        self, stage: int, x: Sequence[Tensor], sampling_results: list
    ) -> dict[str, Any]:
        """Losses of the box head of a stage.

        Args:
            stage: 0 or 1.
            x: Feature maps (B, channels, H_l, W_l).
            sampling_results: Sampled proposals of B images. In the second
                stage each may get ``guide``, the masks of its positives.

        Returns:
            dict: As in ``CascadeRoIHead``.
        """
        sizes = [len(result.priors) for result in sampling_results]
        if stage == 0:
            results = super().bbox_loss(0, x, sampling_results)
            classes = results['cls_score'][:, :-1].argmax(1).split(sizes)
            # mmdet starts the next stage without the ground truths
            self._classes = [
                torch.cat((own[: len(flags)][flags == 0], own[len(flags) :]))
                for own, flags in zip(
                    classes,
                    [result.pos_is_gt for result in sampling_results],
                    strict=True,
                )
            ]
            return results
        rois = bbox2roi([result.priors for result in sampling_results])
        classes = self._sampled_classes(sampling_results)
        masks = self._guide(self.bbox_roi_extractor[1], x, rois, classes)
        results = self._bbox_forward(1, x, rois, masks=masks)
        found = self.bbox_head[1].loss_and_target(
            cls_score=results['cls_score'],
            bbox_pred=results['bbox_pred'],
            rois=rois,
            sampling_results=sampling_results,
            rcnn_train_cfg=self.train_cfg[1],
        )
        if masks is not None:
            for result, part in zip(
                sampling_results, masks.split(sizes), strict=True
            ):
                result.guide = part[: len(result.pos_priors)]
        return results | dict(found, rois=rois)

    def _sampled_classes(self, sampling_results: list) -> Tensor:
        """Class (N,) of the mask that guides each RoI of the second stage.

        That of the ground truth of positives, the likeliest of negatives.
        """
        found = []
        for result, classes in zip(
            sampling_results, self._classes, strict=True
        ):
            # the sampler may have put ground truths before the boxes
            last = result.neg_inds.new_tensor(len(classes) - 1)
            added = result.num_gts * getattr(
                self.bbox_sampler[1], 'add_gt_as_proposals', False
            )
            rows = (result.neg_inds - added).clamp(min=0).minimum(last)
            found += [result.pos_gt_labels, classes[rows]]
        return torch.cat(found)

    def mask_loss(
        self,
        stage: int,
        x: Sequence[Tensor],
        sampling_results: list,
        batch_gt_instances: InstanceList,
    ) -> dict[str, Any]:
        """Losses of the mask head of a stage.

        Args:
            stage: 0 or 1.
            x: Feature maps (B, channels, H_l, W_l).
            sampling_results: Sampled proposals of B images.
            batch_gt_instances: Ground truths with masks.

        Returns:
            dict: As in ``CascadeRoIHead``.
        """
        if stage == 0:
            return super().mask_loss(
                0, x, sampling_results, batch_gt_instances
            )
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        guides = [getattr(one, 'guide', None) for one in sampling_results]
        if None not in guides:
            guide = torch.cat(guides)
        else:
            labels = [one.pos_gt_labels for one in sampling_results]
            extractor = self.mask_roi_extractor[1]
            guide = self._guide(extractor, x, rois, torch.cat(labels))
        results = self._mask_forward(1, x, rois, guide)
        found = self.mask_head[1].loss_and_target(
            mask_preds=results['mask_preds'],
            sampling_results=sampling_results,
            batch_gt_instances=batch_gt_instances,
            rcnn_train_cfg=self.train_cfg[1],
        )
        return results | found

    def _refine_roi(
        self,
        x: Sequence[Tensor],
        rois: Tensor,
        batch_img_metas: list[dict],
        num_proposals_per_img: Sequence[int],
    ) -> tuple:
        """RoIs, logarithms of the mean probabilities and deltas by image."""
        record: list[Tensor] = []
        rois, scores, deltas = super()._refine_roi(
            x, rois, batch_img_metas, num_proposals_per_img, record=record
        )
        if not any(head.custom_activation for head in self.bbox_head):
            mean = sum(logits.softmax(1) for logits in record) / len(record)
            scores = mean.log().split(num_proposals_per_img)
        return rois, scores, deltas

    def _refined_masks(
        self, x: Sequence[Tensor], rois: Tensor, classes: Tensor
    ) -> Tensor:
        """Logits (N, C, S, S) of the second mask head."""
        guide = self._guide(self.mask_roi_extractor[1], x, rois, classes)
        return self._mask_forward(1, x, rois, guide)['mask_preds']

    def predict_mask(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        results_list: InstanceList,
        rescale: bool = False,
    ) -> InstanceList:
        """Masks of the detections of B images.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            results_list: Detections of B images.
            rescale: Give boxes and masks in the original image.

        Returns:
            list: B instances with ``masks``.
        """
        rois = bbox2roi([results.bboxes for results in results_list])
        if len(rois) == 0:
            return super().predict_mask(
                x, batch_img_metas, results_list, rescale
            )
        classes = torch.cat([results.labels for results in results_list])
        masks = self._refined_masks(x, rois, classes)
        return self.mask_head[1].predict_by_feat(
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
            tuple: Logarithms of the mean probabilities and deltas, B of each,
            and, with mask heads, mask logits of the first 100 RoIs.
        """
        metas = [sample.metainfo for sample in batch_data_samples]
        proposals = [results.bboxes for results in rpn_results_list]
        sizes = tuple(len(boxes) for boxes in proposals)
        rois, scores, deltas = self._refine_roi(
            x, bbox2roi(proposals), metas, sizes
        )
        if not self.with_mask:
            return scores, deltas
        first = torch.cat(rois)[:100]
        classes = torch.cat(scores)[:100, :-1].argmax(1)
        return scores, deltas, self._refined_masks(x, first, classes)
