"""`table recall`: counts over an annotation file."""

import argparse

import pytest
from test_analysis.annotations import write_annotations

from mmdet_assigners.analysis.recall_rules import Counts
from mmdet_assigners.cli import table_recall

FCOS = 'fcos-ablation_r50-caffe_fpn_gn-head_1x_coco'


@pytest.fixture
def ann(tmp_path):
    return write_annotations(tmp_path / 'ann.json')


def run(*argv):
    parser = argparse.ArgumentParser()
    table_recall.add_arguments(parser)
    return table_recall.run(parser.parse_args([*map(str, argv)]))


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
