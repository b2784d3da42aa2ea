"""Base class of losses with mmdet's arguments, and checks of their inputs."""

from mmdet.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn

REDUCTIONS = ('none', 'mean', 'sum')


class WeightedLoss(nn.Module):
    """Reduction and weight of a loss; a subclass writes ``forward``.

    ``forward`` takes predictions and targets, then ``weight``,
    ``avg_factor`` and ``reduction_override`` as every loss of mmdet, and
    ends in :meth:`reduce`.

    Args:
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: Factor of the loss.

    Raises:
        ValueError: ``reduction`` is unknown.
    """

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(
                f'reduction must be one of {", ".join(REDUCTIONS)}, got '
                f'{reduction!r}'
            )
        self.reduction = reduction
        self.loss_weight = loss_weight

    def reduce(
        self,
        loss: Tensor,
        weight: Tensor | None,
        avg_factor: float | Tensor | None,
        reduction_override: str | None,
    ) -> Tensor:
        """The weighted and reduced loss.

        Args:
            loss: (N, ...) loss of each element.
            weight: Of the shape of ``loss``, or without its last dimension.
            avg_factor: What 'mean' divides the sum by.
            reduction_override: Replaces ``reduction``.

        Returns:
            Tensor: Scalar, or the shape of ``loss`` with 'none'.

        Raises:
            ValueError: ``reduction_override`` is unknown, or ``weight`` or
                ``avg_factor`` is of another shape.
        """
        if reduction_override not in (None, *REDUCTIONS):
            raise ValueError(
                'reduction_override must be None or one of '
                f'{", ".join(REDUCTIONS)}, got {reduction_override!r}'
            )
        if weight is not None:
            rows = loss.shape[:-1] if loss.dim() > 1 else loss.shape
            if weight.shape not in (loss.shape, rows):
                raise ValueError(
                    'weight must have one value per element or per row of '
                    f'the loss, {tuple(loss.shape)}, got '
                    f'{tuple(weight.shape)}'
                )
            if weight.dim() < loss.dim():
                weight = weight[..., None]
        if isinstance(avg_factor, Tensor) and avg_factor.numel() != 1:
            raise ValueError(
                'avg_factor must be a number, got a tensor of shape '
                f'{tuple(avg_factor.shape)}'
            )
        return self.loss_weight * weight_reduce_loss(
            loss, weight, reduction_override or self.reduction, avg_factor
        )


def check_sigmoid(loss: nn.Module, use_sigmoid: bool) -> None:
    """Refuse softmax; mmdet's heads read the option from their loss.

    Args:
        loss: For the error text.
        use_sigmoid: Its option.

    Raises:
        ValueError: ``use_sigmoid`` is False.
    """
    if not use_sigmoid:
        raise ValueError(
            f'{type(loss).__name__} needs use_sigmoid=True, got False'
        )


def check_rows(pred: Tensor, **values: Tensor) -> None:
    """Refuse targets that don't have one value per row of the predictions.

    Args:
        pred: (N, C).
        **values: By the names of the arguments, (N,) each.

    Raises:
        ValueError: A shape is another one.
    """
    for name, value in values.items():
        if value.shape != pred.shape[:-1]:
            raise ValueError(
                f'{name} must have one value per row of pred, '
                f'{tuple(pred.shape[:-1])}, got {tuple(value.shape)}'
            )


def check_same_shape(**tensors: Tensor) -> None:
    """Refuse tensors that would be broadcast against each other.

    Args:
        **tensors: By the names of the arguments, all (N, 4) for example.

    Raises:
        ValueError: Their shapes differ.
    """
    shapes = [tuple(tensor.shape) for tensor in tensors.values()]
    if len(set(shapes)) > 1:
        raise ValueError(
            f'{", ".join(tensors)} must have the same shape, got '
            f'{", ".join(map(str, shapes))}'
        )
