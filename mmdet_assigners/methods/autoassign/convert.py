"""Official AutoAssign checkpoint (a cvpods model) -> mmdet's and ours.

``mmdet-assigners convert autoassign official.pth out.pth``

The converted file fits mmdet's head and ours alike.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import DETECTRON2, scalar_scales, tower

RULES = (
    *DETECTRON2,
    *tower(r'head\.cls_subnet', 'cls_convs', norm=True),
    *tower(r'head\.bbox_subnet', 'reg_convs', norm=True),
    (r'head\.cls_score\.(.+)', r'bbox_head.conv_cls.\1'),
    (r'head\.bbox_pred\.(.+)', r'bbox_head.conv_reg.\1'),
    (r'head\.obj_score\.(.+)', r'bbox_head.conv_centerness.\1'),
    (r'head\.(scales\..+)', r'bbox_head.\1'),
    ('mu', 'bbox_head.center_prior.mean'),
    ('sigma', 'bbox_head.center_prior.sigma'),
)


def convert(state: State) -> State:
    """Official state dict -> mmdet's."""
    return scalar_scales(rename(state, RULES))


def guess_config(state: State) -> str:
    """The config of the official R-50 model."""
    return 'autoassign-ablation_r50-caffe_fpn_1x_coco'
