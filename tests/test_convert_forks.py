"""Converters of maskrcnn-benchmark and detectron2 forks, on random weights.

The official names and shapes are spelled out here, not read from the rules.
"""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config

FOLDER = Path(__file__).parent.parent / 'tools' / 'convert'
BLOCKS = (3, 4, 6, 3)
MODULES = (
    'fcos',
    'atss',
    'mal',
    'sampling_free',
    'noisy_anchors',
    'autoassign',
)
RETINANETS = ('mal', 'sampling_free')  # nine anchors, no normalization


@pytest.fixture(scope='module')
def tools():
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in MODULES}
    finally:
        sys.path.remove(str(FOLDER))
        for name in (*MODULES, 'common', 'trunks'):
            sys.modules.pop(name, None)


def conv(state, name, out, inputs, size, bias=True):
    # random numbers only where a test looks at them
    make = torch.zeros if name.startswith('backbone') else torch.randn
    state[f'{name}.weight'] = make(out, inputs, size, size)
    if bias:
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


def maskrcnn_benchmark(p6_inputs):
    state = maskrcnn_benchmark_body()
    fpn(
        state,
        lambda i: f'backbone.fpn.fpn_inner{i + 2}',
        lambda i: f'backbone.fpn.fpn_layer{i + 2}',
        'backbone.fpn.top_blocks',
        p6_inputs,
    )
    return state


def detectron2():
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
    return state


def towers(state, names, norm):
    for name in names:
        for i in range(4):
            conv(state, f'{name}.{(3 if norm else 2) * i}', 256, 256, 3)
            if norm:
                state[f'{name}.{3 * i + 1}.weight'] = torch.randn(256)
                state[f'{name}.{3 * i + 1}.bias'] = torch.randn(256)


def outputs(state, head, channels):
    for name, width in channels.items():
        conv(state, f'{head}.{name}', width, 256, 3)


def scales(state, head):
    for i in range(5):
        state[f'{head}.scales.{i}.scale'] = torch.randn(1)


def official(method):
    """A state dict as the official code of a method writes it."""
    if method in ('fcos', 'atss', *RETINANETS):
        plain = method in RETINANETS
        state = maskrcnn_benchmark(2048 if plain else 256)
        names = ('rpn.head.cls_tower', 'rpn.head.bbox_tower')
        anchors = 9 if plain else 1
        channels = dict(cls_logits=80 * anchors, bbox_pred=4 * anchors)
        towers(state, names, norm=not plain)
        if method != 'fcos':
            for i in range(5):
                cells = f'rpn.anchor_generator.cell_anchors.{i}'
                state[cells] = torch.zeros(anchors, 4)
        if not plain:
            channels['centerness'] = 1
            scales(state, 'rpn.head')
        outputs(state, 'rpn.head', channels)
        return state
    state = detectron2()
    names = ('head.cls_subnet', 'head.bbox_subnet')
    towers(state, names, norm=method == 'autoassign')
    if method == 'autoassign':
        outputs(state, 'head', dict(cls_score=80, bbox_pred=4, obj_score=1))
        scales(state, 'head')
        state |= dict(mu=torch.randn(80, 2), sigma=torch.randn(80, 2))
    else:
        outputs(state, 'head', dict(cls_score=720, bbox_pred=36))
        state['anchor_generator.cell_anchors.0'] = torch.zeros(9, 4)
    return state


def linear(state, name, out, inputs):
    state[f'{name}.weight'] = torch.zeros(out, inputs)
    state[f'{name}.bias'] = torch.randn(out)


