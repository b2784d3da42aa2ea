"""Variables of the official code (tensorflow/tpu), and our names of them.

There a scope numbers its convolutions, and its batch norms, in the order in
which the graph is built: ``conv2d``, ``conv2d_1``, ... Kernels have the axes
height, width, input and output.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...conversion.state_dicts import State
from .backbone import SpineNet
from .graph import ARCHS

NORM = {
    'weight': 'gamma',
    'bias': 'beta',
    'running_mean': 'moving_mean',
    'running_var': 'moving_variance',
}
_LEFT_OUT = re.compile(
    r'global_step|.+/(?:Momentum|ExponentialMovingAverage)|'
    r'(?:rpn_head|fast_rcnn_head|mask_head|classification_head)/.+'
)
# The official boxes are y, x, height, width.
_BOX = [1, 0, 3, 2]
# Nine anchors of a cell, three scales of each ratio (height over width 0.5, 1,
# 2) here; there three ratios (1, 0.5, 2) of each scale.
_ANCHORS = [scale * 3 + ratio for ratio in (1, 0, 2) for scale in range(3)]
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}


def read(path: str | Path) -> dict[str, Tensor]:
    """The variables of a checkpoint.

    Args:
        path: ``model.ckpt-N.index``, which needs TensorFlow, or an npz file of
            arrays by the names of the variables.

    Returns:
        dict: Name -> tensor, (H, W, C, D) of a kernel from C to D channels,
        (D,) of a norm.

    Raises:
        ValueError: TensorFlow is not installed.
    """
    if Path(path).suffix == '.npz':
        with np.load(path) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays}
    try:
        from tensorflow import train
    except ImportError as error:
        raise ValueError(
            f'{path} is a checkpoint of TensorFlow, which is not installed: '
            'pip install tensorflow, or save its arrays by name with '
            'numpy.savez as an npz file elsewhere'
        ) from error
    reader = train.load_checkpoint(str(path).removesuffix('.index'))
    return {
        name: torch.as_tensor(reader.get_tensor(name))
        for name in reader.get_variable_to_shape_map()
    }


def is_official(state: Mapping[str, Any]) -> bool:
    """Whether these are variables of the official code."""
    return any(name.startswith('spinenet/') for name in state)


def convert(variables: Mapping[str, Tensor]) -> State:
    """Variables -> our state dict.

    Args:
        variables: Name -> tensor, kernels (H, W, C, D).

    Returns:
        dict: Of a RetinaNet, or without its head of a backbone.

    Raises:
        ValueError: The variables fit no member of the family, or are unknown.
    """
    variables = {
        name: value
        for name, value in variables.items()
        if not _LEFT_OUT.fullmatch(name)
    }
    state = _backbone(variables)
    if any(name.startswith('retinanet/') for name in variables):
        state = {f'backbone.{name}': t for name, t in state.items()}
        state |= _head(variables)
    if variables:
        some = ', '.join(sorted(variables)[:5])
        raise ValueError(f'{len(variables)} variables are unknown: {some}')
    return state


def names_of(net: SpineNet) -> dict[str, str]:
    """Official name of each parameter and buffer of a backbone -> ours."""
    names = {}
    for scope, pairs in _scopes(net):
        for i, (conv, norm) in enumerate(pairs):
            number = f'_{i}' if i else ''
            names[f'{scope}/conv2d{number}/kernel'] = f'{conv}.weight'
            for ours, theirs in NORM.items():
                name = f'{scope}/batch_normalization{number}/{theirs}'
                names[name] = f'{norm}.{ours}'
    return names


def _scopes(net: SpineNet) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Scope, and our convolutions and norms in the order of the graph."""
    yield (
        'spinenet',
        [
            _layer('conv1'),
            *_blocks('init_block1', net.init_block1),
            *_blocks('init_block2', net.init_block2),
            *(_layer(f'endpoint_convs.{level}') for level in range(3, 8)),
        ],
    )
    for k, group in net.scale_permuted_blocks.items():
        scope = f'spinenet/sub_policy{k}'
        for parent in range(2):
            name = f'merge_ops.{k}.resample_ops.{parent}'
            layers = [
                _layer(f'{name}.{part}')
                for part, _ in net.get_submodule(name).named_children()
            ]
            yield f'{scope}/resample_with_alpha_resample_{k}_{parent}', layers
        yield (
            f'{scope}/scale_permuted_block_{int(k) + 2}',
            list(_blocks(f'scale_permuted_blocks.{k}', group)),
        )


def _layer(name: str) -> tuple[str, str]:
    return f'{name}.conv', f'{name}.bn'


def _blocks(name: str, group: nn.Sequential) -> Iterator[tuple[str, str]]:
    for r, block in enumerate(group):
        if block.downsample is not None:
            own = f'{name}.{r}.downsample'
            yield f'{own}.0', f'{own}.1'
        for i in range(1, block.depth + 1):
            yield f'{name}.{r}.conv{i}', f'{name}.{r}.bn{i}'


def _kernel(value: Tensor) -> Tensor:
    return value.permute(3, 2, 0, 1).contiguous()


def _backbone(variables: dict[str, Tensor]) -> State:
    """The backbone; its variables are taken out."""
    found = {n for n in variables if n.startswith('spinenet/')}
    for arch in ARCHS:
        with torch.device('meta'):
            net = SpineNet(arch)
        names = names_of(net)
        if names.keys() != found:
            continue
        state = {
            ours: _kernel(variables[name])
            if name.endswith('/kernel')
            else variables[name]
            for name, ours in names.items()
        }
        shapes = net.state_dict()
        if all(t.shape == shapes[name].shape for name, t in state.items()):
            for name in found:
                del variables[name]
            return state
    raise ValueError(
        f'{len(found)} variables of the scope spinenet/ are none of SpineNet-'
        + ', '.join(ARCHS)
    )


def _head(variables: dict[str, Tensor]) -> State:
    """The head; its variables are taken out."""
    state: State = {}
    for branch, scope, part in (
        ('cls', 'retinanet/class_net', 'class'),
        ('reg', 'retinanet/box_net', 'box'),
    ):
        count = sum(
            bool(re.fullmatch(rf'{scope}/{part}-\d+/kernel', name))
            for name in variables
        )
        for i in range(count):
            kernel = _kernel(variables.pop(f'{scope}/{part}-{i}/kernel'))
            bias = variables.pop(f'{scope}/{part}-{i}/bias')
            for level in range(5):
                own = f'bbox_head.{branch}_convs.{level}.{i}'
                state[f'{own}.conv.weight'] = kernel
                for ours, theirs in NORM.items():
                    name = f'{scope}/{part}-{i}-{level + 3}/{theirs}'
                    state[f'{own}.bn.{ours}'] = variables.pop(name)
                # the bias of a convolution before a norm: ours has none
                mean = state[f'{own}.bn.running_mean']
                state[f'{own}.bn.running_mean'] = mean - bias
        kernel = _kernel(variables.pop(f'{scope}/{part}-predict/kernel'))
        bias = variables.pop(f'{scope}/{part}-predict/bias')
        outputs = len(bias) // len(_ANCHORS)
        rows = _BOX if branch == 'reg' else _classes(outputs)
        order = [anchor * outputs + row for anchor in _ANCHORS for row in rows]
        state[f'bbox_head.retina_{branch}.weight'] = kernel[order]
        state[f'bbox_head.retina_{branch}.bias'] = bias[order]
    return state


def _classes(count: int) -> list[int]:
    """Labels without the background 0; COCO's numbers have gaps."""
    gaps = _COCO_GAPS if count == 91 else set()
    return [label for label in range(1, count) if label not in gaps]
