"""The examples of the package, run as in a notebook."""

import doctest

import torch

from mmdet_assigners import analysis
from mmdet_assigners.analysis.detectors import build_model
from mmdet_assigners.small_scale import load_config


def test_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load_config('gfl-ablation_r50_fpn_1x_coco', True, num_classes=8)
    model = build_model(cfg)
    torch.nn.init.constant_(model.bbox_head.gfl_cls.bias, 0)  # scores of 0.5
    torch.save(model.state_dict(), 'gfl.pth')
    (examples,) = doctest.DocTestFinder(recurse=False).find(analysis, globs={})
    results = doctest.DocTestRunner().run(examples, clear_globs=False)
    assert results.attempted > 15
    assert results.failed == 0
    assert examples.globs['ratio'] > 0
