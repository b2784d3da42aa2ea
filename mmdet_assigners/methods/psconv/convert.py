"""Official PSConv checkpoints (d-li14/PSConv) -> ours.

``mmdet-assigners convert psconv faster_rcnn_psconv_r50.pth out.pth``

Detectors of an early mmdet: class 0 is the background, which comes last here,
without boxes and masks. ImageNet weights need no conversion: their names are
those of the backbones.
"""

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import BOX_HEAD, background_last

RULES: Rules = (
    (r'((?:backbone|neck|rpn_head)\..+)', r'\1'),
    (r'((?:bbox|mask)_head\..+)', r'roi_head.\1'),
)
CLASSES = 80
DETECTORS = {  # by whether it is a cascade and has masks
    (False, False): 'faster-rcnn',
    (False, True): 'mask-rcnn',
    (True, False): 'cascade-rcnn',
    (True, True): 'cascade-mask-rcnn',
}
CONV2 = 'backbone.layer1.0.conv2.conv.weight'


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: It has no poly-scale convolutions, or unknown keys.
    """
    renamed = background_last(rename(state, RULES))
    if CONV2 not in renamed:
        raise ValueError(
            f'there is no {CONV2}: this is no detector with a PS-ResNet. A '
            'backbone needs no conversion: name its file in init_cfg of '
            'PSResNet, with from_dense=True if it is a plain ResNet'
        )
    return renamed


def guess_config(state: State) -> str | None:
    """The config of the released model, of COCO's classes."""
    cascade = f'{BOX_HEAD}0.fc_cls.bias' in state
    scores = state.get(f'{BOX_HEAD}{"0." if cascade else ""}fc_cls.bias')
    if scores is None or len(scores) != CLASSES + 1:
        return None
    masks = any(name.startswith('roi_head.mask_head.') for name in state)
    outputs, inputs = state[CONV2].shape[:2]
    net = 'r50'
    if 'backbone.layer3.22.conv1.weight' in state:
        net = 'r101' if inputs == outputs else 'x101-32x4d'
    return f'psconv-released_{DETECTORS[cascade, masks]}_{net}_fpn_1x_coco'
