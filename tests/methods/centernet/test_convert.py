"""Converter of CenterNet, on random weights of the official shapes.

The official names are spelled out here, not read from the rules.
"""

import pytest
import torch
from official_keypoints import (
    NMS_ERROR,
    SCALES,
    Canvas,
    Maps,
    assert_input,
    assert_same,
    best_of,
    build_head,
    center_boxes,
    detections,
    of_classes,
    official_file,
    soft_nms,
)
from official_weights import assert_loads
from torch import nn

from mmdet_assigners.methods.centernet.convert import (
    alternatives,
    convert,
    guess_config,
)
from mmdet_assigners.ops.deform_conv import deform_conv

CHANNELS = (16, 32, 64, 128, 256, 512)
ROOT = 'backbone.'


def conv(state, name, out, inputs, size, bias=False):
    state[f'{name}.weight'] = torch.zeros(out, inputs, size, size)
    if bias:
        state[f'{name}.bias'] = torch.randn(out)


def norm(state, name, width):
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.{part}'] = torch.rand(width)
    state[f'{name}.num_batches_tracked'] = torch.tensor(1)


def deformable(state, name, out, inputs):
    conv(state, name, out, inputs, 3, bias=True)
    conv(state, f'{name}.conv_offset_mask', 27, inputs, 3, bias=True)


def tree(state, name, levels, inputs, out, root=0, level_root=False):
    """A tree with the width that its root reads."""
    root = (root or 2 * out) + (inputs if level_root else 0)
    if inputs != out:
        conv(state, f'{name}.project.0', out, inputs, 1)
        norm(state, f'{name}.project.1', out)
    if levels > 1:
        tree(state, f'{name}.tree1', levels - 1, inputs, out)
        tree(state, f'{name}.tree2', levels - 1, out, out, root + out)
        return
    for i, width in ((1, inputs), (2, out)):
        conv(state, f'{name}.tree{i}.conv1', out, width, 3)
        norm(state, f'{name}.tree{i}.bn1', out)
        conv(state, f'{name}.tree{i}.conv2', out, out, 3)
        norm(state, f'{name}.tree{i}.bn2', out)
    conv(state, f'{name}.root.conv', out, root, 1)
    norm(state, f'{name}.root.bn', out)


def aggregation(state, name, out, widths, factors):
    for i, factor in enumerate(factors, 1):
        for part, width in (('proj', widths[i]), ('node', out)):
            deformable(state, f'{name}.{part}_{i}.conv', out, width)
            norm(state, f'{name}.{part}_{i}.actf.0', out)
        kernel = torch.rand(out, 1, 2 * factor, 2 * factor)
        state[f'{name}.up_{i}.weight'] = kernel


def heads(state, inputs, hidden):
    for name, width in (('hm', 80), ('wh', 2), ('reg', 2)):
        conv(state, f'{name}.0', hidden, inputs, 3, bias=True)
        conv(state, f'{name}.2', width, hidden, 1, bias=True)


def official_dla():
    torch.manual_seed(0)
    state = {}
    conv(state, 'base.base_layer.0', 16, 3, 7)
    norm(state, 'base.base_layer.1', 16)
    for i, inputs in enumerate((16, 16)):
        conv(state, f'base.level{i}.0', CHANNELS[i], inputs, 3)
        norm(state, f'base.level{i}.1', CHANNELS[i])
    for i, levels in ((2, 1), (3, 2), (4, 2), (5, 1)):
        widths = CHANNELS[i - 1], CHANNELS[i]
        tree(state, f'base.level{i}', levels, *widths, level_root=i > 2)
    aggregation(state, 'dla_up.ida_0', 256, (256, 512), (2,))
    aggregation(state, 'dla_up.ida_1', 128, (128, 256, 256), (2, 2))
    aggregation(state, 'dla_up.ida_2', 64, (64, 128, 128, 128), (2, 2, 2))
    aggregation(state, 'ida_up', 64, (64, 128, 256), (2, 4))
    heads(state, 64, 256)
    return state


def test_dla34():
    theirs = official_dla()
    parameters = sum(
        t.numel()
        for name, t in theirs.items()
        if not name.endswith(('mean', 'var', 'tracked'))
    )
    assert parameters == 19_675_892  # of the card: with what is not used
    same = {
        'backbone.level4.tree2.root.bn.bias': 'base.level4.tree2.root.bn.bias',
        'neck.steps.1.proj_2.conv.conv_offset.bias': (
            'dla_up.ida_1.proj_2.conv.conv_offset_mask.bias'
        ),
        'neck.steps.2.node_3.bn.running_var': (
            'dla_up.ida_2.node_3.actf.0.running_var'
        ),
        'neck.last.up_2.weight': 'ida_up.up_2.weight',
        'bbox_head.heatmap_head.2.bias': 'hm.2.bias',
        'bbox_head.wh_head.0.bias': 'wh.0.bias',
        'bbox_head.offset_head.2.bias': 'reg.2.bias',
    }
    assert_loads(
        'centernet', theirs, same, 'centernet_dla34_crop512-140e_coco'
    )


