"""What the READMEs of methods say about costs, see tools/dev/cost_block.py."""

import json

import cost_block
import pytest
from facts import ROOT, catalog, read_methods

BASELINES = """\
Baselines:
  - {Config: 'mmdet::base/base.py', Description: b, FLOPs: 200.0e+9}
  - {Config: 'mmdet::base/square.py', Description: b, FLOPs: 200.0e+9}
"""
STEP = 'Toy train step B=4 320x240 G=13'


def toy(baseline='mmdet::base/base.py', metadata=None):
    model = catalog.Model('toy', '', flops=250e9, metadata=metadata)
    row = catalog.SmallScaleRow('Toy', 'toy', baseline)
    reference = catalog.Reference('Toy', '')
    return catalog.Method(
        *('toys', 'Toy', 'a toy', 'CVPR 2020', ('head',), reference, 'M0'),
        *((), (), (model,)),
        small_scale=(row,),
    )


def bench(root, name, *rows):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ('name', 'peer', 'ratio')
    rows = [dict(zip(keys, row, strict=True)) for row in rows]
    path.write_text(json.dumps({'rows': rows}))


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'baselines.yml').write_text(BASELINES)
    bench(tmp_path, cost_block.STEPS, (STEP, 'mmdet::base/base.py', 0.8))
    return tmp_path


def cells(lines):
    return [cell.strip() for cell in lines[3].strip('|').split('|')]


def test_ratios_to_the_baseline(root):
    bench(
        root,
        cost_block.GROWTH,
        ('toys predict P=5000 classes=365 B=1', 'a', 0.25),
        ('toys predict P=5000 classes=80 B=1', 'b', 0.5),
        ('toys loss P=5000 G=1 B=1', 'c', 0.1),
    )
    lines = cost_block.render(root, [toy()])['toys']
    assert cells(lines) == [
        '[toy](toy.py)', '`mmdet::base/base.py`', '1.25', '1.25'
    ]  # fmt: skip
    text = ' '.join(lines[5:])
    assert 'for 80 classes' in text
    assert 'takes 2.00 times as long as that of `b`.' in text


def test_images_of_different_sizes_have_no_ratio(root):
    method = toy(metadata={'FLOPs Image': '640x640'})
    assert cells(cost_block.render(root, [method])['toys'])[2:] == [
        '-',
        '1.25',
    ]


def test_what_was_not_timed_has_no_block(root):
    assert cost_block.render(root, [toy('mmdet::base/square.py')]) == {}
    (root / cost_block.STEPS).unlink()
    assert cost_block.render(root, [toy()]) == {}


def test_every_readme_says_what_the_method_costs():
    missing = []
    for method in read_methods(ROOT):
        path = ROOT / 'configs' / method.slug / 'README.md'
        if '\n## Cost\n' not in path.read_text():
            missing.append(method.slug)
    assert not missing
