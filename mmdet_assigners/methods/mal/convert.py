"""Official MAL checkpoint (DeLightCMU/MAL) -> ours.

``mmdet-assigners convert mal official.pth out.pth``

For another backbone than R-50 name by ``--config`` a config that changes the
backbone of ``mal-released_r50-caffe_fpn_18e_coco``.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import MASKRCNN_BENCHMARK, tower

HEAD = r'rpn\.head\.'
RULES = (
    *MASKRCNN_BENCHMARK,
    *tower(HEAD + 'cls_tower', 'cls_convs', norm=False),
    *tower(HEAD + 'bbox_tower', 'reg_convs', norm=False),
    (HEAD + r'cls_logits\.(.+)', r'bbox_head.retina_cls.\1'),
    (HEAD + r'bbox_pred\.(.+)', r'bbox_head.retina_reg.\1'),
)


def convert(state: State) -> State:
    """Official state dict -> ours; the order of the anchors is the same."""
    return rename(state, RULES)


def guess_config(state: State) -> str:
    """The config with the official anchors and boxes."""
    return 'mal-released_r50-caffe_fpn_18e_coco'
