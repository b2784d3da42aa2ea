"""RetinaNet's and RPN's head with HAMBox's compensated anchors."""

from dataclasses import replace

import torch
from mmdet.models.dense_heads import RetinaHead, RPNHead
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.checks import check_delta_loss
from ...models.dense_heads.flat_head import (
    FlatBatch,
    FlatLossMixin,
    refuse_sampling,
)
from ...models.task_modules.assigners._base import Assignment
from ...ops.anchor_match import IGNORED, NEGATIVE, gather_gts
from .assigner import HAMBoxAssigner
from .functional import Terms, loss_terms


class HAMBoxLossMixin(FlatLossMixin):
    """The four terms of HAMBox's loss for any ``AnchorHead``."""

    assigner: HAMBoxAssigner
    loss_bbox: nn.Module
    loss_cls: nn.Module
    reg_decoded_bbox: bool

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        check_delta_loss(self)
        assigner = getattr(self, 'assigner', None)
        if assigner is not None and not isinstance(assigner, HAMBoxAssigner):
            raise ValueError(
                f'{type(self).__name__} needs the assigner HAMBoxAssigner, '
                f'got {type(assigner).__name__}'
            )

    def assign_flat(self, flat: FlatBatch) -> Assignment:
        """Ground truth of each anchor, matched or compensated.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            Assignment: Of the assigner, with compensated anchors among the
            positive ones and ignored negatives as ``IGNORED``, unless
            they are ignored per class.
        """
        found = super().assign_flat(flat)
        comp_gt = found.extra['comp_gt']
        gt = comp_gt.where(comp_gt >= 0, found.gt)
        if not self.assigner.ignore_per_class:
            gt = gt.masked_fill(found.extra['ignored'], IGNORED)
        return replace(found, gt=gt)

    def assignment_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Loss weight (B, P), for the analysis tools: F if compensated."""
        weight = super().assignment_weight(flat, assignment)
        compensated = assignment.extra['comp_gt'] >= 0
        return assignment.extra['comp_iou'].where(compensated, weight)

    def sums(self, flat: FlatBatch, assignment: Assignment) -> Terms:
        """The terms of the loss, not normalized.

        Args:
            flat: Predictions, anchors and ground truths.
            assignment: Of :meth:`assign_flat`.

        Returns:
            Terms: Four scalars, loss weights included.
        """
        gt = assignment.gt
        cls_loss = self.loss_cls(
            flat.cls.flatten(0, 1),
            self.matched_labels(flat, gt).flatten(),
            self.label_weights(flat, gt).flatten(),
            reduction_override='none',
        )
        positive = (gt >= 0)[..., None]
        target = self.matched_boxes(flat, gt)
        if self.reg_decoded_bbox:
            pred = self.decode(flat)
        else:
            pred, target = flat.deltas, self.encode(flat, target)
        # boxes of other anchors may be infinite, and 0 * inf is NaN
        pred = pred.where(positive, target)
        box_loss = self.loss_bbox(
            pred.flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        )
        return loss_terms(
            cls_loss.view_as(flat.cls),
            box_loss.view(*gt.shape, -1).sum(-1),
            gt,
            assignment.extra['comp_gt'] >= 0,
            assignment.extra['comp_iou'].to(flat.cls),
            self._class_weight(flat, assignment),
        )

    def _class_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor | None:
        if not self.assigner.ignore_per_class:
            return None
        labels = gather_gts(flat.labels, assignment.extra['best_pred_gt'])
        classes = torch.arange(flat.cls.shape[-1], device=labels.device)
        ignored = assignment.extra['ignored'][..., None]
        return (~(ignored & (labels[..., None] == classes))).to(flat.cls)


@MODELS.register_module()
class HAMBoxRetinaHead(HAMBoxLossMixin, RetinaHead):
    """RetinaNet's head trained with compensated anchors.

    HAMBox: Delving into Mining High-Quality Anchors on Face Detection (CVPR
    2020, arXiv 1912.09231), regression-aware focal loss and box loss: matched
    anchors and negatives as usual, divided by the number N_norm of matched
    anchors; compensated anchors weighted by the IoU F of their regressed box
    (classification only, no gradient through F), divided by their number
    N_com. Negatives that regress too well are ignored. Inference is
    RetinaNet's. There is no official code.

    With ``topk=0`` and ``ignore_pred_iou`` above 1 in the assigner it is
    RetinaNet, but that N_norm is the mean over the processes and at least 1
    per batch (mmdet: the process's own, at least 1 per image).

    Args:
        *args: Of ``RetinaHead``.
        joint_normalizer: Divide all four terms by N_norm + N_com, so that a
            compensated anchor weighs no more than a matched one. Not in the
            paper; for data where most objects have matched anchors.
        **kwargs: Of ``RetinaHead``; ``train_cfg.assigner`` is a
            ``HAMBoxAssigner``.

    Raises:
        ValueError: Another assigner, or a sampler that samples.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    def __init__(
        self, *args: object, joint_normalizer: bool = False, **kwargs: object
    ) -> None:
        super().__init__(*args, **kwargs)
        refuse_sampling(self)
        self.joint_normalizer = joint_normalizer

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: Scalars ``loss_cls``, ``loss_bbox``, ``loss_cls_comp``,
            ``loss_bbox_comp``, and for the log ``num_norm`` and ``num_comp``,
            anchors of the batch of this process.
        """
        assignment = self.assign_flat(flat)
        sums = self.sums(flat, assignment)
        compensated = assignment.extra['comp_gt'] >= 0
        counts = torch.stack(
            (
                ((assignment.gt >= 0) & ~compensated).sum(),
                compensated.sum(),
            )
        ).to(flat.cls)
        averages = reduce_mean(counts)
        if self.joint_normalizer:
            averages = averages.sum().expand(2)
        norm, comp = averages.clamp(min=1)
        return dict(
            loss_cls=sums.cls_norm / norm,
            loss_bbox=sums.box_norm / norm,
            loss_cls_comp=sums.cls_comp / comp,
            loss_bbox_comp=sums.box_comp / comp,
            num_norm=counts[0],
            num_comp=counts[1],
        )


@MODELS.register_module()
class HAMBoxRPNHead(HAMBoxLossMixin, RPNHead):
    """RPN's head trained with compensated anchors; not in the paper.

    The first step is sampled as usual, from negatives that are not ignored;
    all compensated anchors are used. All four terms are divided by the number
    of samples, mmdet's normalizer of RPN: a compensated anchor has the
    weight of a sample, times F in the classification.

    Takes the arguments of ``RPNHead``; ``train_cfg.assigner`` is a
    ``HAMBoxAssigner``.

    Raises:
        ValueError: Another assigner, or a sampler that adds ground truths.
        TypeError: ``loss_bbox`` is an IoU loss without ``reg_decoded_bbox``.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        sampler = getattr(self, 'sampler', None)
        if getattr(sampler, 'add_gt_as_proposals', False):
            raise ValueError(
                'HAMBoxRPNHead: train_cfg.sampler.add_gt_as_proposals must '
                'be False, got True'
            )

    def assign_flat(self, flat: FlatBatch) -> Assignment:
        """Sampled and compensated anchors; others are ``IGNORED``."""
        found = super().assign_flat(flat)
        compensated = found.extra['comp_gt'] >= 0
        first_step = found.gt.masked_fill(compensated, IGNORED)
        sampled = self._sampled(flat, replace(found, gt=first_step))
        gt = found.gt.where(sampled | compensated, IGNORED)
        return replace(found, gt=gt)

    def _sampled(self, flat: FlatBatch, assignment: Assignment) -> Tensor:
        """Mask (B, P) of mmdet's sampler, which knows one image."""
        sampled = torch.zeros_like(flat.valid)
        for b in range(len(flat.mask)):
            gts = InstanceData(bboxes=flat.boxes[b], labels=flat.labels[b])
            result = self.sampler.sample(
                AssignResult(
                    num_gts=len(gts),
                    gt_inds=assignment.gt[b] + 1,
                    max_overlaps=assignment.iou[b],
                    labels=assignment.gt[b],  # not used
                ),
                InstanceData(priors=flat.anchors),
                gts,
            )
            sampled[b, result.pos_inds] = True
            sampled[b, result.neg_inds] = True
        return sampled

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: Scalars ``loss_rpn_cls``, ``loss_rpn_bbox``,
            ``loss_rpn_cls_comp``, ``loss_rpn_bbox_comp``, and for the log
            ``num_norm`` and ``num_comp``, positive samples and compensated
            anchors.
        """
        assignment = self.assign_flat(flat)
        sums = self.sums(flat, assignment)
        compensated = assignment.extra['comp_gt'] >= 0
        norm = (assignment.gt >= 0) & ~compensated
        negative = assignment.gt == NEGATIVE
        # each image counts at least one of each, as in mmdet
        samples = norm.sum(1).clamp(min=1) + negative.sum(1).clamp(min=1)
        factor = samples.sum().to(flat.cls)
        return dict(
            loss_rpn_cls=sums.cls_norm / factor,
            loss_rpn_bbox=sums.box_norm / factor,
            loss_rpn_cls_comp=sums.cls_comp / factor,
            loss_rpn_bbox_comp=sums.box_comp / factor,
            num_norm=norm.sum().to(flat.cls),
            num_comp=compensated.sum().to(flat.cls),
        )
