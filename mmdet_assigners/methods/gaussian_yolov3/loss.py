"""Loss of Gaussian YOLOv3."""

from mmdet.registry import MODELS
from torch import Tensor

from ...models.losses.weighted_loss import WeightedLoss, check_same_shape
from .functional import box_nll


@MODELS.register_module()
class GaussianNLLLoss(WeightedLoss):
    """Negative log-likelihood of encoded boxes under predicted Gaussians.

    Gaussian YOLOv3, ICCV 2019, arXiv 1904.04620; formula in
    :func:`~.functional.box_nll`. Not ``torch.nn.GaussianNLLLoss``: the
    density gets ``eps`` added, so a far target costs no more than
    ``-log(eps)``, and the input is a standard deviation. Values below 0 are
    normal. The defaults are those of the official code; ``sigma_const=0`` is
    the paper's equation.

    Args:
        sigma_const: Added to sigma in the normalizer of the density alone,
            which bounds the density and with it the loss from below.
        eps: Added to the density.
        reduction: 'none', 'mean' or 'sum'; official is 'sum'.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        sigma_const: float = 0.3,
        eps: float = 1e-9,
        reduction: str = 'sum',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not sigma_const >= 0:
            raise ValueError(
                f'sigma_const must be at least 0, got {sigma_const}'
            )
        if not eps > 0:
            raise ValueError(f'eps must be above 0, got {eps}')
        self.sigma_const = sigma_const
        self.eps = eps

    def forward(
        self,
        mu: Tensor,
        sigma: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """The loss, in float32 or finer.

        Args:
            mu: (..., 4) means of x, y, w, h.
            sigma: (..., 4) standard deviations.
            target: (..., 4) encoded ground truths.
            weight: (...) factor omega of each box, half of which multiplies
                the loss; 2 if None.
            avg_factor: What 'mean' divides by.
            reduction_override: Instead of ``reduction``.

        Returns:
            Tensor: Scalar, or (..., 4) with 'none'.

        Raises:
            ValueError: ``reduction_override`` is unknown, or shapes don't
                fit.
        """
        check_same_shape(mu=mu, sigma=sigma, target=target)
        if weight is None:
            weight = mu.new_full(mu.shape[:-1], 2.0)
        if weight.shape != mu.shape[:-1]:
            raise ValueError(
                f'weight must have one value per box, {tuple(mu.shape[:-1])}, '
                f'got {tuple(weight.shape)}'
            )
        loss = box_nll(mu, sigma, target, weight, self.sigma_const, self.eps)
        return self.reduce(loss, None, avg_factor, reduction_override)
