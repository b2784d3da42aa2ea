"""Released SaccadeNet weights -> ours.

``mmdet-assigners convert saccadenet coco_dla_2x.pth out.pth``

Released weights were trained with the slip of the official code that
``agg_mode='official_v1'`` keeps.
"""

from ...conversion.keypoint_networks import convert_network, network_of
from ...conversion.state_dicts import State, rename

HEADS = dict(
    hm='heatmap_head', wh='wh_head', reg='offset_head', cor_att='corner_head'
)
CONFIGS = {
    'dla34': 'saccadenet-released_dla34_crop512-230e_coco',
    'r18': 'saccadenet-released_r18-dcnv2_crop512-230e_coco',
}


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: A checkpoint of another network, of CenterNet, or with
            several aggregation modules.
    """
    own = {n: t for n, t in state.items() if n.startswith('agg_att.')}
    found = convert_network(
        {name: t for name, t in state.items() if name not in own}, HEADS
    )
    if not own:
        raise ValueError(
            'there is no agg_att in it, as in the weights of CenterNet: '
            '`mmdet-assigners convert centernet` converts these, and '
            'load_from of a config starts with the result'
        )
    layers = r'(agg_att\.(?:weight|bias|conv_offset_mask\..+|conv1x1\..+))'
    return found | rename(own, [(layers, r'bbox_head.\1')])


def guess_config(state: State) -> str | None:
    """The config by the names of the backbone."""
    return CONFIGS.get(network_of(state))
