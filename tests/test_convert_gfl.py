"""Converter of GFL, on random weights under the official names."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config

FOLDER = Path(__file__).parent.parent / 'tools' / 'convert'
CONFIG = 'gfl-ablation_r50_fpn_1x_coco'


@pytest.fixture
def gfl(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module('gfl')
    for name in ('gfl', 'common'):
        sys.modules.pop(name, None)


def test_loads_strictly(gfl, tmp_path):
    """Only the buffer of the bins has another name in the official code."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(get_config(CONFIG).model)
    official = {
        name.replace('integral', 'distribution_project'): tensor
        for name, tensor in model.state_dict().items()
    }
    assert 'bbox_head.distribution_project.project' in official
    files = [str(tmp_path / name) for name in ('official.pth', 'ours.pth')]
    torch.save({'state_dict': official, 'meta': {}}, files[0])
    common = importlib.import_module('common')
    assert common.main('GFL', gfl.convert, gfl.guess_config, files) == 0
    content = torch.load(files[1], weights_only=True)
    assert content['meta']['config'] == CONFIG
    for name, tensor in model.state_dict().items():
        assert torch.equal(content['state_dict'][name], tensor)


def test_refuses_another_method(gfl):
    with pytest.raises(ValueError, match=r'unknown: rpn\.head\.iou'):
        gfl.convert({'rpn.head.iou.bias': torch.zeros(1)})
