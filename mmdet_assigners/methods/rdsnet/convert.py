"""Official RDSNet checkpoint (wangsr126/RDSNet) -> ours.

``mmdet-assigners convert rdsnet official.pth out.pth``

The official code is a fork of mmdet 1.x. No tensor changes; the layers of the
pixel stream lose the numbers of the enlargements between them.
"""

from ...conversion.state_dicts import Rules, State, rename

_LAYER = r'((?:conv|gn)\..+)'
RULES: Rules = (
    (r'((?:backbone|neck|bbox_head|mask_head\.conv_reps)\..+)', r'\1'),
    *(
        (
            rf'mask_head\.lateral_convs\.(\d+)\.{2 * index}\.{_LAYER}',
            rf'mask_head.lateral_convs.\1.{index}.\2',
        )
        for index in range(4)
    ),
    (
        rf'mask_head\.final_convs\.(\d+)\.0\.{_LAYER}',
        r'mask_head.final_convs.\1.\2',
    ),
    # numbers of the code, official and ours, which nothing trains
    (r'mbrm\.(?:weight|bias)', None),
)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return rename(state, RULES)


def guess_config(state: State) -> str:
    """The config of the released model of this depth."""
    deep = 'backbone.layer3.22.conv1.weight' in state
    return f'rdsnet-released_r{101 if deep else 50}_fpn_1x_coco'
