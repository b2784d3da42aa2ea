"""Files are written completely or not at all."""

import json

import pytest

from mmdet_assigners.files import replacing, write_json


def test_replaces_and_makes_the_folder(tmp_path):
    target = tmp_path / 'new' / 'table.json'
    write_json(target, [1])
    write_json(target, [2])
    assert json.loads(target.read_text()) == [2]
    assert [path.name for path in target.parent.iterdir()] == ['table.json']


def test_an_error_leaves_the_old_file_alone(tmp_path):
    target = tmp_path / 'table.txt'
    target.write_text('old')
    with pytest.raises(OSError, match='disk'), replacing(target) as part:
        part.write_text('half')
        raise OSError('disk full')
    assert target.read_text() == 'old'
    assert [path.name for path in tmp_path.iterdir()] == ['table.txt']
