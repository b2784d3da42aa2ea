"""A pyramid that carries a second one past what doesn't need it."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor


class DualPyramid(tuple):
    """A tuple of levels with an attribute ``laterals``.

    Detectors and RPN heads take it for the levels alone.

    Args:
        levels: Maps (B, C, H_l, W_l) of the FPN.
        laterals: Maps (B, C, H_l, W_l) of its bottom-up side, finest first.
    """

    laterals: tuple[Tensor, ...]

    def __new__(
        cls, levels: Iterable[Tensor], laterals: Iterable[Tensor]
    ) -> 'DualPyramid':
        """Make the tuple of the levels."""
        pyramid = super().__new__(cls, levels)
        pyramid.laterals = tuple(laterals)
        return pyramid


def laterals_of(pyramid: Any) -> tuple[Tensor, ...]:
    """The bottom-up side of a pyramid, maps (B, C, H_l, W_l).

    Raises:
        TypeError: It has none.
    """
    if not isinstance(pyramid, DualPyramid):
        raise TypeError(
            'the neck must give its laterals in training, as '
            'DuallySupervisedFPN in training mode does, got a '
            f'{type(pyramid).__name__} of levels'
        )
    return pyramid.laterals
