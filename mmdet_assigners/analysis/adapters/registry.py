"""How to read the assignment of a head: the seam for new methods.

A head of this package answers itself, with ``get_assignment(outs,
batch_gt_instances, batch_img_metas, feats=None)``. For other heads
:func:`register_adapter` keeps functions that run the head's own target code
and read what it decided; those for mmdet are in the modules ``mmdet_*`` of
:mod:`mmdet_assigners.visualization`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

NEGATIVE, IGNORED = -1, -2


class HeadRun(NamedTuple):
    """One forward pass of a dense head on B images.

    Attributes:
        outs: What the head returned; levels inside.
        gts: Objects of each image, with ``bboxes`` (G, 4) in px and
            ``labels`` (G,).
        metas: Meta information of each image.
        ignored: Ignored regions of each image, or None.
        feats: Feature pyramid, L tensors (B, channels, H_l, W_l).
    """

    outs: Sequence
    gts: list[InstanceData]
    metas: list[dict]
    ignored: list
    feats: Sequence[Tensor]

    @property
    def sizes(self) -> list[torch.Size]:
        """Height and width of each level."""
        return [scores.shape[-2:] for scores in self.outs[0]]


class Adapter(NamedTuple):
    """Reads the assignment of a kind of heads.

    Attributes:
        read: Function of (head, run); returns for each image what
            :func:`assignment.collect_assignment` returns.
        relies_on: Methods of the head whose meaning it needs.
        uses_predictions: Whether the assignment depends on predictions.
    """

    read: Callable[[Any, HeadRun], list[InstanceData]]
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
        *relies_on: Names of the methods, see :class:`Adapter`.
        uses_predictions: See :class:`Adapter`.
    """

    def register(read: Callable) -> Callable:
        entry = Adapter(read, frozenset(relies_on), uses_predictions)
        _ADAPTERS[head_type] = entry
        return read

    return register


def find_adapter(head: nn.Module) -> Adapter:
    """The adapter of a head.

    A head with ``get_assignment`` counts as depending on its predictions
    unless its ``assignment_uses_predictions`` is False.

    Raises:
        TypeError: There is none; says how to add it.
    """
    if callable(getattr(head, 'get_assignment', None)):
        uses = getattr(head, 'assignment_uses_predictions', True)
        return Adapter(_own, frozenset(), bool(uses))
    from . import (  # noqa: F401  they register here
        mmdet_adapters,
        mmdet_point_adapters,
        mmdet_predicting_adapters,
    )

    overridden: set[str] = set()
    for cls in type(head).__mro__:
        if cls in _ADAPTERS:
            if not overridden & _ADAPTERS[cls].relies_on:
                return _ADAPTERS[cls]
            break
        overridden |= vars(cls).keys()
    known = ', '.join(sorted(cls.__name__ for cls in _ADAPTERS))
    raise TypeError(
        f'cannot read the assignment of {type(head).__name__}: give it a '
        'method get_assignment(outs, batch_gt_instances, batch_img_metas, '
        'feats=None), or add a function with register_adapter of '
        f'{__name__}. Adapters exist for {known} and those subclasses that '
        'keep their target code'
    )


def _own(head: Any, run: HeadRun) -> list[InstanceData]:
    return head.get_assignment(run.outs, run.gts, run.metas, feats=run.feats)


def pack(
    head: Any, levels: Sequence[Tensor], assigned_gt: Tensor, weight: Tensor
) -> InstanceData:
    """Put the fields of one image together.

    Args:
        head: Has a ``prior_generator`` with ``strides``.
        levels: Priors of each level, (P_l, 2) or (P_l, 4).
        assigned_gt: (P,), P the sum of all P_l.
        weight: (P,).
    """
    device = levels[0].device
    sizes = torch.tensor([len(priors) for priors in levels], device=device)
    strides = [
        stride[0] if isinstance(stride, tuple) else stride
        for stride in head.prior_generator.strides
    ]
    level = torch.arange(len(levels), device=device)
    return InstanceData(
        priors=torch.cat(list(levels)),
        level=level.repeat_interleave(sizes),
        stride=torch.tensor(strides, device=device).repeat_interleave(sizes),
        assigned_gt=assigned_gt,
        weight=weight.float(),
    )


@contextmanager
def recording(obj: Any, name: str) -> Iterator[list[tuple[tuple, Any]]]:
    """Record the calls of a method of one object, as (args, result) pairs.

    Only this object is touched, and only inside the ``with`` block.
    """
    method = getattr(obj, name)
    outer = vars(obj).get(name)  # another recording
    calls: list[tuple[tuple, Any]] = []

    def record(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        calls.append((args, result))
        return result

    setattr(obj, name, record)
    try:
        yield calls
    finally:
        delattr(obj, name)
        if outer is not None:
            setattr(obj, name, outer)
