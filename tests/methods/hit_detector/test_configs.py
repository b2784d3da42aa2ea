"""Configs of Hit-Detector: recipes, and the forms at small scale."""

from pathlib import Path

import torch
from helpers import mini_config, read_config
from mmdet.registry import MODELS

from mmdet_assigners.small_scale import set_epochs
from mmdet_assigners.utils import config_path

MAIN = 'hit-detector_faster-rcnn_1x_coco'


def test_recipes():
    """Of the official code."""
    coco, voc = (
        read_config(Path(config_path(name)))
        for name in (MAIN, 'hit-detector_faster-rcnn_1x_voc0712')
    )
    for cfg, warm_up, epochs, steps in (
        (coco, 800, 12, [8, 11]),
        (voc, 100, 4, [3]),
    ):
        first, second = cfg.param_scheduler
        assert (first.type, first.start_factor) == ('LinearLR', 0.1)
        assert first.end == warm_up
        assert second.milestones == steps
        assert cfg.train_cfg.max_epochs == epochs
        assert cfg.optim_wrapper.clip_grad.max_norm == 35
        assert cfg.optim_wrapper.optimizer.lr == 0.02
        for part in (cfg.model.backbone, cfg.model.neck):
            assert part.norm_cfg.type == 'SyncBN'
        assert cfg.model.rpn_head.loss_bbox.beta == 1 / 9
        assert cfg.model.roi_head.bbox_head.loss_bbox.beta == 1
    assert voc.train_dataloader.batch_size == 4
    assert voc.train_dataloader.dataset.times == 3
    assert voc.model.roi_head.bbox_head.num_classes == 20


def test_a_shorter_search():
    """The schedule of the weights follows; the logits have none."""
    cfg = read_config(
        Path(config_path('hit-detector-search_faster-rcnn_12e_coco'))
    )
    set_epochs(cfg, 4)
    warm_up, cosine = cfg.param_scheduler.weights
    assert (warm_up.end, cosine.end, cosine.T_max) == (50, 4, 4)
    assert cfg.param_scheduler.arch == []
    assert cfg.train_cfg.max_epochs == 4
    assert cfg.train_cfg.arch_begin == 1 / 3


def test_small_pair():
    """From random weights, with the same images, losses and proposals."""
    names = (MAIN, 'hit-detector-off_faster-rcnn_r50_fpn_1x_coco')
    ours, plain = (
        mini_config(Path(config_path(name))).model for name in names
    )
    for model in (ours, plain):
        assert not model.backbone.get('init_cfg')
        assert not model.backbone.get('norm_eval')
        assert model.backbone.get('frozen_stages', -1) == -1
    assert ours.rpn_head == plain.rpn_head
    assert ours.train_cfg == plain.train_cfg
    assert ours.test_cfg == plain.test_cfg
    assert (
        ours.roi_head.bbox_head.loss_bbox == plain.roi_head.bbox_head.loss_bbox
    )
    with torch.device('meta'):
        sizes = [
            [out.shape[2:] for out in MODELS.build(m.backbone)(x)]
            for m in (ours, plain)
            for x in [torch.zeros(1, 3, 64, 96)]
        ]
    assert sizes[0] == sizes[1]
