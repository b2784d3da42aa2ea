"""Converters of SpineNet, on random weights of the released shapes."""

import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from methods.spinenet.official_graph import SIZES, SPECS, Graph, anchors
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from official_boxes import (
    STRIDES,
    assert_same,
    cells,
    class_maps,
    deltas,
    maps,
    official_file,
    result_file,
    write_inclusive,
)
from official_weights import assert_loads

from mmdet_assigners import get_config
from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.spinenet.convert import (
    alternatives,
    convert,
    guess_config,
    read,
)

LEVEL_FILTERS = (0, 0, 64, 128, 256, 256, 256, 256)


def add(state, name, *shape, bias=False):
    """A tensor of zeros that takes no memory, and random numbers."""
    state[f'{name}.weight'] = torch.zeros(1).expand(shape)
    if bias:
        state[f'{name}.bias'] = torch.randn(shape[0])


def norm(state, name, width):
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.{part}'] = torch.randn(width)
    state[f'{name}.num_batches_tracked'] = torch.tensor(0)


def layer(state, name, *shape):
    add(state, f'{name}.conv', *shape)
    norm(state, f'{name}.bn', shape[0])


def group(state, name, inputs, filters, bottleneck, repeats):
    sizes = (1, 3, 1) if bottleneck else (3, 3)
    for r in range(repeats):
        channels = inputs
        for k, size in enumerate(sizes, 1):
            out = filters * (4 if k == 3 else 1)
            add(state, f'{name}.{r}.conv{k}', out, channels, size, size)
            norm(state, f'{name}.{r}.bn{k}', out)
            channels = out
        if channels != inputs:
            add(state, f'{name}.{r}.downsample.0', channels, inputs, 1, 1)
            norm(state, f'{name}.{r}.downsample.1', channels)
        inputs = channels


def backbone(arch):
    """As the ports write it."""
    width, repeats, alpha, out, _ = SIZES[arch]
    nodes = [(2, True), (2, True), *(spec[:2] for spec in SPECS)]
    filters = [int(LEVEL_FILTERS[level] * width) for level, _ in nodes]
    channels = [
        f * (4 if node[1] else 1)
        for f, node in zip(filters, nodes, strict=True)
    ]
    state, p = {}, 'backbone.'
    layer(state, f'{p}conv1', 64, 3, 7, 7)
    group(state, f'{p}init_block1', 64, filters[0], True, repeats)
    group(state, f'{p}init_block2', channels[0], filters[1], True, repeats)
    for k, (level, bottleneck, parents, output) in enumerate(SPECS):
        for i, j in enumerate(parents):
            name = f'{p}merge_ops.{k}.resample_ops.{i}'
            mid = int(filters[j] * alpha)
            layer(state, f'{name}.squeeze_conv', mid, channels[j], 1, 1)
            if nodes[j][0] < level:
                layer(state, f'{name}.downsample_conv', mid, mid, 3, 3)
            layer(state, f'{name}.expand_conv', channels[k + 2], mid, 1, 1)
        name = f'{p}scale_permuted_blocks.{k}'
        own = (channels[k + 2], filters[k + 2])
        group(state, name, *own, bottleneck, repeats)
        if output:
            name = f'{p}endpoint_convs.{level}'
            layer(state, name, out, channels[k + 2], 1, 1)
    return state


def retinanet(arch, classes=80):
    state = backbone(arch)
    *_, width, count = SIZES[arch]
    for branch in ('cls', 'reg'):
        for i in range(count):
            for level in range(5):
                name = f'bbox_head.{branch}_convs.{level}.{i}'
                layer(state, name, width, width, 3, 3)
    add(state, 'bbox_head.retina_cls', 9 * classes, width, 3, 3, bias=True)
    add(state, 'bbox_head.retina_reg', 36, width, 3, 3, bias=True)
    return state


