"""RetinaNet's head with the losses of Noisy Anchors."""

from typing import TYPE_CHECKING

import torch
from mmdet.models.losses import SmoothL1Loss
from mmdet.registry import MODELS
from torch import Tensor

from ...models.checks import check_parts
from ...models.dense_heads.flat_head import FlatBatch
from ...models.dense_heads.flat_retina_head import FlatRetinaHead
from ...models.task_modules.assigners._base import Assignment
from ...ops.anchor_match import IGNORED
from . import functional as noisy_anchors
from .loss import SoftFocalLoss

if TYPE_CHECKING:
    from ...engine.hooks import TrainProgress


@MODELS.register_module()
class NoisyAnchorRetinaHead(FlatRetinaHead):
    """RetinaNet trained on soft labels and weights from its own predictions.

    Learning from Noisy Anchors for One-stage Object Detection, CVPR 2020,
    arXiv 1912.05086. Each positive anchor gets a cleanliness from its score
    and the IoU of its predicted box with its ground truth. It is the label of
    the class (``SoftFocalLoss``) and, more spread out, the weight of both
    losses of the anchor; the sums of the losses keep their values. Losses are
    divided by a moving average of the number of positives of this process.
    Inference is RetinaNet's. Use it with ``TopNIoUAssigner``; another
    assigner's positives count once each.

    The defaults follow the official code. The paper's formulas are
    ``soft_label_mode='paper'`` and ``weight_mode='paper'``. The paper uses
    the IoU of the anchor in place of the predicted box in the first
    iterations, the code doesn't: ``warmup_iters``. Anchors in the padding of
    a batch are left out, as in mmdet; the official code keeps them.

    ``normalizer``, the moving average, is a buffer and part of checkpoints,
    so a resumed run goes on with it.

    Args:
        *args: Of ``RetinaHead``.
        alpha: Share of localization in the cleanliness; 0.75.
        gamma: Exponent of the weights; 1. With 0 there are none.
        soft_labels: False: label 1 for all positives.
        soft_label_mode: 'official' or 'paper', see
            :func:`~.functional.cleanliness`.
        weight_mode: 'official' or 'paper'.
        warmup_iters: Iterations with the IoU of the anchor; 0. Needs
            ``TrainProgressHook``.
        normalizer_init: Start of the moving average; 100 positives.
        normalizer_momentum: Share of the old average; 0.9.
        **kwargs: Of ``RetinaHead``. ``loss_cls`` must be ``SoftFocalLoss`` and
            ``loss_bbox`` ``SmoothL1Loss``; official: alpha 0.5, gamma 2, beta
            0.1.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: A loss is of another type.
    """

    assignment_uses_predictions = True  # the weights

    def __init__(
        self,
        *args: object,
        alpha: float = 0.75,
        gamma: float = 1.0,
        soft_labels: bool = True,
        soft_label_mode: str = 'official',
        weight_mode: str = 'official',
        warmup_iters: int = 0,
        normalizer_init: float = 100.0,
        normalizer_momentum: float = 0.9,
        **kwargs: object,
    ) -> None:
        super().__init__(*args, **kwargs)
        unit = dict(alpha=alpha, normalizer_momentum=normalizer_momentum)
        for name, value in unit.items():
            if not 0 <= value <= 1:
                raise ValueError(f'{name} must be in [0, 1], got {value}')
        minimum = dict(
            gamma=gamma,
            warmup_iters=warmup_iters,
            normalizer_init=normalizer_init,
        )
        for name, value in minimum.items():
            if not value >= 0:
                raise ValueError(f'{name} must be at least 0, got {value}')
        modes = dict(soft_label_mode=soft_label_mode, weight_mode=weight_mode)
        for name, mode in modes.items():
            if mode not in noisy_anchors.MODES:
                raise ValueError(
                    f"{name} must be 'official' or 'paper', got {mode!r}"
                )
        check_parts(self, loss_cls=SoftFocalLoss, loss_bbox=SmoothL1Loss)
        if self.reg_decoded_bbox:
            raise ValueError(
                'reg_decoded_bbox must be False, got True: smooth L1 is '
                'computed on deltas'
            )
        self.alpha = alpha
        self.gamma = gamma
        self.soft_labels = soft_labels
        self.modes = modes
        self.warmup_iters = warmup_iters
        self.warming_up = warmup_iters > 0
        self.normalizer_momentum = normalizer_momentum
        self.register_buffer(
            'normalizer', torch.tensor(float(normalizer_init))
        )
        self.normalizer: Tensor

    @property
    def follows_progress(self) -> bool:
        """Whether the head needs a ``TrainProgressHook``."""
        return self.warmup_iters > 0

    def set_train_progress(self, progress: 'TrainProgress') -> None:
        """End the warm-up; called by ``TrainProgressHook``."""
        self.warming_up = progress.iter < self.warmup_iters

    def cleanliness(
        self, flat: FlatBatch, assignment: Assignment
    ) -> noisy_anchors.Cleanliness:
        """Soft labels and weights of the anchors, without gradient.

        Args:
            flat: Predictions, anchors and ground truths.
            assignment: Of ``TopNIoUAssigner``, or of another one.

        Returns:
            Cleanliness: ``label`` and ``weight`` (B, P).
        """
        gt = assignment.gt
        lists = assignment.extra.get('lists', (gt >= 0).long())
        labels = self.matched_labels(flat, gt).clamp(max=self.num_classes - 1)
        logits = flat.cls.detach().gather(2, labels[..., None])[..., 0]
        with torch.no_grad():
            boxes = flat.batch_anchors
            if not self.warming_up:
                boxes = self.decode(flat)
            iou = noisy_anchors.aligned_iou(
                boxes, self.matched_boxes(flat, gt)
            )
        clean = noisy_anchors.cleanliness(
            logits.sigmoid(), iou, lists, self.alpha, self.gamma, **self.modes
        )
        if not self.soft_labels:
            clean = clean._replace(label=(gt >= 0).to(iou))
        return clean

    def loss_flat(self, flat: FlatBatch) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            flat: Predictions, anchors and ground truths.

        Returns:
            dict: Scalars ``loss_cls`` and ``loss_bbox``.
        """
        assignment = self.assign_flat(flat)
        gt = assignment.gt
        positive = gt >= 0
        clean = self.cleanliness(flat, assignment)
        loss_cls = self.loss_cls(
            flat.cls.flatten(0, 1),
            (self.matched_labels(flat, gt).flatten(), clean.label.flatten()),
            self.label_weights(flat, gt).flatten(),
            reduction_override='none',
        )
        target = self.encode(flat, self.matched_boxes(flat, gt))
        loss_bbox = self.loss_bbox(
            flat.deltas.flatten(0, 1),
            target.flatten(0, 1),
            reduction_override='none',
        )
        loss_bbox = loss_bbox.where(positive.view(-1, 1), 0)
        weight = clean.weight.flatten()
        avg_factor = self._normalizer(positive.sum()).clamp(min=1)
        return {
            name: noisy_anchors.reweighted_sum(loss.sum(-1), weight)
            / avg_factor
            for name, loss in dict(
                loss_cls=loss_cls, loss_bbox=loss_bbox
            ).items()
        }

    def _normalizer(self, num_positives: Tensor) -> Tensor:
        average = noisy_anchors.update_normalizer(
            self.normalizer,
            num_positives.to(self.normalizer),
            self.normalizer_momentum,
        )
        if self.training:
            self.normalizer.copy_(average)
        return average

    def assignment_weight(
        self, flat: FlatBatch, assignment: Assignment
    ) -> Tensor:
        """Soft label (B, P) of positives, 1 on negatives, 0 if ignored."""
        label = self.cleanliness(flat, assignment).label
        weight = label.where(assignment.gt >= 0, 1)
        return weight.where(assignment.gt != IGNORED, 0)
