"""Recall of what heads assign, against the definition."""

import json

import pytest
import torch
from test_analysis.annotations import write_annotations

from mmdet_assigners.analysis import recall
from mmdet_assigners.analysis.assignment import uses_predictions
from mmdet_assigners.analysis.detectors import Detector, build_model
from mmdet_assigners.analysis.recall_rules import Counts, PointRule
from mmdet_assigners.datasets.roots import load_split
from mmdet_assigners.ops.anchor_points import pad_gts
from mmdet_assigners.small_scale import load_config, shrink_model

FCOS = 'fcos-ablation_r50-caffe_fpn_gn-head_1x_coco'
CENTER = 'fcos_ctr-on-reg-center_r50-caffe_fpn_gn-head_1x_coco'
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))


@pytest.fixture
def split(tmp_path):
    return load_split(write_annotations(tmp_path / 'ann.json'))


def small_detector(name):
    """A small network on images of full size."""
    cfg = load_config(name, num_classes=3)
    shrink_model(cfg.model)
    return Detector(name, cfg, build_model(cfg))


@pytest.mark.parametrize(
    ('name', 'radius'), [(FCOS, None), (CENTER, 1.5)], ids=['box', 'center']
)
def test_equals_the_definition(split, name, radius):
    """The head, asked per object, agrees with the rule of the paper."""
    detector = small_detector(name)
    rule = PointRule(ranges=RANGES, center_radius=radius)
    expected = Counts()
    for image in recall.read_objects(detector.cfg, split):
        assert image.shape == (800, 1332)
        padded = pad_gts([image.objects.bboxes], [image.objects.labels])
        # the network sees images padded to a multiple of 32
        expected = expected + rule.count(*padded, (800, 1344))
    found = recall.count(detector, split)
    assert found == expected
    assert found.objects == 23  # the crowd is none
    assert found.positive > found.ambiguous > found.mixed > 0


def test_our_head_and_mmdets_agree(split):
    """Ours has get_assignment, mmdet's an adapter."""
    ours, theirs = (
        recall.count(small_detector(name), split)
        for name in (FCOS, 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco')
    )
    assert ours == theirs


def test_recall_alone(split):
    detector = small_detector(FCOS)
    found = recall.count(detector, split, limit=1, ambiguity=False)
    assert found.objects == 12
    assert found.positive > 0 and found.ambiguous == found.mixed == 0


def test_outputs_keep_their_structure():
    counter = recall._Counter(small_detector(FCOS).model, ambiguity=True)
    blank = counter._blank(counter._outs, 2, (64, 96))
    assert [x.shape[-2:] for x in blank[0]] == [
        (8, 12), (4, 6), (2, 3), (1, 2), (1, 1),
    ]  # fmt: skip
    assert all(torch.equal(x, torch.zeros_like(x)) for x in blank[1])


def test_centers_that_share_a_cell(tmp_path):
    """Two pairs of objects, one of them of one class."""
    boxes = [[8, 8, 40, 40], [9, 9, 38, 38], [88, 8, 40, 40], [89, 9, 38, 38]]
    content = dict(
        images=[dict(id=1, file_name='a.jpg', width=160, height=128)],
        annotations=[
            dict(id=i, image_id=1, category_id=c, bbox=b, area=9, iscrowd=0)
            for i, (c, b) in enumerate(zip((1, 1, 2, 3), boxes, strict=True))
        ],
        categories=[dict(id=i, name=f'c{i}') for i in (1, 2, 3)],
    )
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    detector = small_detector('centernet_r18-dcnv2_crop512-140e_coco')
    assert not uses_predictions(detector)
    found = recall.count(detector, load_split(path))
    assert found == Counts(
        recalled=2, objects=4, positive=2, ambiguous=2, mixed=1
    )
