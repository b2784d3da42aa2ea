"""Base class of dense heads that know the uncertainty of their boxes."""

from collections.abc import Sequence

from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.utils import filter_scores_and_topk
from mmdet.structures.bbox import scale_boxes
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from ..layers.box_voting import BoxVoting


class BoxSigmaMixin(BaseDenseHead):
    """Before a dense head whose detections carry ``box_sigmas``.

    Candidates get ``box_sigmas`` (N, 4), the standard deviations of x1, y1,
    x2, y2 in pixels of the network's input, and may get
    ``box_sigmas_normalized`` in units of the deltas: from :meth:`decode_level`
    in a head with mmdet's ``predict_by_feat``, or from the head itself before
    :meth:`_bbox_post_process`. Sigmas are rescaled together with the boxes,
    and boxes vote if ``test_cfg.nms=dict(type='var_voting', ...)`` (keys:
    ``models.layers.box_voting.BoxVoting``). With any other NMS the boxes are
    those of the head behind it. A voted box keeps the sigmas of the box that
    was picked.
    """

    def decode_level(
        self,
        pred: Tensor,
        priors: Tensor,
        stride: float,
        max_shape: Sequence[int],
    ) -> dict[str, Tensor]:
        """Boxes and standard deviations of N candidates of one level.

        A head that predicts sigmas overrides it; here boxes alone.

        Args:
            pred: (N, channels) box output of the head.
            priors: (N, 4) anchors in pixels.
            stride: Of the level, in pixels.
            max_shape: Height and width of the image, to clip boxes.

        Returns:
            dict: ``bboxes`` (N, 4) in pixels; ``box_sigmas`` and
            ``box_sigmas_normalized`` if the head knows them.
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

    def _bbox_post_process(
        self,
        results: InstanceData,
        cfg: ConfigDict,
        rescale: bool = False,
        with_nms: bool = True,
        img_meta: dict | None = None,
    ) -> InstanceData:
        """Rescale and filter candidates, then NMS or voting.

        Args:
            results: Candidates of an image.
            cfg: ``test_cfg``.
            rescale: Give boxes in the original image.
            with_nms: False: leave out NMS and voting.
            img_meta: Meta information of the image.

        Returns:
            InstanceData: Detections.

        Raises:
            ValueError: Boxes should vote, but have no sigmas.
        """
        if rescale and img_meta and 'box_sigmas' in results:
            scale = [1 / side for side in img_meta['scale_factor']]
            results.box_sigmas = scale_boxes(results.box_sigmas, scale)
        voting = BoxVoting.of(cfg.get('nms')) if with_nms else None
        results = super()._bbox_post_process(
            results, cfg, rescale, with_nms and voting is None, img_meta
        )
        if voting is not None:
            results = voting(results, cfg.max_per_img, self)
        results.pop('box_sigmas_normalized', None)
        return results
