import logging
import random

import mmcv
import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmdet_assigners.analysis.heatmaps import extreme_points
from mmdet_assigners.methods.extremenet import (
    ExtremeFlip,
    ExtremeResize,
    LoadExtremePoints,
    PackExtremeInputs,
    RandomExtremeWarp,
)
from mmdet_assigners.methods.extremenet.points import warn_of_midpoints

POLYGON = [60, 50, 100, 30, 140, 60, 90, 70]
POINTS = [[100, 30], [60, 50], [90, 70], [140, 60]]


def loaded(masks=(POLYGON,)):
    """An image with quadrangles, after ``LoadAnnotations``."""
    instances = [dict(bbox=[60, 30, 140, 70]) for _ in masks]
    for instance, polygon in zip(instances, masks, strict=True):
        if polygon:
            instance['mask'] = [polygon]
    boxes = torch.tensor([i['bbox'] for i in instances], dtype=torch.float32)
    image = np.zeros((120, 200, 3), np.uint8)
    for x, y in POINTS:
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    return dict(
        img=image,
        img_shape=(120, 200),
        instances=instances,
        gt_bboxes=HorizontalBoxes(boxes.view(-1, 4)),
        gt_bboxes_labels=np.arange(len(masks)),
        gt_ignore_flags=np.zeros(len(masks), bool),
    )


def assert_on_the_marks(results):
    """Each point is on a white square, and spans the box with the others."""
    (points,) = results['gt_extreme_points']
    (box,) = results['gt_bboxes'].tensor.tolist()
    top, left, bottom, right = points
    found = [left[0], top[1], right[0], bottom[1]]
    np.testing.assert_allclose(found, box, atol=1e-4)
    for x, y in points.round().long().tolist():
        assert results['img'][y, x, 0] > 127


def test_points_are_loaded():
    results = LoadExtremePoints()(loaded())
    assert results['gt_extreme_points'].tolist() == [POINTS]
    assert_on_the_marks(results)


def test_a_larger_tolerance():
    results = LoadExtremePoints(tolerance=0.5)(loaded())
    # the middles of x = 60 and 100, and of 90 and 60
    assert results['gt_extreme_points'][0, 0].tolist() == [80, 30]
    assert results['gt_extreme_points'][0, 2].tolist() == [75, 70]


def test_objects_without_masks(caplog):
    warn_of_midpoints.cache_clear()
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            results = LoadExtremePoints()(loaded([None, POLYGON, []]))
    logger.removeHandler(caplog.handler)
    middles = [[100, 30], [60, 50], [100, 70], [140, 50]]
    assert results['gt_extreme_points'].tolist() == [middles, POINTS, middles]
    assert caplog.text.count('not the supervision of ExtremeNet') == 1
    skipped = LoadExtremePoints(missing='skip')(loaded([None, POLYGON, []]))
    assert skipped['gt_extreme_points'].tolist() == [POINTS]
    assert skipped['gt_bboxes_labels'].tolist() == [1]
    assert len(skipped['gt_bboxes']) == len(skipped['gt_ignore_flags']) == 1


def test_no_objects():
    results = loaded([])
    for step in (
        LoadExtremePoints(),
        RandomExtremeWarp((64, 64)),
        ExtremeResize(scale=(32, 32)),
        ExtremeFlip(prob=1.0),
        PackExtremeInputs(meta_keys=()),
    ):
        results = step(results)
    gt = results['data_samples'].gt_instances
    assert gt.extreme_points.shape == (0, 4, 2)


def test_wrong_options_and_places():
    with pytest.raises(ValueError, match=r"missing must be one of .'midpoint"):
        LoadExtremePoints(missing='drop')
    with pytest.raises(ValueError, match='tolerance must be at least 0, got'):
        LoadExtremePoints(tolerance=-1)
    results = loaded()
    results['gt_bboxes'] = results['gt_bboxes'][:0]
    with pytest.raises(ValueError, match='must follow LoadAnnotations: there'):
        LoadExtremePoints()(results)


def test_a_wrong_segmentation_names_its_image():
    results = loaded([POLYGON, [[1, 2, 3]]]) | dict(img_path='a.jpg')
    with pytest.raises(ValueError, match=r'a\.jpg, object 1: a polygon mus'):
        LoadExtremePoints()(results)


