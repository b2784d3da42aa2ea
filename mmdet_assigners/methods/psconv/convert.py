"""Official PSConv checkpoints (d-li14/PSConv) -> ours.

``mmdet-assigners convert psconv faster_rcnn_psconv_r50.pth out.pth``

- Detectors of an early mmdet: class 0 is the background, which comes last
  here, without boxes and masks;
- ImageNet backbones, whose names are ours: checked, without their classifier;
- plain ResNets and ResNeXts of ImageNet: an initialization, whose kernels are
  distributed over those of the layers.

An ImageNet file gives a backbone, for ``init_cfg``.
"""

import re

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import BOX_HEAD, background_last
from .functional import split_dense

RULES: Rules = (
    (r'((?:backbone|neck|rpn_head)\..+)', r'\1'),
    (r'((?:bbox|mask)_head\..+)', r'roi_head.\1'),
)
IMAGENET: Rules = (
    (r'fc\.(?:weight|bias)', None),
    (r'((?:conv1|bn1|layer[1-4]\.\d+)\..+)', r'\1'),
)
PARTS = ('conv', 'gwconv', 'gwconv_shift')  # as split_dense returns them
PLAIN = re.compile(r'(layer\d\.\d+\.conv2\.)weight')
CLASSES = 80
DETECTORS = {  # by whether it is a cascade and has masks
    (False, False): 'faster-rcnn',
    (False, True): 'mask-rcnn',
    (True, False): 'cascade-rcnn',
    (True, True): 'cascade-mask-rcnn',
}
CONV2 = 'layer1.0.conv2.conv.weight'


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: It has no poly-scale convolutions where it must, or
            unknown keys.
    """
    if 'layer1.0.conv1.weight' in state:
        return _from_imagenet(rename(state, IMAGENET))
    renamed = background_last(rename(state, RULES))
    if f'backbone.{CONV2}' not in renamed:
        raise ValueError(
            f'there is no backbone.{CONV2}: this is no detector with a '
            'PS-ResNet. Of plain networks only a backbone converts, as an '
            'initialization'
        )
    return renamed


def part_of(state: State) -> str | None:
    """``'backbone'`` for an ImageNet network, None for a detector."""
    return 'backbone' if CONV2 in state else None


def guess_config(state: State) -> str | None:
    """The config of the backbone, or of the released model (80 classes)."""
    if part_of(state):
        net = _net_of(state)
        return net and f'psconv_faster-rcnn_{net}_fpn_1x_coco'
    cascade = f'{BOX_HEAD}0.fc_cls.bias' in state
    scores = state.get(f'{BOX_HEAD}{"0." if cascade else ""}fc_cls.bias')
    if scores is None or len(scores) != CLASSES + 1:
        return None
    masks = any(name.startswith('roi_head.mask_head.') for name in state)
    net = _net_of(state, 'backbone.')
    if net is None:
        return None
    return f'psconv-released_{DETECTORS[cascade, masks]}_{net}_fpn_1x_coco'


def _net_of(state: State, prefix: str = '') -> str | None:
    """Short name of a backbone that a config has, None for another."""
    outputs, inputs = state[f'{prefix}{CONV2}'].shape[:2]
    blocks = [n for n in state if re.search(r'layer3\.\d+\.conv1\.', n)]
    groups = outputs // inputs
    names = {(6, 1): 'r50', (23, 1): 'r101', (23, 32): 'x101-32x4d'}
    return names.get((len(blocks), groups))


def _from_imagenet(state: State) -> State:
    found: State = {}
    for name, value in state.items():
        plain = PLAIN.fullmatch(name)
        if not plain:
            found[name] = value
            continue
        outputs, inputs = value.shape[:2]
        parts = split_dense(value, outputs // inputs)
        for part, kernel in zip(PARTS, parts, strict=True):
            found[f'{plain[1]}{part}.weight'] = kernel
    if CONV2 not in found or 'layer1.0.conv3.weight' not in found:
        raise ValueError(
            'there are no bottlenecks (layer1.0.conv2, layer1.0.conv3): this '
            'is no ResNet or ResNeXt with 50, 101 or 152 layers'
        )
    return found
