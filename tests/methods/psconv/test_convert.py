"""Converter of PSConv, on random weights of the official names and shapes."""

import math

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from official_boxes import (
    META,
    RPN_STRIDES,
    as_written,
    assert_same,
    build_head,
    cells,
    deltas,
    official_file,
    official_second_stage,
    rpn_boxes,
    write_inclusive,
)
from official_weights import assert_loads

from mmdet_assigners import get_config
from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.psconv.convert import convert, guess_config

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
NETS = {'r50': (50, 1), 'r101': (101, 1), 'x101-32x4d': (101, 32)}


def add(state, name, *shape, bias=False):
    """A tensor of zeros that takes no memory, and random numbers."""
    state[f'{name}.weight'] = torch.zeros(1).expand(shape)
    if bias:
        state[f'{name}.bias'] = torch.randn(shape[0])


def norm(state, name, width):
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.{part}'] = torch.randn(width)
    state[f'{name}.num_batches_tracked'] = torch.tensor(0)


def backbone(depth, groups=1, prefix='', psconv=True):
    """PS-ResNet or, with groups of 4 channels, PS-ResNeXt."""
    state = {}
    add(state, f'{prefix}conv1', 64, 3, 7, 7)
    norm(state, f'{prefix}bn1', 64)
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[depth]):
        width = 64 * 2**stage * (1 if groups == 1 else 2)
        out = 256 * 2**stage
        for i in range(blocks):
            block = f'{prefix}layer{stage + 1}.{i}.'
            add(state, f'{block}conv1', width, inputs, 1, 1)
            kernel = (width, width // groups, 3, 3)
            conv2 = f'{block}conv2'
            add(state, f'{conv2}.conv' if psconv else conv2, *kernel)
            for part in ('gwconv', 'gwconv_shift') if psconv else ():
                small = (width, width // groups // 4, 3, 3)
                add(state, f'{conv2}.{part}', *small)
            add(state, f'{block}conv3', out, width, 1, 1)
            for k, channels in enumerate((width, width, out), 1):
                norm(state, f'{block}bn{k}', channels)
            if i == 0:
                add(state, f'{block}downsample.0', out, inputs, 1, 1)
                norm(state, f'{block}downsample.1', out)
            inputs = out
    return state


def official(net, cascade=False, mask=False, classes=81):
    """A detector as the official code, an early mmdet, writes it."""
    state = backbone(*NETS[net], prefix='backbone.')
    for i in range(4):
        add(state, f'neck.lateral_convs.{i}.conv', 256, 256 * 2**i, 1, 1)
        state[f'neck.lateral_convs.{i}.conv.bias'] = torch.randn(256)
        add(state, f'neck.fpn_convs.{i}.conv', 256, 256, 3, 3, bias=True)
    add(state, 'rpn_head.rpn_conv', 256, 256, 3, 3, bias=True)
    add(state, 'rpn_head.rpn_cls', 3, 256, 1, 1, bias=True)
    add(state, 'rpn_head.rpn_reg', 12, 256, 1, 1, bias=True)
    for stage in ('0.', '1.', '2.') if cascade else ('',):
        head = f'bbox_head.{stage}'
        add(state, f'{head}shared_fcs.0', 1024, 12544, bias=True)
        add(state, f'{head}shared_fcs.1', 1024, 1024, bias=True)
        add(state, f'{head}fc_cls', classes, 1024, bias=True)
        boxes = 1 if cascade else classes
        add(state, f'{head}fc_reg', 4 * boxes, 1024, bias=True)
        if mask:
            head = f'mask_head.{stage}'
            for i in range(4):
                add(state, f'{head}convs.{i}.conv', 256, 256, 3, 3, bias=True)
            add(state, f'{head}upsample', 256, 256, 2, 2, bias=True)
            add(state, f'{head}conv_logits', classes, 256, 1, 1, bias=True)
    return state


SAME = {
    'backbone.bn1.running_var': 'backbone.bn1.running_var',
    'backbone.layer3.5.bn2.weight': 'backbone.layer3.5.bn2.weight',
    'neck.lateral_convs.2.conv.bias': 'neck.lateral_convs.2.conv.bias',
    'neck.fpn_convs.0.conv.bias': 'neck.fpn_convs.0.conv.bias',
    'rpn_head.rpn_reg.bias': 'rpn_head.rpn_reg.bias',
}


@pytest.mark.parametrize('net', NETS)
@pytest.mark.parametrize('detector', ['faster', 'mask', 'cascade-mask'])
def test_loads_strictly(net, detector):
    cascade, mask = 'cascade' in detector, 'mask' in detector
    theirs = official(net, cascade, mask)
    stage = '2.' if cascade else ''
    same = {
        f'roi_head.{n}': n for n in [f'bbox_head.{stage}shared_fcs.1.bias']
    }
    ours, config = assert_loads('psconv', theirs, SAME | same)
    assert config == f'psconv-released_{detector}-rcnn_{net}_fpn_1x_coco'
    scores = theirs[f'bbox_head.{stage}fc_cls.bias']
    found = ours[f'roi_head.bbox_head.{stage}fc_cls.bias']
    assert torch.equal(found, torch.cat((scores[1:], scores[:1])))
    boxes = theirs[f'bbox_head.{stage}fc_reg.bias']
    found = ours[f'roi_head.bbox_head.{stage}fc_reg.bias']
    assert torch.equal(found, boxes if cascade else boxes[4:])
    if mask:
        masks = theirs[f'mask_head.{stage}conv_logits.bias']
        found = ours[f'roi_head.mask_head.{stage}conv_logits.bias']
        assert torch.equal(found, masks[1:])


def test_cascade_without_masks():
    theirs = official('r50', cascade=True)
    _, config = assert_loads('psconv', theirs, SAME)
    assert config == 'psconv-released_cascade-rcnn_r50_fpn_1x_coco'


def test_own_classes_need_a_config():
    assert guess_config(convert(official('r50', classes=3))) is None


def test_a_detector_of_a_depth_without_config():
    theirs = official('r50')
    theirs['backbone.layer3.6.conv1.weight'] = torch.zeros(256, 1024, 1, 1)
    assert guess_config(convert(theirs)) is None


def test_refuses_a_plain_network(tmp_path):
    state = backbone(50, prefix='backbone.', psconv=False)
    torch.save(state, tmp_path / 'plain.pth')
    with pytest.raises(
        ValueError, match=r'no detector with a PS-ResNet.*backb'
    ):
        convert_file('psconv', tmp_path / 'plain.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_refuses_basic_blocks():
    """Of ResNet-18, whose blocks have no third convolution."""
    state = MODELS.build(dict(type='ResNet', depth=18)).state_dict()
    with pytest.raises(ValueError, match='no ResNet or ResNeXt with 50'):
        convert(state)


@pytest.mark.parametrize('psconv', [True, False])
@pytest.mark.parametrize('net', NETS)
def test_imagenet_weights(net, psconv, tmp_path):
    """Of PS-ResNets, and of plain networks as ``from_dense`` takes them."""
    depth, groups = NETS[net]
    theirs = backbone(depth, groups, psconv=psconv)
    for name, value in theirs.items():
        if '.conv2.' in name:
            theirs[name] = torch.randn(value.shape)
    add(theirs, 'fc', 1000, 2048, bias=True)
    path, out = tmp_path / 'imagenet.pth', tmp_path / 'out.pth'
    torch.save({f'module.{name}': t for name, t in theirs.items()}, path)
    _, config = convert_file('psconv', path, out)
    assert config == f'psconv_faster-rcnn_{net}_fpn_1x_coco'
    cfg = get_config(config).model.backbone
    states = []
    for file, from_dense in ((out, False), (path, True)):
        cfg.from_dense = from_dense
        cfg.init_cfg.checkpoint = str(file)
        model = MODELS.build(cfg)
        model.init_weights()
        states.append(model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    stem = 'layer3.1.conv2.'
    if not psconv:  # block row 0, column 1 has rate 1; column 0 the base
        weight = theirs[f'{stem}weight']
        rows, columns = len(weight) // groups // 4, weight.shape[1] // 4
        kernel = states[0][f'{stem}conv.weight'][:rows]
        own = slice(columns, 2 * columns)
        assert torch.equal(kernel[:, own], weight[:rows, own])
        assert not kernel[:, :columns].any()
        kernel = states[0][f'{stem}gwconv.weight'][:rows]
        assert torch.equal(kernel, weight[:rows, :columns])


def test_other_backbones_need_a_config(tmp_path):
    """The released networks have configs, others can have one."""
    theirs = backbone(50, 32)
    torch.save(theirs, tmp_path / 'x50.pth')
    with pytest.raises(ValueError, match='name yours with --config'):
        convert_file('psconv', tmp_path / 'x50.pth', tmp_path / 'out.pth')


@pytest.mark.parametrize('net', NETS)
def test_imagenet_weights_load_as_they_are(net, tmp_path):
    """With the prefix of data parallelism and a classifier."""
    depth, groups = NETS[net]
    theirs = backbone(depth, groups)
    add(theirs, 'fc', 1000, 2048, bias=True)
    path = tmp_path / 'imagenet.pth'
    torch.save({f'module.{name}': t for name, t in theirs.items()}, path)
    init_default_scope('mmdet')
    cfg = get_config(f'psconv_faster-rcnn_{net}_fpn_1x_coco').model.backbone
    cfg.init_cfg.checkpoint = str(path)
    model = MODELS.build(cfg)
    model.init_weights()
    for name, value in model.state_dict().items():
        assert torch.equal(value, theirs[name]), name


RELEASED = 'psconv-released_faster-rcnn_r50_fpn_1x_coco'


def decode(stds):
    """``delta2bbox`` of mmdet 1.x: inclusive boxes."""
    limit = abs(math.log(16 / 1000))

    def of_box(box, delta):
        width, height = box[2] - box[0] + 1, box[3] - box[1] + 1
        dx, dy, dw, dh = (
            float(d) * s for d, s in zip(delta, stds, strict=True)
        )
        dw, dh = (min(max(d, -limit), limit) for d in (dw, dh))
        center_x = (box[0] + box[2]) / 2 + dx * width
        center_y = (box[1] + box[3]) / 2 + dy * height
        width, height = width * math.exp(dw), height * math.exp(dh)
        return (
            center_x - width / 2 + 0.5,
            center_y - height / 2 + 0.5,
            center_x + width / 2 - 0.5,
            center_y + height / 2 - 0.5,
        )

    return of_box


def anchor(level, y, x, index):
    """mmdet 1.x: inclusive corners, rounded half to even."""
    stride = RPN_STRIDES[level]
    root = math.sqrt((0.5, 1.0, 2.0)[index])  # height over width
    center = (stride - 1) / 2
    width, height = (8 * stride / root - 1) / 2, (8 * stride * root - 1) / 2
    box = (center - width, center - height, center + width, center + height)
    shift = (x * stride, y * stride) * 2
    return [round(side) + at for side, at in zip(box, shift, strict=True)]


def test_proposals():
    places = cells(3, RPN_STRIDES)
    decode_box = decode((1.0,) * 4)
    places, values, theirs = official_file(
        places,
        deltas(places),
        lambda place, delta: decode_box(anchor(*place), delta),
        write_inclusive,
    )
    assert_same(rpn_boxes(RELEASED, places, values), theirs)


@pytest.mark.parametrize(
    ('config', 'stds'),
    [
        (RELEASED, [(0.1, 0.1, 0.2, 0.2)]),
        (
            'psconv-released_cascade-rcnn_r50_fpn_1x_coco',
            [
                (0.1, 0.1, 0.2, 0.2),
                (0.05, 0.05, 0.1, 0.1),
                (0.033, 0.033, 0.067, 0.067),
            ],
        ),
    ],
)
def test_boxes_of_the_second_stage(config, stds):
    heads = build_head(config, 'roi_head').bbox_head
    heads = heads if len(stds) > 1 else [heads]
    for head, own in zip(heads, stds, strict=True):
        classes = 1 if head.reg_class_agnostic else 80
        rois, values, places, theirs = official_second_stage(
            [1 / std for std in own], decode(own), 480 // classes, classes
        )
        boxes = head.bbox_coder.decode(
            rois[:, 1:], values, max_shape=META['img_shape']
        )
        assert_same(as_written(boxes.view(-1, 4)[places]), theirs)
