from mmdet_assigners.config_diff import Change, diff_dicts, flatten


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
