"""Official Gaussian YOLOv3 weights (jwchoi384/Gaussian_YOLOv3) -> ours.

``mmdet-assigners convert gaussian_yolov3 Gaussian_yolov3_BDD.weights out.pth``

A Darknet binary: numbers without names, layer after layer. For other classes
than those of BDD100K or COCO name by ``--config`` a config with their anchors
and with the rules of ``gaussian-yolov3-released_d53_512-458e_bdd100k``.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config

from ...conversion.state_dicts import State

RELEASED = 'gaussian-yolov3-released_d53_512-458e_bdd100k'
CONFIGS = {
    10: RELEASED,
    80: 'gaussian-yolov3_d53_official-rules_ms-608-273e_coco',
}
NUMBERS = 'numbers'  # the only "tensor" of a file
BLOCKS = (1, 2, 8, 8, 4)  # residual blocks of Darknet-53
ANCHORS = 3  # per level
PREDICTED = 9  # box, its sigmas and objectness
# of a convolution with batch norm, in the order of the file
NORMALIZED = (
    'bn.bias',
    'bn.weight',
    'bn.running_mean',
    'bn.running_var',
    'conv.weight',
)


def read(path: str) -> dict[str, State]:
    """The numbers of a Darknet file behind its header.

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


def layers() -> Iterator[str]:
    """Our names of the convolutions, in the order of Darknet's cfg."""
    yield 'backbone.conv1'
    for i, blocks in enumerate(BLOCKS, 1):
        yield f'backbone.conv_res_block{i}.conv'
        for j in range(blocks):
            yield f'backbone.conv_res_block{i}.res{j}.conv1'
            yield f'backbone.conv_res_block{i}.res{j}.conv2'
    for level in range(3):
        if level:
            yield f'neck.conv{level}'
        for k in range(1, 6):
            yield f'neck.detect{level + 1}.conv{k}'
        yield f'bbox_head.convs_bridge.{level}'
        yield f'bbox_head.convs_pred.{level}'


def shapes(total: int) -> dict[str, list[int]]:
    """Shapes of our tensors, in the order of the file.

    Args:
        total: How many numbers the file has; it says how many classes.

    Raises:
        ValueError: No number of classes makes this total.
    """
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(get_config(RELEASED).model).state_dict()
    found = {
        f'{layer}.{part}': list(model[f'{layer}.{part}'].shape)
        for layer in layers()
        for part in (
            ('bias', 'weight') if 'convs_pred' in layer else NORMALIZED
        )
    }
    outputs = [name for name in found if 'convs_pred' in name]
    for name in outputs:
        found[name][0] = 1
    channel = sum(np.prod(found[name]) for name in outputs)
    fixed = sum(np.prod(s) for s in found.values()) - channel
    channels, rest = divmod(total - fixed, channel)
    if rest or channels % ANCHORS or channels // ANCHORS <= PREDICTED:
        raise ValueError(
            f'{total} numbers are no Gaussian YOLOv3 of Darknet-53, whatever '
            'its number of classes'
        )
    for name in outputs:
        found[name][0] = int(channels)
    return found


def convert(state: State) -> State:
    """Official numbers -> our state dict."""
    numbers = state[NUMBERS]
    found = shapes(len(numbers))
    parts = numbers.split([int(np.prod(s)) for s in found.values()])
    return {
        name: part.reshape(shape).clone()
        for (name, shape), part in zip(found.items(), parts, strict=True)
    }


def guess_config(state: State) -> str | None:
    """BDD100K or COCO, by the number of classes; anchors are those of data."""
    channels = len(state['bbox_head.convs_pred.0.bias'])
    return CONFIGS.get(channels // ANCHORS - PREDICTED)
