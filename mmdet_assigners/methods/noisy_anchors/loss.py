"""Focal loss against soft labels."""

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.weighted_loss import (
    WeightedLoss,
    check_rows,
    check_sigmoid,
)
from .functional import soft_focal_loss


@MODELS.register_module()
class SoftFocalLoss(WeightedLoss):
    """Sigmoid focal loss whose positive label may be any number in [0, 1].

    Learning from Noisy Anchors for One-stage Object Detection, CVPR 2020,
    arXiv 1912.05086; formula in :func:`~.functional.soft_focal_loss`. With
    labels 0 and 1 it is mmdet's ``FocalLoss``. Unlike ``QualityFocalLoss``
    the modulating factors are those of the focal loss.

    Args:
        use_sigmoid: Must be True.
        alpha: Weight of positives against negatives; 0.5 in the official
            configs.
        gamma: Focusing exponent; 2.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        use_sigmoid: bool = True,
        alpha: float = 0.5,
        gamma: float = 2.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        check_sigmoid(self, use_sigmoid)
        if not 0 <= alpha <= 1:
            raise ValueError(f'alpha must be in [0, 1], got {alpha}')
        if not gamma >= 0:
            raise ValueError(f'gamma must be at least 0, got {gamma}')
        self.use_sigmoid = use_sigmoid
        self.alpha = alpha
        self.gamma = gamma

    def forward(
        self,
        pred: Tensor,
        target: Tensor | tuple[Tensor, Tensor],
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or finer.

        Args:
            pred: (N, C) logits.
            target: (N,) classes, C for background; or with them (N,) soft
                labels, as for ``QualityFocalLoss``. Without: 1.
            weight: (N,) or (N, C).
            avg_factor: What 'mean' divides by.
            reduction_override: Instead of ``reduction``.

        Returns:
            Tensor: Scalar, or (N, C) with 'none'.

        Raises:
            ValueError: ``reduction_override`` is unknown, or shapes don't fit.
        """
        labels, soft = target if isinstance(target, tuple) else (target, None)
        if soft is None:
            soft = torch.ones_like(pred[:, 0])
        check_rows(pred, labels=labels, soft=soft)
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
        loss = soft_focal_loss(pred, labels, soft, self.alpha, self.gamma)
        return self.reduce(loss, weight, avg_factor, reduction_override)
