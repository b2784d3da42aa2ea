"""Small detectors and a small COCO dataset."""

import functools
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmdet_assigners.analysis.detectors import build_model
from mmdet_assigners.datasets.roots import load_split
from mmdet_assigners.small_scale import load_config

CONFIGS = {
    'retinanet': 'mmdet::retinanet/retinanet_r50_fpn_1x_coco',
    'atss': 'mmdet::atss/atss_r50_fpn_1x_coco',
    'fcos': 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco',
    'fsaf': 'mmdet::fsaf/fsaf_r50_fpn_1x_coco',
    'freeanchor': 'mmdet::free_anchor/freeanchor_r50_fpn_1x_coco',
    'rpn': 'mmdet::rpn/rpn_r50_fpn_1x_coco',
    'gfl': 'mmdet::gfl/gfl_r50_fpn_1x_coco',
    'paa': 'mmdet::paa/paa_r50_fpn_1x_coco',
    'tood': 'mmdet::tood/tood_r50_fpn_1x_coco',
    'yolox': 'mmdet::yolox/yolox_tiny_8xb8-300e_coco',
    'autoassign': 'mmdet::autoassign/autoassign_r50-caffe_fpn_1x_coco',
    'ddod': 'mmdet::ddod/ddod_r50_fpn_1x_coco',
}
CLASSES = ('ball', 'cone', 'cube')


def small_config(name: str) -> Config:
    # an RPN has the one class 'object'
    classes = None if name == 'rpn' else len(CLASSES)
    return load_config(CONFIGS.get(name, name), True, num_classes=classes)


@functools.cache
def _detector(name):
    return build_model(small_config(name))


@pytest.fixture
def detector():
    """Function: name -> untrained small model (shared, don't change)."""
    return _detector


@pytest.fixture
def config():
    return small_config


@pytest.fixture
def batch():
    """Function: boxes and labels per image -> data for a model."""

    def make(*images, size=(256, 256), ignored=()):
        height, width = size
        data = dict(inputs=[], data_samples=[])
        for boxes, labels in images:
            boxes = torch.tensor(boxes, dtype=torch.float).view(-1, 4)
            sample = DetDataSample(
                metainfo=dict(img_shape=size, scale_factor=(1.0, 1.0))
            )
            sample.gt_instances = InstanceData(
                bboxes=boxes, labels=torch.tensor(labels, dtype=torch.long)
            )
            sample.ignored_instances = InstanceData(
                bboxes=torch.tensor(ignored, dtype=torch.float).view(-1, 4)
            )
            generator = torch.Generator().manual_seed(0)
            image = torch.randint(
                0, 256, (3, height, width), generator=generator
            )
            data['inputs'].append(image.to(torch.uint8))
            data['data_samples'].append(sample)
        return data

    return make


@pytest.fixture
def coco(tmp_path):
    """Split of two images of 64 x 48, in a COCO-format root.

    The first has a ball, a cube and a crowd of cones, the second nothing.
    """
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ('one.png', 'two.png'):
        image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), image)
    boxes = [(1, [4, 6, 20, 30], 0), (9, [30, 10, 30, 30], 0)]
    boxes += [(5, [0, 40, 64, 8], 1)]
    content = dict(
        images=[
            dict(id=7, file_name='one.png', width=64, height=48),
            dict(id=8, file_name='two.png', width=64, height=48),
        ],
        categories=[
            dict(id=i, name=name)
            for i, name in zip((1, 5, 9), CLASSES, strict=True)
        ],
        annotations=[
            dict(
                id=i,
                image_id=7,
                category_id=category,
                bbox=box,
                area=box[2] * box[3],
                iscrowd=crowd,
            )
            for i, (category, box, crowd) in enumerate(boxes, 1)
        ],
    )
    annotations = tmp_path / 'annotations'
    annotations.mkdir()
    for split in ('train', 'val'):
        (annotations / f'{split}.json').write_text(json.dumps(content))
    return load_split(annotations / 'val.json', folder)
