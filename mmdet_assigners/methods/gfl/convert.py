"""Official GFL checkpoint (implus/GFocal, mmdet 2.0) -> ours.

``mmdet-assigners convert gfl official.pth out.pth``

Names and input are mmdet's, but for one buffer. For another backbone than R-50
name by ``--config`` a config that changes the backbone of
``gfl-released_r50_fpn_1x_coco``.
"""

from ...conversion.state_dicts import State, rename

RULES = (
    (
        r'bbox_head\.distribution_project\.project',
        'bbox_head.integral.project',
    ),
    (r'((?:backbone|neck|bbox_head)\..+)', r'\1'),
)


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return rename(state, RULES)


def guess_config(state: State) -> str:
    """The config of the released 1x model."""
    return 'gfl-released_r50_fpn_1x_coco'
