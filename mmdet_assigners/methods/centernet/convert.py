r"""Released CenterNet weights -> ours.

``mmdet-assigners convert centernet ctdet_coco_dla_2x.pth out.pth``

Takes the detectors with DLA-34, Hourglass-104 and ResNets. The projections of
the third and the fourth level of DLA-34, which the official network stores and
does not use, are left out. The bias of the deformable convolutions of a ResNet
goes into the running mean of the norm after it, because those of mmdet's neck
have none.
"""

import re

from ...conversion.state_dicts import Rules, State, rename

HEADS = dict(hm='heatmap_head', wh='wh_head', reg='offset_head')
_OURS = {
    'DLA': 'centernet_dla34_crop512-140e_coco',
    'Hourglass': 'centernet_hourglass104_crop512-50e_coco',
    18: 'centernet_r18-dcnv2_crop512-140e_coco',
    101: 'centernet_r101-dcnv2_crop512-140e_coco',
}
_HEADS = [
    (rf'{theirs}\.(\d\..+)', rf'bbox_head.{ours}.\1')
    for theirs, ours in HEADS.items()
]
DLA: Rules = (
    (r'base\.level[34]\.project\..+', None),
    (r'base\.fc\..+', None),
    (r'base\.(.+)', r'backbone.\1'),
    (r'dla_up\.ida_(\d\.)(.+)', r'neck.steps.\1\2'),
    (r'ida_up\.(.+)', r'neck.last.\1'),
    *_HEADS,
)
RESNET: Rules = (
    (r'((?:conv1|bn1|layer\d)\..+)', r'backbone.\1'),
    (r'(deconv_layers\..+)', r'\1'),
    *_HEADS,
)


def convert(state: State) -> State:
    """Official state dict -> ours.

    Raises:
        ValueError: A checkpoint of another network.
    """
    if any(name.startswith('kps.') for name in state):
        stacks = len({n.split('.')[1] for n in state if n.startswith('kps.')})
        return {hourglass_name(name, stacks): t for name, t in state.items()}
    if any(name.startswith('base.') for name in state):
        return {dcn_name(n): t for n, t in rename(state, DLA).items()}
    return _resnet(rename(state, RESNET))


def guess_config(state: State) -> str | None:
    """The config by the names of the backbone."""
    if 'backbone.base_layer.0.weight' in state:
        return _OURS['DLA']
    if any(name.startswith('backbone.hourglass_modules') for name in state):
        return _OURS['Hourglass']
    deep = 'backbone.layer1.0.conv3.weight' in state
    return _OURS[101 if deep else 18]


def alternatives(config: str) -> list[str]:
    """Configs of another schedule, of the same tensors."""
    if config == _OURS['DLA']:
        return ['centernet_dla34_crop512-230e_coco']
    return []


def dcn_name(name: str) -> str:
    """Parts of a deformable block, official -> ours."""
    name = name.replace('.conv_offset_mask.', '.conv_offset.')
    return name.replace('.actf.0.', '.bn.')


def hourglass_name(name: str, num_stacks: int) -> str:
    """Name in the official stacked hourglass -> ours.

    Args:
        name: Official name.
        num_stacks: Number of stacks; the last one has mmdet's names.

    Raises:
        ValueError: No such name.
    """
    rules = (
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
    for pattern, ours in rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(ours).replace('.skip.', '.downsample.')
    match = re.fullmatch(r'(hm|wh|reg)\.(\d)\.(0\.conv|1)\.(.+)', name)
    if not match:
        raise ValueError(f'{name} is not of the official Hourglass')
    branch, stack, layer, rest = match.groups()
    last = int(stack) == num_stacks - 1
    owner = 'bbox_head' if last else f'bbox_head.earlier.{stack}'
    layer = '2' if layer == '1' else '0'
    return f'{owner}.{HEADS[branch]}.{layer}.{rest}'


def _resnet(state: State) -> State:
    found: State = {}
    for name, value in state.items():
        if not name.startswith('deconv_layers.'):
            found[name] = value
            continue
        _, index, rest = name.split('.', 2)
        block, layer = divmod(int(index), 6)
        # six layers: deformable, norm, ReLU, transposed, norm, ReLU
        part = f'neck.deconv_layers.{2 * block + layer // 3}'
        if layer % 3:
            found[f'{part}.bn.{rest}'] = value
        elif rest != 'bias':
            rest = rest.replace('conv_offset_mask', 'conv_offset')
            found[f'{part}.conv.{rest}'] = value
    for name, value in state.items():
        if re.fullmatch(r'deconv_layers\.\d+\.bias', name):
            block, layer = divmod(int(name.split('.')[1]), 6)
            if layer == 0:
                mean = f'neck.deconv_layers.{2 * block}.bn.running_mean'
                found[mean] = found[mean] - value
    return found
