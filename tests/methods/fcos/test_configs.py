"""Each row of FCOS's tables is one key away from its neighbor."""

import pytest
from helpers import read_config
from mmengine.config import Config

from mmdet_assigners.config_diff import diff_dicts, flatten
from mmdet_assigners.utils import config_root

FIRST = 'fcos-ablation_r50-caffe_fpn_gn-head_1x_coco'
STEPS = [  # a row, its neighbor, what differs
    ('', 'ctr-on-reg', 'bbox_head.centerness_on_reg'),
    ('ctr-on-reg', 'ctr-on-reg-center', 'bbox_head.center_sampling'),
    ('ctr-on-reg-center', 'ctr-on-reg-center-giou', 'bbox_head.loss_bbox'),
    (
        'ctr-on-reg-center-giou',
        'ctr-on-reg-center-giou-normbbox',
        'bbox_head.norm_on_bbox',
    ),
    ('', 'no-ctr', 'bbox_head.use_centerness'),
    ('', 'ctr-from-reg', 'bbox_head.use_centerness'),
    ('', 'plain-box-loss', 'bbox_head.weight_reg_by_centerness'),
    ('', 'no-scale', 'bbox_head.use_scale'),
    ('', 'linear-iou', 'bbox_head.loss_bbox'),
    ('', 'giou', 'bbox_head.loss_bbox'),
    ('', 'no-gn', 'bbox_head.norm_cfg'),
    ('no-gn', 'no-gn_nms-05', 'test_cfg.nms'),
    ('no-gn_nms-05', 'no-gn_nms-05_c5', 'neck.add_extra_convs'),
]


def read(row):
    head = '' if row.startswith('no-gn') else '_gn-head'
    name = f'fcos_{row}_r50-caffe_fpn{head}_1x_coco' if row else FIRST
    path = config_root() / 'fcos' / f'{name}.py'
    return flatten(read_config(path).to_dict())


@pytest.mark.parametrize(('old', 'new', 'key'), STEPS, ids=lambda x: x)
def test_neighbors_differ_in_one_key(old, new, key):
    changes = diff_dicts(read(old), read(new))
    assert {'.'.join(k.split('.')[1:3]) for k in changes} == {key}


def test_all_improvements_are_those_of_mmdet():
    """Its improved config has a bias in the towers and other weights."""
    theirs = Config.fromstring(
        "_base_ = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head-center-normbbox-"
        "centeronreg-giou_1x_coco.py'",
        '.py',
    )
    ours = read('ctr-on-reg-center-giou-normbbox')
    changes = diff_dicts(flatten(theirs.to_dict()), ours)
    of_head = {k.split('.')[2] for k in changes if 'bbox_head' in k}
    assert of_head == {'type', 'conv_bias', 'dcn_on_last_conv'}
    assert not any('test_cfg' in key for key in changes)