def mask_rcnn(arch, classes=81):
    state = backbone(arch)
    width = SIZES[arch][3]
    add(state, 'rpn_head.rpn_conv', width, width, 3, 3, bias=True)
    add(state, 'rpn_head.rpn_cls', 3, width, 1, 1, bias=True)
    add(state, 'rpn_head.rpn_reg', 12, width, 1, 1, bias=True)
    for i in range(4):
        layer(state, f'bbox_head.shared_convs.{i}', width, width, 3, 3)
        layer(state, f'mask_head.convs.{i}', width, width, 3, 3)
    hidden = 4 * width
    add(state, 'bbox_head.shared_fcs.0', hidden, 49 * width, bias=True)
    add(state, 'bbox_head.fc_cls', classes, hidden, bias=True)
    add(state, 'bbox_head.fc_reg', 4 * classes, hidden, bias=True)
    add(state, 'mask_head.upsample', width, width, 2, 2, bias=True)
    add(state, 'mask_head.conv_logits', classes, width, 1, 1, bias=True)
    return state


@pytest.mark.parametrize(
    ('arch', 'size'),
    [('49S', 640), ('49', 640), ('96', 1024), ('143', 1280)],
)
def test_retinanet_of_the_ports(arch, size):
    name = f'spinenet-released_retinanet_{arch.lower()}_{size}-350e_coco'
    same = [
        'backbone.merge_ops.7.resample_ops.0.downsample_conv.bn.running_var',
        'backbone.endpoint_convs.6.bn.bias',
        'bbox_head.reg_convs.4.3.bn.weight',
        'bbox_head.retina_cls.bias',
    ]
    theirs = retinanet(arch)
    assert_loads('spinenet', theirs, dict(zip(same, same, strict=True)), name)


@pytest.mark.parametrize(
    ('arch', 'size'), [('49S', 640), ('49', 640), ('96', 1024)]
)
def test_mask_rcnn_of_the_ports(arch, size):
    name = f'spinenet-released_mask-rcnn_{arch.lower()}_{size}-350e_coco'
    theirs = mask_rcnn(arch)
    same = {'roi_head.mask_head.convs.3.bn.bias': 'mask_head.convs.3.bn.bias'}
    ours, _ = assert_loads('spinenet', theirs, same, name)
    scores = theirs['bbox_head.fc_cls.bias']
    moved = torch.cat((scores[1:], scores[:1]))
    assert torch.equal(ours['roi_head.bbox_head.fc_cls.bias'], moved)
    for part in ('bbox_head.fc_reg', 'mask_head.conv_logits'):
        first = 4 if 'reg' in part else 1
        assert torch.equal(
            ours[f'roi_head.{part}.bias'], theirs[f'{part}.bias'][first:]
        )


def test_own_classes_need_a_config():
    assert guess_config(convert(retinanet('49', 3))) is None
    assert guess_config(convert(mask_rcnn('49', 3))) is None


def test_other_configs_of_the_same_tensors():
    assert alternatives('spinenet-released_retinanet_49_640-350e_coco') == [
        'spinenet-released_retinanet_49_896-350e_coco'
    ]
    assert alternatives('spinenet-c_retinanet_96_1024-500e_coco') == [
        'spinenet-tf_retinanet_96_1024-350e_coco'
    ]
    assert alternatives('spinenet-c_retinanet_190_1280-400e_coco') == []


def decode(level, y, x, index, delta):
    """``delta2bbox`` and anchors of mmdet 1.x: inclusive boxes."""
    stride = STRIDES[level]
    ratio, scale = divmod(index, 3)
    root = math.sqrt((0.5, 1.0, 2.0)[ratio])  # height over width
    side = 3 * stride * 2 ** (scale / 3)
    center = (stride - 1) / 2
    half = (side / root - 1) / 2, (side * root - 1) / 2
    shift = (x * stride, y * stride)
    low = [round(center - h) + s for h, s in zip(half, shift, strict=True)]
    high = [round(center + h) + s for h, s in zip(half, shift, strict=True)]
    box = []
    limit = math.log(1000 / 16)
    for k in range(2):
        size = high[k] - low[k] + 1
        middle = (low[k] + high[k]) / 2 + float(delta[k]) * size
        size *= math.exp(min(max(float(delta[k + 2]), -limit), limit))
        box.append((middle - size / 2 + 0.5, middle + size / 2 - 0.5))
    (x1, x2), (y1, y2) = box
    return x1, y1, x2, y2


