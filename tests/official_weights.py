"""State dicts as official codes write them, on random weights.

Names and shapes are spelled out here, not read from the rules of a converter.
"""

import re

import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config
from mmdet_assigners.conversion import convert_file, load_converter
from mmdet_assigners.utils import config_path

BLOCKS = (3, 4, 6, 3)


def build(config):
    """The model of a config, without memory."""
    init_default_scope('mmdet')
    with torch.device('meta'):
        return MODELS.build(get_config(config).model)


def assert_loads(method, theirs, same=None, config=None):
    """Convert and load strictly; returns our state dict and the config.

    Args:
        method: Folder of the method.
        theirs: Official state dict.
        same: Our name -> theirs, for tensors that must be equal.
        config: The config that the converter must guess.
    """
    converter = load_converter(method)
    state = converter.convert(theirs)
    guessed = converter.guess_config(state)
    assert config in (None, guessed)
    model = build(guessed)
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    ours = model.state_dict()
    for our, their in (same or {}).items():
        assert torch.equal(ours[our], theirs[their]), our
    return ours, guessed


def conv(state, name, out, inputs, size, bias=True):
    # random numbers only where a test looks at them
    make = torch.zeros if name.startswith('backbone') else torch.randn
    state[f'{name}.weight'] = make(out, inputs, size, size)
    if bias:
        state[f'{name}.bias'] = torch.randn(out)


def linear(state, name, out, inputs):
    state[f'{name}.weight'] = torch.zeros(out, inputs)
    state[f'{name}.bias'] = torch.randn(out)


def frozen_bn(state, name, width):
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.{part}'] = torch.randn(width)


def resnet50(state, stem, stage, norm, shortcut):
    """``norm`` and ``shortcut`` turn the name of a conv into the others."""
    conv(state, f'{stem}.conv1', 64, 3, 7, bias=False)
    frozen_bn(state, norm(f'{stem}.conv1'), 64)
    inputs = 64
    for i, blocks in enumerate(BLOCKS):
        width, out = 64 * 2**i, 256 * 2**i
        for j in range(blocks):
            block = f'{stage(i)}.{j}'
            for k, (cin, cout, size) in enumerate(
                ((inputs, width, 1), (width, width, 3), (width, out, 1)), 1
            ):
                conv(state, f'{block}.conv{k}', cout, cin, size, bias=False)
                frozen_bn(state, norm(f'{block}.conv{k}'), cout)
            if j == 0:
                name, bn = shortcut(block)
                conv(state, name, out, inputs, 1, bias=False)
                frozen_bn(state, bn, out)
            inputs = out


def fpn(state, inner, outer, top, p6_inputs):
    for i in range(3):
        conv(state, inner(i), 256, 512 * 2**i, 1)
        conv(state, outer(i), 256, 256, 3)
    conv(state, f'{top}.p6', 256, p6_inputs, 3)
    conv(state, f'{top}.p7', 256, 256, 3)


def maskrcnn_benchmark_body():
    state = {}
    resnet50(
        state,
        'backbone.body.stem',
        lambda i: f'backbone.body.layer{i + 1}',
        lambda name: name.replace('.conv', '.bn'),
        lambda block: (f'{block}.downsample.0', f'{block}.downsample.1'),
    )
    return state


def maskrcnn_benchmark(head, p6_inputs, anchors, norm):
    """A one-stage detector of a fork of maskrcnn-benchmark.

    Args:
        head: Convolution of the head -> its channels.
        p6_inputs: Channels that P6 is made from.
        anchors: Anchors per location, 0: none are stored.
        norm: Whether the towers have GroupNorm.
    """
    state = maskrcnn_benchmark_body()
    fpn(
        state,
        lambda i: f'backbone.fpn.fpn_inner{i + 2}',
        lambda i: f'backbone.fpn.fpn_layer{i + 2}',
        'backbone.fpn.top_blocks',
        p6_inputs,
    )
    towers(state, ('rpn.head.cls_tower', 'rpn.head.bbox_tower'), norm)
    for i in range(5 if anchors else 0):
        cells = f'rpn.anchor_generator.cell_anchors.{i}'
        state[cells] = torch.zeros(anchors, 4)
    for name, width in head.items():
        conv(state, f'rpn.head.{name}', width, 256, 3)
    return state


def deformable(state):
    """The same with DCN v2 in c3-c5 and at the end of the towers."""
    dcn = {}
    for name, value in state.items():
        module, part = name.rsplit('.', 1)
        in_backbone = re.search(r'layer[234]\.\d+\.conv2$', module)
        if not in_backbone and not module.endswith('_tower.9'):
            dcn[name] = value
            continue
        dcn[f'{module}.conv.{part}'] = value
        if part == 'weight':
            conv(dcn, f'{module}.offset', 27, value.shape[1], 3)
    return dcn


DEFORMABLE = {
    'backbone.layer2.0.conv2.conv_offset.bias': (
        'backbone.body.layer2.0.conv2.offset.bias'
    ),
    'bbox_head.cls_convs.3.conv.weight': 'rpn.head.cls_tower.9.conv.weight',
    'bbox_head.reg_convs.3.conv.bias': 'rpn.head.bbox_tower.9.conv.bias',
    'bbox_head.reg_convs.3.conv.conv_offset.weight': (
        'rpn.head.bbox_tower.9.offset.weight'
    ),
}


