"""Official Sampling-Free checkpoint (ChenJoya/sampling-free) -> ours.

``mmdet-assigners convert sampling_free official.pth out.pth``

RetinaNet, Faster and Mask R-CNN of COCO. For the models of VOC name by
``--config`` a config that changes ``num_classes`` of a ``released`` one.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import (
    MASKRCNN_BENCHMARK,
    MASKRCNN_BENCHMARK_RCNN,
    background_last,
    tower,
)

HEAD = r'rpn\.head\.'
ONE_STAGE = (
    *MASKRCNN_BENCHMARK,
    *tower(HEAD + 'cls_tower', 'cls_convs', norm=False),
    *tower(HEAD + 'bbox_tower', 'reg_convs', norm=False),
    (HEAD + r'cls_logits\.(.+)', r'bbox_head.retina_cls.\1'),
    (HEAD + r'bbox_pred\.(.+)', r'bbox_head.retina_reg.\1'),
)
# blocks of the third stage of R-101
DEEP = 'backbone.layer3.22.conv1.weight'


def convert(state: State) -> State:
    """Official state dict -> ours; the order of the anchors is the same."""
    if 'rpn.head.conv.weight' in state:
        return background_last(rename(state, MASKRCNN_BENCHMARK_RCNN))
    return rename(state, ONE_STAGE)


def guess_config(state: State) -> str:
    """The row of the table that a (converted) file belongs to."""
    depth = 101 if DEEP in state else 50
    model = 'retinanet'
    if 'rpn_head.rpn_conv.weight' in state:
        masks = any(name.startswith('roi_head.mask') for name in state)
        model = 'mask-rcnn' if masks else 'faster-rcnn'
    return f'sampling-free-released_{model}_r{depth}-caffe_fpn_1x_coco'