@pytest.mark.parametrize('relative', [False, True])
def test_points_stay_on_their_marks(relative):
    """Crops, scales and mirrors, also where boxes are cut off."""
    random.seed(0)
    warp = RandomExtremeWarp((201, 201), border=40, relative=relative)
    seen, cut = set(), 0
    for _ in range(40):
        results = warp(LoadExtremePoints()(loaded()))
        if not len(results['gt_bboxes']):
            assert results['gt_extreme_points'].shape == (0, 4, 2)
            continue
        points = results['gt_extreme_points']
        assert (points >= 0).all() and (points <= 201).all()
        if (points > 0).all() and (points < 200).all():
            assert_on_the_marks(results)
            seen.add(results['flip'])
        else:
            cut += 1
    assert seen == {False, True} and cut


def test_side_of_the_square():
    sides = (
        RandomExtremeWarp((100, 100)),
        RandomExtremeWarp((100, 100), relative=True),
    )
    assert [warp.side_of(30, 50) for warp in sides] == [100, 50]


def test_points_of_removed_boxes():
    warp = RandomExtremeWarp((50, 50))
    results = LoadExtremePoints()(loaded([POLYGON, POLYGON]))
    results['gt_bboxes'].tensor[0] = torch.tensor([0.0, 0, 10, 10])
    results['gt_extreme_points'][1] += 1
    found = warp.warp(results, 50, (90, 50))
    assert found['gt_bboxes_labels'].tolist() == [1]
    # x: 65 .. 115 and y: 25 .. 75 are seen
    assert found['gt_extreme_points'].tolist() == [
        [[36, 6], [0, 26], [26, 46], [50, 36]]
    ]


def test_resize():
    results = ExtremeResize(scale=(400, 360))(LoadExtremePoints()(loaded()))
    assert_on_the_marks(results)
    assert results['gt_extreme_points'][0, 0].tolist() == [200, 90]
    outside = LoadExtremePoints()(loaded())
    outside['gt_extreme_points'] += 80
    moved = ExtremeResize(scale=(200, 120))(outside)['gt_extreme_points']
    assert moved.amax((0, 1)).tolist() == [200, 120]


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_flip(direction):
    flip = ExtremeFlip(prob=1.0, direction=direction)
    results = flip(LoadExtremePoints()(loaded()))
    assert_on_the_marks(results)


def test_packing():
    results = LoadExtremePoints()(loaded([POLYGON, POLYGON]))
    results['gt_ignore_flags'][0] = True
    results['gt_extreme_points'][1] += 1
    sample = PackExtremeInputs(meta_keys=())(results)['data_samples']
    found = sample.gt_instances.extreme_points
    assert found.tolist() == [[[x + 1, y + 1] for x, y in POINTS]]
    assert sample.ignored_instances.extreme_points.tolist() == [POINTS]


def wrapped(*steps):
    """A config whose dataset is joined and repeated, as those of VOC."""
    leaf = dict(type='CocoDataset', pipeline=[dict(type=s) for s in steps])
    joined = dict(type='ConcatDataset', datasets=[leaf])
    dataset = dict(type='RepeatDataset', times=2, dataset=joined)
    return leaf, Config(dict(train_dataloader=dict(dataset=dataset)))


def test_points_for_pictures(tmp_path):
    """Also of objects that training skips."""
    path = str(tmp_path / 'image.png')
    mmcv.imwrite(np.zeros((120, 200, 3), np.uint8), path)
    box = dict(bbox=[60, 30, 140, 70], bbox_label=0, ignore_flag=0)
    info = dict(img_path=path, instances=[box, box | dict(mask=[POLYGON])])
    leaf, _ = wrapped('LoadExtremePoints')
    leaf['pipeline'][0]['missing'] = 'skip'
    cfg = Config(dict(train_dataloader=dict(dataset=leaf)))
    points = extreme_points(cfg, info, {})
    assert points.shape == (2, 4, 2)
    assert points[1].tolist() == POINTS


def test_no_points_for_pictures():
    _, cfg = wrapped('LoadImageFromFile')
    assert extreme_points(cfg, {}, {}) is None
