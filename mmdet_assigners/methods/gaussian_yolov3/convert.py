"""Official Gaussian YOLOv3 weights (jwchoi384/Gaussian_YOLOv3) -> ours.

``mmdet-assigners convert gaussian_yolov3 Gaussian_yolov3_BDD.weights out.pth``

A Darknet binary: numbers without names, layer after layer. For other classes
than those of BDD100K or COCO name by ``--config`` a config with their anchors
and with the rules of ``gaussian-yolov3-released_d53_512-458e_bdd100k``.
"""

from collections.abc import Iterator

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config

from ...conversion.darknet import (
    NUMBERS,
    Shapes,
    fit_outputs,
    read,
    shapes_of,
    split,
)
from ...conversion.state_dicts import State

__all__ = ['convert', 'guess_config', 'read']

RELEASED = 'gaussian-yolov3-released_d53_512-458e_bdd100k'
CONFIGS = {
    10: RELEASED,
    80: 'gaussian-yolov3_d53_official-rules_ms-608-273e_coco',
}
BLOCKS = (1, 2, 8, 8, 4)  # residual blocks of Darknet-53
ANCHORS = 3  # per level
PREDICTED = 9  # box, its sigmas and objectness


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


def shapes(total: int) -> Shapes:
    """Shapes of our tensors, in the order of the file.

    Args:
        total: How many numbers the file has; it says how many classes.

    Raises:
        ValueError: No number of classes makes this total.
    """
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(get_config(RELEASED).model).state_dict()
    found = shapes_of(model, layers())
    outputs = [name for name in found if 'convs_pred' in name]
    channels = fit_outputs(found, outputs, total)
    if channels % ANCHORS or channels // ANCHORS <= PREDICTED:
        raise ValueError(
            f'{total} numbers are no Gaussian YOLOv3 of Darknet-53, whatever '
            'its number of classes'
        )
    return found


def convert(state: State) -> State:
    """Official numbers -> our state dict."""
    numbers = state[NUMBERS]
    return split(numbers, shapes(len(numbers)))


def guess_config(state: State) -> str | None:
    """BDD100K or COCO, by the number of classes; anchors are those of data."""
    channels = len(state['bbox_head.convs_pred.0.bias'])
    return CONFIGS.get(channels // ANCHORS - PREDICTED)
