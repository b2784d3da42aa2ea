"""Each row of the ladder is one key away from its neighbor."""

import runpy

import pytest
from helpers import read_config
from mmengine.config import Config

from mmdet_assigners.config_diff import diff_dicts, flatten
from mmdet_assigners.utils import config_root

FOLDER = config_root() / 'atss'
MAIN = 'atss-ladder_r50_fpn_1x_coco'


def path(step):
    name = f'atss-ladder_{step}_r50_fpn_1x_coco' if step else MAIN
    return FOLDER / f'{name}.py'


def read(step):
    return read_config(path(step)).to_dict()


LADDER = {  # a row and its neighbor -> what differs
    ('retinanet-a1', 'retinanet-a1_gn'): 'bbox_head.norm_cfg',
    ('retinanet-a1_gn', 'retinanet-a1_gn-giou'): 'bbox_head.loss_bbox',
    (
        'retinanet-a1_gn-giou',
        'retinanet-a1_gn-giou-ingt',
    ): 'train_cfg.assigner',
    (
        'retinanet-a1_gn-giou-ingt',
        'retinanet-a1_gn-giou-ingt-ctr',
    ): 'bbox_head.use_centerness',
    ('retinanet-a1_gn-giou-ingt-ctr', 'iou-box'): 'bbox_head.use_scale',
    ('iou-box', 'iou-point'): 'bbox_head.bbox_coder',
    ('iou-point', 'ssc-point'): 'train_cfg.assigner',
    ('ssc-point', 'atss-point'): 'train_cfg.assigner',
    ('ssc-point', 'ssc-box'): 'bbox_head.bbox_coder',
    ('atss-point', ''): 'bbox_head.bbox_coder',
}


def test_neighbors_differ_in_one_key():
    rows = {step: read(step) for pair in LADDER for step in pair}
    for (old, new), key in LADDER.items():
        changes = diff_dicts(flatten(rows[old]), flatten(rows[new]))
        keys = {'.'.join(name.split('.')[1:3]) for name in changes}
        assert keys == {key}, (old, new)


@pytest.mark.parametrize(
    'leaf', sorted(FOLDER.glob('*_r50_fpn_1x_coco.py')), ids=lambda p: p.stem
)
def test_a_leaf_sets_one_key(leaf):
    """One argument of the head, or one component exchanged."""
    if leaf.stem == MAIN:
        return
    model = runpy.run_path(str(leaf))['model']
    keys = [(part, key) for part in model for key in model[part]]
    if leaf.stem == 'atss-ladder_official-rules_r50_fpn_1x_coco':
        assert len(keys) == 2
    else:
        assert len(keys) == 1, keys


def test_the_base_is_mmdets_config():
    """The main config exchanges classes, not settings."""
    theirs = Config.fromstring(
        "_base_ = 'mmdet::atss/atss_r50_fpn_1x_coco.py'", '.py'
    )
    changes = diff_dicts(flatten(theirs.to_dict()), flatten(read('')))
    changed = {key for key, c in changes.items() if c.type != 'added'}
    assert changed == {'model.bbox_head.type', 'model.train_cfg.assigner.type'}
