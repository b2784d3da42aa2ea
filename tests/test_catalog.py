"""The catalog reads metafiles, and says what is wrong with one."""

import pytest

from mmdet_assigners.catalog import (
    MetafileError,
    closest,
    find_classes,
    read_catalog,
)
from mmdet_assigners.utils import config_root

METAFILE = """\
Collections:
  - Name: Toy
    Metadata:
      Training Data: COCO
      Kind: [neck, head]
      Status: M1
      Classes: [ToyNeck, ToyHead]
    Paper: {URL: 'https://arxiv.org/abs/1', Title: Toys}
    README: configs/toy/README.md
Models:
  - Name: toy_a
    In Collection: Toy
    Config: configs/toy/toy_a.py
    Metadata: {Epochs: 12}
    Results: [{Task: Object Detection, Metrics: {box AP: 1.5}}]
  - {Name: toy_b, In Collection: Toy, Config: configs/toy/toy_b.py}
"""


@pytest.fixture
def tree(tmp_path):
    package = tmp_path / 'pkg'
    for file, text in {
        'configs/toy/metafile.yml': METAFILE,
        'pkg/necks/toy.py': 'class ToyNeck(Base):\n    pass\n',
        'pkg/heads/toy.py': 'class ToyHead:\n    class Inner:\n        pass',
        'pkg/.mim/tools/copy.py': 'class Hidden:\n    pass\n',
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / 'configs', package


def test_reads_every_field(tree):
    (method,) = read_catalog(*tree)
    assert (method.slug, method.name) == ('toy', 'Toy')
    assert method.kinds == ('neck', 'head')
    assert method.status == 'M1'
    assert (method.paper.title, method.paper.url) == (
        'Toys',
        'https://arxiv.org/abs/1',
    )
    assert method.classes == ('ToyNeck', 'ToyHead')
    assert method.files == ('pkg/necks/toy.py', 'pkg/heads/toy.py')
    assert method.configs == ('toy_a', 'toy_b')
    assert method.models[0].results[0]['Metrics'] == {'box AP': 1.5}
    assert method.models[1].results == ()


def test_classes_are_top_level_and_not_hidden(tree):
    assert set(find_classes(tree[1])) == {'ToyNeck', 'ToyHead'}


def test_our_own_metafiles_are_readable():
    folders = {path.parent.name for path in config_root().glob('*/*.yml')}
    assert {method.slug for method in read_catalog()} == folders


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('Status: M1', 'Status: M9', "'M9' is none of draft, M0"),
        ('[neck, head]', '[nose]', "'nose' is none of assigner"),
        ('[neck, head]', 'neck', "Kind is 'neck', expected a list"),
        ('[neck, head]', '[]', r'Kind is \[\], expected a list of names'),
        ('Classes:', 'Class:', "key 'Classes' is missing"),
        ('Title: Toys', 'Year: 1', "key 'Title' is missing"),
        ('Name: toy_a', 'Name: 3', 'Name is 3, expected a str'),
        ('In Collection: Toy\n', 'In Collection: X\n', 'not in collection'),
        ('Models:', '  - Name: Two\nModels:', '2 Collections, expected one'),
        ('Collections:', 'Collections: [', 'not YAML'),
    ],
)
def test_a_broken_metafile_is_named(tree, old, new, message):
    assert old in METAFILE
    text = METAFILE.replace(old, new, 1)
    (tree[0] / 'toy' / 'metafile.yml').write_text(text)
    with pytest.raises(MetafileError, match=message) as error:
        read_catalog(*tree)
    assert str(error.value).startswith('configs/toy/metafile.yml')


def test_closest():
    assert closest('Nek', ['neck', 'head']) == 'did you mean neck?'
    assert closest('xyz', ['neck', 'head']) == 'there are neck, head'
    assert closest('xyz', []) == 'there are none'
