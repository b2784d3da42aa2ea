"""Adapters: how the assignment of a dense head is read.

A head of this package has a method ``get_assignment(outs, batch_gt_instances,
batch_img_metas, feats=None)``. For other heads :func:`register_adapter`
registers a function that runs the head's own target code and reads what it
decided; those for mmdet's heads are the modules ``mmdet_*``.
"""

from typing import Any

from mmdet.utils import InstanceList
from torch import nn

from .registry import Adapter, HeadRun, register_adapter, registered_adapter

__all__ = ['Adapter', 'HeadRun', 'find_adapter', 'register_adapter']


def find_adapter(head: nn.Module) -> Adapter:
    """The adapter of a head.

    A head with ``get_assignment`` counts as depending on its predictions
    unless its ``assignment_uses_predictions`` is False.

    Raises:
        TypeError: The head has none; the message says how to add it.
    """
    if callable(getattr(head, 'get_assignment', None)):
        uses = getattr(head, 'assignment_uses_predictions', True)
        return Adapter(_get_assignment, frozenset(), bool(uses))
    # they register on import; nothing else imports them
    from . import mmdet_anchor, mmdet_point, mmdet_predicting

    return registered_adapter(type(head))


def _get_assignment(head: Any, run: HeadRun) -> InstanceList:
    return head.get_assignment(run.outs, run.gts, run.metas, feats=run.feats)