def test_boxes_of_the_ports():
    places = cells(9)
    places, values, theirs = official_file(
        places,
        deltas(places),
        lambda place, delta: decode(*place, delta),
        write_inclusive,
    )
    ours = result_file(
        'spinenet-released_retinanet_49_640-350e_coco',
        class_maps(places, anchors=9),
        maps(places, values, anchors=9),
    )
    assert_same(ours, theirs)


@pytest.fixture(scope='module', params=['c', 'tf'])
def official(request):
    """Name of a config, variables, an image and the official outputs."""
    activation = dict(c=F.silu, tf=F.relu)[request.param]
    epochs = dict(c=500, tf=350)[request.param]
    graph = Graph(activation)
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(
        1, 3, 128, 256, dtype=torch.double, generator=generator
    )
    feats = graph.backbone(image, '49S')
    outputs = graph.head(feats, '49S')
    name = f'spinenet-{request.param}_retinanet_49s_640-{epochs}e_coco'
    return name, graph.variables, image, feats, outputs


def model_of(name, state):
    init_default_scope('mmdet')
    cfg = get_config(name).model
    model = MODELS.build(cfg).double().eval()
    missing, extra = model.load_state_dict(state, strict=False)
    assert not extra
    assert all('num_batches_tracked' in name for name in missing)
    return model


