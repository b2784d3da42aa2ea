"""Released CenterNet weights -> ours.

``mmdet-assigners convert centernet ctdet_coco_dla_2x.pth out.pth``

Takes the detectors with DLA-34, Hourglass-104 and ResNets.
"""

from ...conversion.keypoint_networks import convert_network, network_of
from ...conversion.state_dicts import State

HEADS = dict(hm='heatmap_head', wh='wh_head', reg='offset_head')
CONFIGS = {
    'dla34': 'centernet_dla34_crop512-140e_coco',
    'hourglass104': 'centernet_hourglass104_crop512-50e_coco',
    'r18': 'centernet_r18-dcnv2_crop512-140e_coco',
    'r101': 'centernet_r101-dcnv2_crop512-140e_coco',
}


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: A checkpoint of another network.
    """
    return convert_network(state, HEADS)


def guess_config(state: State) -> str | None:
    """The config by the names of the backbone."""
    return CONFIGS[network_of(state)]


def alternatives(config: str) -> list[str]:
    """Configs of another schedule, of the same tensors."""
    if config == CONFIGS['dla34']:
        return ['centernet_dla34_crop512-230e_coco']
    return []
