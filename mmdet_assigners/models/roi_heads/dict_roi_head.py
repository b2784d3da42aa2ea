"""Base class of RoI heads whose box results are a dict."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from torch import Tensor, nn

from ..real_boxes import RealBoxesMixin

_REQUIRED = ('cls_score', 'bbox_pred')
_RESERVED = ('bbox_feats', 'loss_bbox', 'rois', 'bbox_targets')


class BoxOutputs(dict):
    """Outputs of a box head by name, for a :class:`DictRoIHead`.

    Other RoI heads unpack two outputs, which is an error here.
    """

    def __iter__(self) -> NoReturn:
        raise TypeError(
            f'the box head returned {", ".join(self.keys())} by name: use it '
            'in KLRoIHead or another DictRoIHead'
        )


def run_box_head(head: nn.Module, feats: tuple[Tensor, ...]) -> dict[str, Any]:
    """Outputs of a box head by name, and the features it took.

    Args:
        head: Returns ``(cls_score, bbox_pred)``, or a dict of them and
            further outputs, N rows each.
        feats: (N, channels, height, width) each, its arguments.

    Returns:
        dict: The outputs, and the first features as ``bbox_feats``.

    Raises:
        ValueError: A required output is missing, or a name is taken.
    """
    outputs = head(*feats)
    if not isinstance(outputs, Mapping):
        outputs = dict(zip(_REQUIRED, outputs, strict=True))
    missing = [name for name in _REQUIRED if name not in outputs]
    taken = [name for name in _RESERVED if name in outputs]
    if missing or taken:
        raise ValueError(
            f'{type(head).__name__} must return '
            f'{" and ".join(_REQUIRED)} and none of '
            f'{", ".join(_RESERVED)}, got {", ".join(outputs.keys())}'
        )
    return dict(outputs.items(), bbox_feats=feats[0])


def further_outputs(bbox_results: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs of a box head beyond scores and deltas."""
    known = (*_REQUIRED, *_RESERVED)
    return {
        name: value
        for name, value in bbox_results.items()
        if name not in known
    }


def split_by_image(
    head: nn.Module, output: Any, sizes: tuple[int, ...]
) -> Sequence[Any]:
    """An output of all RoIs as one of each image.

    Args:
        head: The box head, which splits what is not a tensor.
        output: N rows, or None.
        sizes: RoIs of each image.
    """
    if output is None:
        return (None,) * len(sizes)
    if isinstance(output, Tensor):
        return output.split(sizes, 0)
    return head.bbox_pred_split(output, sizes)


