"""Anchor heads of Sampling-Free: plain cross entropy over all anchors.

Is Heuristic Sampling Necessary in Training Deep Object Detectors?, arXiv
1909.04868. No focal loss and no sampling; instead an optimal bias
(``prior_prob``), the guided loss and an adaptive score threshold.
"""

from mmdet.models.dense_heads import RPNHead
from mmdet.registry import MODELS
from torch import Tensor

from ...models.checks import check_delta_loss, refuse_ignored_regions
from ...models.dense_heads.flat_head import (
    FlatBatch,
    FlatLossMixin,
    refuse_sampling,
)
from ...models.dense_heads.flat_retina_head import FlatRetinaHead
from ...ops.anchor_match import IGNORED
from . import functional as sampling_free
from .guided_loss import SamplingFreeMixin, prior_init


class SamplingFreeAnchorMixin(FlatLossMixin, SamplingFreeMixin):
    """The losses of the anchor heads: RetinaNet and RPN."""

    regress_norm: float
    ignored_as_negative: bool

    def _set_anchor_losses(
        self,
        guided: bool,
        sync: bool,
        regress_norm: float,
        ignored_as_negative: bool,
    ) -> None:
        self._set_guide(guided, sync)
        if not regress_norm > 0:
            raise ValueError(
                f'regress_norm must be positive, got {regress_norm}'
            )
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: the box loss is '
                'computed on deltas'
            )
        check_delta_loss(self)
        if ignored_as_negative:
            refuse_ignored_regions(
                self, 'with ignored_as_negative=True trains on all anchors'
            )
        self.regress_norm = regress_norm
        self.ignored_as_negative = ignored_as_negative

    def target_losses(
        self,
        logits: Tensor,
        deltas: Tensor,
        labels: Tensor,
        targets: Tensor,
        valid: Tensor,
        num_images: int,
    ) -> dict[str, Tensor]:
        """Losses of N anchors with their targets.

        L_cls is the sum of the cross entropies over (positives + images),
        which cancels under the guide; L_reg the sum of the box losses of the
        positives over max(1, ``regress_norm`` positives).

        Args:
            logits: (N, C).
            deltas: (N, 4).
            labels: (N,) int64 class, C for background, -1 if ignored.
            targets: (N, 4) encoded boxes.
            valid: (N,) bool, False for anchors that are excluded.
            num_images: Number of images.

        Returns:
            dict: Scalars ``loss_cls`` and ``loss_bbox``.
        """
        positive = valid & (labels >= 0) & (labels < self.num_classes)
        counted = valid if self.ignored_as_negative else valid & (labels >= 0)
        num_positives = positive.sum()
        cls = self.class_losses(logits, labels)
        pos_weight = (self.train_cfg or {}).get('pos_weight', -1)
        if pos_weight > 0:
            cls = cls.where(~positive[:, None], pos_weight * cls)
        loss_cls = sampling_free.masked_sum(cls, counted) / (
            num_positives + num_images
        )
        reg = self.loss_bbox(deltas, targets, reduction_override='none')
        loss_reg = sampling_free.masked_sum(reg, positive) / (
            self.regress_norm * num_positives
        ).clamp(min=1)
        return self.guided_losses(loss_cls, loss_reg)

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: Scalars ``loss_cls`` and ``loss_bbox``.
        """
        gt = self.assign_flat(flat).gt
        labels = self.matched_labels(flat, gt).where(gt != IGNORED, -1)
        targets = self.encode(flat, self.matched_boxes(flat, gt))
        return self.target_losses(
            flat.cls.flatten(0, 1),
            flat.deltas.flatten(0, 1),
            labels.flatten(),
            targets.flatten(0, 1),
            flat.valid.flatten(),
            len(flat.cls),
        )


@MODELS.register_module()
class SamplingFreeRetinaHead(SamplingFreeAnchorMixin, FlatRetinaHead):
    """RetinaNet without focal loss.

    Sampling-Free, arXiv 1909.04868. The network is RetinaNet's.
    ``loss_cls.loss_weight`` is the scale of the guided loss (1), and
    ``test_cfg.score_thr`` is 8.1e-4, the prior times 81, in the official
    code. ``test_cfg.class_score_thr``, C numbers or a file of
    ``prior_statistics.py``, sets the paper's threshold per class.

    Args:
        *args: Of ``RetinaHead``.
        prior_prob: Initial probability of each class, N_f / (N C) of the
            dataset; 1e-5 for COCO. An own ``init_cfg`` replaces it.
        guided: Rescale the classification loss to the box loss.
        sync: Take the ratio of the mean losses of all processes; in the
            official code each GPU has its own.
        regress_norm: The box loss is divided by max(1, this times the
            positives); 4.
        ignored_as_negative: Anchors between the thresholds are negatives, as
            in the official code. False leaves them out.
        **kwargs: Of ``RetinaHead``. ``loss_cls`` must be ``CrossEntropyLoss``
            with ``use_sigmoid``; official: ``SmoothL1Loss`` of beta 0.11.

    Raises:
        ValueError: An argument is out of its range, or
            ``assigner.ignore_iof_thr`` is set with ``ignored_as_negative``.
        TypeError: A loss is of another type; ``loss_bbox`` compares deltas.
    """

    def __init__(
        self,
        *args: object,
        prior_prob: float = 1e-5,
        guided: bool = True,
        sync: bool = False,
        regress_norm: float = 4.0,
        ignored_as_negative: bool = True,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault('init_cfg', prior_init('retina_cls', prior_prob))
        super().__init__(*args, **kwargs)
        self._set_anchor_losses(
            guided, sync, regress_norm, ignored_as_negative
        )


@MODELS.register_module()
class SamplingFreeRPNHead(SamplingFreeAnchorMixin, RPNHead):
    """RPN trained on all anchors.

    Sampling-Free, arXiv 1909.04868. Ignored anchors and, with
    ``train_cfg.allowed_border=0`` as official, those that leave the image
    are excluded. The official code lets such anchors match before it drops
    them; here, as in mmdet, an object may match another one instead.

    Args:
        *args: Of ``RPNHead``.
        prior_prob: Initial objectness, N_f / N of the dataset; 2e-4 for
            COCO. An own ``init_cfg`` replaces it.
        guided: Rescale the classification loss to the box loss.
        sync: Take the ratio of the mean losses of all processes; in the
            official code each GPU has its own.
        regress_norm: The box loss is divided by max(1, this times the
            positives); 8, half the mean over the four coordinates.
        **kwargs: Of ``RPNHead``. Official: ``SmoothL1Loss`` of beta 1/9.

    Raises:
        ValueError: An argument is out of its range, or ``train_cfg.sampler``
            samples.
        TypeError: ``loss_cls`` is not ``CrossEntropyLoss`` with sigmoid, or
            ``loss_bbox`` is an IoU loss.
    """

    def __init__(
        self,
        *args: object,
        prior_prob: float = 2e-4,
        guided: bool = True,
        sync: bool = False,
        regress_norm: float = 8.0,
        **kwargs: object,
    ) -> None:
        kwargs.setdefault('init_cfg', prior_init('rpn_cls', prior_prob))
        super().__init__(*args, **kwargs)
        self._set_anchor_losses(guided, sync, regress_norm, False)
        refuse_sampling(self)

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths of class 0.

        Returns:
            dict: Scalars ``loss_rpn_cls`` and ``loss_rpn_bbox``.
        """
        losses = super().loss_flat(flat)
        return {
            name.replace('loss', 'loss_rpn'): loss
            for name, loss in losses.items()
        }
