"""Official Hit-Detector checkpoints (ggjy/HitDet.pytorch) -> ours.

``mmdet-assigners convert hit_detector official.pth out.pth``

Detectors of mmdet 1.x: class 0 is the background, which comes last here and
has no boxes. The parts keep their official names. Of a file of the ImageNet
backbone the classifier is dropped.
"""

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import BOX_HEAD, background_last

RULES: Rules = (
    (r'((?:backbone|neck|rpn_head)\..+)', r'\1'),
    (r'(bbox_head\..+)', r'roi_head.\1'),
    (r'(layers\.\d+\..+)', r'\1'),
    (r'(?:fc|classifier)\.(?:weight|bias)', None),
)
CLASSES = 80
_STEM = 'layers.0.conv.weight'
_FIRST = 'layers.1.conv1.conv.weight'


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: It has no backbone of Hit-Detector, or unknown keys.
    """
    renamed = background_last(rename(state, RULES))
    for prefix in ('', 'backbone.'):
        if {prefix + _STEM, prefix + _FIRST} <= renamed.keys():
            return renamed
    raise ValueError(
        f'there is no {_STEM}, with or without "backbone.": this is neither '
        'a Hit-Detector nor its backbone'
    )


def part_of(state: State) -> str | None:
    """Whether a file is of the backbone or of a detector."""
    return 'backbone' if _STEM in state else None


def guess_config(state: State) -> str | None:
    """The config of the released model, of COCO's classes."""
    if _STEM in state:
        return 'hit-detector_faster-rcnn_1x_coco'
    scores = state.get(f'{BOX_HEAD}fc_cls.bias')
    if scores is None or len(scores) != CLASSES + 1:
        return None
    return 'hit-detector-released_faster-rcnn_1x_coco'
