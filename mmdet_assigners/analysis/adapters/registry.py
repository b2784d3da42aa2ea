"""The registry of adapters; it imports none of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmdet.utils import InstanceList
from torch import Tensor


class HeadRun(NamedTuple):
    """One forward pass of a dense head on B images.

    Attributes:
        outs: What the head returned: for each of its outputs the L levels.
        gts: Ground truths of each image, with ``bboxes`` (G, 4) in px of the
            network input and ``labels`` (G,).
        metas: Meta information of each image.
        ignored: Ignored regions of each image, or None.
        feats: Feature pyramid, L tensors (B, channels, H_l, W_l).
    """

    outs: Sequence
    gts: InstanceList
    metas: list[dict]
    ignored: list
    feats: Sequence[Tensor]

    @property
    def sizes(self) -> list[torch.Size]:
        """Height and width of each level in cells."""
        return [scores.shape[-2:] for scores in self.outs[0]]


class Adapter(NamedTuple):
    """Reads the assignment of a type of heads.

    Attributes:
        read: Function of (head, run); returns for each image what
            :func:`..heads.read_assignment` returns.
        relies_on: Methods of the head that it calls or records, and whose
            meaning it assumes.
        uses_predictions: Whether the assignment depends on predictions.
    """

    read: Callable[[Any, HeadRun], InstanceList]
    relies_on: frozenset[str]
    uses_predictions: bool


_ADAPTERS: dict[type, Adapter] = {}


def register_adapter(
    head_type: type, *relies_on: str, uses_predictions: bool = False
) -> Callable:
    """Register the decorated function ``read(head, run)`` for a head class.

    It also serves subclasses, except those that override one of the methods
    that it relies on.

    Args:
        head_type: Class of the head.
        *relies_on: Names of methods, see :class:`Adapter`.
        uses_predictions: See :class:`Adapter`.
    """

    def register(read: Callable) -> Callable:
        _ADAPTERS[head_type] = Adapter(
            read, frozenset(relies_on), uses_predictions
        )
        return read

    return register


def registered_adapter(head_type: type) -> Adapter:
    """The adapter of a head class or of its nearest registered base class.

    Raises:
        TypeError: There is none, or a subclass overrides a method that it
            relies on; the message says how to add one.
    """
    overridden: set[str] = set()
    for cls in head_type.__mro__:
        if cls in _ADAPTERS:
            if not overridden & _ADAPTERS[cls].relies_on:
                return _ADAPTERS[cls]
            break
        overridden |= vars(cls).keys()
    known = ', '.join(sorted(cls.__name__ for cls in _ADAPTERS))
    raise TypeError(
        f'cannot read the assignment of {head_type.__name__}: give it a '
        'method get_assignment(outs, batch_gt_instances, batch_img_metas, '
        'feats=None), or register a function with '
        f'{__package__}.register_adapter. Adapters exist for {known} and '
        'those subclasses that keep their target code'
    )
