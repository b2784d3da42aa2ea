"""Networks of xingyizhou/CenterNet and the codes that build on it -> ours.

The projections of the third and the fourth level of DLA-34, which the official
network stores and does not use, are left out. The bias of the deformable
convolutions of a ResNet goes into the running mean of the norm after it,
because those of mmdet's neck have none.
"""

import re
from collections.abc import Mapping

from .state_dicts import Rules, State, rename

HOURGLASS: Rules = (
    (r'pre\.0\.(.+)', r'backbone.stem.0.\1'),
    (r'pre\.1\.(.+)', r'backbone.stem.1.0.\1'),
    (r'kps\.(.+)', r'backbone.hourglass_modules.\1'),
    (r'cnvs\.(.+)', r'backbone.out_convs.\1'),
    (r'inters\.(.+)', r'backbone.inters.\1'),
    (r'inters_\.(\d)\.0\.(.+)', r'backbone.conv1x1s.\1.conv.\2'),
    (r'inters_\.(\d)\.1\.(.+)', r'backbone.conv1x1s.\1.bn.\2'),
    (r'cnvs_\.(\d)\.0\.(.+)', r'backbone.remap_convs.\1.conv.\2'),
    (r'cnvs_\.(\d)\.1\.(.+)', r'backbone.remap_convs.\1.bn.\2'),
)
DLA: Rules = (
    (r'base\.level[34]\.project\..+', None),
    (r'base\.fc\..+', None),
    (r'base\.(.+)', r'backbone.\1'),
    (r'dla_up\.ida_(\d\.)(.+)', r'neck.steps.\1\2'),
    (r'ida_up\.(.+)', r'neck.last.\1'),
)
RESNET: Rules = (
    (r'((?:conv1|bn1|layer\d)\..+)', r'backbone.\1'),
    (r'(deconv_layers\..+)', r'\1'),
)


def convert_network(state: State, heads: Mapping[str, str]) -> State:
    """Official state dict of a DLA-34, Hourglass or ResNet -> ours.

    Args:
        state: Official state dict.
        heads: Official name of a branch -> ours in ``bbox_head``; the layers
            of a branch have the same names.

    Raises:
        ValueError: A key of another network.
    """
    rules = [
        (rf'{theirs}\.(.+)', rf'bbox_head.{ours}.\1')
        for theirs, ours in heads.items()
    ]
    if any(name.startswith('kps.') for name in state):
        return convert_hourglass(state, heads)
    if any(name.startswith('base.') for name in state):
        renamed = rename(state, (*DLA, *rules))
        return {dcn_name(name): value for name, value in renamed.items()}
    return _resnet(rename(state, (*RESNET, *rules)))


def network_of(state: State) -> str:
    """``'dla34'``, ``'hourglass104'``, ``'r101'`` or ``'r18'``; ours."""
    if 'backbone.base_layer.0.weight' in state:
        return 'dla34'
    if any(name.startswith('backbone.hourglass_modules') for name in state):
        return 'hourglass104'
    deep = 'backbone.layer1.0.conv3.weight' in state
    return 'r101' if deep else 'r18'


def convert_hourglass(state: State, heads: Mapping[str, str]) -> State:
    """Official stacked hourglass -> ours; the last stack has mmdet's names.

    Args:
        state: Official state dict.
        heads: As of `convert_network`.

    Raises:
        ValueError: A key of another network.
    """
    stacks = [n.split('.')[1] for n in state if n.startswith('kps.')]
    last = max(map(int, stacks))
    rules = list(HOURGLASS)
    for theirs, ours in heads.items():
        for stack in range(last + 1):
            owner = 'bbox_head'
            if stack < last:
                owner += f'.earlier.{stack}'
            rules += [
                (
                    rf'{theirs}\.{stack}\.0\.conv\.(.+)',
                    rf'{owner}.{ours}.0.\1',
                ),
                (rf'{theirs}\.{stack}\.1\.(.+)', rf'{owner}.{ours}.2.\1'),
            ]
    renamed = rename(state, rules)
    return {n.replace('.skip.', '.downsample.'): t for n, t in renamed.items()}


def dcn_name(name: str) -> str:
    """Parts of a deformable block, official -> ours."""
    name = name.replace('.conv_offset_mask.', '.conv_offset.')
    return name.replace('.actf.0.', '.bn.')


def _resnet(state: State) -> State:
    found: State = {}
    biases: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'deconv_layers\.(\d+)\.(.+)', name)
        if not match:
            found[name] = value
            continue
        # six layers: deformable, norm, ReLU, transposed, norm, ReLU
        block, layer = divmod(int(match[1]), 6)
        part = f'neck.deconv_layers.{2 * block + layer // 3}'
        if layer % 3:
            found[f'{part}.bn.{match[2]}'] = value
        elif match[2] == 'bias':
            biases[f'{part}.bn.running_mean'] = value
        else:
            found[dcn_name(f'{part}.conv.{match[2]}')] = value
    for name, bias in biases.items():
        found[name] = found[name] - bias
    return found
