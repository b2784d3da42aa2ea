"""Box outputs of the class that a row belongs to."""

from torch import Tensor


def own_columns(values: Tensor, labels: Tensor) -> Tensor:
    """The four columns of each row's class.

    Args:
        values: (N, 4 C), class-major, or (N, 4) if class-agnostic.
        labels: (N,) int64; clamped to 0..C - 1.

    Returns:
        Tensor: (N, 4).
    """
    classes = values.shape[1] // 4
    own = labels.clamp(0, classes - 1)[:, None, None].expand(-1, 1, 4)
    return values.view(-1, classes, 4).gather(1, own)[:, 0]
