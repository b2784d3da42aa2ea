"""Official SpineNet checkpoint -> ours.

``mmdet-assigners convert spinenet official.pth out.pth``

TODO(new-method) official code and version, and what differs. Without
released weights delete this file and its test.
"""

from ...conversion.state_dicts import State


def convert(state: State) -> State:
    """Official state dict -> ours."""
    # TODO(new-method) return rename(state, RULES)
    raise NotImplementedError('convert of spinenet is not written yet')


def guess_config(state: State) -> str:
    """The config that a converted file belongs to."""
    return 'spinenet_retinanet_r50_fpn_1x_coco'
