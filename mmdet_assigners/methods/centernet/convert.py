"""Released CenterNet weights -> ours.

``mmdet-assigners convert centernet ctdet_coco_dla_2x.pth out.pth``

Takes the detectors with DLA-34, Hourglass-104 and ResNets, of COCO and VOC.
"""

from ...conversion.keypoint_networks import convert_network, network_of
from ...conversion.state_dicts import State

HEADS = dict(hm='heatmap_head', wh='wh_head', reg='offset_head')
COCO = {
    'dla34': 'centernet_dla34_crop512-140e_coco',
    'hourglass104': 'centernet_hourglass104_crop512-50e_coco',
    'r18': 'centernet_r18-dcnv2_crop512-140e_coco',
    'r101': 'centernet_r101-dcnv2_crop512-140e_coco',
}
VOC = {
    'dla34': 'centernet-voc_dla34_crop384-70e_voc0712',
    'r18': 'centernet-voc_r18-dcnv2_crop384-70e_voc0712',
    'r101': 'centernet-voc_r101-dcnv2_crop384-70e_voc0712',
}
CONFIGS = {80: COCO, 20: VOC}  # by the number of classes


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: A checkpoint of another network.
    """
    return convert_network(state, HEADS)


def guess_config(state: State) -> str | None:
    """The config by the names of the backbone and the number of classes."""
    classes = len(state.get('bbox_head.heatmap_head.2.bias', ()))
    return CONFIGS.get(classes, {}).get(network_of(state))


def alternatives(config: str) -> list[str]:
    """Configs of another schedule or input, of the same tensors."""
    if config == COCO['dla34']:
        return ['centernet_dla34_crop512-230e_coco']
    if config in VOC.values():
        return [config.replace('crop384', 'crop512')]
    return []
