"""Official DR loss checkpoint (idstcv/DR_loss) -> ours.

``mmdet-assigners convert dr_loss official.pth out.pth``

The official model is maskrcnn-benchmark's RetinaNet. For another backbone than
R-50 name by ``--config`` a config that changes the backbone of
``dr-loss-released_retinanet_r50-caffe_fpn_1x_coco``.
"""

from ...conversion.state_dicts import State, rename
from ...conversion.trunks import MASKRCNN_BENCHMARK, tower

OUTPUTS = {'cls_logits': 'retina_cls', 'bbox_pred': 'retina_reg'}
RULES = (
    *MASKRCNN_BENCHMARK,
    *tower(r'rpn\.head\.cls_tower', 'cls_convs', norm=False),
    *tower(r'rpn\.head\.bbox_tower', 'reg_convs', norm=False),
    *(
        (rf'rpn\.head\.{theirs}\.(.+)', rf'bbox_head.{ours}.\1')
        for theirs, ours in OUTPUTS.items()
    ),
)


def convert(state: State) -> State:
    """Official state dict -> ours; the order of the anchors is the same."""
    return rename(state, RULES)


def guess_config(state: State) -> str:
    """The config with the official anchors and boxes."""
    return 'dr-loss-released_retinanet_r50-caffe_fpn_1x_coco'
