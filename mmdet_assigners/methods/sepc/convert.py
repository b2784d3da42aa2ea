"""Official SEPC checkpoint (jshilong/SEPC, mmdet 1.1) -> ours.

``mmdet-assigners convert sepc official.pth out.pth``

The tensors stay as they are, but for FSAF: the official head predicts bottom,
top, left, right, mmdet's top, bottom, left, right. What else the released
weights need is in the configs ``*-released_*``.
"""

import torch

from ...conversion.state_dicts import State, rename

PCONV = r'neck\.1\.Pconvs\.(\d+)\.'
RULES = (
    (r'(backbone\..+|neck\.0\..+)', r'\1'),
    (PCONV + r'Pconv\.0\.(.+)', r'neck.1.pconvs.\1.coarser.\2'),
    (PCONV + r'Pconv\.1\.(.+)', r'neck.1.pconvs.\1.same.\2'),
    (PCONV + r'Pconv\.2\.(.+)', r'neck.1.pconvs.\1.finer.\2'),
    (PCONV + r'bn\.(.+)', r'neck.1.pconvs.\1.norm.\2'),
    (r'neck\.1\.cconv\.(.+)', r'neck.1.cls_conv.\1'),
    (r'neck\.1\.lconv\.(.+)', r'neck.1.reg_conv.\1'),
    (r'neck\.1\.cbn\.(.+)', r'neck.1.cls_norm.\1'),
    (r'neck\.1\.lbn\.(.+)', r'neck.1.reg_norm.\1'),
    (r'(bbox_head\.retina_(?:cls|reg)\..+)', r'\1'),
)
# One box per cell, against nine: only FSAF.
FSAF_CHANNELS = 4


def convert(state: State) -> State:
    """Official state dict -> ours."""
    state = rename(state, RULES)
    for name in ('bbox_head.retina_reg.weight', 'bbox_head.retina_reg.bias'):
        if name in state and len(state[name]) == FSAF_CHANNELS:
            order = torch.tensor([1, 0, 2, 3])
            state[name] = state[name][order]
    return state


def guess_config(state: State) -> str:
    """The row of the table and the head that a (converted) file belongs to.

    A FreeAnchor file is taken for a RetinaNet one, see :func:`alternatives`.
    """
    if 'neck.1.pconvs.0.same.conv_offset.weight' in state:
        row = 'sepc'
    elif 'neck.1.cls_conv.conv_offset.weight' in state:
        row = 'sepc-lite'
    elif 'neck.1.pconvs.0.norm.weight' in state:
        row = 'pconv-ibn'
    else:
        row = 'pconv'
    bias = state.get('bbox_head.retina_reg.bias', ())
    head = 'fsaf' if len(bias) == FSAF_CHANNELS else 'retinanet'
    return f'{row}-released_{head}_r50_fpn_1x_coco'


def alternatives(config: str) -> list[str]:
    """FreeAnchor: the tensors of RetinaNet, but deltas in other units."""
    other = config.replace('_retinanet_', '_freeanchor_')
    return [other] if other != config else []
