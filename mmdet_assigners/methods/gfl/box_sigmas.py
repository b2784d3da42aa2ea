"""The seam of heads that decode boxes together with their uncertainty."""

from abc import abstractmethod
from collections.abc import Sequence

from mmdet.models.dense_heads.anchor_head import AnchorHead
from mmdet.models.utils import filter_scores_and_topk
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ...models.dense_heads.var_voting import VarVotingMixin


class BoxSigmaMixin(VarVotingMixin, AnchorHead):
    """Mixin before an ``AnchorHead`` of one anchor per location.

    A method writes :meth:`decode_level`, which knows the stride. Detections
    carry ``box_sigmas`` (N, 4): standard deviations in pixels of the sides
    x1, y1, x2, y2 of ``bboxes``, rescaled together with them, and boxes may
    vote by them, see :class:`VarVotingMixin`. Scores are sigmoids.
    """

    @abstractmethod
    def decode_level(
        self,
        pred: Tensor,
        priors: Tensor,
        stride: float,
        max_shape: Sequence[int],
    ) -> tuple[Tensor, Tensor | None]:
        """Boxes and standard deviations; for the method to write.

        Args:
            pred: (N, channels) box output of the head on one level.
            priors: (N, 4) anchors in pixels.
            stride: Of the level, in pixels.
            max_shape: Height and width of the image, to clip boxes.

        Returns:
            tuple: (N, 4) boxes and (N, 4) standard deviations in pixels;
            None if the head doesn't know them.
        """

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
            boxes, sigmas = self.decode_level(
                pred.permute(1, 2, 0).reshape(len(priors), -1),
                priors,
                stride[0],
                img_meta['img_shape'],
            )
            fields = dict(bboxes=boxes)
            if sigmas is not None:
                fields['box_sigmas'] = sigmas
            if factor is not None:
                fields['score_factors'] = factor.flatten().sigmoid()
            scores, labels, _, kept = filter_scores_and_topk(
                logits.permute(1, 2, 0).flatten(0, 1).sigmoid(),
                cfg.get('score_thr', 0),
                cfg.get('nms_pre', -1),
                fields,
            )
            found.append(InstanceData(scores=scores, labels=labels, **kept))
        return self._bbox_post_process(
            InstanceData.cat(found), cfg, rescale, with_nms, img_meta
        )
