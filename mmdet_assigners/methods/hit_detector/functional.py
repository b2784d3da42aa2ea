"""Logits of an architecture: what is penalized, and what is derived."""

from torch import Tensor

EPS = 1e-12  # keeps the gradient of a norm finite at zero


def column_norms(alpha: Tensor) -> Tensor:
    """Norm of the logits of each operation over all layers.

    Args:
        alpha: (L, O) logits of O operations in L layers.

    Returns:
        Tensor: (O,).
    """
    return (alpha.square().sum(0) + EPS).sqrt()


def column_penalty(alpha: Tensor) -> Tensor:
    """Sum of the column norms: it makes whole columns zero.

    Args:
        alpha: (L, O).

    Returns:
        Tensor: ().
    """
    return column_norms(alpha).sum()


def expected_cost(alpha: Tensor, costs: Tensor) -> Tensor:
    """Cost of the layers in the mean over the softmax of their logits.

    Args:
        alpha: (L, O).
        costs: (L, O) cost of each operation.

    Returns:
        Tensor: (), in the unit of ``costs``.
    """
    return (alpha.softmax(1) * costs).sum()


def best_ops(alpha: Tensor) -> Tensor:
    """The operation of each layer with the largest logit.

    Args:
        alpha: (L, O).

    Returns:
        Tensor: (L,) int64; ties go to the first.
    """
    return alpha.argmax(1)


def kept_ops(alpha: Tensor, keep: int) -> Tensor:
    """The operations with the largest column norms.

    Args:
        alpha: (L, O).
        keep: How many; all if there are fewer.

    Returns:
        Tensor: (min(keep, O),) int64, largest first; ties go to the first.
    """
    order = column_norms(alpha).sort(descending=True, stable=True).indices
    return order[:keep]


def op_entropy(alpha: Tensor) -> Tensor:
    """Mean entropy of the layers: log O is no preference, 0 is a decision.

    Args:
        alpha: (L, O).

    Returns:
        Tensor: (), in nats.
    """
    return -(alpha.softmax(1) * alpha.log_softmax(1)).sum(1).mean()


def mix(outputs: list[Tensor], logits: Tensor) -> Tensor:
    """Sum of outputs, weighted by the softmax of their logits.

    Args:
        outputs: O tensors (B, C, H, W).
        logits: (O,).

    Returns:
        Tensor: (B, C, H, W).
    """
    first, *others = zip(logits.softmax(0), outputs, strict=True)
    total = first[0] * first[1]
    for weight, out in others:
        total = total + weight * out
    return total