class DictRoIHead(RealBoxesMixin, StandardRoIHead):
    """``StandardRoIHead`` whose box head may return more than two outputs.

    The box head returns ``(cls_score, bbox_pred)`` as in mmdet, and then this
    class is mmdet's, or a dict of them and further outputs, N rows each. The
    further outputs go by name into the head's ``loss_and_target`` and, split
    by image as tuples, into its ``predict_by_feat``
    (:class:`DictBBoxHeadMixin` has both); :meth:`forward` returns them between
    ``bbox_pred`` and the masks.

    A head that looks at more than one RoI feature overrides
    :meth:`box_feats`.
    """

    def box_feats(
        self, x: Sequence[Tensor], rois: Tensor
    ) -> tuple[Tensor, ...]:
        """Features that the box head takes.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

        Returns:
            tuple: Arguments of the box head, the first of which a mask head
            may share.
        """
        extractor = self.bbox_roi_extractor
        feats = extractor(x[: extractor.num_inputs], rois)
        if self.with_shared_head:
            feats = self.shared_head(feats)
        return (feats,)

    def _bbox_forward(
        self, x: Sequence[Tensor], rois: Tensor
    ) -> dict[str, Any]:
        return run_box_head(self.bbox_head, self.box_feats(x, rois))

    def forward(
        self,
        x: Sequence[Tensor],
        rpn_results_list: InstanceList,
        batch_data_samples: list | None = None,
    ) -> tuple:
        """The raw outputs of all RoIs.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            rpn_results_list: Proposals of B images.
            batch_data_samples: Not used.

        Returns:
            tuple: Scores, deltas, the further outputs and, with a mask head,
            the masks of the first 100 RoIs.
        """
        rois = bbox2roi([results.bboxes for results in rpn_results_list])
        outs: tuple = ()
        if self.with_bbox:
            results = self._bbox_forward(x, rois)
            outs = (results['cls_score'], results['bbox_pred'])
            outs += tuple(further_outputs(results).values())
        if self.with_mask:
            outs += (self._mask_forward(x, rois[:100])['mask_preds'],)
        return outs

    def bbox_loss(
        self, x: Sequence[Tensor], sampling_results: list
    ) -> dict[str, Any]:
        """Losses of the box head.

        Args:
            x: Feature maps (B, channels, H_l, W_l).
            sampling_results: Sampled proposals of B images.

        Returns:
            dict: Outputs of the head, ``bbox_feats`` and ``loss_bbox``, a
            dict of losses.
        """
        rois = bbox2roi([result.priors for result in sampling_results])
        results = self._bbox_forward(x, rois)
        found = self.bbox_head.loss_and_target(
            cls_score=results['cls_score'],
            bbox_pred=results['bbox_pred'],
            rois=rois,
            sampling_results=sampling_results,
            rcnn_train_cfg=self.train_cfg,
            **further_outputs(results),
        )
        results['loss_bbox'] = found['loss_bbox']
        return results

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
            rcnn_test_cfg: Post-processing; None: raw boxes and scores.
            rescale: Give boxes in the original image.

        Returns:
            list: B instances.
        """
        proposals = [results.bboxes for results in rpn_results_list]
        sizes = tuple(len(boxes) for boxes in proposals)
        if sum(sizes) == 0:
            return super().predict_bbox(
                x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale
            )
        rois = bbox2roi(proposals)
        results = self._bbox_forward(x, rois)
        outputs = further_outputs(results) | dict(
            rois=rois,
            cls_scores=results['cls_score'],
            bbox_preds=results['bbox_pred'],
        )
        return self.bbox_head.predict_by_feat(
            batch_img_metas=batch_img_metas,
            rcnn_test_cfg=rcnn_test_cfg,
            rescale=rescale,
            **{
                name: split_by_image(self.bbox_head, value, sizes)
                for name, value in outputs.items()
            },
        )


class DictCascadeRoIHead(RealBoxesMixin, CascadeRoIHead):
    """``CascadeRoIHead`` whose box heads may return more than two outputs.

    The box heads are those of :class:`DictRoIHead`. The next stage starts
    from ``bbox_pred``. Of the stages, outputs whose names begin with
    ``cls_score`` are averaged, as mmdet does with ``cls_score`` itself; the
    others are those of the last stage.
    """

    def box_feats(
        self, stage: int, x: Sequence[Tensor], rois: Tensor
    ) -> tuple[Tensor, ...]:
        """Features that the box head of a stage takes.

        Args:
            stage: From 0.
            x: Feature maps (B, channels, H_l, W_l).
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.

        Returns:
            tuple: Arguments of the box head.
        """
        extractor = self.bbox_roi_extractor[stage]
        return (extractor(x[: extractor.num_inputs], rois),)

    def _bbox_forward(
        self,
        stage: int,
        x: Sequence[Tensor],
        rois: Tensor,
        record: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The outputs of a stage, of which ``record`` gets the further."""
        feats = self.box_feats(stage, x, rois)
        results = run_box_head(self.bbox_head[stage], feats)
        if record is not None:
            record.append(further_outputs(results))
        return results

    def bbox_loss(
        self, stage: int, x: Sequence[Tensor], sampling_results: list
    ) -> dict[str, Any]:
        """Losses of the box head of a stage.

        Args:
            stage: From 0.
            x: Feature maps (B, channels, H_l, W_l).
            sampling_results: Sampled proposals of B images.

        Returns:
            dict: Outputs of the head, ``bbox_feats``, ``rois``,
            ``bbox_targets`` and ``loss_bbox``, a dict of losses.
        """
        rois = bbox2roi([result.priors for result in sampling_results])
        results = self._bbox_forward(stage, x, rois)
        found = self.bbox_head[stage].loss_and_target(
            cls_score=results['cls_score'],
            bbox_pred=results['bbox_pred'],
            rois=rois,
            sampling_results=sampling_results,
            rcnn_train_cfg=self.train_cfg[stage],
            **further_outputs(results),
        )
        return results | dict(found, rois=rois)

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
            rcnn_test_cfg: Post-processing; None: raw boxes and scores.
            rescale: Give boxes in the original image.

        Returns:
            list: B instances.
        """
        proposals = [results.bboxes for results in rpn_results_list]
        sizes = tuple(len(boxes) for boxes in proposals)
        if sum(sizes) == 0:
            return super().predict_bbox(
                x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale
            )
        record: list[dict[str, Any]] = []
        rois, cls_scores, bbox_preds = self._refine_roi(
            x, bbox2roi(proposals), batch_img_metas, sizes, record=record
        )
        others = dict(record[-1])
        for name in others:
            if name.startswith('cls_score'):
                stages = [outputs[name] for outputs in record]
                others[name] = sum(stages) / len(stages)
        head = self.bbox_head[-1]
        return head.predict_by_feat(
            rois=rois,
            cls_scores=cls_scores,
            bbox_preds=bbox_preds,
            batch_img_metas=batch_img_metas,
            rcnn_test_cfg=rcnn_test_cfg,
            rescale=rescale,
            **{
                name: split_by_image(head, value, sizes)
                for name, value in others.items()
            },
        )


class DictBBoxHeadMixin(BBoxHead):
    """Before a ``BBoxHead`` that returns a dict, under a ``DictRoIHead``.

    The head returns :class:`BoxOutputs`. It writes ``loss`` and
    ``_predict_by_feat_single`` as in mmdet, with its further outputs as
    keyword arguments: an output that they don't know is an error.
    """

    def loss_and_target(
        self,
        cls_score: Tensor,
        bbox_pred: Tensor,
        rois: Tensor,
        sampling_results: list,
        rcnn_train_cfg: ConfigDict,
        concat: bool = True,
        reduction_override: str | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """Losses and what they were computed from.

        Args:
            cls_score: (N, C + 1) logits.
            bbox_pred: (N, 4 C) deltas.
            rois: (N, 5) image index and x1, y1, x2, y2 in pixels.
            sampling_results: Sampled proposals of B images.
            rcnn_train_cfg: ``train_cfg.rcnn``.
            concat: Join the targets of the images.
            reduction_override: Replaces the reduction of the losses.
            **others: Further outputs of the head, passed on to ``loss``.

        Returns:
            dict: ``loss_bbox``, a dict of losses, and ``bbox_targets``.
        """
        targets = self.get_targets(
            sampling_results, rcnn_train_cfg, concat=concat
        )
        losses = self.loss(
            cls_score,
            bbox_pred,
            rois,
            *targets,
            reduction_override=reduction_override,
            **others,
        )
        return dict(loss_bbox=losses, bbox_targets=targets)

    def predict_by_feat(
        self,
        rois: Sequence[Tensor],
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_img_metas: list[dict],
        rcnn_test_cfg: ConfigDict | None = None,
        rescale: bool = False,
        **others: Sequence[Any],
    ) -> InstanceList:
        """Detections of B images.

        Args:
            rois: (N, 5) of each image.
            cls_scores: (N, C + 1) of each image.
            bbox_preds: (N, 4 C) of each image.
            batch_img_metas: Meta information of B images.
            rcnn_test_cfg: Post-processing; None: raw boxes and scores.
            rescale: Give boxes in the original image.
            **others: Further outputs by image, passed on to
                ``_predict_by_feat_single``.

        Returns:
            list: B instances.
        """
        return [
            self._predict_by_feat_single(
                roi=rois[i],
                cls_score=cls_scores[i],
                bbox_pred=bbox_preds[i],
                img_meta=meta,
                rescale=rescale,
                rcnn_test_cfg=rcnn_test_cfg,
                **{name: value[i] for name, value in others.items()},
            )
            for i, meta in enumerate(batch_img_metas)
        ]
