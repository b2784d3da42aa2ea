"""YOLOv3's head with Gaussian boxes."""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.utils import filter_scores_and_topk
from mmdet.registry import MODELS
from mmdet.utils import InstanceList
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ...models.dense_heads.box_sigmas import BoxSigmaMixin
from ...models.dense_heads.flat_head import FlatBatch
from ...models.dense_heads.flat_yolov3_head import FlatYOLOV3Head
from . import functional as gaussian_yolov3
from .loss import GaussianNLLLoss

_NLL = dict(type='GaussianNLLLoss', sigma_const=0.3, eps=1e-9)


@MODELS.register_module()
class GaussianYOLOV3Head(BoxSigmaMixin, FlatYOLOV3Head):
    r"""YOLOv3 that predicts how uncertain each box is.

    Gaussian YOLOv3: An Accurate and Fast Object Detector Using Localization
    Uncertainty for Autonomous Driving, ICCV 2019, arXiv 1904.04620. An anchor
    has 9 + C instead of 5 + C channels, in the official order mean and sigma
    of x, of y, of w, of h, objectness, classes. Training replaces the losses
    of x, y and w, h by the negative log-likelihood of the encoded ground
    truth, weighted by half of 2 - w * h (sizes as fractions of the network's
    input); objectness and classes keep YOLOv3's. The score is

    .. math::
        objectness \cdot p_k \cdot (1 - mean(\sigma_x, \sigma_y, \sigma_w,
        \sigma_h))

    Predictions carry ``box_sigmas``, standard deviations of the sides in
    pixels (:func:`~.functional.side_sigmas`), and boxes may vote by them
    (``test_cfg.nms=dict(type='var_voting')``, not in the paper).

    Differences from the official code, and what restores it: assignment with
    mmdet's rules (``DarknetGridAssigner`` in ``train_cfg.assigner``); the
    derivative of the sigmoid is in the gradient (``straight_through=True``);
    ``score_thr`` is compared with the class probability alone
    (``threshold_product=True``); detections may end outside the image, as
    those of mmdet's YOLOv3 (``clip_detections=True``). Losses are sums over
    the batch, as in mmdet's YOLOv3 and in Darknet.

    The paper's equation has no constant in the density: ``sigma_const=0`` of
    ``GaussianNLLLoss``.

    Args:
        *args: Of ``FlatYOLOV3Head``.
        loss_bbox: Config of ``GaussianNLLLoss``.
        straight_through: Copy the gradients of the activated Gaussians to the
            raw channels unchanged.
        uncertainty_score: Multiply scores by one minus the mean sigma.
        threshold_product: Compare ``test_cfg.score_thr`` with the whole
            product instead of the class probability.
        **kwargs: Of ``FlatYOLOV3Head``, except ``loss_xy`` and ``loss_wh``.

    Raises:
        TypeError: ``loss_bbox`` is of another type, or ``loss_xy`` or
            ``loss_wh`` is given.
    """

    box_channels = gaussian_yolov3.BOX_CHANNELS

    def __init__(
        self,
        *args: object,
        loss_bbox: dict = _NLL,
        straight_through: bool = False,
        uncertainty_score: bool = True,
        threshold_product: bool = False,
        **kwargs: Any,
    ) -> None:
        for name in ('loss_xy', 'loss_wh'):
            if name in kwargs:
                raise TypeError(
                    f'{name} is not used, loss_bbox replaces it; got '
                    f'{kwargs[name]}. Use _delete_=True in the bbox_head'
                )
        super().__init__(*args, **kwargs)
        del self.loss_xy, self.loss_wh
        self.loss_bbox = MODELS.build(loss_bbox)
        if not isinstance(self.loss_bbox, GaussianNLLLoss):
            raise TypeError(
                f'loss_bbox must be a GaussianNLLLoss, got {loss_bbox}'
            )
        self.straight_through = straight_through
        self.uncertainty_score = uncertainty_score
        self.threshold_product = threshold_product

    def init_weights(self) -> None:
        """YOLOv3's, with the objectness at its place; sigma starts at 0.5."""
        super().init_weights()
        box = self.box_channels
        for conv in self.convs_pred:
            bias = conv.bias.data.view(self.num_base_priors, -1)
            bias[:, box] = bias[:, 4]  # where YOLOv3 has it
            nn.init.zeros_(bias[:, :box])

    def split_boxes(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Means and sigmas, activated.

        Args:
            raw: (B, P, 8) outputs of the network.

        Returns:
            tuple: (B, P, 4) each.
        """
        return gaussian_yolov3.split_boxes(raw, self.straight_through)

    def box_losses(
        self,
        flat: FlatBatch,
        target: Tensor,
        positive: Tensor,
        scale: Tensor,
    ) -> dict[str, Tensor]:
        """The negative log-likelihood of the targets.

        Args:
            flat: Predictions, anchors and ground truths.
            target: (B, P, 4) encoded x, y, w, h.
            positive: (B, P) bool.
            scale: (B, P) w * h of the ground truth as fraction of the input.

        Returns:
            dict: ``loss_bbox``, a scalar.
        """
        loss = self.loss_bbox(
            flat.deltas, flat.others[0], target, (2 - scale) * positive
        )
        return dict(loss_bbox=loss)

    def predict_by_feat(
        self,
        pred_maps: Sequence[Tensor],
        batch_img_metas: list[dict],
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
    ) -> InstanceList:
        """Boxes with their uncertainty.

        Args:
            pred_maps: L maps (B, A * (9 + C), H_l, W_l).
            batch_img_metas: B dicts.
            cfg: ``test_cfg`` if None, as in ``YOLOV3Head``.
            rescale: Give boxes and sigmas in pixels of the file.
            with_nms: Whether to suppress duplicates.

        Returns:
            list: B instances with ``bboxes``, ``scores``, ``labels`` and
            ``box_sigmas`` (N, 4).
        """
        cfg = self.test_cfg if cfg is None else cfg
        pred_maps = tuple(maps.detach() for maps in pred_maps)
        empty = InstanceData(
            bboxes=pred_maps[0].new_zeros(0, 4),
            labels=pred_maps[0].new_zeros(0, dtype=torch.long),
        )
        count = len(batch_img_metas)
        flat = self.flatten((pred_maps,), [empty] * count, batch_img_metas)
        sigma, objectness = flat.others
        boxes, factor = self.decode(flat), objectness[..., 0].sigmoid()
        scores = flat.cls.sigmoid()
        sides = gaussian_yolov3.side_sigmas(sigma, boxes, flat.strides)
        certainty = torch.ones_like(factor)
        if self.uncertainty_score:
            certainty = gaussian_yolov3.certainty(sigma)
        candidates = [
            InstanceData(
                bboxes=boxes[b],
                box_sigmas=sides[b],
                objectness=factor[b],
                certainty=certainty[b],
                scores=scores[b],
            )
            for b in range(count)
        ]
        return [
            self._predict_single(own, meta, cfg, rescale, with_nms)
            for own, meta in zip(candidates, batch_img_metas, strict=True)
        ]

    def _predict_single(
        self,
        found: InstanceData,
        meta: dict,
        cfg: ConfigDict,
        rescale: bool,
        with_nms: bool,
    ) -> InstanceData:
        if (conf_thr := cfg.get('conf_thr', -1)) > 0:
            found = found[found.objectness >= conf_thr]
        scores, factor = found.scores, found.objectness * found.certainty
        if self.threshold_product:
            scores = scores * factor[:, None]
            factor = torch.ones_like(factor)
        scores, labels, index, _ = filter_scores_and_topk(
            scores, cfg.get('score_thr', 0), cfg.get('nms_pre', -1)
        )
        results = InstanceData(
            scores=scores,
            labels=labels,
            bboxes=found.bboxes[index],
            score_factors=factor[index],
            box_sigmas=found.box_sigmas[index],
        )
        results = self._bbox_post_process(
            results, cfg, rescale, with_nms, meta
        )
        return self.clip(results, meta, rescale)
