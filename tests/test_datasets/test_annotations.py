"""What is wrong in an annotation file, in one line with its place."""

import copy
import json
import math

import pytest
from mmdet.datasets import CocoDataset

from mmdet_assigners.datasets.annotations import (
    AnnotationError,
    check_evaluable,
    check_masks,
    read_annotations,
)

GOOD = dict(
    images=[dict(id=1, file_name='a.jpg', width=8, height=8)],
    annotations=[
        dict(id=5, image_id=1, category_id=7, bbox=[0, 0, 4, 4], area=16)
    ],
    categories=[dict(id=7, name='cell')],
)


@pytest.fixture
def read(tmp_path):
    """Read the good file after one change."""

    def run(change=lambda content: None, text=None, encoding='utf-8'):
        content = copy.deepcopy(GOOD)
        change(content)
        path = tmp_path / 'a.json'
        path.write_text(text or json.dumps(content), encoding)
        return read_annotations(path)

    return run


def test_good_file(read):
    assert read() == GOOD


def test_names_in_any_script(read):
    text = json.dumps(GOOD, ensure_ascii=False).replace('cell', 'Zelle ü')
    assert read(text=text)['categories'][0]['name'] == 'Zelle ü'
    with pytest.raises(AnnotationError, match=r'a\.json is not UTF-8'):
        read(text=text, encoding='latin-1')


@pytest.mark.parametrize('key', sorted(GOOD))
def test_lists_that_are_missing_or_none(read, key):
    with pytest.raises(AnnotationError, match=f'it has no {key!r}'):
        read(lambda content: content.pop(key))
    with pytest.raises(AnnotationError, match=f'{key!r} is a dict, expected'):
        read(lambda content: content.update({key: {}}))
    with pytest.raises(AnnotationError, match=rf'{key}\[0\] is a int'):
        read(lambda content: content.update({key: [3]}))


@pytest.mark.parametrize(
    ('key', 'name'),
    [(key, name) for key, records in GOOD.items() for name in records[0]],
)
def test_keys_that_a_record_lacks(read, key, name):
    with pytest.raises(AnnotationError, match=rf'{key}\[0\] has no {name!r}$'):
        read(lambda content: content[key][0].pop(name))
    with pytest.raises(AnnotationError, match=f'{name!r} is None, expected'):
        read(lambda content: content[key][0].update({name: None}))
    with pytest.raises(AnnotationError, match=f'{name!r} is True, expected'):
        read(lambda content: content[key][0].update({name: True}))


BAD = (
    *('missing', None, True, 'x', '', [], {}, [1], {'a': 1}, '7'),
    *(-1, 0, 1.5, 10**400, float('nan'), float('inf')),
)


def test_what_is_accepted_can_be_loaded(tmp_path, read, capfd):
    """Each value of each key: one line that names the file, or it loads."""
    good = copy.deepcopy(GOOD)
    good['annotations'][0] |= dict(iscrowd=0, segmentation=[[0, 0, 4, 0, 4]])
    cases = [
        (key, name, bad)
        for key, records in good.items()
        for name in records[0]
        for bad in BAD
    ]
    path = tmp_path / 'a.json'
    accepted = []
    for key, name, bad in cases:
        content = copy.deepcopy(good)
        content[key][0][name] = bad
        if bad == 'missing':
            del content[key][0][name]
        path.write_text(json.dumps(content))
        try:
            annotations = read_annotations(path)['annotations']
            check_evaluable(path, annotations)
            check_masks(path, annotations)
        except AnnotationError as error:
            assert str(error).startswith(str(path))
            assert '\n' not in str(error)
            continue
        accepted.append((name, bad))
        (record,) = CocoDataset(
            ann_file=str(path),
            data_prefix=dict(img=''),
            metainfo=dict(classes=(content['categories'][0]['name'],)),
            test_mode=True,
            pipeline=[],
        )
        for box in record['instances']:
            assert all(map(math.isfinite, box['bbox']))
    assert len(cases) == 208
    for name in ('width', 'height'):
        assert [bad for key, bad in accepted if key == name] == [1.5]
    assert [bad for key, bad in accepted if key == 'iscrowd'] == [True, 0]
    assert 'segmentation' not in [name for name, _ in accepted]


@pytest.mark.parametrize(
    'box',
    [
        [1, 2, 3],
        [10**400, 0, 1, 1],
        [1, 2, 3, '4'],
        [0, 0, float('nan'), 1],
        [],
        [[1] * 4],
    ],
)
def test_boxes(read, box):
    message = r"annotations\[0\]: 'bbox' is .*four finite numbers"
    with pytest.raises(AnnotationError, match=message):
        read(lambda content: content['annotations'][0].update(bbox=box))


@pytest.mark.parametrize('key', sorted(GOOD))
def test_ids_that_occur_twice(read, key):
    with pytest.raises(AnnotationError, match=f'1 ids of {key} occur several'):
        read(lambda content: content.update({key: content[key] * 2}))


def test_class_names_that_occur_twice(read):
    def change(content):
        content['categories'].append(dict(id=8, name='cell'))

    with pytest.raises(AnnotationError, match=r"names of .*first 'cell'"):
        read(change)


def test_objects_of_no_image(read):
    def change(content):
        content['annotations'][0]['image_id'] = 2

    with pytest.raises(AnnotationError, match=r"'image_id' is 2, .* no image"):
        read(change)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', 'not valid JSON'),
        ('', 'not valid JSON'),
        ('[]', 'it holds a list'),
        ('{"images": []}', "it has no 'annotations'"),
        ('[' * 100_000, 'not valid JSON'),
    ],
)
def test_files_of_something_else(tmp_path, text, message):
    path = tmp_path / 'a.json'
    path.write_text(text)
    with pytest.raises(AnnotationError, match=message) as info:
        read_annotations(path)
    assert '\n' not in str(info.value)


def test_nothing_to_learn(read):
    with pytest.raises(AnnotationError, match='lists no images'):
        read(lambda content: content.update(images=[], annotations=[]))
    with pytest.raises(AnnotationError, match='has no categories'):
        read(lambda content: content.update(categories=[]))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotation file .*no\.js'):
        read_annotations(tmp_path / 'no.json')


def test_what_the_evaluation_reads():
    check_evaluable('a.json', [dict(id=1, iscrowd=0)])
    message = r"a.json: 1 annotations have no 'iscrowd' \(first id 2\)"
    with pytest.raises(AnnotationError, match=message):
        check_evaluable('a.json', [dict(id=1, iscrowd=0), dict(id=2)])


def test_masks_in_some_annotations():
    some = [dict(id=1, segmentation=[[0] * 6]), dict(id=2, segmentation=[])]
    check_masks('a.json', some[:1])
    message = r'1 of 2 annotations have no segmentation \(first id 2\)'
    with pytest.raises(AnnotationError, match=message):
        check_masks('a.json', some)
