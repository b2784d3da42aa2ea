"""RoI head of D2Det."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.registry import MODELS
from mmdet.structures.bbox import bbox2roi, get_box_tensor, scale_boxes
from mmdet.utils import ConfigType, InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.checks import pick
from ...models.real_boxes import RealBoxesMixin
from ...ops.anchor_points import move_ends
from . import functional as d2det
from .instance_head import mask_targets


@MODELS.register_module()
class D2DetRoIHead(RealBoxesMixin, StandardRoIHead):
    """Classification of proposals, then dense regression of the kept boxes.

    D2Det: Towards High Quality Object Detection and Instance Segmentation,
    CVPR 2020. The box head classifies only (``with_reg=False``). Proposals
    are kept by a NMS of their own positions, their boxes become the means of
    those that their cells predict, and a second NMS follows.

    ``train_cfg.rcnn``: ``jitter`` (0.15), how far positive proposals are moved
    and resized for the regression, and ``max_num_reg`` (192), how many of a
    batch it trains on. ``test_cfg.rcnn``: ``post_nms``, the NMS of the
    refined boxes, and ``final_max`` detections of an image.

    A ``mask_head`` predicts from the features of the regression, of the
    refined boxes; it has no RoI extractor of its own. Then the cells on the
    object are those of its mask.

    Args:
        reg_roi_extractor: Features for the regression, 14x14.
        d2det_head: A ``D2DetHead``.
        fallback: The box where no cell is on the object: ``'zero'``, which is
            the official average of nothing, or ``'proposal'``.
        inclusive: Refine boxes whose x2 and y2 are the last pixel, for the
            released weights; corners are exclusive outside.
        **kwargs: Of ``StandardRoIHead``.

    Raises:
        ValueError: The box head regresses, or an option is out of its range.
    """

    def __init__(
        self,
        reg_roi_extractor: ConfigType,
        d2det_head: ConfigType,
        fallback: str = 'zero',
        inclusive: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.bbox_head.with_reg:
            raise ValueError(
                'bbox_head.with_reg of D2DetRoIHead must be False, got True'
            )
        self.zero = pick(dict(zero=True, proposal=False), fallback, 'fallback')
        self.inclusive = inclusive
        self.reg_roi_extractor = MODELS.build(reg_roi_extractor)
        self.d2det_head = MODELS.build(d2det_head)
        self._shapes: list = []
        cfg = self.train_cfg or {}
        self.jitter = cfg.get('jitter', 0.15)
        self.max_num_reg = cfg.get('max_num_reg', 192)
        if not 0 <= self.jitter < 1:
            raise ValueError(
                f'train_cfg.rcnn.jitter must be in [0, 1), got {self.jitter}'
            )
        if self.max_num_reg < 1:
            raise ValueError(
                'train_cfg.rcnn.max_num_reg must be at least 1, got '
                f'{self.max_num_reg}'
            )

    def init_mask_head(
        self, mask_roi_extractor: ConfigType | None, mask_head: ConfigType
    ) -> None:
        """Build the instance branch.

        Args:
            mask_roi_extractor: None, as it sees features of the regression.
            mask_head: A ``D2DetInstanceHead``.

        Raises:
            ValueError: There is an extractor.
        """
        if mask_roi_extractor is not None:
            raise ValueError(
                'mask_roi_extractor of D2DetRoIHead must be None, got '
                f'{mask_roi_extractor}'
            )
        self.mask_head = MODELS.build(mask_head)

    def _dense_forward(
        self, x: Sequence[Tensor], rois: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        extractor = self.reg_roi_extractor
        return self.d2det_head(extractor(x[: extractor.num_inputs], rois))

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: InstanceList,
        batch_data_samples: list | None = None,
    ) -> tuple:
        """The raw outputs: scores, and the regression of the first 100 RoIs.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rpn_results_list: Proposals of B images.
            batch_data_samples: Not used.

        Returns:
            tuple: Scores, None, distances, overlap and, with a mask head, the
            masks of the first 100 RoIs.
        """
        rois = bbox2roi([results.bboxes for results in rpn_results_list])
        scores = self._bbox_forward(x, rois)['cls_score']
        reg, logits, feats = self._dense_forward(x, rois[:100])
        outs: tuple = (scores, None, reg, logits)
        if self.with_mask:
            labels = scores[:100, :-1].argmax(1)
            outs += (self.mask_head(feats, labels)[0],)
        return outs

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
        # mmdet gives bbox_loss no images
        self._shapes = [sample.img_shape for sample in batch_data_samples]
        return super().loss(x, rpn_results_list, batch_data_samples)

    def bbox_loss(
        self, x: Sequence[Tensor], sampling_results: list
    ) -> dict[str, Any]:
        """Losses of classification and regression.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            sampling_results: Sampled proposals of B images.

        Returns:
            dict: As in ``StandardRoIHead``.
        """
        results = super().bbox_loss(x, sampling_results)
        # without any RoI mmdet leaves the loss out
        scores = results['cls_score']
        missing = dict(loss_cls=scores.sum() * 0, acc=scores.new_zeros(1))
        results['loss_bbox'] = missing | results['loss_bbox']
        if not self.with_mask:
            results['loss_bbox'] |= self._dense_loss(x, sampling_results)
        return results

    def mask_loss(
        self,
        x: Sequence[Tensor],
        sampling_results: list,
        bbox_feats: Tensor,
        batch_gt_instances: InstanceList,
    ) -> dict[str, Any]:
        """Losses of regression and masks, which share features.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            sampling_results: Sampled proposals of B images.
            bbox_feats: Not used.
            batch_gt_instances: Ground truths of B images, with ``masks``.

        Returns:
            dict: As in ``StandardRoIHead``.
        """
        masks = [gts.masks for gts in batch_gt_instances]
        return dict(loss_mask=self._dense_loss(x, sampling_results, masks))

    def _dense_loss(
        self,
        x: Sequence[Tensor],
        sampling_results: list,
        masks: list | None = None,
    ) -> dict[str, Tensor]:
        """Losses of jittered positives; ``masks`` of B images or None."""
        jittered = []
        for result, shape in zip(sampling_results, self._shapes, strict=True):
            boxes = get_box_tensor(result.pos_priors)
            noise = torch.empty_like(boxes).uniform_(-self.jitter, self.jitter)
            jittered.append(d2det.jitter(boxes, noise, shape))
        rois = bbox2roi(jittered)
        names = ('pos_gt_bboxes', 'pos_gt_labels', 'pos_assigned_gt_inds')
        parts = [
            torch.cat(
                [get_box_tensor(vars(r)[name]) for r in sampling_results]
            )
            for name in names
        ]
        if len(rois) > self.max_num_reg:
            order = torch.randperm(len(rois), device=rois.device)
            chosen = order[: self.max_num_reg].sort().values
            rois, *parts = (part[chosen] for part in (rois, *parts))
        gt_bboxes, labels, gt_inds = parts
        reg, logits, feats = self._dense_forward(x, rois)
        overlap, losses = None, {}
        if masks is not None:
            found, ious = self.mask_head(feats, labels)
            targets, ratios = mask_targets(
                rois, gt_inds, masks, found.shape[-1]
            )
            overlap = d2det.mask_overlap(targets, reg.shape[-1])[:, None]
            losses = self.mask_head.loss(found, ious, labels, targets, ratios)
        return losses | self.d2det_head.loss(
            reg, logits, rois[:, 1:], gt_bboxes, overlap
        )

    def predict_bbox(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        rpn_results_list: InstanceList,
        rcnn_test_cfg: ConfigDict | None,
        rescale: bool = False,
    ) -> InstanceList:
        """Detections of B images.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            rpn_results_list: Proposals of B images.
            rcnn_test_cfg: Post-processing; None: proposals and raw scores.
            rescale: Give boxes in the original image.

        Returns:
            list: B instances.
        """
        raw = rcnn_test_cfg is None
        found = super().predict_bbox(
            x, batch_img_metas, rpn_results_list, rcnn_test_cfg, raw & rescale
        )
        if raw:
            return found
        rois = bbox2roi([results.bboxes for results in found])
        sizes = [len(results) for results in found]
        if len(rois):
            reg, logits, _ = self._dense_forward(x, rois)
            parts = zip(
                found,
                reg.split(sizes),
                logits.split(sizes),
                batch_img_metas,
                strict=True,
            )
            found = [self._refine(*part, rcnn_test_cfg) for part in parts]
        for results, meta in zip(found, batch_img_metas, strict=True):
            if rescale:
                scale = [1 / side for side in meta['scale_factor']]
                results.bboxes = scale_boxes(results.bboxes, scale)
        return found

    def predict_mask(
        self,
        x: Sequence[Tensor],
        batch_img_metas: list[dict],
        results_list: InstanceList,
        rescale: bool = False,
    ) -> InstanceList:
        """Masks of the refined boxes, and scores of their own.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            batch_img_metas: Meta information of B images.
            results_list: Detections of B images, on the scale of the input.
            rescale: Give boxes and masks in the original image.

        Returns:
            list: B instances with ``masks`` (N, H, W) and ``mask_scores``
            (N,).
        """
        sizes = [len(results) for results in results_list]
        rois = bbox2roi([results.bboxes for results in results_list])
        labels = torch.cat([results.labels for results in results_list])
        *_, feats = self._dense_forward(x, rois)
        masks, ious = self.mask_head(feats, labels)
        return self.mask_head.predict_by_feat(
            masks.split(sizes),
            results_list,
            batch_img_metas,
            self.test_cfg,
            rescale,
            mask_ious=ious.split(sizes),
        )

    def _refine(
        self,
        results: InstanceData,
        reg: Tensor,
        logits: Tensor,
        meta: dict,
        cfg: ConfigDict,
    ) -> InstanceData:
        """Detections of an image, from its N kept proposals."""
        ends = int(self.inclusive)
        proposals = move_ends(results.bboxes, -ends)
        boxes, count = d2det.average_boxes(proposals, reg.float(), logits)
        if not self.zero:
            boxes = boxes.where(count[:, None] > 0, proposals)
        boxes = d2det.clip(boxes, meta['img_shape'], last=ends)
        results.bboxes = move_ends(boxes, ends).to(results.bboxes)
        nms = cfg.get('post_nms')
        if nms is not None and len(results):
            dets, keep = batched_nms(
                results.bboxes, results.scores, results.labels, nms
            )
            results = results[keep]
            results.bboxes, results.scores = dets[:, :4], dets[:, 4]
        limit = cfg.get('final_max', -1)
        return results[:limit] if limit > 0 else results
