"""Converter of RDSNet, on random weights of the official names and shapes."""

import pytest
import torch
from helpers import read_config
from mmdet.registry import MODELS
from official_boxes import (
    assert_same,
    cells,
    class_maps,
    deltas,
    detectron_decode,
    maps,
    mmdet_v1_anchor,
    official_file,
    result_file,
    write_inclusive,
)

from mmdet_assigners.conversion import convert_file
from mmdet_assigners.methods.rdsnet import convert as converter
from mmdet_assigners.utils import resolve_config

CONFIG = 'rdsnet-released_r{}_fpn_1x_coco'
# official name and shape
PIXELS = {
    f'mask_head.{layer}.{part}': shape
    for layer in (
        'lateral_convs.0.0',
        'lateral_convs.1.0',
        'lateral_convs.2.0',
        'lateral_convs.2.2',
        'final_convs.0.0',
    )
    for part, shape in (
        ('conv.weight', (256, 256, 3, 3)),
        ('gn.weight', (256,)),
        ('gn.bias', (256,)),
    )
} | {
    'mask_head.conv_reps.weight': (32, 256, 1, 1),
    'mask_head.conv_reps.bias': (32,),
}
OBJECTS = {
    f'bbox_head.{tower}_convs.{i}.{part}': shape
    for tower in ('cls', 'reg', 'rep')
    for i in range(4)
    for part, shape in (
        ('conv.weight', (256, 256, 3, 3)),
        ('gn.weight', (256,)),
        ('gn.bias', (256,)),
    )
} | {
    f'bbox_head.retina_{layer}.{part}': shape
    for layer, outs in (('cls', 720), ('reg', 36), ('rep', 576))
    for part, shape in (('weight', (outs, 256, 3, 3)), ('bias', (outs,)))
}


def model_of(depth=50):
    cfg = read_config(resolve_config(CONFIG.format(depth))).model
    cfg.backbone.init_cfg = None
    with torch.device('meta'):
        return MODELS.build(cfg)


def official(depth=50):
    """Backbone and neck have the names of mmdet."""
    shapes = {
        name: value.shape
        for name, value in model_of(depth).state_dict().items()
        if name.startswith(('backbone', 'neck'))
    }
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in (shapes | OBJECTS | PIXELS).items():
        value = torch.rand(1, generator=generator)
        state[name] = value.reshape(()).expand(shape)
    return state


@pytest.mark.parametrize('depth', [50, 101])
def test_loads_strictly(depth):
    ours = converter.convert(official(depth))
    assert converter.guess_config(ours) == CONFIG.format(depth)
    expected = model_of(depth).state_dict()
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        assert ours[name].shape == value.shape, name


def test_a_file(tmp_path):
    source, out = tmp_path / 'official.pth', tmp_path / 'ours.pth'
    state = {name: value.clone() for name, value in official().items()}
    # of a model that was built with MBRM
    state |= {'mbrm.weight': torch.zeros(1, 1, 9), 'mbrm.bias': torch.zeros(1)}
    torch.save(dict(state_dict=state, meta=dict(epoch=12)), source)
    count, config = convert_file('rdsnet', source, out)
    assert config == CONFIG.format(50)
    assert count == len(state) - 2


def test_where_layers_go():
    theirs = official()
    ours = converter.convert(theirs)
    for our, their in (
        ('lateral_convs.1.0', 'lateral_convs.1.0'),
        ('lateral_convs.2.1', 'lateral_convs.2.2'),
        ('final_convs.0', 'final_convs.0.0'),
    ):
        for part in ('conv.weight', 'gn.bias'):
            found = ours[f'mask_head.{our}.{part}']
            assert torch.equal(found, theirs[f'mask_head.{their}.{part}'])


def test_refuses_another_method():
    state = official() | {'mask_head.convs.0.bias': torch.zeros(1)}
    with pytest.raises(ValueError, match=r'1 keys are unknown: mask_head'):
        converter.convert(state)


def test_boxes_are_those_that_the_official_code_writes():
    places = cells(9)
    values = deltas(places)
    values[::7, 2:] *= 16  # sides are bounded on both ends
    places, values, theirs = official_file(
        places,
        values,
        lambda place, delta: detectron_decode(
            mmdet_v1_anchor(*place), bounded(delta), (1, 1, 1, 1)
        ),
        write_inclusive,
    )
    ours = result_file(
        CONFIG.format(50),
        class_maps(places, anchors=9),
        maps(places, values, anchors=9),
        maps(places, values.new_zeros(len(places), 64), anchors=9),
    )
    assert_same(ours, theirs)


def bounded(delta):
    """Of mmdet 1.x, which bounds the logarithm of sides below, too."""
    limit = torch.tensor(1000 / 16).log().item()
    return torch.cat((delta[:2], delta[2:].clamp(-limit, limit)))


def test_the_config_is_the_official_one():
    cfg = read_config(resolve_config(CONFIG.format(50)))
    optimizer = cfg.optim_wrapper
    assert optimizer.optimizer.type == 'SGD'
    assert optimizer.optimizer.lr == 0.005
    assert optimizer.clip_grad.max_norm == 35
    assert [step.end for step in cfg.param_scheduler] == [500, 12]
    assert cfg.auto_scale_lr.base_batch_size == 8
    head = cfg.model.bbox_head
    assert head.loss_bbox == dict(type='SmoothL1Loss', beta=0.11)
    assert head.norm_cfg.num_groups == 32
    assert cfg.train_pipeline[1].with_mask
    assert cfg.val_evaluator.metric == ['bbox', 'segm']
    assert cfg.model.train_cfg.assigner == dict(
        type='BatchMaxIoUAssigner',
        pos_iou_thr=0.5,
        neg_iou_thr=0.4,
        min_pos_iou=0,
        ignore_iof_thr=-1,
    )
    double = read_config(resolve_config('rdsnet_r101_fpn_ms-2x_coco'))
    scales = double.train_dataloader.dataset.pipeline[2]
    assert scales.scales == [(1333, 640), (1333, 800)]
    assert double.param_scheduler[1].milestones == [16, 22]
