"""Base class of anchor heads whose loss sees the whole batch at once."""

import inspect
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from mmdet.models.task_modules import (
    AnchorGenerator,
    BaseAssigner,
    MaxIoUAssigner,
)
from mmdet.models.task_modules.coders import BaseBBoxCoder
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmdet.models.task_modules.samplers import PseudoSampler
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...ops.anchor_match import IGNORED, gather_gts
from ...ops.anchor_points import flatten_levels
from ..task_modules.assigners._base import (
    AssignInputs,
    Assignment,
    BatchAssigner,
    pad_regions,
)
from .instances import assignment_instances, pad_instances, padded_index
from .loss_inputs import LossInputs, LossInputsMixin


@dataclass(frozen=True)
class FlatBatch:
    """Predictions, anchors and ground truths of B images, levels concatenated.

    P anchors: level-major, then row-major location, then anchor of the
    location. Floating tensors are float32 or finer.

    Attributes:
        cls: (B, P, C) class logits.
        deltas: (B, P, 4) encoded boxes.
        others: Further outputs of the head, (B, P, channels) each.
        anchors: (P, 4) xyxy pixels; (B, P, 4) in a later stage, where every
            image has its own.
        strides: (P,) stride of each anchor's level in pixels.
        level: (P,) int64 index of the level.
        level_sizes: Number of anchors of each of the L levels.
        valid: (B, P) bool, False for anchors outside their image.
        boxes: (B, G, 4) ground truths in pixels, padded, G >= 1.
        labels: (B, G) int64.
        mask: (B, G) bool, False for padding.
        ignored: Ignored regions of B images; None without any.
    """

    cls: Tensor
    deltas: Tensor
    others: tuple[Tensor, ...]
    anchors: Tensor
    strides: Tensor
    level: Tensor
    level_sizes: tuple[int, ...]
    valid: Tensor
    boxes: Tensor
    labels: Tensor
    mask: Tensor
    ignored: Sequence[InstanceData | None] | None = None

    @property
    def batch_anchors(self) -> Tensor:
        """The anchors repeated for each image, (B, P, 4)."""
        return self.anchors.expand(len(self.cls), -1, -1)

    def ignored_of(self, image: int) -> InstanceData | None:
        """Ignored regions of one image, for an assigner of mmdet."""
        return None if self.ignored is None else self.ignored[image]


