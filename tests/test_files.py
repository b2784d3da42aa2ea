"""Files are written completely or not at all."""

import json
import os
import threading
from pathlib import Path

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


def test_a_symbolic_link_stays(tmp_path):
    target, link = tmp_path / 'there' / 'a.json', tmp_path / 'link.json'
    target.parent.mkdir()
    target.write_text('old')
    link.symlink_to(target)
    write_json(link, [1])
    assert link.is_symlink()
    assert json.loads(target.read_text()) == [1]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pipe_gets_the_content(tmp_path):
    """Devices such as /dev/stdout and pipes are not replaced."""
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    read = []
    reader.start()
    write_json(pipe, [1])
    reader.join()
    assert json.loads(read[0]) == [1]
    assert pipe.is_fifo()
    write_json('/dev/null', [1])
    assert not Path('/dev/null').is_file()


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(IsADirectoryError, match='is a folder, expected a fil'):
        write_json(tmp_path, [1])
