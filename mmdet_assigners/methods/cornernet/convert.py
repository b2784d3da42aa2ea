"""Released CornerNet weights -> ours.

``mmdet-assigners convert cornernet CornerNet_500000.pkl out.pth``

Those of mmdet load as they are.
"""

from ...conversion.keypoint_networks import HOURGLASS
from ...conversion.state_dicts import Rules, State, rename

POOL = dict(
    p1_conv1='direction1_conv',
    p2_conv1='direction2_conv',
    p_conv1='aftpool_conv.conv',
    p_bn1='aftpool_conv.bn',
    conv1='conv1.conv',
    bn1='conv1.bn',
    conv2='conv2',
)
BRANCHES = dict(heats='heat', tags='emb', regrs='off')
RULES: Rules = (
    *HOURGLASS,
    *(
        (
            rf'(tl|br)_cnvs\.(\d)\.{theirs}\.(.+)',
            rf'bbox_head.\1_pool.\2.{ours}.\3',
        )
        for theirs, ours in POOL.items()
    ),
    *(
        (
            rf'(tl|br)_{theirs}\.(\d\.[01])\.(?:conv\.)?(\w+)',
            rf'bbox_head.\1_{ours}.\2.conv.\3',
        )
        for theirs, ours in BRANCHES.items()
    ),
)
STACKS = {
    1: 'cornernet_hourglass52_8xb6-crop511-210e_coco',
    2: 'cornernet-official_hourglass104_10xb5-crop511-210e_coco',
}


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: A checkpoint of another network.
    """
    renamed = rename(state, RULES)
    return {n.replace('.skip.', '.downsample.'): t for n, t in renamed.items()}


def guess_config(state: State) -> str | None:
    """The config by the number of stacks."""
    heats = {n.split('.')[2] for n in state if 'bbox_head.tl_heat.' in n}
    return STACKS.get(len(heats))


def alternatives(config: str) -> list[str]:
    """Configs of the same tensors: another test."""
    if config != STACKS[2]:
        return []
    return [config.replace('cornernet-official_', 'cornernet-ms-test_')]
