from mmdet_assigners.config_diff import (
    Change,
    align,
    diff_dicts,
    flatten,
    mmdet_bases,
)

RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


def test_flatten_goes_into_lists_of_dicts():
    nested = dict(a=[dict(b=1), dict(b=2)], c=[1, 2], d={}, e=dict(f=None))
    assert flatten(nested) == {
        'a.0.b': 1,
        'a.1.b': 2,
        'c': [1, 2],
        'd': {},
        'e.f': None,
    }


def test_diff_names_what_happened():
    old = {'same': (1, 2), 'gone': 1, 'other': 'x'}
    new = {'same': [1, 2], 'other': 'y', 'fresh': None}
    assert diff_dicts(old, new) == {
        'gone': Change('removed', 1, None),
        'other': Change('changed', 'x', 'y'),
        'fresh': Change('added', None, None),
    }


def test_a_dict_that_becomes_a_list_is_its_first_entry():
    old = dict(m=dict(neck=dict(type='FPN'), k=1))
    new = dict(m=dict(neck=[dict(type='FPN'), dict(type='SEPC')], k=1))
    assert diff_dicts(flatten(align(old, new)), flatten(new)) == {
        'm.neck.1.type': Change('added', None, 'SEPC')
    }


def test_bases_are_followed_through_files(tmp_path):
    (tmp_path / 'a.py').write_text(f"_base_ = '{RETINA}'\n")
    (tmp_path / 'b.py').write_text("_base_ = ['a.py', 'c.py']\n")
    (tmp_path / 'c.py').write_text('x = 1\n')
    assert mmdet_bases(tmp_path / 'b.py') == [RETINA]
