"""Converters of codes that are mmdet themselves, on random weights.

The names are mmdet's but for those that are spelled out here.
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
REPPOINTS = 'batch-reppoints-moment_{}_fpn-gn_{}_coco'
MODULES = ('gfl', 'reppoints')
RENAMED = {  # config -> part of our name, official one
    'gfl-ablation_r50_fpn_1x_coco': (
        'bbox_head.integral.project',
        'bbox_head.distribution_project.project',
    ),
    REPPOINTS.format('r50', '1x'): (
        'bbox_head.reppoints_pts_init_conv.weight',
        'bbox_head.reppoints_pts_init_conv.weight',
    ),
    REPPOINTS.format('r101', '2x'): (
        'bbox_head.reppoints_cls_out.bias',
        'bbox_head.reppoints_cls_out.bias',
    ),
    REPPOINTS.format('r101-dconv-c3-c5', '2x'): (
        'conv2.conv_offset.',
        'conv2_offset.',
    ),
    REPPOINTS.format('x101-dconv-c3-c5', '2x'): (
        'conv2.conv_offset.',
        'conv2_offset.',
    ),
}


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in (*MODULES, 'common'):
        sys.modules.pop(name, None)


@pytest.mark.parametrize('config', RENAMED)
def test_loads_strictly(tools, tmp_path, config):
    tool = tools['gfl' if config.startswith('gfl') else 'reppoints']
    init_default_scope('mmdet')
    with torch.device('meta'):
        names = MODELS.build(get_config(config).model).state_dict()
    state = {name: torch.zeros(t.shape) for name, t in names.items()}
    our, their = RENAMED[config]
    changed = [name for name in state if our in name]
    for name in changed:
        state[name] = torch.randn(state[name].shape)
    official = {name.replace(our, their): t for name, t in state.items()}
    assert any(their in name for name in official)
    files = [str(tmp_path / name) for name in ('official.pth', 'ours.pth')]
    torch.save({'state_dict': official, 'meta': {}}, files[0])
    common = importlib.import_module('common')
    assert common.main('', tool.convert, tool.guess_config, files) == 0
    content = torch.load(files[1], weights_only=True)
    assert content['meta']['config'] == config
    for name in changed:
        assert torch.equal(content['state_dict'][name], state[name])


@pytest.mark.parametrize('name', MODULES)
def test_refuses_another_method(tools, name):
    with pytest.raises(ValueError, match=r'unknown: rpn\.head\.iou'):
        tools[name].convert({'rpn.head.iou.bias': torch.zeros(1)})
