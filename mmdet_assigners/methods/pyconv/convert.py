"""ImageNet weights of iduta/pyconv -> a backbone of ours.

``mmdet-assigners convert pyconv official.pth checkpoints/pyconvresnet50.pth``

Our parameters have the official names, so this checks a file and drops its
classifier.
"""

from ...conversion.state_dicts import Rules, State, rename

RULES: Rules = (
    (r'fc\.(?:weight|bias)', None),
    (r'((?:conv1|bn1)\.\w+)', r'\1'),
    (r'(layer[1-4]\.\d+\.(?:conv|bn)\d\..+)', r'\1'),
    (r'(layer[1-4]\.\d+\.downsample\.\d\..+)', r'\1'),
)
CONFIGS = {
    'PyConvResNet-50': 'pyconv_retinanet_r50_fpn_1x_coco',
    'PyConvResNet-101': 'pyconv_retinanet_r101_fpn_1x_coco',
    'PyConvResNet-152': 'pyconv_faster-rcnn_r152_fpn_1x_coco',
    'PyConvHGResNet-50': 'pyconv-hg_retinanet_r50_fpn_1x_coco',
    'PyConvHGResNet-101': 'pyconv-hg_faster-rcnn_r101_fpn_1x_coco',
    'PyConvHGResNet-152': 'pyconv-hg_faster-rcnn_r152_fpn_1x_coco',
}


def convert(state: State) -> State:
    """Official state dict -> ours, without the classifier.

    Raises:
        ValueError: Keys of another method, or a plain ResNet.
    """
    renamed = rename(state, RULES)
    if not any('.conv2_1.' in name for name in renamed):
        plain = next((n for n in renamed if '.conv2.' in n), 'no layers')
        raise ValueError(
            f'there is no pyramid (conv2_1, conv2_2, ...) but {plain}: these '
            'are weights of a plain ResNet, which PyConvResNet has no place '
            'for'
        )
    return renamed


def part_of(state: State) -> str:
    """The files are of a backbone."""
    return 'backbone'


def guess_config(state: State) -> str | None:
    """A config with this backbone, by its widths and blocks."""
    width = len(state['layer1.0.bn1.weight'])
    if 'layer1.0.conv3.weight' not in state:
        return f'pyconv_retinanet_r{_depth(state, 2)}_fpn_1x_coco'
    name = {64: 'PyConvResNet', 128: 'PyConvHGResNet'}.get(width)
    return CONFIGS.get(f'{name}-{_depth(state, 3)}')


def _depth(state: State, convs: int) -> int:
    """Number of layers: the blocks', the stem and the classifier."""
    blocks = {n.rpartition('.bn1.')[0] for n in state if '.bn1.' in n}
    return convs * len(blocks) + 2
