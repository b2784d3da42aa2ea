"""Released CSPNet weights -> ours.

``mmdet-assigners convert cspnet csresnext50.weights out.pth``

- Darknet's files (WongKinYiu/CrossStagePartialNetworks): the ImageNet
  networks, with their classifier or cut off before it, and the detectors with
  PANet and SPP;
- checkpoints of mmpretrain's CSPNet, which are timm's.

An ImageNet file gives a backbone, for ``init_cfg``. For detectors with other
classes than COCO's name a config by ``--config``.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch import nn

from mmdet_assigners import get_config

from ...conversion import darknet
from ...conversion.darknet import NUMBERS, Shapes, fit_outputs, shapes_of
from ...conversion.state_dicts import Rules, State, rename
from ...diagnostics.checkpoints import load

# an ImageNet network -> a config with it
BACKBONES = {
    name: f'cspnet_retinanet_{short}_fpn_1x_coco'
    for name, short in (
        ('CSPResNeXt', 'x50-32x4d'),
        ('CSPResNet', 'r50'),
        ('CSPDarknet53', 'd53'),
    )
}
DETECTORS = {
    'CSPResNeXt': 'cspnet-panet-spp_yolov3_x50-32x4d_ms-512-273e_coco',
    'CSPResNet': 'cspnet-panet-spp_yolov3_r50_ms-512-273e_coco',
    'CSPDarknet53': 'cspnet-panet-spp_yolov3_d53_ms-512-273e_coco',
}
OTHERS = {
    'cspnet_retinanet_x50-32x4d_fpn_1x_coco': [
        'cspnet-omega_retinanet_x50-32x4d_fpn_1x_coco'
    ],
    DETECTORS['CSPResNeXt']: [
        'cspnet-panet-spp_yolov3_x50-32x4d_ms-608-273e_coco',
        'cspnet-panet-spp-giou_yolov3_x50-32x4d_ms-512-273e_coco',
        'cspnet-panet-spp-giou_yolov3_x50-32x4d_ms-608-273e_coco',
        'cspnet-panet-spp-ciou_yolov3_x50-32x4d_ms-512-273e_coco',
        'cspnet-panet-spp-ciou_yolov3_x50-32x4d_ms-608-273e_coco',
    ],
    DETECTORS['CSPDarknet53']: [
        'cspnet-panet-spp-ciou_yolov3_d53_ms-512-273e_coco'
    ],
}
ANCHORS = 3  # per level
PREDICTED = 5  # box and objectness
# also the counters of batch norm, which tell these files from Darknet's
_STAGE = r'(stages\.\d\.)'
RULES: Rules = (
    (r'head\.fc\.(?:weight|bias)', None),
    (r'stem\.((?:conv|bn)\..+)', r'stem.0.\1'),
    (r'(stem\.0\..+)', r'\1'),
    (_STAGE + r'downsample_conv\.(.+)', r'\1downsample.\2'),
    (_STAGE + r'(expand_conv\..+)', r'\1\2'),
    (_STAGE + r'(blocks\.\d\.conv\d\.(?:conv|bn)\..+)', r'\1\2'),
    (_STAGE + r'(blocks\.\d\.conv\d)\.weight', r'\1\2.conv.weight'),
    (_STAGE + r'(blocks\.\d\.)bn(\d)\.(.+)', r'\1\2conv\3.bn.\4'),
    (_STAGE + r'atfer_blocks_conv\.(.+)', r'\1post.\2'),
    (_STAGE + r'final_conv\.(.+)', r'\1transition.\2'),
)


def read(path: str | Path) -> dict[str, Any]:
    """A file of Darknet (``*.weights``, ``*.conv.N``), or of PyTorch."""
    if Path(path).suffix in ('.pth', '.pt'):
        return load(path)
    return darknet.read(path)


def convert(state: State) -> State:
    """Released weights -> our state dict.

    Raises:
        ValueError: Keys of another network, or numbers that fill none.
    """
    if NUMBERS in state:
        return _from_darknet(state)
    return _from_mmpretrain(state)


def guess_config(state: State) -> str | None:
    """The config by the widths; detectors of COCO's classes."""
    prefix = 'backbone.' if part_of(state) is None else ''
    name = 'CSPDarknet53'
    if f'{prefix}stages.4.transition.conv.weight' not in state:
        wide = len(state[f'{prefix}stages.3.transition.conv.weight']) == 2048
        name = 'CSPResNeXt' if wide else 'CSPResNet'
    if prefix:
        channels = len(state['bbox_head.convs_pred.0.bias'])
        coco = channels == ANCHORS * (PREDICTED + 80)
        return DETECTORS.get(name) if coco else None
    config = BACKBONES[name]
    if 'stem.0.bn.num_batches_tracked' in state:
        return config.replace('cspnet_', 'cspnet-mmpretrain_')
    return config