def residual(state, name, out, inputs, skip):
    conv(state, f'{name}.conv1', out, inputs, 3)
    norm(state, f'{name}.bn1', out)
    conv(state, f'{name}.conv2', out, out, 3)
    norm(state, f'{name}.bn2', out)
    if skip:
        conv(state, f'{name}.skip.0', out, inputs, 1)
        norm(state, f'{name}.skip.1', out)


def hourglass(state, name, widths, blocks):
    here, below = widths[:2]

    def layers(part, count, inputs, out, first_wide=True):
        for i in range(count):
            wide = inputs if i == 0 or not first_wide else out
            end = out if first_wide or i == count - 1 else inputs
            # the first block of low1 has a stride, so it has a skip
            skip = wide != end or (part == 'low1' and i == 0)
            residual(state, f'{name}.{part}.{i}', end, wide, skip)

    layers('up1', blocks[0], here, here)
    layers('low1', blocks[0], here, below)
    if len(widths) > 2:
        hourglass(state, f'{name}.low2', widths[1:], blocks[1:])
    else:
        layers('low2', blocks[1], below, below)
    layers('low3', blocks[0], below, here, first_wide=False)


def official_hourglass():
    torch.manual_seed(0)
    state = {}
    conv(state, 'pre.0.conv', 128, 3, 7)
    norm(state, 'pre.0.bn', 128)
    residual(state, 'pre.1', 256, 128, True)
    widths, blocks = (256, 256, 384, 384, 384, 512), (2, 2, 2, 2, 2, 4)
    for s in range(2):
        hourglass(state, f'kps.{s}', widths, blocks)
        conv(state, f'cnvs.{s}.conv', 256, 256, 3)
        norm(state, f'cnvs.{s}.bn', 256)
        for name, width in (('hm', 80), ('wh', 2), ('reg', 2)):
            conv(state, f'{name}.{s}.0.conv', 256, 256, 3, bias=True)
            conv(state, f'{name}.{s}.1', width, 256, 1, bias=True)
    residual(state, 'inters.0', 256, 256, False)
    for name in ('inters_', 'cnvs_'):
        conv(state, f'{name}.0.0', 256, 256, 1)
        norm(state, f'{name}.0.1', 256)
    return state


def test_hourglass104():
    theirs = official_hourglass()
    same = {
        'backbone.stem.1.0.downsample.1.bias': 'pre.1.skip.1.bias',
        'backbone.hourglass_modules.1.low2.low2.low3.1.bn2.weight': (
            'kps.1.low2.low2.low3.1.bn2.weight'
        ),
        'backbone.conv1x1s.0.bn.running_mean': 'inters_.0.1.running_mean',
        'backbone.remap_convs.0.bn.running_mean': 'cnvs_.0.1.running_mean',
        'bbox_head.earlier.0.heatmap_head.2.bias': 'hm.0.1.bias',
        'bbox_head.heatmap_head.2.bias': 'hm.1.1.bias',
        'bbox_head.earlier.0.offset_head.0.bias': 'reg.0.0.conv.bias',
    }
    config = 'centernet_hourglass104_crop512-50e_coco'
    assert_loads('centernet', theirs, same, config)


def official_resnet(deep):
    torch.manual_seed(0)
    state = {}
    conv(state, 'conv1', 64, 3, 7)
    norm(state, 'bn1', 64)
    inputs = 64
    for stage, count in enumerate((3, 4, 23, 3) if deep else (2, 2, 2, 2), 1):
        width = 32 << stage
        out = 4 * width if deep else width
        for i in range(count):
            name = f'layer{stage}.{i}'
            plan = [(width, inputs, 3), (out, width, 3)]
            if deep:
                plan = [(width, inputs, 1), (width, width, 3), (out, width, 1)]
            for k, (wide, before, size) in enumerate(plan, 1):
                conv(state, f'{name}.conv{k}', wide, before, size)
                norm(state, f'{name}.bn{k}', wide)
            if i == 0 and inputs != out:
                conv(state, f'{name}.downsample.0', out, inputs, 1)
                norm(state, f'{name}.downsample.1', out)
            inputs = out
    for i, width in enumerate((256, 128, 64)):
        deformable(state, f'deconv_layers.{6 * i}', width, inputs)
        norm(state, f'deconv_layers.{6 * i + 1}', width)
        conv(state, f'deconv_layers.{6 * i + 3}', width, width, 4)
        norm(state, f'deconv_layers.{6 * i + 4}', width)
        inputs = width
    heads(state, 64, 64)
    return state


