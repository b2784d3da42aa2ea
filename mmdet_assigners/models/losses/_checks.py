"""Checks of what losses are called with."""

from torch import Tensor


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
