"""The catalog reads metafiles, and says what is wrong with one."""

import pytest

from mmdet_assigners.catalog import (
    Gain,
    MetafileError,
    Published,
    SmallScaleRow,
    closest,
    find_classes,
    read_catalog,
    read_pairs,
)
from mmdet_assigners.utils import config_root

METAFILE = """\
Collections:
  - Name: Toy
    Metadata:
      Summary: a toy
      Venue: CVPR 2020
      Training Data: COCO
      Categories: [neck, head]
      Status: M1
      Classes: [ToyNeck, ToyHead]
      Synchronizations: 3
    Paper: {URL: 'https://arxiv.org/abs/1', Title: Toys}
    README: configs/toy/README.md
    Sources:
      README: {Title: the README, URL: 'https://toys.org'}
    Small Scale:
      - {Label: Toy A, Config: toy_a, Data: [shapes], Baseline: mmdet::x/x.py}
    Tables:
      - ID: main
        Caption: All toys.
        Rows:
          - Config: mmdet::x/x.py
            Published:
              - {Metric: AP50, Value: 9.0, Dataset: COCO val, Source: README}
          - toy_a
          - {Config: toy_b, Description: other words}
Models:
  - Name: toy_a
    In Collection: Toy
    Config: configs/toy/toy_a.py
    Metadata: {Epochs: 12, Parameters: 2.5e+6, FLOPs: 1.0e+9}
    Description: the toy
    Published:
      - Metric: box AP
        Value: 7.0
        Dataset: COCO val
        Source: paper, table 2
        Note: small
    Results: [{Task: Object Detection, Metrics: {box AP: 1.5}}]
  - Name: toy_b
    In Collection: Toy
    Config: configs/toy/toy_b.py
    In Paper: false
"""
BASELINES = """\
Sources: {mmdet: {Title: zoo, URL: 'https://mmdet.org'}}
Baselines:
  - Config: mmdet::x/x.py
    Label: X (mmdet)
    Description: X
    Parameters: 3.0e+6
    Published: [{Metric: box AP, Value: 8.0, Dataset: COCO val, Source: mmdet}]
"""