def official_rcnn(masks):
    """The same of Sampling-Free's Faster or Mask R-CNN."""
    state = maskrcnn_benchmark_body()
    for i in range(1, 5):
        conv(state, f'backbone.fpn.fpn_inner{i}', 256, 128 * 2**i, 1)
        conv(state, f'backbone.fpn.fpn_layer{i}', 256, 256, 3)
    for i in range(5):
        state[f'rpn.anchor_generator.cell_anchors.{i}'] = torch.zeros(3, 4)
    conv(state, 'rpn.head.conv', 256, 256, 3)
    conv(state, 'rpn.head.cls_logits', 3, 256, 1)
    conv(state, 'rpn.head.bbox_pred', 12, 256, 1)
    box = 'roi_heads.box'
    linear(state, f'{box}.feature_extractor.fc6', 1024, 256 * 49)
    linear(state, f'{box}.feature_extractor.fc7', 1024, 1024)
    linear(state, f'{box}.predictor.cls_score', 81, 1024)
    linear(state, f'{box}.predictor.bbox_pred', 324, 1024)
    if masks:
        mask = 'roi_heads.mask'
        for i in range(1, 5):
            conv(state, f'{mask}.feature_extractor.mask_fcn{i}', 256, 256, 3)
        conv(state, f'{mask}.predictor.conv5_mask', 256, 256, 2)
        conv(state, f'{mask}.predictor.mask_fcn_logits', 81, 256, 1)
    return state


def build(config):
    init_default_scope('mmdet')
    with torch.device('meta'):
        return MODELS.build(get_config(config).model)


LIKE = {  # ours -> theirs; all other tensors are checked by shape
    'mask': {
        'backbone.bn1.bias': 'backbone.body.stem.bn1.bias',
        'backbone.layer3.5.bn2.weight': 'backbone.body.layer3.5.bn2.weight',
        'neck.lateral_convs.2.conv.bias': 'backbone.fpn.fpn_inner4.bias',
        'neck.fpn_convs.0.conv.bias': 'backbone.fpn.fpn_layer2.bias',
        'neck.fpn_convs.4.conv.bias': 'backbone.fpn.top_blocks.p7.bias',
    },
    'detectron': {
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
    },
    'fcos': {
        'bbox_head.cls_convs.3.conv.weight': 'rpn.head.cls_tower.9.weight',
        'bbox_head.cls_convs.3.gn.weight': 'rpn.head.cls_tower.10.weight',
        'bbox_head.conv_centerness.bias': 'rpn.head.centerness.bias',
        'bbox_head.conv_reg.weight': 'rpn.head.bbox_pred.weight',
    },
    'atss': {
        'bbox_head.reg_convs.1.conv.bias': 'rpn.head.bbox_tower.3.bias',
        'bbox_head.reg_convs.1.gn.bias': 'rpn.head.bbox_tower.4.bias',
        'bbox_head.atss_cls.weight': 'rpn.head.cls_logits.weight',
    },
    'mal': {
        'bbox_head.reg_convs.1.conv.bias': 'rpn.head.bbox_tower.2.bias',
        'bbox_head.retina_cls.weight': 'rpn.head.cls_logits.weight',
    },
    'sampling_free': {
        'bbox_head.cls_convs.3.conv.bias': 'rpn.head.cls_tower.6.bias',
        'bbox_head.retina_reg.bias': 'rpn.head.bbox_pred.bias',
    },
    'noisy_anchors': {
        'bbox_head.cls_convs.2.conv.weight': 'head.cls_subnet.4.weight',
    },
    'autoassign': {
        'bbox_head.reg_convs.2.gn.weight': 'head.bbox_subnet.7.weight',
        'bbox_head.conv_centerness.weight': 'head.obj_score.weight',
        'bbox_head.center_prior.mean': 'mu',
        'bbox_head.center_prior.sigma': 'sigma',
    },
}


@pytest.mark.parametrize('method', MODULES)
def test_loads_strictly(tools, method):
    theirs = official(method)
    state = tools[method].convert(theirs)
    model = build(tools[method].guess_config(state))
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    ours = model.state_dict()
    fork = 'mask' if 'rpn.head.cls_logits.bias' in theirs else 'detectron'
    for our, their in (LIKE[fork] | LIKE[method]).items():
        assert torch.equal(ours[our], theirs[their]), our


