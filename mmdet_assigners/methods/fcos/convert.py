"""Official FCOS checkpoint (tianzhi0549/FCOS) -> mmdet's.

``mmdet-assigners convert fcos official.pth out.pth``

Keys don't tell the improvements of a model (centerness on the box tower,
targets in strides) nor its depth: where it is not R-50 with all of them, name
by ``--config`` a config that inherits
``fcos-released_r50-caffe_fpn_gn-head_1x_coco``. MobileNet has no rules here.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import MASKRCNN_BENCHMARK, scalar_scales, tower

HEAD = r'rpn\.head\.'
RULES = (
    *MASKRCNN_BENCHMARK,
    *tower(HEAD + 'cls_tower', 'cls_convs', norm=True),
    *tower(HEAD + 'bbox_tower', 'reg_convs', norm=True),
    (HEAD + r'cls_logits\.(.+)', r'bbox_head.conv_cls.\1'),
    (HEAD + r'bbox_pred\.(.+)', r'bbox_head.conv_reg.\1'),
    (HEAD + r'centerness\.(.+)', r'bbox_head.conv_centerness.\1'),
    (HEAD + r'(scales\..+)', r'bbox_head.\1'),
)


def convert(state: State) -> State:
    """Official state dict -> mmdet's."""
    return scalar_scales(rename(state, RULES))


def guess_config(state: State) -> str:
    """The config of the best R-50 model of the official table."""
    return 'fcos-released_r50-caffe_fpn_gn-head_1x_coco'