@pytest.fixture
def tree(tmp_path):
    package = tmp_path / 'pkg'
    for file, text in {
        'configs/toy/metafile.yml': METAFILE,
        'configs/baselines.yml': BASELINES,
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
    assert (method.summary, method.venue) == ('a toy', 'CVPR 2020')
    assert method.categories == ('neck', 'head')
    assert (method.status, method.synchronizations) == ('M1', 3)
    assert (method.paper.title, method.paper.url) == (
        'Toys',
        'https://arxiv.org/abs/1',
    )
    assert method.classes == ('ToyNeck', 'ToyHead')
    assert method.files == ('pkg/necks/toy.py', 'pkg/heads/toy.py')
    assert method.configs == ('toy_a', 'toy_b')
    first, second = method.models
    assert first.results[0]['Metrics'] == {'box AP': 1.5}
    assert first.description == 'the toy'
    assert (first.parameters, first.flops) == (2.5e6, 1e9)
    (number,) = first.published
    assert number == Published(
        'box AP', 7.0, 'COCO val', 'paper, table 2', 'small'
    )
    assert number.source_key == 'paper'
    assert (first.in_paper, second.in_paper) == (True, False)
    assert (second.results, second.flops) == ((), None)
    assert method.small_scale == (
        SmallScaleRow('Toy A', 'toy_a', 'mmdet::x/x.py', None, ('shapes',)),
    )


def test_tables_hold_our_configs_and_baselines(tree):
    (method,) = read_catalog(*tree)
    (table,) = method.tables
    assert (table.id, table.caption) == ('main', 'All toys.')
    base, first, second = table.rows
    assert (base.is_ours, first.is_ours) == (False, True)
    assert (base.description, base.parameters) == ('X', 3e6)
    # the row's numbers come behind those that mmdet has itself
    assert [n.value for n in base.published] == [8.0, 9.0]
    assert first == method.models[0]
    assert second.description == 'other words'
    assert method.models[1].description == ''
    assert set(method.sources) == {'mmdet', 'paper', 'README'}
    assert method.sources['paper'] == method.paper


def with_gain(tree, gain, published):
    """The small-scale row names a published pair; the baseline has numbers."""
    text = METAFILE.replace('x/x.py}', f'x/x.py, Published: {gain}}}', 1)
    old = 'Dataset: COCO val, Source: README}\n'
    assert old in text
    rows = ''.join(f'              - {number}\n' for number in published)
    text = text.replace(old, old + rows, 1)
    (tree[0] / 'toy' / 'metafile.yml').write_text(text)
    (method,) = read_catalog(*tree)
    return method.small_scale[0].gain


OF_PAPER = '{Metric: box AP, Value: 5.9, Dataset: COCO val, Source: paper}'


def test_published_gain(tree):
    gain = with_gain(tree, '{Source: paper, Note: n}', [OF_PAPER])
    assert gain == Gain(7.0, 5.9, 'COCO val', 'paper, table 2', 'n')
    assert gain.value == 1.1


@pytest.mark.parametrize(
    ('gain', 'published', 'count'),
    [
        # mmdet's 8.0 is no pair of the paper's 7.0
        ('{Source: paper}', [], 0),
        ('{Source: paper}', [OF_PAPER.replace(' val', ' test-dev')], 0),
        ('{Source: paper}', [OF_PAPER.replace('box', 'mask')], 0),
        ('{Source: paper, Config: toy_b}', [OF_PAPER], 0),
        ('{Source: paper}', [OF_PAPER, OF_PAPER.replace('5.9', '6.1')], 2),
    ],
)
def test_no_published_gain(tree, gain, published, count):
    with pytest.raises(
        MetafileError, match=f"'Toy A': 'paper' has {count} pairs of box AP"
    ):
        with_gain(tree, gain, published)


def test_pairs_of_baselines(tree):
    more = (
        BASELINES
        + """\
  - Config: mmdet::y/y.py
    Description: Y
    Published: [{Metric: box AP, Value: 8.5, Dataset: COCO val, Source: mmdet}]
Small Scale:
  - Label: Y
    Config: mmdet::y/y.py
    Baseline: mmdet::x/x.py
    Published: {Source: mmdet}
"""
    )
    assert read_pairs(tree[0]) == ()
    (tree[0] / 'baselines.yml').write_text(more)
    (row,) = read_pairs(tree[0])
    assert (row.label, row.gain.value) == ('Y', 0.5)
    (tree[0] / 'baselines.yml').unlink()
    assert read_pairs(tree[0]) == ()


def test_baselines_can_be_missing(tree):
    (tree[0] / 'baselines.yml').unlink()
    with pytest.raises(MetafileError, match=r"a row 'mmdet::x/x\.py'"):
        read_catalog(*tree)


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
        ('[neck, head]', 'neck', "Categories is 'neck', expected list"),
        ('[neck, head]', '[]', r'Categories is \[\], expected a list of'),
        ('Classes:', 'Class:', "key 'Classes' is missing"),
        ('Title: Toys', 'Year: 1', "unknown key 'Year'; there are Title"),
        ('Name: toy_a', 'Name: 3', 'Name is 3, expected str'),
        ('In Collection: Toy\n', 'In Collection: X\n', 'not in collection'),
        ('Models:', '  - Name: Two\nModels:', '2 Collections, expected one'),
        ('Collections:', 'Collections: [', 'not YAML'),
        ('Value: 7.0', 'Value: about 7', "Value is 'about 7', expected float"),
        ('Value: 7.0', 'Value: 7', 'Value is 7, expected float'),
        ('paper, table 2', 'papers', "Source 'papers' is unknown; did you me"),
        ('Source: README', 'Source: x', "Source 'x' is unknown; there are mm"),
        ('Published:\n      - Me', 'Publish:\n      - Me', "key 'Publish'; d"),
        ('Note: small', 'Not: small', "unknown key 'Not'; did you mean Note?"),
        ('- toy_a\n', '- toy_c\n', "table 'main' has a row 'toy_c', which is"),
        ('Synchronizations: 3', 'Synchronizations: true', 'expected int'),
        ('In Paper: false', 'In Paper: 0', 'In Paper is 0, expected bool'),
        ('- toy_a\n', '- [1]\n', r'\[1\], expected a mapping'),
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
