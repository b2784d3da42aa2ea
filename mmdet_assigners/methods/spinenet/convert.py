"""Released SpineNet weights -> ours.

``mmdet-assigners convert spinenet spinenet_49.pth out.pth``

- Checkpoints of the ports lucifer443/SpineNet-Pytorch and
  yan-roo/SpineNet-Pytorch, which are of mmdet 1.x: RetinaNet, Mask R-CNN;
- checkpoints of the official code (tensorflow/tpu): RetinaNet; of Mask R-CNN
  and classifiers the backbone alone.
"""

from pathlib import Path
from typing import Any

from ...conversion.state_dicts import Rules, State, rename
from ...conversion.trunks import background_last
from ...diagnostics.checkpoints import load
from . import official
from .graph import ARCHS

RULES: Rules = (
    (r'(backbone\.(?:conv1|init_block|merge_ops|scale_|endpoint_).+)', r'\1'),
    (r'(bbox_head\.(?:(?:cls|reg)_convs|retina_(?:cls|reg))\..+)', r'\1'),
    (r'(rpn_head\..+)', r'\1'),
    (r'((?:bbox|mask)_head\..+)', r'roi_head.\1'),
)
SIZES = {'49S': 640, '49': 640, '96': 1024, '143': 1280, '190': 1280}
CLASSES = 80
_ANCHORS = 9


def read(path: str | Path) -> dict[str, Any]:
    """A file of PyTorch, or of TensorFlow (``*.index``, ``*.npz``)."""
    if Path(path).suffix in ('.index', '.npz'):
        return dict(official.read(path))
    return load(path)


def convert(state: State) -> State:
    """Released weights -> our state dict.

    Raises:
        ValueError: They are of another network, such as a plain ResNet.
    """
    if official.is_official(state):
        return official.convert(state)
    if not any('merge_ops.' in name for name in state):
        raise ValueError(
            'there are no merge_ops: this is no SpineNet, whose blocks those '
            f'of a ResNet do not fit; got {", ".join(list(state)[:3])}'
        )
    return background_last(rename(state, RULES))


def part_of(state: State) -> str | None:
    """``'backbone'`` for a file without a head, None for a detector."""
    return 'backbone' if 'conv1.conv.weight' in state else None


def guess_config(state: State) -> str | None:
    """The config of the network; detectors of COCO's classes."""
    prefix = '' if part_of(state) else 'backbone.'
    arch = _arch(state, prefix)
    size = SIZES[arch]
    scores = state.get('bbox_head.retina_cls.bias')
    if scores is not None and len(scores) != _ANCHORS * CLASSES:
        return None
    # of the ports alone
    if f'{prefix}conv1.bn.num_batches_tracked' not in state:
        epochs = 400 if arch == '190' else 500
        return f'spinenet-c_retinanet_{arch.lower()}_{size}-{epochs}e_coco'
    detector = 'retinanet'
    if scores is None:
        detector = 'mask-rcnn'
        scores = state.get('roi_head.bbox_head.fc_cls.bias')
        if scores is None or len(scores) != CLASSES + 1:
            return None
    return f'spinenet-released_{detector}_{arch.lower()}_{size}-350e_coco'


def alternatives(config: str) -> list[str]:
    """Configs of another size or activation, of the same tensors."""
    found = []
    if 'retinanet_49_640' in config:
        found.append(config.replace('640', '896'))
    if config.startswith('spinenet-c_') and '190' not in config:
        found.append(config.replace('-c_', '-tf_').replace('500e', '350e'))
    return found


def _arch(state: State, prefix: str) -> str:
    """By the widths and the blocks of a node."""
    node = f'{prefix}scale_permuted_blocks.0.'
    width = len(state[f'{node}0.bn1.weight'])
    repeats = sum(f'{node}{r}.bn1.weight' in state for r in range(9))
    for name, arch in ARCHS.items():
        if (int(64 * arch.width), arch.repeats) == (width, repeats):
            return name
    raise ValueError(
        f'no SpineNet has {repeats} blocks per node with {width} channels'
    )