class FlatLossMixin(LossInputsMixin):
    """Mixin before an ``AnchorHead``; a subclass writes ``loss_flat``.

    ``class MyHead(FlatLossMixin, RetinaHead)`` with ``loss_flat(flat) ->
    dict`` gets one :class:`FlatBatch` instead of lists of levels and images.
    Any assigner works: those of this package see the whole batch with its
    predictions, those of mmdet are called once per image.
    """

    # of the AnchorHead behind it
    assigner: BaseAssigner
    bbox_coder: BaseBBoxCoder
    num_base_priors: int
    num_classes: int
    prior_generator: AnchorGenerator
    train_cfg: dict | None

    @property
    def assignment_uses_predictions(self) -> bool:
        """Whether the assignment depends on the predictions."""
        if isinstance(self.assigner, MaxIoUAssigner):
            return False
        return getattr(self.assigner, 'uses_predictions', True)

    def batch_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs: Of ``loss_by_feat``; each output a list of L maps
                (B, A * channels, H_l, W_l). Ignored regions go to the
                assigner.

        Returns:
            dict: What :meth:`loss_flat` returns.
        """
        flat = self.flatten(inputs.outs, inputs.gts, inputs.metas)
        return self.loss_flat(replace(flat, ignored=inputs.ignored))

    @abstractmethod
    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch; a subclass writes it.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: Loss name -> scalar.
        """

    def flatten(
        self, outs: Sequence[list[Tensor]], gts: InstanceList, metas: list
    ) -> FlatBatch:
        """Concatenate levels and stack images.

        Args:
            outs: Class logits, deltas and further maps, L levels
                (B, A * channels, H_l, W_l) each.
            gts: Ground truths of B images.
            metas: Meta information of B images.

        Returns:
            FlatBatch: In float32 or finer.
        """
        sizes = [tuple(scores.shape[-2:]) for scores in outs[0]]
        device = outs[0][0].device
        # anchors of all levels, and which level each is on
        levels = self.prior_generator.grid_priors(sizes, device=device)
        counts = tuple(len(level) for level in levels)
        cls, deltas, *others = (
            flatten_levels(maps, sum(counts)) for maps in outs
        )
        anchors = torch.cat(levels).to(cls)
        strides = anchors.new_tensor(
            [stride[0] for stride in self.prior_generator.strides]
        )
        level = torch.arange(len(counts), device=device).repeat_interleave(
            torch.tensor(counts, device=device), output_size=sum(counts)
        )
        boxes, labels, mask = pad_instances(gts, anchors)
        border = (self.train_cfg or {}).get('allowed_border', -1)
        valid = torch.stack(
            [
                self._inside(sizes, anchors, meta, border, device)
                for meta in metas
            ]
        )
        return FlatBatch(
            cls,
            deltas,
            tuple(others),
            anchors,
            strides[level],
            level,
            counts,
            valid,
            boxes,
            labels,
            mask,
        )

    def _inside(
        self,
        sizes: list[tuple],
        anchors: Tensor,
        meta: dict,
        border: float,
        device: torch.device,
    ) -> Tensor:
        flags = torch.cat(
            self.prior_generator.valid_flags(sizes, meta['pad_shape'], device)
        )
        return anchor_inside_flags(
            anchors, flags.bool(), meta['img_shape'][:2], border
        )

    def decode(self, flat: FlatBatch) -> Tensor:
        """Boxes (B, P, 4) in pixels of the predicted deltas."""
        anchors = flat.batch_anchors.flatten(0, 1)
        boxes = self.bbox_coder.decode(anchors, flat.deltas.flatten(0, 1))
        return boxes.view(flat.deltas.shape)

    def encode(self, flat: FlatBatch, boxes: Tensor) -> Tensor:
        """Regression targets (B, P, 4) of a box (B, P, 4) per anchor."""
        anchors = flat.batch_anchors.flatten(0, 1)
        return self.bbox_coder.encode(anchors, boxes.flatten(0, 1)).view(
            boxes.shape
        )

    def matched_boxes(self, flat: FlatBatch, gt: Tensor) -> Tensor:
        """The ground truth of each anchor, (B, P, 4) in pixels.

        Anchors without one get themselves: finite and easy to encode.
        """
        boxes = gather_gts(flat.boxes, gt)
        return boxes.where(gt[..., None] >= 0, flat.anchors)

    def matched_labels(self, flat: FlatBatch, gt: Tensor) -> Tensor:
        """The class of each anchor (B, P), ``num_classes`` without one."""
        labels = gather_gts(flat.labels, gt)
        return labels.where(gt >= 0, self.num_classes)

    def assign_flat(self, flat: FlatBatch) -> Assignment:
        """The assignment by ``train_cfg.assigner``, without gradient."""
        return self.assign_with(self.assigner, flat)

    def assign_with(
        self, assigner: BaseAssigner, flat: FlatBatch
    ) -> Assignment:
        """The assignment by any assigner, without gradient.

        Args:
            assigner: Of this package or of mmdet.
            flat: Predictions, anchors and ground truths.
        """
        with torch.no_grad():
            decoded = self.decode(flat)
            if isinstance(assigner, BatchAssigner):
                return assigner.assign_batch(
                    AssignInputs(
                        flat.anchors,
                        flat.boxes,
                        flat.labels,
                        flat.mask,
                        flat.level_sizes,
                        flat.valid,
                        flat.cls,
                        decoded,
                        self.num_base_priors,
                        pad_regions(flat.ignored, flat.boxes),
                    )
                )
            return self._assign_singly(flat, decoded, assigner)

    def _assign_singly(
        self, flat: FlatBatch, decoded: Tensor, assigner: BaseAssigner
    ) -> Assignment:
        """For assigners of mmdet: image by image, without invalid priors."""
        gt = torch.full_like(flat.valid, IGNORED, dtype=torch.long)
        iou = flat.deltas.new_zeros(gt.shape)
        parameters = inspect.signature(assigner.assign).parameters
        of_levels = 'num_level_priors' in parameters  # ATSS-like ones
        for b, (valid, mask) in enumerate(
            zip(flat.valid, flat.mask, strict=True)
        ):
            levels = []
            if of_levels:
                parts = valid.split(flat.level_sizes)
                levels = [[int(part.sum()) for part in parts]]
            result = assigner.assign(
                InstanceData(
                    priors=flat.batch_anchors[b][valid],
                    scores=flat.cls[b][valid],
                    bboxes=decoded[b][valid],
                ),
                *levels,
                InstanceData(
                    bboxes=flat.boxes[b][mask], labels=flat.labels[b][mask]
                ),
                gt_instances_ignore=flat.ignored_of(b),
            )
            gt[b, valid] = padded_index(result.gt_inds - 1, mask)
            iou[b, valid] = result.max_overlaps
        return Assignment(gt, iou)

    def label_weights(self, flat: FlatBatch, gt: Tensor) -> Tensor:
        """Weight (B, P) of each anchor in the classification loss.

        0 if ignored; ``train_cfg.pos_weight``, if that is positive, for
        positives; else 1.
        """
        weight = (gt != IGNORED).to(flat.cls)
        pos_weight = (self.train_cfg or {}).get('pos_weight', -1)
        if pos_weight > 0:
            weight = weight.where(gt < 0, pos_weight)
        return weight

    def assignment_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Loss weight (B, P) of each anchor, for the analysis tools."""
        return (assignment.gt != IGNORED).to(flat.cls)

    @torch.no_grad()
    def get_assignment(
        self,
        outs: Sequence[list[Tensor]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        feats: Sequence[Tensor] | None = None,
    ) -> InstanceList:
        """The assignment of B images, for the analysis tools.

        Args:
            outs: What ``forward`` returned.
            batch_gt_instances: B instances with bboxes and labels.
            batch_img_metas: B dicts.
            feats: Not used.

        Returns:
            list: B instances with ``priors`` (P, 4) in pixels and, of shape
            (P,), ``level``, ``stride``, ``assigned_gt`` and ``weight``.
        """
        flat = self.flatten(outs, batch_gt_instances, batch_img_metas)
        assignment = self.assign_flat(flat)
        weights = self.assignment_weight(flat, assignment)
        return assignment_instances(
            flat.anchors, flat.level, flat.strides, assignment.gt, weights
        )


def refuse_sampling(head: nn.Module) -> None:
    """Refuse a sampler, for heads that train on all anchors.

    Args:
        head: An ``AnchorHead``, built.

    Raises:
        ValueError: Its ``train_cfg.sampler`` samples.
    """
    sampler = getattr(head, 'sampler', None)
    if sampler is not None and not isinstance(sampler, PseudoSampler):
        raise ValueError(
            f'{type(head).__name__} trains on all anchors: '
            'train_cfg.sampler must be PseudoSampler or left out, got '
            f'{type(sampler).__name__}'
        )
