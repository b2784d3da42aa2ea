"""Checks of what a registered class was configured with."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmdet.structures.mask.structures import BaseInstanceMasks
from mmengine.structures import InstanceData
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


def check_delta_loss(head: nn.Module, name: str = 'loss_bbox') -> None:
    """Refuse an IoU of encoded boxes, which is a number without meaning.

    Args:
        head: Has the loss, and ``reg_decoded_bbox`` if it may decode boxes.
        name: Of the box loss.

    Raises:
        TypeError: It is an IoU loss and boxes are not decoded for it.
    """
    loss = getattr(head, name)
    of_boxes = any('IoU' in cls.__name__ for cls in type(loss).__mro__)
    if of_boxes and not getattr(head, 'reg_decoded_bbox', False):
        raise TypeError(
            f'{name} of {type(head).__name__} compares deltas: it must be a '
            'loss such as SmoothL1Loss or L1Loss, got '
            f'{type(loss).__name__}, which needs boxes (reg_decoded_bbox=True '
            'where the head has it)'
        )


def refuse_pos_weight(head: nn.Module) -> None:
    """Refuse a weight of positives that a head would not apply.

    Args:
        head: With ``train_cfg``.

    Raises:
        ValueError: ``train_cfg.pos_weight`` is positive.
    """
    weight = (head.train_cfg or {}).get('pos_weight', -1)
    if weight > 0:
        raise ValueError(
            f'{type(head).__name__} does not weigh positives: '
            f'train_cfg.pos_weight must be -1, got {weight}'
        )


def refuse_ignored_regions(head: nn.Module, why: str) -> None:
    """Refuse ignored regions of the dataset that a head would not use.

    Args:
        head: With ``train_cfg``.
        why: Reason, for the message.

    Raises:
        ValueError: ``train_cfg.assigner.ignore_iof_thr`` is positive.
    """
    assigner = (head.train_cfg or {}).get('assigner')
    threshold = -1
    if isinstance(assigner, Mapping):
        threshold = assigner.get('ignore_iof_thr', -1)
    if threshold > 0:
        raise ValueError(
            f'{type(head).__name__} {why}: train_cfg.assigner.ignore_iof_thr '
            f'must be -1, got {threshold}'
        )


def check_depth(
    module: nn.Module, depth: object, known: Iterable[int]
) -> None:
    """Refuse a depth that a backbone does not have.

    Args:
        module: The backbone.
        depth: What it was configured with; ``'r101'`` is near 101.
        known: The depths that it has.

    Raises:
        ValueError: Names the depths and the nearest of them.
    """
    depths = list(known)
    if depth in depths:
        return
    number = int(re.sub(r'\D', '', str(depth)) or depths[0])
    near = min(depths, key=lambda n: abs(n - number))
    raise ValueError(
        f'depth of {type(module).__name__} must be one of '
        f'{", ".join(map(str, depths))}, got {depth!r}; did you mean {near}?'
    )


def check_stages(
    num_stages: int, out_indices: Sequence[int], frozen_stages: int
) -> None:
    """Refuse stages that a backbone does not have.

    Args:
        num_stages: How many it has.
        out_indices: Those that are returned, from 0.
        frozen_stages: How many are not trained, 0 is the stem alone and -1
            nothing.

    Raises:
        ValueError: Names the argument and what it may be.
    """
    if not out_indices or not set(out_indices) <= set(range(num_stages)):
        raise ValueError(
            f'out_indices must be stages from 0 to {num_stages - 1}, got '
            f'{tuple(out_indices)}'
        )
    if list(out_indices) != sorted(set(out_indices)):
        raise ValueError(
            f'out_indices must increase, got {tuple(out_indices)}'
        )
    if not -1 <= frozen_stages <= num_stages:
        raise ValueError(
            f'frozen_stages must be -1 to {num_stages}, got {frozen_stages}'
        )


def masks_of(gt: InstanceData, name: str) -> BaseInstanceMasks:
    """The masks of ground truths.

    Args:
        gt: Ground truths of an image.
        name: What is trained on the masks, for the message.

    Raises:
        ValueError: There are none.
    """
    masks = gt.get('masks')
    if not isinstance(masks, BaseInstanceMasks):
        raise ValueError(
            'gt_instances.masks must be BitmapMasks or PolygonMasks, got '
            f'{type(masks).__name__}: {name} trains on masks, which '
            'LoadAnnotations(with_mask=True) loads'
        )
    return masks


def refuse_other_weights(
    module: nn.Module, state: Mapping[str, Any], prefix: str, method: str
) -> None:
    """Refuse the weights of another network, or with another prefix.

    mmengine would leave the module at random and only log it.

    Args:
        module: Is about to load the weights.
        state: State dict.
        prefix: Of the names of the module in it.
        method: Name of the converter of weights that fit.

    Raises:
        ValueError: The state dict has names with the prefix, and none of them
            is one of the module.
    """
    given = [name for name in state if name.startswith(prefix)]
    own = [name for name, _ in module.named_parameters()]
    if given and not any(prefix + name in state for name in own):
        weights = [name for name in own if name.endswith('weight')]
        raise ValueError(
            f'none of {len(given)} keys such as {given[0]} is one of '
            f'{type(module).__name__}, which has {weights[0]}, {weights[-2]}, '
            '...: weights of another network, such as a plain ResNet, have no '
            'place here, and those of a detector need prefix=backbone. in '
            'init_cfg; released ones convert by mmdet-assigners convert '
            f'{method}'
        )


def pick(table: dict[Any, Any], value: Any, name: str) -> Any:
    """An entry of a table.

    Raises:
        ValueError: There is none; names the nearest.
    """
    if value in table:
        return table[value]
    known = [str(key) for key in table]
    near = difflib.get_close_matches(str(value), known, cutoff=0.3)
    raise ValueError(
        f'{name} must be one of {", ".join(known)}, got {value!r}'
        + (f'; did you mean {" or ".join(near)}?' if near else '')
    )
