"""Weights files of Darknet: numbers without names, layer after layer."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .state_dicts import State

NUMBERS = 'numbers'  # the only "tensor" of a file
# of a convolution with batch norm, in the order of the file
NORMALIZED = (
    'bn.bias',
    'bn.weight',
    'bn.running_mean',
    'bn.running_var',
    'conv.weight',
)
Shapes = dict[str, list[int]]


def read(path: str | Path) -> dict[str, State]:
    """The numbers of a file behind its header.

    Raises:
        ValueError: There is no such file, or it is too short.
    """
    if not Path(path).is_file():
        raise ValueError(f'there is no file {path}')
    content = np.fromfile(path, np.int32)
    if len(content) < 5:
        raise ValueError(f'{path} is no weights file of Darknet')
    major, minor = content[:2].tolist()
    # since version 0.2 the number of images seen has 64 bits
    seen = 2 if major * 10 + minor >= 2 else 1
    numbers = torch.from_numpy(content[3 + seen :].view(np.float32))
    return dict(model={NUMBERS: numbers})


def shapes_of(state: Mapping[str, Tensor], layers: Iterable[str]) -> Shapes:
    """Shapes of a model's tensors in the order of the file.

    Args:
        state: State dict of the model, tensors (...) by name.
        layers: Its convolutions in the order of the layer list: names of a
            ``ConvModule`` or of a plain convolution with a bias.
    """
    return {
        f'{layer}.{part}': list(state[f'{layer}.{part}'].shape)
        for layer in layers
        for part in (
            NORMALIZED if f'{layer}.bn.weight' in state else ('bias', 'weight')
        )
    }


def fit_outputs(shapes: Shapes, outputs: Sequence[str], total: int) -> int:
    """Set the channels of the last layers by the length of a file.

    Args:
        shapes: Of all tensors; changed in place.
        outputs: The tensors whose first dimension is to be found, the same
            for all.
        total: How many numbers the file has.

    Returns:
        int: The channels, or 0 if none gives this total.
    """
    for name in outputs:
        shapes[name][0] = 1
    channel = sum(math.prod(shapes[name]) for name in outputs)
    fixed = sum(map(math.prod, shapes.values())) - channel
    channels, rest = divmod(total - fixed, channel)
    if rest or channels < 1:
        return 0
    for name in outputs:
        shapes[name][0] = channels
    return channels


def split(numbers: Tensor, shapes: Shapes) -> State:
    """Cut the numbers of a file into tensors.

    Args:
        numbers: (N,) all numbers.
        shapes: Of the tensors in their order, N elements in all.
    """
    parts = numbers.split([math.prod(shape) for shape in shapes.values()])
    return {
        name: part.reshape(shape).clone()
        for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