def test_resnets():
    for deep, depth in ((False, 18), (True, 101)):
        config = f'centernet_r{depth}-dcnv2_crop512-140e_coco'
        same = {
            'neck.deconv_layers.3.bn.bias': 'deconv_layers.10.bias',
            'neck.deconv_layers.4.conv.conv_offset.bias': (
                'deconv_layers.12.conv_offset_mask.bias'
            ),
            'backbone.layer3.1.bn2.bias': 'layer3.1.bn2.bias',
        }
        assert_loads('centernet', official_resnet(deep), same, config)


def of_classes_alone(state, number):
    """The first classes of official weights."""
    return {
        name: value[:number] if name.startswith('hm.2.') else value
        for name, value in state.items()
    }


def test_weights_of_voc():
    config = 'centernet-voc_r18-dcnv2_crop384-70e_voc0712'
    theirs = of_classes_alone(official_resnet(False), 20)
    same = {'bbox_head.heatmap_head.2.bias': 'hm.2.bias'}
    assert_loads('centernet', theirs, same, config)
    assert alternatives(config) == [config.replace('384', '512')]


def test_other_classes_have_no_config():
    theirs = of_classes_alone(official_resnet(False), 3)
    assert guess_config(convert(theirs)) is None


def test_the_bias_before_a_norm_is_kept():
    """The deformable convolution and its norm, before and after."""
    theirs = official_resnet(False)
    weight = torch.randn(256, 512, 3, 3)
    theirs['deconv_layers.0.weight'] = weight
    ours = convert(theirs)
    norms = [nn.BatchNorm2d(256).eval() for _ in range(2)]
    for module, names, prefix in (
        (norms[0], theirs, 'deconv_layers.1.'),
        (norms[1], ours, 'neck.deconv_layers.0.bn.'),
    ):
        module.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in names.items()
                if name.startswith(prefix)
            }
        )
    x, offset = torch.randn(1, 512, 4, 4), torch.zeros(1, 18, 4, 4)
    plain = deform_conv(x, offset, weight, 1, 1)
    bias = theirs['deconv_layers.0.bias'][:, None, None]
    torch.testing.assert_close(
        norms[1](plain), norms[0](plain + bias), rtol=1e-4, atol=1e-4
    )


def branches(head):
    """Replace the branches; returns maps of logits, sizes and offsets."""
    head.heatmap_head = Maps(head.num_classes, 4)
    head.wh_head = Maps(2, 5, 2.0, 20.0)
    head.offset_head = Maps(2, 6, -0.5, 1.5)
    return head.heatmap_head, head.wh_head, head.offset_head


def size_at(sizes, image, y, x):
    return [float(side) for side in sizes[image, :, y, x]]


def center_file(parts, canvases, flip):
    """The official result file; duplicates are removed of several scales."""
    found = []
    for call, canvas in enumerate(canvases):
        heat, sizes, offsets = (
            part.of_call(call, *canvas.cells) for part in parts
        )
        found += center_boxes(
            canvas,
            heat,
            lambda *place, sizes=sizes: size_at(sizes, *place),
            offsets,
            flip,
        )
    if len(canvases) > 1:
        found = of_classes(found, soft_nms)
    return official_file(best_of(found))


PADS = {
    'centernet_r18-dcnv2_crop512-140e_coco': 31,
    'centernet_r101-dcnv2_crop512-140e_coco': 31,
    'centernet_dla34_crop512-140e_coco': 31,
    'centernet_dla34_crop512-230e_coco': 31,
    'centernet_hourglass104_crop512-50e_coco': 127,
}


@pytest.mark.parametrize('tta', [False, True])
@pytest.mark.parametrize('config', PADS)
def test_boxes_of_the_official_result_file(config, tta):
    cfg, head = build_head(config)
    canvas = Canvas(pad=PADS[config])
    assert_input(cfg, canvas)
    theirs = center_file(branches(head), [canvas], tta)
    assert_same(detections(cfg, head, tta), theirs)


@pytest.mark.parametrize('config', PADS)
def test_boxes_of_several_scales(config):
    pad = PADS[config]
    cfg, head = build_head(config.replace('_', '-ms-test_', 1))
    canvases = [Canvas(scale, pad) for scale in SCALES]
    theirs = center_file(branches(head), canvases, flip=True)
    assert_same(detections(cfg, head, tta=True), theirs, scores=NMS_ERROR)


@pytest.mark.parametrize('size', [384, 512])
@pytest.mark.parametrize('net', ['dla34', 'r18-dcnv2', 'r101-dcnv2'])
@pytest.mark.parametrize('tta', [False, True])
def test_boxes_of_inputs_of_one_size(tta, net, size):
    """The test of VOC."""
    cfg, head = build_head(f'centernet-voc_{net}_crop{size}-70e_voc0712')
    theirs = center_file(branches(head), [Canvas(square=size)], tta)
    assert_same(detections(cfg, head, tta), theirs)
