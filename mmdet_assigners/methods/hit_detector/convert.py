"""Official HitDetector checkpoint -> ours.

``mmdet-assigners convert hit_detector official.pth out.pth``

TODO(new-method) official code and version, and what differs. Without
released weights delete this file and its test.
"""

from ...conversion.state_dicts import State


def convert(state: State) -> State:
    """Official state dict -> ours."""
    # TODO(new-method) return rename(state, RULES)
    raise NotImplementedError('convert of hit_detector is not written yet')


def guess_config(state: State) -> str:
    """The config that a converted file belongs to."""
    return 'hit-detector_faster-rcnn_r50_fpn_1x_coco'
