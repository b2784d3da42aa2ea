"""Official D2Det checkpoint (JialeCao001/D2Det) -> ours.

``mmdet-assigners convert d2det official.pth out.pth``

The official code is a fork of mmdet 1.x: class 0 is the background, which
comes last here, and has neither a mask nor an IoU of one.
"""

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import background_last

MASKS = 'roi_head.mask_head.'
DEEP = 'backbone.layer3.22.conv1.weight'
RULES: Rules = (
    (r'((?:backbone|neck|rpn_head)\..+)', r'\1'),
    (r'(bbox_roi_extractor\.roi_layers\..+)', r'roi_head.\1'),
    (r'(bbox_head\.(?:shared_fcs|fc_cls)\..+)', r'roi_head.\1'),
    (r'D2Det_head\.(convs\..+)', r'roi_head.d2det_head.\1'),
    (r'D2Det_head\.D2Det_(reg|mask)\.(.+)', r'roi_head.d2det_head.conv_\1.\2'),
    (r'D2Det_head\.deconv1\.(.+)', rf'{MASKS}upsample.\1'),
    (r'D2Det_head\.norm1\.(.+)', rf'{MASKS}norm.\1'),
    (r'D2Det_head\.deconv2\.(.+)', rf'{MASKS}upsample2.\1'),
    (r'D2Det_head\.D2Det_instance\.(.+)', rf'{MASKS}conv_logits.\1'),
    (r'D2Det_head\.(fcs\..+)', rf'{MASKS}\1'),
    (r'D2Det_head\.fc_instance_iou\.(.+)', rf'{MASKS}fc_iou.\1'),
)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    ours = background_last(rename(state, RULES))
    for part in ('weight', 'bias'):
        name = f'{MASKS}fc_iou.{part}'
        if name in ours:
            ours[name] = ours[name][1:]
    return ours


def guess_config(state: State) -> str:
    """The released config of this depth, with or without masks."""
    branch = 'instance-' * any(name.startswith(MASKS) for name in state)
    dcn = any('conv_offset' in name for name in state)
    depth = 101 if DEEP in state else 50
    name = f'r{depth}{"-dcnv2" * dcn}'
    return f'd2det-{branch}released_{name}_fpn_2x_coco'
