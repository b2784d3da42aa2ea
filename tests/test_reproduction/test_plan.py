from pathlib import Path

import pytest

from mmdet_assigners.catalog import Model, Published
from mmdet_assigners.reproduction.plan import (
    Settings,
    find_rows,
    modes_of,
    plan,
    training_of,
)

LADDER = [
    'atss-ladder_retinanet-a1_r50_fpn_1x_coco',
    'atss-ladder_retinanet-a1_gn_r50_fpn_1x_coco',
    'atss-ladder_retinanet-a1_gn-giou_r50_fpn_1x_coco',
    'atss-ladder_retinanet-a1_gn-giou-ingt_r50_fpn_1x_coco',
    'atss-ladder_retinanet-a1_gn-giou-ingt-ctr_r50_fpn_1x_coco',
    'atss-ladder_iou-box_r50_fpn_1x_coco',
]
R18 = 'centernet_r18-dcnv2_crop512-140e_coco'
SCALES = 'centernet-ms-test_r18-dcnv2_crop512-140e_coco'


def published(*datasets):
    numbers = (Published('box AP', 30.0, one, 'paper') for one in datasets)
    return Model('a', 'a.py', published=tuple(numbers))


def jobs_of(table, pattern='*', seeds=(0,), **settings):
    rows = find_rows(table, pattern)
    return plan(rows, seeds, Settings(Path('root'), **settings))


def test_rows_of_a_table_in_order():
    assert [row.name for row in find_rows('atss/ladder')] == LADDER
    found = find_rows('atss/ladder', '*gn-giou*')
    assert [row.name for row in found] == LADDER[2:5]


def test_rows_of_all_tables_once():
    names = [row.name for row in find_rows('atss')]
    assert names[:6] == LADDER
    assert 'mmdet::atss/atss_r50_fpn_1x_coco.py' in names
    assert len(names) == len({*names}) > 50


@pytest.mark.parametrize(
    ('table', 'pattern', 'message'),
    [
        ('ats', '*', "no method 'ats'; did you mean atss"),
        ('atss/lader', '*', "atss has no table 'lader'; did you mean ladder"),
        ('atss/ladder', 'x*', '--rows x[*]: no config of atss/ladder has'),
        ('atss/ladder', LADDER[0][:-1], f'did you mean {LADDER[0]}'),
    ],
)
def test_unknown_names(table, pattern, message):
    with pytest.raises(ValueError, match=message):
        find_rows(table, pattern)


def test_how_a_row_is_tested():
    assert modes_of(published()) == ('plain',)
    assert modes_of(published('COCO val', 'COCO test-dev')) == ('plain',)
    assert modes_of(published('COCO val, flip test')) == ('tta',)
    both = published('COCO val, multi-scale test', 'COCO val')
    assert modes_of(both) == ('plain', 'tta')


def test_rows_that_only_test_otherwise_share_a_training():
    (job,) = jobs_of('centernet/main', 'centernet[-_]*r18*140e*')[:1]
    assert job.training == R18
    tested = {row.config: row.modes for row in job.rows}
    assert tested[R18] == ('plain', 'tta')
    assert tested[SCALES] == ('tta',)
    # also if only that row is asked for
    (alone,) = jobs_of('centernet/main', SCALES)
    assert alone.training == R18 and len(alone.rows) == 1


def test_rows_that_train_otherwise_have_a_training_each():
    for row in find_rows('atss'):
        assert training_of(row) == row.name


def test_seeds_come_one_after_the_other():
    jobs = jobs_of('atss/ladder', '*gn-giou-*', seeds=(0, 1))
    assert [(job.seed, job.training) for job in jobs] == [
        (seed, name) for seed in (0, 1) for name in LADDER[3:5]
    ]


def test_names_tell_what_is_not_comparable():
    name = LADDER[0]
    settings = [
        dict(),
        dict(form='mini', data='shapes'),
        dict(form='small', data='/x/bccd', epochs=3),
    ]
    names = [
        jobs_of('atss/ladder', name, **one)[0].folder.name for one in settings
    ]
    assert names == [
        f'{name}_full_s0',
        f'{name}_mini_shapes_s0',
        f'{name}_small_bccd_3e_s0',
    ]
    (job,) = jobs_of('atss/ladder', name)
    path = job.result_file(job.rows[0])
    assert path == Path('root/results') / f'{name}_full_s0.json'
