"""AP at one IoU threshold."""

import json

import pytest
import torch
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope

from mmdet_assigners.small_scale import apply_small_scale
from mmdet_assigners.utils import config_path

STRICT = config_path('kl-loss_faster-rcnn_strict-ap_r50_fpn_2x_coco')
COCO = dict(
    images=[dict(id=1, file_name='a.jpg', width=100, height=100)],
    categories=[dict(id=7, name='thing')],
    annotations=[
        dict(
            id=1,
            image_id=1,
            category_id=7,
            bbox=[10, 10, 50, 50],
            area=2500,
            iscrowd=0,
        )
    ],
)


@pytest.mark.parametrize(
    ('height', 'expected'),
    [(50, [1, 1, 1]), (43, [0.8, 1, 0]), (36, [0.5, 0, 0])],
)
def test_thresholds(tmp_path, height, expected):
    """IoU 1, 0.86, 0.72: AP, AP80 and AP90 of the config's evaluators."""
    file = tmp_path / 'coco.json'
    file.write_text(json.dumps(COCO))
    init_default_scope('mmdet')
    cfg = Config.fromfile(STRICT)
    for part in cfg.val_evaluator:
        part.ann_file = str(file)
    evaluator = Evaluator(list(cfg.val_evaluator))
    evaluator.dataset_meta = dict(classes=('thing',))
    predicted = dict(
        bboxes=torch.tensor([[10.0, 10, 60, 10 + height]]),
        scores=torch.tensor([0.9]),
        labels=torch.tensor([0]),
    )
    sample = dict(img_id=1, ori_shape=(100, 100), pred_instances=predicted)
    evaluator.process([sample])
    found = evaluator.evaluate(1)
    names = ('coco', 'coco_80', 'coco_90')
    values = [found[f'{name}/bbox_mAP'] for name in names]
    assert values == pytest.approx(expected, abs=1e-3)


def test_small_scale_of_several_evaluators():
    cfg = apply_small_scale(Config.fromfile(STRICT), 'shapes')
    files = {part.ann_file for part in cfg.val_evaluator}
    assert len(files) == 1
    assert cfg.val_dataloader.dataset.ann_file in files


def test_refuses():
    init_default_scope('mmdet')
    with pytest.raises(ValueError, match=r'iou_thr must be in \(0, 1\]'):
        METRICS.build(dict(type='CocoIoUMetric', iou_thr=80))
