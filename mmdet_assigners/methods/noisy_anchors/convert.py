"""Official Noisy Anchors checkpoint (a detectron2 RetinaNet) -> ours.

``mmdet-assigners convert noisy_anchors official.pth out.pth``

The nine anchors of a place come size by size in detectron2, ratio by ratio in
mmdet: the channels of the two output convolutions are reordered. For another
backbone than R-50 name by ``--config`` a config that changes the backbone of
``noisy-anchors-released_r50-caffe_fpn_1x_coco``.
"""

import torch
from torch import Tensor

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import DETECTRON2, tower

SIZES, RATIOS = 3, 3
RULES = (
    *DETECTRON2,
    *tower(r'head\.cls_subnet', 'cls_convs', norm=False),
    *tower(r'head\.bbox_subnet', 'reg_convs', norm=False),
    (r'head\.cls_score\.(.+)', r'bbox_head.retina_cls.\1'),
    (r'head\.bbox_pred\.(.+)', r'bbox_head.retina_reg.\1'),
)


def ratio_major(value: Tensor) -> Tensor:
    """Channels (S*R*K, ...) by size -> (R*S*K, ...) by ratio."""
    anchors = value.unflatten(0, (SIZES, RATIOS, -1))
    return anchors.transpose(0, 1).flatten(0, 2)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    state = {
        name: ratio_major(value) if '.retina_' in name else value
        for name, value in rename(state, RULES).items()
    }
    # not stored in theirs: training goes on from the average's first value
    return state | {'bbox_head.normalizer': torch.tensor(100.0)}


def guess_config(state: State) -> str:
    """The config with the official backbone and input."""
    return 'noisy-anchors-released_r50-caffe_fpn_1x_coco'
