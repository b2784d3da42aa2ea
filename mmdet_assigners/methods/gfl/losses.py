"""The unified loss of GFL and the loss of a Gaussian distance."""

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.weighted_loss import (
    WeightedLoss,
    check_rows,
    check_same_shape,
    check_sigmoid,
)
from . import functional as gfl

# what the target consists of
_PARTS = dict(
    pair=('y', 'y_left', 'y_right'),
    quality=('labels', 'scores'),
    distribution=('target',),
)
FORMS = tuple(_PARTS)


@MODELS.register_module()
class GeneralizedFocalLoss(WeightedLoss):
    """GFL(p_yl, p_yr): focal loss, QFL and DFL in one formula.

    Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes
    for Dense Object Detection, NeurIPS 2020, arXiv 2006.04388; formula in
    :func:`~.functional.generalized_focal_loss`. The form says what a row of
    the predictions is:

    'pair'
        (N, 2) logits of the two values; target ``(y, y_left, y_right)``,
        each (N,).
    'quality'
        (N, C) class logits; target ``(labels, scores)``. Takes the place of
        ``QualityFocalLoss``.
    'distribution'
        (N, n + 1) logits of bins; target (N,) in bins. Takes the place of
        ``DistributionFocalLoss``. Needs ``beta=0``: the probabilities of two
        bins don't sum to one, and the paper has no factor there.

    Unlike mmdet's two classes it does not synchronize with the device. The
    official QFL has no absolute value in the factor, which matters for odd
    ``beta``; here, as in the paper, there is one.

    Args:
        beta: Exponent of the modulating factor, at least 0; 2 in the paper
            for 'quality', 0 for 'distribution'.
        form: See above.
        use_sigmoid: For mmdet's heads, which ask how scores are made; must be
            True.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        beta: float = 2.0,
        form: str = 'pair',
        use_sigmoid: bool = True,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not beta >= 0:
            raise ValueError(f'beta must be at least 0, got {beta}')
        if form not in FORMS:
            raise ValueError(f'form must be one of {FORMS}, got {form!r}')
        if form == 'distribution' and beta != 0:
            raise ValueError(
                f"form='distribution' is defined for beta=0 only, got {beta}"
            )
        check_sigmoid(self, use_sigmoid)
        self.beta = beta
        self.form = form
        self.use_sigmoid = use_sigmoid

    def forward(
        self,
        pred: Tensor,
        target: Tensor | tuple[Tensor, ...],
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or finer.

        Args:
            pred: (N, 2), (N, C) or (N, n + 1) logits.
            target: See the class.
            weight: (N,).
            avg_factor: What 'mean' divides by.
            reduction_override: Instead of ``reduction``.

        Returns:
            Tensor: Scalar, or (N,) with 'none'.

        Raises:
            ValueError: ``reduction_override`` is unknown, or ``pred`` and
                ``target`` aren't of the form.
        """
        self._check_target(pred, target)
        pred = pred.to(torch.promote_types(pred.dtype, torch.float32))
        if self.form == 'quality':
            labels, scores = target
            loss = gfl.quality_focal_loss(pred, labels, scores, self.beta)
            loss = loss.sum(1)
        elif self.form == 'distribution':
            loss = gfl.distribution_focal_loss(pred, target)
        else:
            y, y_left, y_right = target
            left, right = pred.log_softmax(-1).unbind(-1)
            loss = gfl.generalized_focal_loss(
                left, right, y, y_left, y_right, self.beta
            )
        return self.reduce(loss, weight, avg_factor, reduction_override)

    def _check_target(
        self, pred: Tensor, target: Tensor | tuple[Tensor, ...]
    ) -> None:
        names = _PARTS[self.form]
        parts = (target,) if isinstance(target, Tensor) else target
        if len(parts) != len(names):
            raise ValueError(
                f'target of form={self.form!r} must be {", ".join(names)}, '
                f'got {len(parts)} tensors'
            )
        if self.form == 'pair' and pred.shape[-1] != 2:
            raise ValueError(
                "pred of form='pair' must have 2 columns, got shape "
                f'{tuple(pred.shape)}'
            )
        for name, part in zip(names, parts, strict=True):
            if isinstance(part, Tensor):
                check_rows(pred, **{name: part})


@MODELS.register_module()
class GaussianDistanceLoss(WeightedLoss):
    """Distances as Gaussians, which GFL compares with general distributions.

    ``exp(-a) * SmoothL1(target - mean) + a / 2`` with ``a = log sigma^2``.
    Table 2a of arXiv 2006.04388 gives no formula; this is the KL loss of the
    work that it cites (arXiv 1809.08545).

    Args:
        beta: Where smooth L1 turns from quadratic to linear, in strides.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: Factor of the loss; assumed to be that of DFL, 0.25.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        beta: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not beta > 0:
            raise ValueError(f'beta must be positive, got {beta}')
        self.beta = beta

    def forward(
        self,
        mean: Tensor,
        log_var: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or finer.

        Args:
            mean: (N, 4) predicted distances in strides.
            log_var: (N, 4) logarithm of their variance.
            target: (N, 4) distances in strides.
            weight: (N,) or (N, 4).
            avg_factor: What 'mean' divides by.
            reduction_override: Instead of ``reduction``.

        Returns:
            Tensor: Scalar, or (N, 4) with 'none'.

        Raises:
            ValueError: ``reduction_override`` is unknown, or shapes differ.
        """
        check_same_shape(mean=mean, log_var=log_var, target=target)
        dtype = torch.promote_types(mean.dtype, torch.float32)
        loss = gfl.gaussian_distance_loss(
            mean.to(dtype), log_var.to(dtype), target.to(dtype), self.beta
        )
        return self.reduce(loss, weight, avg_factor, reduction_override)
