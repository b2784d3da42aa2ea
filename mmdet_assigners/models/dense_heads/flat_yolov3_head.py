"""YOLOv3's head with batched targets and losses."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import YOLOV3Head
from mmdet.models.task_modules.assigners import BaseAssigner, GridAssigner
from mmdet.registry import MODELS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops.anchor_match import IGNORED
from ..checks import refuse_pos_weight
from ..task_modules.assigners._base import Assignment
from .flat_head import FlatBatch, FlatLossMixin
from .instances import padded_index


@MODELS.register_module()
class FlatYOLOV3Head(FlatLossMixin, YOLOV3Head):
    """mmdet's ``YOLOV3Head``, batched; base class of YOLO-like heads.

    The losses are those of mmdet (equal up to the order of summation), as
    scalars. Use ``BatchGridAssigner``, which assigns like mmdet's
    ``GridAssigner`` and does not synchronize with the device, or
    ``DarknetGridAssigner``; ``GridAssigner`` works too. Inference is mmdet's.

    A method with other boxes sets ``box_channels`` and overrides
    :meth:`split_boxes` and :meth:`box_losses`.

    Args:
        *args: Of ``YOLOV3Head``.
        clip_detections: Clip boxes to the image after the NMS, as Darknet
            does when it writes them; mmdet's YOLOv3 does not.
        **kwargs: Of ``YOLOV3Head``.

    Raises:
        ValueError: ``train_cfg.pos_weight`` is positive; YOLO doesn't use it.
    """

    box_channels = 4
    out_names = ('pred_maps',)

    def __init__(
        self, *args: object, clip_detections: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        refuse_pos_weight(self)
        self.clip_detections = clip_detections

    @property
    def num_attrib(self) -> int:
        """Channels of an anchor, for box, objectness and classes."""
        return self.box_channels + 1 + self.num_classes

    @property
    def assignment_uses_predictions(self) -> bool:
        """Whether the assignment depends on the predictions."""
        if isinstance(self.assigner, GridAssigner):
            return False
        return super().assignment_uses_predictions

    def split_boxes(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Split the box channels.

        Args:
            raw: (B, P, box_channels) outputs of the network.

        Returns:
            tuple: (B, P, 4) x, y, w, h as the coder decodes them, and what
            :meth:`box_losses` finds first in ``flat.others``.
        """
        return torch.cat([raw[..., :2].sigmoid(), raw[..., 2:]], -1), raw

    def box_losses(
        self,
        flat: FlatBatch,
        target: Tensor,
        positive: Tensor,
        scale: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of the boxes.

        Args:
            flat: Predictions, anchors and ground truths.
            target: (B, P, 4) encoded x, y, w, h.
            positive: (B, P) bool.
            scale: (B, P) size of the ground truth over that of the input, as
                areas.

        Returns:
            dict: Loss name -> scalar.
        """
        raw, weight = flat.others[0], positive[..., None].to(target)
        xy, wh = slice(2), slice(2, 4)
        return dict(
            loss_xy=self.loss_xy(raw[..., xy], target[..., xy], weight=weight),
            loss_wh=self.loss_wh(raw[..., wh], target[..., wh], weight=weight),
        )

    def flatten(
        self, outs: Sequence, gts: InstanceList, metas: list
    ) -> FlatBatch:
        """Concatenate levels and stack images.

        Args:
            outs: What ``forward`` returned: L maps
                (B, A * num_attrib, H_l, W_l).
            gts: Ground truths of B images.
            metas: Meta information of B images.

        Returns:
            FlatBatch: ``cls`` logits; ``deltas`` x, y, w, h as the coder
            decodes them; in ``others`` the second of :meth:`split_boxes` and
            objectness logits (B, P, 1).
        """
        shape = (self.num_base_priors, self.num_attrib)
        raw = [maps.unflatten(1, shape) for maps in outs[0]]
        box = self.box_channels
        parts = [
            [maps[:, :, part].flatten(1, 2) for maps in raw]
            for part in (slice(box + 1, None), slice(box), slice(box, box + 1))
        ]
        flat = super().flatten(parts, gts, metas)
        deltas, other = self.split_boxes(flat.deltas)
        others = (other, flat.others[0])
        return FlatBatch(**{**vars(flat), 'deltas': deltas, 'others': others})

    def _inside(self, sizes: list, anchors: Tensor, *_: object) -> Tensor:
        """All anchors count, those in the padding too, as in YOLOv3."""
        return anchors.new_ones(len(anchors), dtype=torch.bool)

    def decode(self, flat: FlatBatch) -> Tensor:
        """Boxes (B, P, 4) in pixels."""
        return self.bbox_coder.decode(
            flat.anchors, flat.deltas, flat.strides[:, None]
        )

    def encode(self, flat: FlatBatch, boxes: Tensor) -> Tensor:
        """Targets (B, P, 4) x, y, w, h of a box (B, P, 4) per anchor."""
        targets = self.bbox_coder.encode(
            flat.batch_anchors.flatten(0, 1),
            boxes.flatten(0, 1),
            flat.strides.repeat(len(boxes)),
        )
        return targets.view(boxes.shape)

    def _assign_singly(
        self, flat: FlatBatch, decoded: Tensor, assigner: BaseAssigner
    ) -> Assignment:
        """Assigners of mmdet: per image, with its responsible cells."""
        ends = torch.tensor(flat.level_sizes).cumsum(0) - 1
        last, steps = flat.anchors[ends], flat.strides[ends, None]
        # the last center is half a stride before the end of the grid
        sizes = (last[:, :2] + last[:, 2:]) / (2 * steps) + 0.5
        sizes = sizes.round().long().flip(1).tolist()
        device = flat.anchors.device
        gt = torch.full_like(flat.valid, IGNORED, dtype=torch.long)
        iou = flat.deltas.new_zeros(gt.shape)
        for b, mask in enumerate(flat.mask):
            boxes = flat.boxes[b][mask]
            flags = self.responsible_flags(sizes, boxes, device)
            result = assigner.assign(
                InstanceData(
                    priors=flat.anchors,
                    responsible_flags=torch.cat(flags),
                    bboxes=decoded[b],
                ),
                InstanceData(bboxes=boxes, labels=flat.labels[b][mask]),
                gt_instances_ignore=flat.ignored_of(b),
            )
            gt[b] = padded_index(result.gt_inds - 1, mask)
            iou[b] = result.max_overlaps
        return Assignment(gt, iou)

    def predict_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_img_metas: list[dict],
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections of B images, without gradient.

        Args:
            pred_maps: L maps (B, A * num_attrib, H_l, W_l).
            batch_img_metas: B dicts.
            cfg: Instead of ``test_cfg``.
            rescale: Give boxes in pixels of the file.
            with_nms: Whether to suppress duplicates.

        Returns:
            list: B instances with ``bboxes``, ``scores`` and ``labels``.
        """
        maps = [level.detach() for level in pred_maps]
        found = super().predict_by_feat(
            maps, batch_img_metas, cfg, rescale, with_nms
        )
        return [
            self.clip(own, meta, rescale)
            for own, meta in zip(found, batch_img_metas, strict=True)
        ]

    def clip(
        self, found: InstanceData, meta: dict, rescale: bool
    ) -> InstanceData:
        """Clip detections to their image, if ``clip_detections``.

        Args:
            found: Detections with ``bboxes`` (N, 4).
            meta: Meta information of the image.
            rescale: The boxes are in pixels of the file.
        """
        if self.clip_detections:
            boxes = HorizontalBoxes(found.bboxes)
            boxes.clip_(meta['ori_shape' if rescale else 'img_shape'][:2])
            found.bboxes = boxes.tensor
        return found

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: ``loss_cls``, ``loss_conf`` and those of
            :meth:`box_losses`, scalars.
        """
        assignment = self.assign_flat(flat)
        positive = assignment.gt >= 0
        matched = self.matched_boxes(flat, assignment.gt)
        # cells times stride: the size of the padded input
        cells = flat.level_sizes[0] / self.num_base_priors
        step_x, step_y = self.prior_generator.strides[0]
        sizes = matched[..., 2:] - matched[..., :2]
        scale = sizes.prod(-1) / (cells * step_x * step_y)
        objectness = flat.others[-1][..., 0]
        return dict(
            loss_cls=self.loss_cls(
                flat.cls,
                self._class_targets(flat, assignment),
                weight=positive[..., None].to(flat.cls),
            ),
            loss_conf=self.loss_conf(
                objectness,
                positive.to(objectness),
                weight=(assignment.gt != IGNORED).to(objectness),
            ),
            **self.box_losses(
                flat, self.encode(flat, matched), positive, scale
            ),
        )

    def _class_targets(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Targets (B, P, C); smoothed with ``one_hot_smoother``."""
        target = assignment.extra.get('class_targets')
        if target is None:
            labels = self.matched_labels(flat, assignment.gt)
            classes = torch.arange(self.num_classes, device=labels.device)
            target = labels[..., None] == classes
        smooth = self.one_hot_smoother
        return target.to(flat.cls) * (1 - smooth) + smooth / self.num_classes
