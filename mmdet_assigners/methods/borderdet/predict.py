"""Detections of BorderDet: scores and boxes of both stages."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops.anchor_points import AnchorPoints, anchor_points, flatten_levels
from . import functional as borderdet


def coarse_boxes(points: AnchorPoints, ltrb: Tensor) -> Tensor:
    """Boxes (B, P, 4) in pixels of distances, without gradient."""
    return borderdet.boxes_from_distances(points.xy, ltrb.detach())


class BorderPredictMixin:
    """Post-processing of a head whose ``forward`` returns both stages."""

    # of the head behind it
    border_std: float
    prior_generator: Any
    strides: Sequence[int]
    test_cfg: ConfigDict

    def _points(
        self,
        shapes: Sequence[Sequence[int]],
        strides: Sequence[int],
        like: Tensor,
    ) -> AnchorPoints:
        return anchor_points(
            shapes,
            strides,
            self.prior_generator.offset,
            device=like.device,
            dtype=like.dtype,
        )

    def predict_by_feat(
        self,
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        centernesses: Sequence[Tensor],
        border_cls_scores: Sequence[Tensor],
        border_bbox_preds: Sequence[Tensor],
        batch_img_metas: list[dict],
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Detections from the predictions of both stages.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            bbox_preds: L distances (B, 4, H_l, W_l) in pixels.
            centernesses: L logits (B, 1, H_l, W_l).
            border_cls_scores: L class logits (B, C, H_l, W_l).
            border_bbox_preds: L deltas (B, 4, H_l, W_l).
            batch_img_metas: B dicts.
            cfg: Post-processing instead of ``test_cfg``.
            rescale: Boxes in pixels of the original image.
            with_nms: Suppress overlapping boxes.

        Returns:
            list: B instances with bboxes (N, 4), clipped to the image, scores
            and labels (N,).
        """
        cfg = self.test_cfg if cfg is None else cfg
        shapes = [tuple(scores.shape[-2:]) for scores in cls_scores]
        # detached, as in mmdet: a second stage doesn't train the first
        # through its proposals
        rows = [
            flatten_levels(maps).detach()
            for maps in (
                cls_scores,
                centernesses,
                border_cls_scores,
                border_bbox_preds,
                bbox_preds,
            )
        ]
        points = self._points(shapes, self.strides, rows[-1])
        rows[-1] = coarse_boxes(points, rows[-1])
        sizes = [height * width for height, width in shapes]
        results = []
        for index, meta in enumerate(batch_img_metas):
            cls, central, border_cls, border_reg, coarse = (
                row[index].split(sizes) for row in rows
            )
            found = self.detect(
                cls, central, border_cls, border_reg, coarse, cfg, with_nms
            )
            height, width = meta['img_shape'][:2]
            limit = found.bboxes.new_tensor([width, height] * 2)
            boxes = torch.minimum(found.bboxes.clamp(min=0), limit)
            if rescale:
                boxes = boxes / boxes.new_tensor([*meta['scale_factor']] * 2)
            found.bboxes = boxes
            results.append(found)
        return results

    def detect(
        self,
        cls: Sequence[Tensor],
        central: Sequence[Tensor],
        border_cls: Sequence[Tensor],
        border_reg: Sequence[Tensor],
        coarse: Sequence[Tensor],
        cfg: ConfigDict,
        with_nms: bool = True,
    ) -> InstanceData:
        """Detections of one image, in its pixels and not clipped.

        Equal scores at the limit ``cfg.max_per_img`` are all kept.

        Args:
            cls: L class logits (n_l, C).
            central: L centerness logits (n_l, 1).
            border_cls: L class logits (n_l, C).
            border_reg: L deltas (n_l, 4).
            coarse: L coarse boxes (n_l, 4).
            cfg: Post-processing.
            with_nms: Suppress overlapping boxes.

        Returns:
            InstanceData: bboxes (N, 4), scores and labels (N,).
        """
        parts = []
        for level in zip(
            cls, central, border_cls, border_reg, coarse, strict=True
        ):
            kept, labels, index = borderdet.best_candidates(
                level[0],
                level[1].squeeze(-1),
                level[2],
                cfg.get('score_thr', 0),
                cfg.get('nms_pre', -1),
            )
            boxes = borderdet.decode_deltas(
                level[4][index], level[3][index], self.border_std
            )
            parts.append((boxes, kept, labels))
        boxes, kept, labels = map(torch.cat, zip(*parts, strict=True))
        found = InstanceData(bboxes=boxes, scores=kept, labels=labels)
        smallest = cfg.get('min_bbox_size', -1)
        if smallest >= 0:
            sides = boxes[:, 2:] - boxes[:, :2]
            found = found[(sides > smallest).all(1)]
        if with_nms and len(found):
            # its offset per class separates coordinates >= 0 only
            rows, index = batched_nms(
                (found.bboxes - found.bboxes.min()).float(),
                found.scores.float(),
                found.labels,
                cfg.nms,
            )
            found = found[index]
            found.scores = rows[:, -1].to(kept)
            limit = cfg.get('max_per_img', -1)
            if 0 < limit < len(found):
                found = found[found.scores >= found.scores[limit - 1]]
        return found
