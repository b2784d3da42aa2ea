"""Detections that carry the points they were made of."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RepPointsHead
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

SELECTIONS = ('pair', 'location')


class PointSetPredictMixin(RepPointsHead):
    """Post-processing of a ``RepPointsHead`` whose forward gives points.

    Detections have ``points`` (N, n, 2), x, y in pixels. ``test_cfg`` may
    have ``nms_pre_by``: 'pair' (default, mmdet) keeps the ``nms_pre`` best
    pairs of location and class of a level, 'location' (official code) the
    locations of highest score with all their classes.
    """

    @torch.no_grad()  # boxes depend on a parameter, moment_transfer
    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        pts_preds_init: list[Tensor],
        pts_preds_refine: list[Tensor],
        *args: Any,
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Detections of a batch, without gradient.

        Args:
            cls_scores: L class logits (B, C, H_l, W_l).
            pts_preds_init: Not used.
            pts_preds_refine: L refined points (B, 2 n, H_l, W_l).
            *args: Of ``BaseDenseHead.predict_by_feat`` after the scores'
                factors.
            **kwargs: The same by name.

        Returns:
            list: B instances with ``bboxes``, ``scores``, ``labels`` and
            ``points``.
        """
        return super().predict_by_feat(
            cls_scores, pts_preds_refine, None, *args, **kwargs
        )

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: Sequence[None],
        mlvl_priors: list[Tensor],
        img_meta: dict,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """One image; the "boxes" are points (2 n, H, W) of a level."""
        cfg = self.test_cfg if cfg is None else cfg
        select = cfg.get('nms_pre_by', 'pair')
        if select not in SELECTIONS:
            raise ValueError(
                "test_cfg.nms_pre_by must be 'pair' or 'location', got "
                f'{select!r}'
            )
        number = cfg.get('nms_pre', -1)
        levels = []
        for logits, pred, priors, stride in zip(
            cls_score_list,
            bbox_pred_list,
            mlvl_priors,
            self.point_strides,
            strict=True,
        ):
            scores = logits.flatten(1).mT.sigmoid()
            points = pred.flatten(1).mT
            if select == 'location' and 0 < number < len(scores):
                kept = scores.amax(1).topk(number).indices
                scores, points, priors = (
                    scores[kept],
                    points[kept],
                    priors[kept],
                )
            found, labels, _, rows = filter_scores_and_topk(
                scores,
                cfg.score_thr,
                number if select == 'pair' else scores.numel(),
                dict(points=points, priors=priors),
            )
            points, priors = rows['points'], rows['priors']
            boxes = self._bbox_decode(
                priors, self.points2bbox(points), stride, img_meta['img_shape']
            )
            xy = points.unflatten(1, (-1, 2)).flip(-1) * stride
            levels.append((boxes, found, labels, xy + priors[:, None, :2]))
        parts = [torch.cat(part) for part in zip(*levels, strict=True)]
        names = ('bboxes', 'scores', 'labels', 'points')
        results = self._bbox_post_process(
            results=InstanceData(**dict(zip(names, parts, strict=True))),
            cfg=cfg,
            rescale=rescale,
            with_nms=with_nms,
            img_meta=img_meta,
        )
        if rescale:
            factor = results.points.new_tensor(img_meta['scale_factor'])
            results.points = results.points / factor
        return results