def test_official_retinanet(official):
    """Levels, scores of COCO's classes and boxes are the official ones."""
    name, variables, image, feats, outputs = official
    state = convert(variables)
    guess = guess_config(state)
    assert name in (guess, *alternatives(guess))
    model = model_of(name, state)
    with torch.no_grad():
        levels = model.backbone(image)
        ours = model.bbox_head(levels)
    for level, x in zip(feats.values(), levels, strict=True):
        torch.testing.assert_close(x, level)
    head = model.bbox_head
    sizes = [x.shape[2:] for x in levels]
    priors = head.prior_generator.grid_priors(sizes, torch.double, 'cpu')
    labels = [n for n in range(1, 91) if n not in
              (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]  # fmt: skip
    for index in range(5):
        stride, sides = anchors(index + 3, 3)
        logits = outputs[0][index][0].permute(1, 2, 0).unflatten(-1, (9, -1))
        boxes = outputs[1][index][0].permute(1, 2, 0).unflatten(-1, (9, 4))
        scores, found = (y[index][0].permute(1, 2, 0) for y in ours)
        scores = scores.reshape(-1, 80)
        found = head.bbox_coder.decode(
            priors[index], found.reshape(-1, 4), max_shape=None
        )
        row = 0
        for y in range(sizes[index][0]):
            for x in range(sizes[index][1]):
                for ratio in (2.0, 1.0, 0.5):  # width over height
                    for scale in range(3):
                        k = scale * 3 + (1.0, 2.0, 0.5).index(ratio)
                        ty, tx, th, tw = boxes[y, x, k]
                        high, wide = sides[k]
                        cy = ty * high + (y + 0.5) * stride
                        cx = tx * wide + (x + 0.5) * stride
                        high = high * th.exp() / 2
                        wide = wide * tw.exp() / 2
                        box = torch.stack(
                            (cx - wide, cy - high, cx + wide, cy + high)
                        )
                        if max(th.abs(), tw.abs()) < 4:
                            torch.testing.assert_close(
                                found[row], box, rtol=0, atol=1e-3
                            )
                        own = logits[y, x, k][labels]
                        torch.testing.assert_close(scores[row], own)
                        row += 1


@pytest.mark.parametrize('arch', SIZES)
def test_official_shapes(arch):
    """Every arch is recognized; what training adds is left out."""
    graph = Graph(data=False)
    image = torch.zeros(1, 3, 128, 128, dtype=torch.double, device='meta')
    graph.head(graph.backbone(image, arch), arch)
    variables = dict(graph.variables)
    first = 'spinenet/conv2d/kernel'
    variables[f'{first}/Momentum'] = variables[first]
    variables['global_step'] = torch.tensor(3)
    state = convert(variables)
    config = guess_config(state)
    assert f'_{arch.lower()}_' in config
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(get_config(config).model)
    missing, extra = model.load_state_dict(state, strict=False, assign=True)
    assert not extra
    assert all('num_batches_tracked' in name for name in missing)


def test_file_of_an_official_backbone(tmp_path):
    """The heads of Mask R-CNN are left out; ``init_cfg`` takes the rest."""
    graph = Graph()
    image = torch.zeros(1, 3, 128, 128, dtype=torch.double)
    graph.backbone(image, '49S')
    arrays = {k: v.float().numpy() for k, v in graph.variables.items()}
    arrays['fast_rcnn_head/fc6/bias'] = np.zeros(3, np.float32)
    source, out = tmp_path / 'official.npz', tmp_path / 'out.pth'
    np.savez(source, **arrays)
    _, config = convert_file('spinenet', source, out)
    assert config == 'spinenet-c_retinanet_49s_640-500e_coco'
    cfg = get_config(config).model.backbone
    cfg.init_cfg = dict(type='Pretrained', checkpoint=str(out))
    init_default_scope('mmdet')
    net = MODELS.build(cfg)
    net.init_weights()
    kernel = arrays['spinenet/conv2d/kernel'].transpose(3, 2, 0, 1)
    assert np.array_equal(net.conv1.conv.weight.detach().numpy(), kernel)


def test_file_of_tensorflow_without_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorflow', None)
    source = tmp_path / 'model.ckpt-9.index'
    with pytest.raises(ValueError, match=r'pip install tensorflow, or save'):
        convert_file('spinenet', source, tmp_path / 'out.pth')


def test_file_of_tensorflow(tmp_path, monkeypatch):
    """What ``tf.train.load_checkpoint`` gives for the files' prefix."""
    arrays = {'spinenet/conv2d/kernel': np.ones((7, 7, 3, 64), np.float32)}
    arrays['global_step'] = np.int64(7)

    class Reader:
        def __init__(self, prefix):
            assert prefix == str(tmp_path / 'model.ckpt-7')

        def get_variable_to_shape_map(self):
            return {name: list(value.shape) for name, value in arrays.items()}

        def get_tensor(self, name):
            return arrays[name]

    fake = SimpleNamespace(train=SimpleNamespace(load_checkpoint=Reader))
    monkeypatch.setitem(sys.modules, 'tensorflow', fake)
    found = read(tmp_path / 'model.ckpt-7.index')
    assert found.keys() == arrays.keys()
    assert found['spinenet/conv2d/kernel'].shape == (7, 7, 3, 64)
    assert found['global_step'] == 7


def test_refuses_other_networks():
    with torch.device('meta'):
        plain = MODELS.build(dict(type='mmdet.ResNet', depth=50)).state_dict()
    with pytest.raises(ValueError, match=r'no SpineNet, .* of a ResNet .*con'):
        convert(plain)
    graph = Graph(data=False)
    image = torch.zeros(1, 3, 128, 128, dtype=torch.double, device='meta')
    graph.backbone(image, '49')
    variables = dict(graph.variables)
    unknown = dict(variables, **{'nasfpn/conv2d/kernel': torch.zeros(1)})
    with pytest.raises(ValueError, match=r'1 variables .*: nasfpn/conv2d/ke'):
        convert(unknown)
    del variables['spinenet/conv2d_3/kernel']
    message = re.escape('are none of SpineNet-49S, 49, 96, 143, 190')
    with pytest.raises(ValueError, match=message):
        convert(variables)
