"""Converter of Hit-Detector, on random weights of the official names."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from official_boxes import RPN_STRIDES
from official_weights import assert_loads

from mmdet_assigners import get_config
from mmdet_assigners.conversion import convert_file
from mmdet_assigners.conversion.geometry import geometry
from mmdet_assigners.methods.hit_detector.convert import convert, guess_config

RELEASED = 'hit-detector-released_faster-rcnn_1x_coco'
# kernel, expansion, channels of the inverted residuals of the backbone
LAYERS = (
    *[(3, 3, 48)] * 4,
    *[(5, 6, 96)] * 2,
    *[(3, 3, 96)] * 2,
    (7, 6, 184),
    *[(5, 6, 184)] * 2,
    (5, 3, 184),
    *[(5, 6, 256)] * 4,
    (7, 6, 352),
    *[(5, 6, 352)] * 3,
    (3, 3, 1024),
)
LATERALS = ((5, 48), (5, 96), (5, 256), (3, 2048))
SECOND = (3, 5, 5, 3)
HEAD = (5, 3, 5, 5)


def conv(state, name, out, inputs, size, bias=False):
    state[f'{name}.weight'] = torch.zeros(1).expand(out, inputs, size, size)
    if bias:
        state[f'{name}.bias'] = torch.randn(out)


def unit(state, name, out, inputs, size, bias=False):
    conv(state, f'{name}.conv', out, inputs, size, bias)
    for part in ('weight', 'bias', 'running_mean', 'running_var'):
        state[f'{name}.bn.{part}'] = torch.randn(out)
    state[f'{name}.bn.num_batches_tracked'] = torch.tensor(0)


def residual(state, name, kernel, expand, inputs, out):
    width = expand * inputs
    unit(state, f'{name}.conv1', width, inputs, 1)
    unit(state, f'{name}.conv2', width, 1, kernel)
    unit(state, f'{name}.conv3', out, width, 1)


def backbone(prefix=''):
    state = {}
    unit(state, f'{prefix}layers.0', 16, 3, 3, bias=True)
    inputs = 16
    for i, (kernel, expand, out) in enumerate(LAYERS, 1):
        residual(state, f'{prefix}layers.{i}', kernel, expand, inputs, out)
        inputs = out
    unit(state, f'{prefix}layers.22', 2048, 1024, 1)
    return state


def official(classes=81):
    """A detector as the official code, a fork of mmdet 1.x, writes it."""
    state = backbone('backbone.')
    second = [(kernel, 256) for kernel in SECOND]
    for i, (kernel, inputs) in enumerate((*LATERALS, *second)):
        name = f'neck.SearchNeck.cells.{i}'
        unit(state, f'{name}.conv1', inputs, 1, kernel)
        unit(state, f'{name}.conv2', 256, inputs, 1)
    for i in range(3):
        conv(state, f'neck.pa_convs.{i}.conv', 256, 256, 3, bias=True)
    conv(state, 'rpn_head.rpn_conv', 256, 256, 3, bias=True)
    conv(state, 'rpn_head.rpn_cls', 3, 256, 1, bias=True)
    conv(state, 'rpn_head.rpn_reg', 12, 256, 1, bias=True)
    for i, kernel in enumerate(HEAD):
        residual(state, f'bbox_head.SearchHead.cells.{i}', kernel, 6, 256, 256)
    for name, out, inputs in (
        ('shared_fcs.0', 512, 256 * 49),
        ('fc_cls', classes, 512),
        ('fc_reg', 4 * classes, 512),
    ):
        state[f'bbox_head.{name}.weight'] = torch.randn(out, 1).expand(
            out, inputs
        )
        state[f'bbox_head.{name}.bias'] = torch.randn(out)
    return state


def test_loads_strictly():
    theirs = official()
    count = sum(t.numel() for n, t in theirs.items() if _is_parameter(n))
    assert count == 27_123_916
    names = (
        'backbone.layers.0.conv.bias',
        'backbone.layers.17.conv2.bn.running_var',
        'neck.SearchNeck.cells.5.conv1.bn.weight',
        'neck.pa_convs.2.conv.bias',
        'rpn_head.rpn_reg.bias',
    )
    head = ('SearchHead.cells.1.conv2.bn.bias', 'shared_fcs.0.bias')
    same = {name: name for name in names}
    same |= {f'roi_head.bbox_head.{n}': f'bbox_head.{n}' for n in head}
    ours, _ = assert_loads('hit_detector', theirs, same, RELEASED)
    for part in ('weight', 'bias'):
        scores = theirs[f'bbox_head.fc_cls.{part}']
        found = ours[f'roi_head.bbox_head.fc_cls.{part}']
        assert torch.equal(found, torch.cat((scores[1:], scores[:1])))
        boxes = theirs[f'bbox_head.fc_reg.{part}']
        found = ours[f'roi_head.bbox_head.fc_reg.{part}']
        assert torch.equal(found, boxes[4:])


def _is_parameter(name):
    return not name.endswith(
        ('running_mean', 'running_var', 'num_batches_tracked')
    )


def test_backbone_is_for_init_cfg(tmp_path):
    theirs = backbone()
    theirs['fc.weight'] = torch.zeros(1000, 2048)
    theirs['fc.bias'] = torch.zeros(1000)
    source, out = tmp_path / 'official.pth', tmp_path / 'out.pth'
    torch.save({f'module.{n}': t.clone() for n, t in theirs.items()}, source)
    count, config = convert_file('hit_detector', source, out)
    assert count == len(theirs) - 2
    assert config == 'hit-detector_faster-rcnn_1x_coco'
    init_default_scope('mmdet')
    cfg = get_config(config).model.backbone
    cfg.init_cfg.checkpoint = str(out)
    cfg.norm_cfg.type = 'BN'
    net = MODELS.build(cfg)
    net.init_weights()
    for name, value in net.state_dict().items():
        assert torch.equal(value, theirs[name]), name


def test_boxes_are_those_of_mmdet_1():
    """The geometry that `test_convert` of PSConv compares with its boxes."""
    init_default_scope('mmdet')
    models = []
    for name in (RELEASED, 'psconv-released_faster-rcnn_r50_fpn_1x_coco'):
        cfg = get_config(name).model
        cfg.backbone.init_cfg = None
        models.append(geometry(MODELS.build(cfg)))
    assert models[0] == models[1]
    assert len(models[0]['rpn_head.prior_generator']) == len(RPN_STRIDES)


def test_own_classes_need_a_config():
    assert guess_config(convert(official(classes=4))) is None


def test_refuses_other_files(tmp_path):
    resnet = {'backbone.conv1.weight': torch.zeros(64, 3, 7, 7)}
    with pytest.raises(ValueError, match='neither a Hit-Detector nor its ba'):
        convert(resnet)
    path = tmp_path / 'other.pth'
    torch.save({'neck2.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='1 keys are unknown: neck2'):
        convert_file('hit_detector', path, tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()
