"""Regression loss of boxes with predicted variances."""

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.weighted_loss import WeightedLoss, check_same_shape
from .functional import kl_terms


@MODELS.register_module()
class KLLoss(WeightedLoss):
    r"""KL divergence of a predicted Gaussian from the true coordinate.

    .. math:: L = e^{-\alpha}\, SL_1(pred - target) + \alpha / 2

    with alpha = log(sigma^2), per coordinate. Bounding Box Regression with
    Uncertainty for Accurate Object Detection, CVPR 2019, arXiv 1809.08545,
    Eqs. 9 and 10. The loss may be negative. The official code reports the
    first term twice and alpha / 2 by itself; the gradients are the same.
    Computed in float32 or finer.

    Args:
        beta: Error at which smooth L1 turns from squared to linear; 1.
        alpha_clip: Clip alpha to +- this value, which bounds exp(-alpha); None
            (official) doesn't.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        beta: float = 1.0,
        alpha_clip: float | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not beta >= 0:
            raise ValueError(f'beta must be at least 0, got {beta}')
        if alpha_clip is not None and not alpha_clip > 0:
            raise ValueError(
                f'alpha_clip must be None or positive, got {alpha_clip}'
            )
        self.beta = beta
        self.alpha_clip = alpha_clip

    def forward(
        self,
        pred: Tensor,
        alpha: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            pred: (N, 4) predicted deltas.
            alpha: (N, 4) log-variances.
            target: (N, 4) encoded boxes.
            weight: (N, 4); where it is 0, nothing is computed, so that what
                is there may be infinite.
            avg_factor: Divides the sum if the reduction is 'mean'.
            reduction_override: Replaces ``reduction``.

        Returns:
            Tensor: A scalar, (N, 4) for reduction 'none'.

        Raises:
            ValueError: ``reduction_override`` isn't a reduction, or shapes
                differ.
        """
        check_same_shape(pred=pred, alpha=alpha, target=target)
        if weight is not None:
            check_same_shape(pred=pred, weight=weight)
        with torch.autocast(pred.device.type, enabled=False):
            dtype = torch.promote_types(pred.dtype, torch.float32)
            pred, alpha, target = (x.to(dtype) for x in (pred, alpha, target))
            if weight is not None:
                counted = weight > 0
                pred = pred.where(counted, target)
                alpha = alpha.where(counted, 0)
            fit, log = kl_terms(
                pred, alpha, target, self.beta, self.alpha_clip
            )
            return self.reduce(
                fit + log, weight, avg_factor, reduction_override
            )
