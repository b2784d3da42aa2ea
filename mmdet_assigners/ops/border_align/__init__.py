"""BorderAlign: the strongest feature along each border of a box."""

from .op import (
    border_align,
    border_align_argmax,
    border_align_levels,
    border_index,
)

__all__ = [
    'border_align',
    'border_align_argmax',
    'border_align_levels',
    'border_index',
]
