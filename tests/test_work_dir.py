"""A work folder has one training, and none is lost."""

import signal
import subprocess
import sys

import pytest

from mmdet_assigners.work_dir import claim, is_free


def test_checkpoints_of_another_training(tmp_path):
    claim(tmp_path / 'new', resume=False).release()
    assert (tmp_path / 'new').is_dir()
    (tmp_path / 'epoch_3.pth').touch()
    message = r'earlier training \(epoch_3\.pth\); add --resume, or choose'
    with pytest.raises(FileExistsError, match=message):
        claim(tmp_path, resume=False)
    claim(tmp_path, resume=True).release()


def test_two_at_once_and_after_a_kill(tmp_path):
    code = (
        'import sys, time; from mmdet_assigners.work_dir import claim; '
        'lock = claim(sys.argv[1], False); print("claimed", flush=True); '
        'time.sleep(600)'
    )
    other = subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b'claimed\n'
        with pytest.raises(BlockingIOError, match='another process trains in'):
            claim(tmp_path, resume=True)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    claim(tmp_path, resume=True).release()


def test_the_first_process_claims_for_all(tmp_path, monkeypatch):
    lock = claim(tmp_path, resume=False)
    monkeypatch.setenv('RANK', '1')
    assert claim(tmp_path, resume=False) is None
    lock.release()


def test_is_free(tmp_path):
    assert is_free(tmp_path, 0)
    lock = claim(tmp_path, resume=False)
    assert not is_free(tmp_path, 0.01)
    lock.release()
    assert is_free(tmp_path, 0)
