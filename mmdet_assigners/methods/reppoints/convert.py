"""Official RepPoints checkpoint (microsoft/RepPoints, mmdet 0.6) -> ours.

``mmdet-assigners convert reppoints official.pth out.pth``

Names are mmdet's, but for the offsets of deformable backbones. A checkpoint
doesn't say which schedule it was trained with, nor tell min-max from partial
min-max: for another than the guessed one name the config by ``--config``.
"""

from ...conversion.state_dicts import State, rename

RULES = (
    (
        r'backbone\.(layer\d\.\d+\.conv2)_offset\.(.+)',
        r'backbone.\1.conv_offset.\2',
    ),
    (r'((?:backbone|neck|bbox_head)\..+)', r'\1'),
)


BOX = 4  # outputs of the first stage, against two for each point


def convert(state: State) -> State:
    """Official state dict -> ours."""
    return rename(state, RULES)


def guess_config(state: State) -> str:
    """The shortest schedule of the checkpoint's network."""
    if 'bbox_head.moment_transfer' not in state:
        outputs = len(state.get('bbox_head.reppoints_pts_init_out.bias', ()))
        points = 'bbox-center' if outputs == BOX else 'minmax'
        return f'batch-reppoints-{points}_r50_fpn-gn_1x_coco'
    weight = state.get('backbone.layer3.22.conv2.weight')
    if weight is None:
        return 'batch-reppoints-moment_r50_fpn-gn_1x_coco'
    depth = 'r101' if weight.shape[0] == weight.shape[1] else 'x101'
    if 'backbone.layer3.0.conv2.conv_offset.weight' in state:
        depth += '-dconv-c3-c5'
    return f'batch-reppoints-moment_{depth}_fpn-gn_2x_coco'


def alternatives(config: str) -> list[str]:
    """Partial min-max: the tensors of min-max, but boxes of four points."""
    other = config.replace('-minmax_', '-partial-minmax_')
    return [other] if other != config else []
