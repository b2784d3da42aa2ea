"""Official checkpoint of DSC (hding2455/DSC) -> ours.

``mmdet-assigners convert shape_aware official.pth out.pth``

The official code is a fork of mmdet 2.1, whose names, boxes and RoIAlign are
those of mmdet 3. F-DSC has the tensors of DSC: name its config by
``--config``.
"""

from ...conversion.state_dicts import Rules, State, rename

RULES: Rules = (
    (r'((?:backbone|neck|rpn_head)\..+)', r'\1'),
    (r'(roi_head\.(?:mpn|bbox_head)\.[0-2]\..+)', r'\1'),
    (r'(roi_head\.(?:mask_head|semantic_head)\..+)', r'\1'),
)
# channels of the first block
RESNEXTS = {
    128: 'dsc_x101-32x4d_fpn_16xb1-20e_coco',
    256: 'dsc_x101-64x4d-dconv-c3-c5_fpn_ms-400-1400-16xb1-20e_coco',
}


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return rename(state, RULES)


def guess_config(state: State) -> str:
    """The config of DSC with this backbone."""
    width = len(state['backbone.layer1.0.conv1.weight'])
    if width in RESNEXTS:
        return RESNEXTS[width]
    if 'backbone.layer3.22.conv1.weight' in state:
        return 'dsc_r101_fpn_20e_coco'
    if not any(name.startswith('roi_head.semantic_head') for name in state):
        return 'dsc-without-semantic_r50_fpn_1x_coco'
    return 'dsc_r50_fpn_1x_coco'


def alternatives(config: str) -> list[str]:
    """Configs of other sizes of the RoI features, of the same tensors."""
    fast = {'dsc_r50_fpn_1x_coco': ['f-dsc_r50_fpn_1x_coco']}
    return fast.get(config, [])
