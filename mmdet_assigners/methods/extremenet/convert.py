"""Released ExtremeNet weights -> ours.

``mmdet-assigners convert extremenet ExtremeNet_250000.pkl out.pth``

Takes those of the official code and of CenterNet's ``exdet``, with
Hourglass-104 and DLA-34.
"""

import re

from ...conversion.keypoint_networks import convert_network, network_of
from ...conversion.state_dicts import State

_NAMES = dict(t='top', l='left', b='bottom', r='right')
# of the official code, and of CenterNet's
HEADS = (
    {f'{short}_heats': f'{name}_heat' for short, name in _NAMES.items()}
    | {f'{short}_regrs': f'{name}_offset' for short, name in _NAMES.items()}
    | {'ct_heats': 'center_heat'}
)
EXDET_HEADS = (
    {f'hm_{short}': f'{name}_heat' for short, name in _NAMES.items()}
    | {f'reg_{short}': f'{name}_offset' for short, name in _NAMES.items()}
    | {'hm_c': 'center_heat'}
)
CONFIGS = {
    'dla34': 'extremenet_dla34_crop512-140e_coco',
    'hourglass104': 'extremenet_hourglass104_crop511-50e_coco',
}


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: A checkpoint of another network.
    """
    official = any(name.startswith('ct_heats.') for name in state)
    found = convert_network(state, HEADS if official else EXDET_HEADS)
    stacks = [
        int(match[1])
        for name in found
        if (match := re.match(r'bbox_head\.earlier\.(\d+)\.', name))
    ]
    last = max(stacks, default=-1) + 1
    return {_stack(name, last): value for name, value in found.items()}


def _stack(name: str, last: int) -> str:
    """The stacks of our head have numbers, the last one too."""
    if name.startswith('bbox_head.earlier.'):
        return name.replace('.earlier.', '.stacks.')
    return name.replace('bbox_head.', f'bbox_head.stacks.{last}.')


def guess_config(state: State) -> str | None:
    """The config by the names of the backbone."""
    return CONFIGS.get(network_of(state))


def alternatives(config: str) -> list[str]:
    """Configs of the same tensors: other tests."""
    if config == CONFIGS['dla34']:
        return [config.replace('extremenet_', 'extremenet-ms-test_')]
    return [
        config.replace('extremenet_', f'extremenet-{name}_')
        for name in ('ms-test', 'no-aggregation', 'no-suppression', 'octagon')
    ]
