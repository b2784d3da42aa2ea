"""Base class of anchor heads that predict more of a box than its corners."""

from collections.abc import Sequence

import torch
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor


def join_maps(num_anchors: int, *outputs: Sequence[Tensor]) -> list[Tensor]:
    """Outputs of a head as one, for mmdet's ``predict_by_feat``.

    Args:
        num_anchors: Number A of anchors per location.
        *outputs: L maps (B, A * channels, H_l, W_l) each, in the order in
            which an anchor shall have their channels.

    Returns:
        list: L maps (B, A * channels of all, H_l, W_l).
    """
    return [
        torch.cat(
            [maps.unflatten(1, (num_anchors, -1)) for maps in level], 2
        ).flatten(1, 2)
        for level in zip(*outputs, strict=True)
    ]


class BoxFieldsMixin(BaseDenseHead):
    """Before an anchor head whose candidates carry fields of their own.

    ``predict_by_feat`` gets the channels of an anchor, deltas and whatever
    else, in place of the deltas (:func:`join_maps`); :meth:`decode_level`
    makes fields of them, which NMS keeps with their boxes.
    """

    def decode_level(
        self,
        pred: Tensor,
        priors: Tensor,
        stride: float,
        max_shape: Sequence[int],
    ) -> dict[str, Tensor]:
        """Boxes and other fields of N candidates of one level.

        A head that predicts more overrides it; here boxes alone.

        Args:
            pred: (N, channels) box output of the head.
            priors: (N, 4) anchors in pixels.
            stride: Of the level, in pixels.
            max_shape: Height and width of the image, to clip boxes.

        Returns:
            dict: ``bboxes`` (N, 4) in pixels, and what the head knows, of
            shape (N, ...).
        """
        del stride
        boxes = self.bbox_coder.decode(priors, pred, max_shape=max_shape)
        return dict(bboxes=boxes)

    def _predict_by_feat_single(
        self,
        cls_score_list: list[Tensor],
        bbox_pred_list: list[Tensor],
        score_factor_list: list[Tensor | None],
        mlvl_priors: list[Tensor],
        img_meta: dict,
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceData:
        """mmdet's, with all that :meth:`decode_level` returns as fields."""
        cfg = self.test_cfg if cfg is None else cfg
        found = []
        for logits, pred, factor, priors, stride in zip(
            cls_score_list,
            bbox_pred_list,
            score_factor_list,
            mlvl_priors,
            self.prior_generator.strides,
            strict=True,
        ):
            logits = logits.permute(1, 2, 0).reshape(len(priors), -1)
            scores = (
                logits.sigmoid()
                if self.use_sigmoid_cls
                else logits.softmax(-1)[:, :-1]
            )
            fields = dict(
                pred=pred.permute(1, 2, 0).reshape(len(priors), -1),
                priors=priors,
            )
            if factor is not None:
                fields['score_factors'] = (
                    factor.permute(1, 2, 0).flatten().sigmoid()
                )
            scores, labels, _, kept = filter_scores_and_topk(
                scores, cfg.get('score_thr', 0), cfg.get('nms_pre', -1), fields
            )
            boxes = self.decode_level(
                kept.pop('pred'),
                kept.pop('priors'),
                stride[0],
                img_meta['img_shape'],
            )
            found.append(
                InstanceData(scores=scores, labels=labels, **boxes, **kept)
            )
        return self._bbox_post_process(
            InstanceData.cat(found), cfg, rescale, with_nms, img_meta
        )
