"""What the adapters share: recorded calls, targets, the common format."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from ...ops.anchor_match import IGNORED, NEGATIVE


@contextmanager
def recording(obj: Any, name: str) -> Iterator[list[tuple[tuple, Any]]]:
    """Record the calls of a method of one object.

    Only this object is changed, and only inside the ``with`` block.

    Args:
        obj: The object.
        name: Name of the method.

    Yields:
        list: (positional arguments, result) of each call so far.
    """
    method = getattr(obj, name)
    outer = vars(obj).get(name)  # an enclosing recording
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


def read_targets(
    head: Any,
    labels: Tensor,
    label_weights: Tensor,
    pos_inds: Tensor,
    pos_gts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Assigned ground truth and weight from the targets of one image.

    ``pos_inds`` counts only the anchors inside the image; ``labels`` has all
    of them in the same order, so the k-th positive is the same in both.

    Args:
        head: Has ``num_classes``, C.
        labels: (P,), C for negatives.
        label_weights: (P,) or (P, C).
        pos_inds: (N,) positives, in any order.
        pos_gts: (N,) their ground truths.

    Returns:
        tuple: Assigned ground truth (P,) int64 and weight (P,).
    """
    positive = (labels >= 0) & (labels < head.num_classes)
    weight = label_weights
    if weight.dim() == 2:
        # one weight per class: positives take that of their own class,
        # others the smallest
        own = labels.clamp(max=weight.shape[1] - 1)[:, None]
        own_weight = weight.gather(1, own)[:, 0]
        weight = torch.where(positive, own_weight, weight.amin(1))
    # neither positive nor in the loss
    ignored = ~positive & (weight == 0)
    assigned_gt = torch.full_like(labels, NEGATIVE)
    assigned_gt = assigned_gt.masked_fill(ignored, IGNORED)
    assigned_gt[positive] = pos_gts[pos_inds.argsort()]
    return assigned_gt, weight


def pack(
    head: Any, levels: Sequence[Tensor], assigned_gt: Tensor, weight: Tensor
) -> InstanceData:
    """The assignment of one image in the common format.

    Args:
        head: Has a ``prior_generator`` with ``strides``.
        levels: Priors of each level, (P_l, 2) or (P_l, 4).
        assigned_gt: (P,) int64, P the sum of all P_l.
        weight: (P,).

    Returns:
        InstanceData: What :func:`..heads.read_assignment` returns.
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
