"""Official ATSS checkpoint (sfzhang15/ATSS) -> ours.

``mmdet-assigners convert atss official.pth out.pth``

For another backbone than R-50 name by ``--config`` a config that changes the
backbone of ``atss-released_r50-caffe_fpn_1x_coco``.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import MASKRCNN_BENCHMARK, scalar_scales, tower

HEAD = r'rpn\.head\.'
RULES = (
    *MASKRCNN_BENCHMARK,
    *tower(HEAD + 'cls_tower', 'cls_convs', norm=True),
    *tower(HEAD + 'bbox_tower', 'reg_convs', norm=True),
    (HEAD + r'cls_logits\.(.+)', r'bbox_head.atss_cls.\1'),
    (HEAD + r'bbox_pred\.(.+)', r'bbox_head.atss_reg.\1'),
    (HEAD + r'centerness\.(.+)', r'bbox_head.atss_centerness.\1'),
    (HEAD + r'(scales\..+)', r'bbox_head.\1'),
)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return scalar_scales(rename(state, RULES))


def guess_config(state: State) -> str:
    """The config with the official biases, anchors and scores."""
    return 'atss-released_r50-caffe_fpn_1x_coco'
