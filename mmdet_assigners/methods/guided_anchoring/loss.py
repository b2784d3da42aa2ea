"""Shape loss of Guided Anchoring as the paper writes it."""

from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.weighted_loss import WeightedLoss, check_same_shape
from .functional import shape_loss


@MODELS.register_module()
class GAShapeLoss(WeightedLoss):
    """Bounded IoU loss of the width and height of predicted anchors.

    ``smooth_l1(1 - min(w / w_g, w_g / w))`` plus the same of the heights.

    Paper: Region Proposal by Guided Anchoring, CVPR 2019, arXiv 1901.03278,
    Eq. 6.

    Differences from mmdet, which uses ``BoundedIoULoss``: no terms of the
    center (they are constants, because the center isn't predicted) and no
    1e-3 in the denominators. The gradients agree up to the latter.

    Args:
        beta: Where smooth L1 turns from quadratic to linear; 0.2 in mmdet.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: 0.1 in the paper, but see the README on normalizers.

    Raises:
        ValueError: An option is out of its range.
    """

    def __init__(
        self,
        beta: float = 0.2,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not beta > 0:
            raise ValueError(f'beta must be positive, got {beta}')
        self.beta = beta

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Loss of n anchors.

        Args:
            pred: (n, 4) predicted anchors, x1, y1, x2, y2 in pixels.
            target: (n, 4) ground truths in pixels.
            weight: (n,) or (n, 4) weight of each anchor.
            avg_factor: Normalizer of the mean.
            reduction_override: Instead of ``reduction``.

        Returns:
            Tensor: Scalar, or (n,) without reduction.

        Raises:
            ValueError: ``reduction_override`` is unknown, or shapes don't fit.
        """
        check_same_shape(pred=pred, target=target)
        loss = shape_loss(
            pred[..., 2:] - pred[..., :2],
            target[..., 2:] - target[..., :2],
            self.beta,
        )
        if weight is not None and weight.shape == pred.shape:
            weight = weight.mean(-1)
        return self.reduce(loss, weight, avg_factor, reduction_override)
