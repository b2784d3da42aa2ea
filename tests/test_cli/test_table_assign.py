"""`table assign` on a generated dataset."""

import csv
import io
import json

import cv2
import numpy as np
import pytest

from mmdet_assigners.__main__ import main
from mmdet_assigners.cli.table_assign import format_table

FCOS = 'mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py'
FSAF = 'mmdet::fsaf/fsaf_r50_fpn_1x_coco'
ATSS, GFL = (
    'mmdet::atss/atss_r50_fpn_1x_coco',
    'mmdet::gfl/gfl_r50_fpn_1x_coco',
)


@pytest.fixture
def root(tmp_path):
    """Three images of 320 x 240: two objects and a crowd, one, none."""
    (tmp_path / 'images').mkdir()
    boxes = [[(40, 40, 100, 120), (200, 30, 20, 20)], [(10, 10, 60, 60)], []]
    images, annotations = [], []
    for i, objects in enumerate(boxes):
        name = f'{i}.png'
        image = np.full((240, 320, 3), 90, dtype=np.uint8)
        cv2.imwrite(str(tmp_path / 'images' / name), image)
        images.append(dict(id=i, file_name=name, width=320, height=240))
        crowds = [(0, 0, 300, 30, 1)] if i == 0 else []
        for *box, crowd in [(*box, 0) for box in objects] + crowds:
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=i,
                    category_id=1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=crowd,
                )
            )
    content = dict(
        images=images,
        annotations=annotations,
        categories=[dict(id=1, name='ball')],
    )
    (tmp_path / 'annotations').mkdir()
    for split in ('train', 'val'):
        file = tmp_path / 'annotations' / f'{split}.json'
        file.write_text(json.dumps(content))
    return tmp_path


def table(*args):
    return main(['table', 'assign', '--mini', *map(str, args)])


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_csv(root, capsys):
    assert table(ATSS, GFL, FSAF, '--data', root, '--format', 'csv') == 0
    text, errors = capsys.readouterr()
    assert 'fsaf_r50_fpn_1x_coco assigns by its predictions' in errors
    assert 'atss_r50_fpn_1x_coco assigns' not in errors
    lines = read(text)
    atss = [x for x in lines if x['config'] == 'atss_r50_fpn_1x_coco']
    assert [x['size'] for x in atss] == ['all', 'small', 'medium', 'large']
    # the crowd is no object; small is 20 x 20, large 100 x 120
    assert [x['objects'] for x in atss] == ['3', '1', '1', '1']
    levels = [float(atss[0][f'P{i}']) for i in range(3, 8)]
    assert sum(levels) == pytest.approx(float(atss[0]['mean']), abs=0.03)
    assert float(atss[0]['mean']) > 3
    assert float(atss[0]['s / image']) > 0
    assert atss[0]['jaccard gfl_r50_fpn_1x_coco'] == '1.000'
    assert 0 < float(atss[0]['jaccard fsaf_r50_fpn_1x_coco']) < 1
    assert atss[1]['jaccard gfl_r50_fpn_1x_coco'] == ''


def test_markdown_file_and_limit(root, capsys):
    out = root / 'a' / 'table.md'
    code = table(FCOS, ATSS, '--data', root, '--images', 1, '--out', out)
    assert code == 0
    assert capsys.readouterr().out == f'wrote {out}\n'
    lines = out.read_text().splitlines()
    assert lines[0].startswith('| config | size | objects | mean | median |')
    assert '| fcos_r50-caffe_fpn_gn-head_1x_coco | all | 2 |' in lines[2]
    assert 'Agreement (Jaccard index of positive cells):' in lines
    assert '| atss_r50_fpn_1x_coco | 0.' in lines[-1]
    assert lines[-1].endswith('| 1.000 |')


def test_one_config_has_no_agreement(root, capsys):
    table(FCOS, '--data', root, '--images', 1)
    assert 'Agreement' not in capsys.readouterr().out


def test_levels_are_sorted_and_missing_ones_empty():
    first = dict(config='a', size='all', objects='0', P4='1.00', P10='2.00')
    second = dict(config='b', size='all', objects='0', P3='3.00')
    shares = np.array([[1, np.nan], [np.nan, 1]])
    text = format_table([[first], [second]], shares, 'csv')
    header = text.splitlines()[0].split(',')
    assert header[6:9] == ['P3', 'P4', 'P10']
    lines = read(text)
    assert lines[0]['P3'] == '' and lines[1]['P3'] == '3.00'
    assert lines[0]['jaccard b'] == '-'


@pytest.mark.parametrize(
    'args, message',
    [
        (['--images', '-1'], '--images -1: expected 0'),
        (['--checkpoint', 'a', 'b'], '2 checkpoints for 1 configs'),
        (['--data', 'no/such'], 'is not a folder'),
        (['--checkpoint', 'a.pth'], 'there is no checkpoint'),
    ],
)
def test_wrong_arguments(args, message, root, capsys):
    args = args if '--data' in args else [*args, '--data', root]
    with pytest.raises(SystemExit) as error:
        table(FCOS, *args)
    assert error.value.code == 1
    assert message in capsys.readouterr().err


def test_recall_is_a_kind_too(capsys):
    with pytest.raises(SystemExit, match='0'):
        main(['table', 'recall', '--help'])
    assert '--no-ambiguity' in capsys.readouterr().out
