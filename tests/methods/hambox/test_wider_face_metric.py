"""WIDERFaceMetric on hand-made ground-truth files."""

import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmengine.registry import init_default_scope
from scipy.io import savemat
from test_datasets.test_roots import coco_root

from mmdet_assigners.methods.hambox.wider_face_metric import WIDERFaceMetric
from mmdet_assigners.small_scale import use_data
from mmdet_assigners.utils import get_config

IMAGES = {'0--Parade': ['p_1', 'p_2'], '1--Handshaking': ['h_1']}
FACES = {
    'p_1': [[0, 0, 10, 10], [50, 0, 10, 10]],
    'p_2': [[20, 0, 10, 10]],
    'h_1': [],
}
KEPT = {
    'easy': {'p_1': [1], 'p_2': [], 'h_1': []},
    'medium': {'p_1': [1], 'p_2': [1], 'h_1': []},
    'hard': {'p_1': [1, 2], 'p_2': [1], 'h_1': []},
}


def cells(values):
    """A column of cells, as Matlab saves it."""
    column = np.empty((len(values), 1), dtype=object)
    for index, value in enumerate(values):
        column[index, 0] = value
    return column


def save(folder, **changes):
    def per_image(read):
        return cells(
            [cells([read(n) for n in names]) for names in IMAGES.values()]
        )

    content = dict(
        event_list=cells(list(IMAGES)),
        file_list=per_image(lambda name: name),
        face_bbx_list=per_image(
            lambda name: np.array(FACES[name], float).reshape(-1, 4)
        ),
    )
    content.update(changes)
    savemat(str(folder / 'wider_face_val.mat'), content)
    for subset, kept in KEPT.items():
        numbers = per_image(
            lambda name, kept=kept: np.array(kept[name], int).reshape(-1, 1)
        )
        savemat(str(folder / f'wider_{subset}_val.mat'), {'gt_list': numbers})
    return str(folder / 'wider_face_val.mat')


def sample(name, *rows):
    rows = torch.tensor(rows, dtype=torch.float32).reshape(-1, 3)
    x, width, score = rows.unbind(1)
    height = torch.full_like(x, 10)
    boxes = torch.stack((x, 0 * x, x + width, height), 1)
    return dict(
        img_path=f'data/WIDER_val/0--Parade/{name}.jpg',
        pred_instances=dict(bboxes=boxes, scores=score),
    )


def predictions():
    """Hits in the order p_1's first, p_2's, p_1's second; a miss last."""
    return [
        sample('p_1', (0, 10, 0.9), (50, 10, 0.4), (90, 10, 0.1)),
        sample('p_2', (20, 10, 0.8), (80, 10, 0.6)),
        sample('h_1', (0, 10, 0.7)),
    ]


def test_ap_of_the_subsets(tmp_path):
    init_default_scope('mmdet')
    metric = METRICS.build(
        dict(type='WIDERFaceMetric', ann_file=save(tmp_path))
    )
    metric.process({}, predictions())
    result = metric.evaluate(3)
    assert result['wider_face/AP_easy'] == 1
    assert result['wider_face/AP_medium'] == 1
    assert result['wider_face/AP_hard'] == pytest.approx(2 / 3 + 1 / 4)


def test_faces_are_read(tmp_path):
    metric = WIDERFaceMetric(save(tmp_path))
    assert list(metric.faces) == ['p_1', 'p_2', 'h_1']
    assert metric.faces['p_1'].tolist() == FACES['p_1']
    assert metric.faces['h_1'].shape == (0, 4)
    assert metric.subsets['hard']['p_1'].tolist() == [1, 2]
    assert metric.subsets['easy']['p_2'].size == 0


def test_missing_and_unknown_images(tmp_path):
    metric = WIDERFaceMetric(save(tmp_path))
    metric.process({}, predictions()[:1])
    with pytest.raises(ValueError, match=r"2 of 3 images .* first 'h_1'"):
        metric.evaluate(1)
    metric = WIDERFaceMetric(save(tmp_path), partial=True)
    metric.process({}, predictions()[:1])
    assert metric.evaluate(1)['wider_face/AP_hard'] == 1
    metric = WIDERFaceMetric(save(tmp_path), partial=True)
    metric.process({}, [sample('other')])
    with pytest.raises(ValueError, match=r"not in the ground .* 'other'"):
        metric.evaluate(1)


def test_bad_files(tmp_path):
    path = save(tmp_path)
    (tmp_path / 'wider_hard_val.mat').unlink()
    with pytest.raises(FileNotFoundError, match=r'wider_hard_val\.mat: no'):
        WIDERFaceMetric(path)
    path = save(tmp_path, file_list=cells([cells(['p_1', 'p_1', 'h_1'])]))
    with pytest.raises(ValueError, match='names an image twice'):
        WIDERFaceMetric(path)
    path = save(tmp_path, face_bbx_list=cells([cells([np.zeros((1, 4))])]))
    with pytest.raises(ValueError, match='must have 3 images, got 1'):
        WIDERFaceMetric(path)
    savemat(path, {'x': 1})
    with pytest.raises(ValueError, match="must have 'file_list'"):
        WIDERFaceMetric(path)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match=r'iou_thr must be .* got 0'):
        WIDERFaceMetric('x', iou_thr=0)
    with pytest.raises(ValueError, match=r'num_thresholds must be .* got 0'):
        WIDERFaceMetric('x', num_thresholds=0)
    metric = WIDERFaceMetric(save(tmp_path))
    with pytest.raises(ValueError, match='needs img_path'):
        metric.process({}, [dict(pred_instances={})])


def test_small_scale_leaves_wider_face(tmp_path):
    """On the overlay's COCO files the face configs are COCO configs."""
    init_default_scope('mmdet')
    cfg = get_config('hambox_r50_fpn_1x_widerface')
    assert cfg.val_evaluator.type == 'WIDERFaceMetric'
    use_data(cfg, str(coco_root(tmp_path)))
    for part in ('train', 'val', 'test'):
        assert cfg[f'{part}_dataloader'].dataset.type == 'CocoDataset'
    for part in ('val', 'test'):
        evaluator = dict(cfg[f'{part}_evaluator'], ann_file=None)
        METRICS.build(evaluator)
        assert evaluator['type'] == 'CocoMetric'