@pytest.mark.parametrize('masks', [False, True])
def test_rcnn_loads_strictly(tools, masks):
    theirs = official_rcnn(masks)
    tool = tools['sampling_free']
    state = tool.convert(theirs)
    config = tool.guess_config(state)
    assert ('mask-rcnn' in config) == masks
    model = build(config)
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all(name.endswith('num_batches_tracked') for name in missing)
    ours = model.state_dict()
    same = {
        'neck.lateral_convs.3.conv.bias': 'backbone.fpn.fpn_inner4.bias',
        'neck.fpn_convs.0.conv.bias': 'backbone.fpn.fpn_layer1.bias',
        'rpn_head.rpn_cls.bias': 'rpn.head.cls_logits.bias',
        'rpn_head.rpn_reg.bias': 'rpn.head.bbox_pred.bias',
        'roi_head.bbox_head.shared_fcs.0.bias': (
            'roi_heads.box.feature_extractor.fc6.bias'
        ),
    }
    if masks:
        same['roi_head.mask_head.convs.2.conv.weight'] = (
            'roi_heads.mask.feature_extractor.mask_fcn3.weight'
        )
        logits = theirs['roi_heads.mask.predictor.mask_fcn_logits.bias']
        assert torch.equal(
            ours['roi_head.mask_head.conv_logits.bias'], logits[1:]
        )
    for our, their in same.items():
        assert torch.equal(ours[our], theirs[their]), our
    # their class 0 is the background; ours is the last, and has no box
    scores = theirs['roi_heads.box.predictor.cls_score.bias']
    assert torch.equal(
        ours['roi_head.bbox_head.fc_cls.bias'],
        torch.cat((scores[1:], scores[:1])),
    )
    deltas = theirs['roi_heads.box.predictor.bbox_pred.bias']
    assert torch.equal(ours['roi_head.bbox_head.fc_reg.bias'], deltas[4:])


@pytest.mark.parametrize('method', ['fcos', 'atss', 'autoassign'])
def test_scales_become_scalars(tools, method):
    theirs = official(method)
    head = 'head' if method == 'autoassign' else 'rpn.head'
    state = tools[method].convert(theirs)
    for i in range(5):
        scale = state[f'bbox_head.scales.{i}.scale']
        assert scale.shape == ()
        assert scale == theirs[f'{head}.scales.{i}.scale'][0]


def test_noisy_anchors_change_their_order(tools):
    from mmdet.models.task_modules.prior_generators import AnchorGenerator

    def anchors(scale_major):
        return AnchorGenerator(
            strides=[8],
            ratios=[0.5, 1.0, 2.0],
            octave_base_scale=4,
            scales_per_octave=3,
            scale_major=scale_major,
        ).base_anchors[0]

    # mmdet's scale_major=False counts as detectron2 does, size by size
    tool = tools['noisy_anchors']
    reordered = tool.ratio_major(anchors(False).flatten()).view(9, 4)
    assert torch.equal(reordered, anchors(True))
    theirs = official('noisy_anchors')
    state = tool.convert(theirs)
    # first ratio, second size: block 1 of ours, block 3 of theirs
    for our, their, width in (
        ('retina_cls', 'cls_score', 80),
        ('retina_reg', 'bbox_pred', 4),
    ):
        for part in ('weight', 'bias'):
            new = state[f'bbox_head.{our}.{part}']
            old = theirs[f'head.{their}.{part}']
            block = slice(3 * width, 4 * width)
            assert torch.equal(new[width : 2 * width], old[block])


def test_file_with_a_wrapped_model(tools, tmp_path, capsys):
    from common import main

    state = {f'module.{k}': v for k, v in official('fcos').items()}
    source, out = tmp_path / 'in.pth', tmp_path / 'out.pth'
    torch.save(dict(model=state, iteration=9), source)
    tool = tools['fcos']
    args = ['', tool.convert, tool.guess_config, [str(source), str(out)]]
    assert main(*args) == 0
    assert 'fcos-released_r50' in capsys.readouterr().out
    assert 'bbox_head.conv_cls.weight' in torch.load(out)['state_dict']


def test_refuses_another_method(tools):
    with pytest.raises(ValueError, match='1 keys are unknown'):
        tools['mal'].convert(
            {'rpn.head.centerness.bias': torch.zeros(1), **official('mal')}
        )