def alternatives(config: str) -> list[str]:
    """Configs of another activation, size or coder, of the same tensors."""
    return OTHERS.get(config, [])


def part_of(state: State) -> str | None:
    """``'backbone'`` for an ImageNet network, None for a detector."""
    return 'backbone' if 'stem.0.conv.weight' in state else None


def layers(model: nn.Module) -> Iterator[str]:
    """Our names of the convolutions, in the order of Darknet's cfg."""
    names = [n for n, m in model.named_modules() if isinstance(m, ConvModule)]
    if not any(name.startswith('neck.') for name in names):
        yield from names
        return
    yield from (n for n in names if n.startswith('backbone.'))
    for part in ('before_spp', 'after_spp'):
        yield from (n for n in names if n.startswith(f'neck.{part}.'))
    for i in range(2):
        yield f'neck.reduce.{i}'
        yield f'neck.lateral.{i}'
        yield from (f'neck.top_down.{i}.{k}' for k in range(5))
    for i in range(3):
        if i:
            yield f'neck.down.{i - 1}'
            yield from (f'neck.bottom_up.{i - 1}.{k}' for k in range(5))
        yield f'bbox_head.convs_bridge.{2 - i}'
        yield f'bbox_head.convs_pred.{2 - i}'


def candidates() -> Iterator[tuple[Shapes, list[str]]]:
    """Tensors in the order of a file, and those of unknown channels."""
    init_default_scope('mmdet')
    for config in DETECTORS.values():
        with torch.device('meta'):
            model = MODELS.build(get_config(config).model)
        found = shapes_of(model.state_dict(), layers(model))
        yield found, [name for name in found if 'convs_pred' in name]
    for config in BACKBONES.values():
        with torch.device('meta'):
            model = MODELS.build(get_config(config).model.backbone)
        found = shapes_of(model.state_dict(), layers(model))
        yield found, []
        width = next(reversed(found.values()))[0]
        classifier = {'fc.bias': [1], 'fc.weight': [1, width]}
        yield found | classifier, list(classifier)


def _from_darknet(state: State) -> State:
    numbers = state[NUMBERS]
    for shapes, outputs in candidates():
        total = len(numbers)
        fixed = sum(torch.Size(shape).numel() for shape in shapes.values())
        if not outputs and fixed == total:
            return darknet.split(numbers, shapes)
        channels = fit_outputs(shapes, outputs, total) if outputs else 0
        if 'fc.bias' in shapes and channels == 1000:
            found = darknet.split(numbers, shapes)
            return {k: v for k, v in found.items() if not k.startswith('fc.')}
        detector = 'fc.bias' not in shapes and channels % ANCHORS == 0
        if detector and channels // ANCHORS > PREDICTED:
            return darknet.split(numbers, shapes)
    raise ValueError(
        f'{len(numbers)} numbers are no CSPDarknet-53, CSPResNet-50 or '
        'CSPResNeXt-50 with 1000 classes or none, and no detector with PANet '
        'and SPP on one of them'
    )


def _from_mmpretrain(state: State) -> State:
    renamed = rename(
        {name.removeprefix('backbone.'): v for name, v in state.items()},
        RULES,
    )
    found: State = {}
    for name, value in renamed.items():
        if '.expand_conv.' in name:
            # one convolution, whose second half is the main part
            halves = value.chunk(2) if value.dim() else (value, value)
            for part, half in zip(('bypass', 'main'), halves, strict=True):
                own = re.sub('expand_conv', part, name)
                found[own] = half.clone()
        elif name.endswith('transition.conv.weight'):
            # theirs has the bypass first
            found[name] = value.roll(value.shape[1] // 2, 1)
        else:
            found[name] = value
    return found
