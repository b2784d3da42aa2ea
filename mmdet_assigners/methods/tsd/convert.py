"""Official TSD checkpoint (Sense-X/TSD) -> ours.

``mmdet-assigners convert tsd official.pth out.pth``

The official code is a fork of mmdet 1.x, and its models are Faster, Mask and
Cascade R-CNNs. Class 0 of theirs is the background; ours comes last and has no
boxes.
"""

import re

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import BOX_HEAD, background_last

LAYERS = {
    'shared_fc.0': 'offset_fc',
    'delta_c': 'cls_offset_fcs',
    'delta_r': 'reg_offset_fcs',
    'TSD_pc_fcs': 'tsd_cls_fcs',
    'TSD_pr_fcs': 'tsd_reg_fcs',
    'TSD_fc_cls': 'tsd_fc_cls',
    'TSD_fc_reg': 'tsd_fc_reg',
}
# last blocks of the third stage
DEPTHS = {
    'backbone.layer3.35.conv1.weight': 152,
    'backbone.layer3.22.conv1.weight': 101,
}
RULES: Rules = (
    (r'(backbone|neck|rpn_head)\.(.+)', r'\1.\2'),
    *(
        (
            rf'bbox_head\.((?:\d\.)?){re.escape(theirs)}\.(.+)',
            rf'{BOX_HEAD}\1{ours}.\2',
        )
        for theirs, ours in LAYERS.items()
    ),
    (
        r'(bbox_head\.(?:\d\.)?(?:shared_fcs|fc_cls|fc_reg)\..+)',
        r'roi_head.\1',
    ),
    (r'(mask_head\..+)', r'roi_head.\1'),
)


def head_name(name: str) -> str:
    """Our name of a parameter of the official box head."""
    for theirs, ours in LAYERS.items():
        if name.startswith(f'{theirs}.'):
            return ours + name.removeprefix(theirs)
    return name


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return background_last(rename(state, RULES))


def guess_config(state: State) -> str:
    """The config of the released detector of this type and depth."""
    depth = next((n for key, n in DEPTHS.items() if key in state), 50)
    if f'{BOX_HEAD}0.tsd_fc_cls.bias' in state:
        return f'tsd-released_cascade-rcnn_r{depth}_fpn_21e_coco'
    masks = any(name.startswith('roi_head.mask_head.') for name in state)
    detector = 'mask-rcnn' if masks else 'faster-rcnn'
    return f'tsd-released_{detector}_r{depth}_fpn_14e_coco'
