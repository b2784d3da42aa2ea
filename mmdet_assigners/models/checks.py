"""Checks of what a registered class was configured with."""

from torch import nn


def check_parts(module: nn.Module, **types: type) -> None:
    """Refuse parts of a wrong type.

    Args:
        module: Has the parts as attributes.
        **types: Name of a part -> its type.

    Raises:
        TypeError: Names the part, its type and the expected one.
    """
    for name, expected in types.items():
        part = getattr(module, name)
        if not isinstance(part, expected):
            raise TypeError(
                f'{name} must be a {expected.__name__}, got '
                f'{type(part).__name__}'
            )