DCN_CONFIG = """
_base_ = '{base}'
model = dict(
    backbone=dict(
        dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    ),
    bbox_head=dict(dcn_on_last_conv=True),
)
"""


def assert_deformable_converts(method, theirs, base, tmp_path):
    """A file with DCN fits the README's config on ``base``."""
    theirs = deformable(theirs)
    config, source = tmp_path / 'dcn.py', tmp_path / 'in.pth'
    config.write_text(DCN_CONFIG.format(base=config_path(base)))
    torch.save(theirs, source)
    convert_file(method, source, tmp_path / 'out.pth', str(config))
    ours = torch.load(tmp_path / 'out.pth')['state_dict']
    for our, their in DEFORMABLE.items():
        assert torch.equal(ours[our], theirs[their]), our


def maskrcnn_benchmark_rcnn():
    """Backbone, FPN and RPN of a Faster R-CNN of maskrcnn-benchmark."""
    state = maskrcnn_benchmark_body()
    for i in range(1, 5):
        conv(state, f'backbone.fpn.fpn_inner{i}', 256, 128 * 2**i, 1)
        conv(state, f'backbone.fpn.fpn_layer{i}', 256, 256, 3)
    for i in range(5):
        state[f'rpn.anchor_generator.cell_anchors.{i}'] = torch.zeros(3, 4)
    conv(state, 'rpn.head.conv', 256, 256, 3)
    conv(state, 'rpn.head.cls_logits', 3, 256, 1)
    conv(state, 'rpn.head.bbox_pred', 12, 256, 1)
    return state


MASKRCNN_BENCHMARK_RCNN = {
    'neck.lateral_convs.3.conv.bias': 'backbone.fpn.fpn_inner4.bias',
    'neck.fpn_convs.0.conv.bias': 'backbone.fpn.fpn_layer1.bias',
    'rpn_head.rpn_cls.bias': 'rpn.head.cls_logits.bias',
    'rpn_head.rpn_reg.bias': 'rpn.head.bbox_pred.bias',
}
# ours -> theirs; all other tensors are checked by shape
MASKRCNN_BENCHMARK = {
    'backbone.bn1.bias': 'backbone.body.stem.bn1.bias',
    'backbone.layer3.5.bn2.weight': 'backbone.body.layer3.5.bn2.weight',
    'neck.lateral_convs.2.conv.bias': 'backbone.fpn.fpn_inner4.bias',
    'neck.fpn_convs.0.conv.bias': 'backbone.fpn.fpn_layer2.bias',
    'neck.fpn_convs.4.conv.bias': 'backbone.fpn.top_blocks.p7.bias',
}


def detectron2(head, norm):
    """A RetinaNet-like detector of detectron2 or cvpods; see above."""
    state = {'pixel_mean': torch.zeros(3, 1, 1)}
    state['pixel_std'] = torch.ones(3, 1, 1)
    resnet50(
        state,
        'backbone.bottom_up.stem',
        lambda i: f'backbone.bottom_up.res{i + 2}',
        lambda name: f'{name}.norm',
        lambda block: (f'{block}.shortcut', f'{block}.shortcut.norm'),
    )
    fpn(
        state,
        lambda i: f'backbone.fpn_lateral{i + 3}',
        lambda i: f'backbone.fpn_output{i + 3}',
        'backbone.top_block',
        2048,
    )
    towers(state, ('head.cls_subnet', 'head.bbox_subnet'), norm)
    for name, width in head.items():
        conv(state, f'head.{name}', width, 256, 3)
    return state


DETECTRON2 = {
    'backbone.bn1.bias': 'backbone.bottom_up.stem.conv1.norm.bias',
    'backbone.layer3.5.bn2.weight': (
        'backbone.bottom_up.res4.5.conv2.norm.weight'
    ),
    'backbone.layer1.0.downsample.1.bias': (
        'backbone.bottom_up.res2.0.shortcut.norm.bias'
    ),
    'neck.lateral_convs.2.conv.bias': 'backbone.fpn_lateral5.bias',
    'neck.fpn_convs.0.conv.bias': 'backbone.fpn_output3.bias',
    'neck.fpn_convs.4.conv.bias': 'backbone.top_block.p7.bias',
}


def towers(state, names, norm):
    for name in names:
        for i in range(4):
            conv(state, f'{name}.{(3 if norm else 2) * i}', 256, 256, 3)
            if norm:
                state[f'{name}.{3 * i + 1}.weight'] = torch.randn(256)
                state[f'{name}.{3 * i + 1}.bias'] = torch.randn(256)


def scales(state, head):
    """Learned scales of five levels, each with one dimension."""
    for i in range(5):
        state[f'{head}.scales.{i}.scale'] = torch.randn(1)
    return state


def assert_scalar_scales(ours, theirs, head):
    for i in range(5):
        scale = ours[f'bbox_head.scales.{i}.scale']
        assert scale.shape == ()
        assert scale == theirs[f'{head}.scales.{i}.scale'][0]
