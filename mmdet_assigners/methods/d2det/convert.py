"""Official D2Det checkpoint (JialeCao001/D2Det) -> ours.

``mmdet-assigners convert d2det official.pth out.pth``

The official code is a fork of mmdet 1.x: class 0 is the background, which
comes last here. The instance branch has no place yet.
"""

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import background_last

DEEP = 'backbone.layer3.22.conv1.weight'
RULES: Rules = (
    (r'((?:backbone|neck|rpn_head)\..+)', r'\1'),
    (r'(bbox_roi_extractor\.roi_layers\..+)', r'roi_head.\1'),
    (r'(bbox_head\.(?:shared_fcs|fc_cls)\..+)', r'roi_head.\1'),
    (r'D2Det_head\.(convs\..+)', r'roi_head.d2det_head.\1'),
    (r'D2Det_head\.D2Det_(reg|mask)\.(.+)', r'roi_head.d2det_head.conv_\1.\2'),
)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return background_last(rename(state, RULES))


def guess_config(state: State) -> str:
    """The released config of this depth."""
    dcn = any('conv_offset' in name for name in state)
    depth = 101 if DEEP in state else 50
    name = f'r{depth}{"-dcnv2" * dcn}'
    return f'd2det-released_{name}_fpn_2x_coco'
