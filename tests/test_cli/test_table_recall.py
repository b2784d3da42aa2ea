"""``table recall``: counts over an annotation file."""

import argparse
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmdet_assigners.analysis.recall import AssignmentCounter, read_samples
from mmdet_assigners.analysis.recall_rules import Counts, PointRule
from mmdet_assigners.cli import table_recall
from mmdet_assigners.cli.common import resolve_config
from mmdet_assigners.ops.anchor_points import pad_gts
from mmdet_assigners.small_scale import set_num_classes, shrink_model
from mmdet_assigners.utils import register_all_modules

FCOS = 'fcos-ablation_r50-caffe_fpn_gn-head_1x_coco'
CENTER = 'fcos_ctr-on-reg-center_r50-caffe_fpn_gn-head_1x_coco'
RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))


@pytest.fixture
def ann(tmp_path):
    """Two images of 666 x 400 (doubled by the resize), one without."""
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 300, (24, 2))
    size = rng.uniform(4, 200, (24, 2)).clip(max=[666, 400] - low)
    content = dict(
        images=[
            dict(id=i, file_name=f'{i}.png', width=666, height=400)
            for i in range(3)
        ],
        categories=[dict(id=i, name=f'class {i}') for i in range(3)],
        annotations=[
            dict(
                id=i,
                image_id=i % 2,
                category_id=i % 3,
                bbox=[*low[i], *size[i]],
                area=size[i].prod(),
                iscrowd=int(i == 23),
            )
            for i in range(24)
        ],
    )
    path = tmp_path / 'ann.json'
    path.write_text(json.dumps(content))
    return path


def load(name):
    register_all_modules(init_default_scope=True)
    cfg = Config.fromfile(resolve_config(name))
    shrink_model(cfg.model)
    set_num_classes(cfg.model, 3)
    return cfg


def run(*argv):
    parser = argparse.ArgumentParser()
    table_recall.add_arguments(parser)
    return table_recall.run(parser.parse_args([*map(str, argv)]))


@pytest.mark.parametrize(
    ('name', 'radius'), [(FCOS, None), (CENTER, 1.5)], ids=['box', 'center']
)
def test_equals_the_definition(ann, name, radius):
    """The head, asked per object, agrees with the rule of the paper."""
    cfg = load(name)
    rule = PointRule(ranges=RANGES, center_radius=radius)
    expected = Counts()
    for sample in read_samples(cfg, ann):
        assert sample.shape == (800, 1332)
        padded = pad_gts([sample.objects.bboxes], [sample.objects.labels])
        # the network sees images padded to a multiple of 32
        expected = expected + rule.count(*padded, (800, 1344))
    found = AssignmentCounter(cfg).count_all(read_samples(cfg, ann))
    assert found == expected
    assert found.objects == 23  # the crowd is none
    assert found.positive > found.ambiguous > found.mixed > 0


def test_our_head_and_mmdets_agree(ann):
    """Ours answers itself, mmdet's through its adapter."""
    counts = [
        AssignmentCounter(load(name)).count_all(read_samples(load(name), ann))
        for name in (FCOS, 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco')
    ]
    assert counts[0] == counts[1]


def test_recall_alone(ann):
    cfg = load(FCOS)
    found = AssignmentCounter(cfg, ambiguity=False).count_all(
        read_samples(cfg, ann, limit=1)
    )
    assert found.objects == 12
    assert found.positive > 0 and found.ambiguous == found.mixed == 0


@pytest.mark.parametrize(
    'name',
    [
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco',
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco',
        'autoassign-ablation_r50-caffe_fpn_1x_coco',
    ],
)
def test_heads_of_other_kinds(ann, name, capsys):
    args = ['--ann', ann, '--mini', '--images', '1', '--format', 'csv']
    assert run(name, *args) == 0
    captured = capsys.readouterr()
    head, row = captured.out.splitlines()
    assert head.startswith('config,objects,recalled %,positives')
    fields = row.split(',')
    assert fields[0] == name.split('/')[-1]
    assert fields[1] == '12' and float(fields[2]) > 80
    assert int(fields[3]) > 12
    assert ('zero everywhere' in captured.err) == ('autoassign' in name)


def test_markdown_table():
    rows = [('a', Counts(3, 4, 200, 5, 1)), ('b', Counts())]
    lines = table_recall.format_table(rows, 'markdown').splitlines()
    assert lines[1] == '| --- | --- | --- | --- | --- | --- |'
    assert lines[2] == '| a | 4 | 75.00 | 200 | 2.50 | 0.50 |'
    assert lines[3] == '| b | 0 | - | 0 | - | - |'
    short = table_recall.format_table(rows, 'csv', ambiguity=False)
    assert short.splitlines()[1] == 'a,4,75.00,200,-,-'


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        ([FCOS, '--ann', 'nowhere.json'], 'no annotation file nowhere.json'),
        ([FCOS, '--data', 'bcd'], 'did you mean bccd'),
        ([FCOS + 'x'], 'did you mean fcos'),
        ([FCOS, '--images', '-1'], '--images -1: expected 0'),
    ],
)
def test_errors(argv, message, capsys):
    with pytest.raises(SystemExit, match='1'):
        run(*argv)
    assert message in capsys.readouterr().err


def test_files_of_other_kinds(tmp_path, capsys):
    path = tmp_path / 'x.json'
    path.write_text('{}')
    with pytest.raises(SystemExit, match='1'):
        run(FCOS, '--ann', path)
    assert 'not a COCO annotation file' in capsys.readouterr().err


def test_outputs_keep_their_structure():
    counter = AssignmentCounter(load(FCOS))
    blank = counter._blank(counter._outs, 2, (64, 96))
    assert [x.shape[-2:] for x in blank[0]] == [
        (8, 12), (4, 6), (2, 3), (1, 2), (1, 1),
    ]  # fmt: skip
    assert all(torch.equal(x, torch.zeros_like(x)) for x in blank[1])
