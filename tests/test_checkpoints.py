"""Reading checkpoints: the last one is found, nothing of it is executed."""

import os

import pytest
import torch
from mmengine.config import Config

from mmdet_assigners.diagnostics.checkpoints import (
    CheckpointError,
    check_resume,
    find_last,
    load,
    read_literal,
)

MODEL = dict(type='A', size=(1, 2), parts=[dict(type='B', a=-0.5, n=None)])


def save(path, **meta):
    torch.save(dict(state_dict={}, meta=meta), path)
    return path


@pytest.mark.parametrize(
    'record', [None, '', '/gone/epoch_9.pth', '/gone/epoch_10.pth\n']
)
def test_the_last_checkpoint(tmp_path, record):
    """Its record may be missing, empty, or of another place."""
    for epoch, time in ((9, 1000), (10, 2000)):
        path = save(tmp_path / f'epoch_{epoch}.pth')
        os.utime(path, (time, time))
    if record is not None:
        (tmp_path / 'last_checkpoint').write_text(record)
    wanted = 'epoch_9.pth' if record and '9' in record else 'epoch_10.pth'
    assert find_last(tmp_path) == tmp_path / wanted


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    """A training that is killed while it writes leaves half a file."""
    first = save(tmp_path / 'epoch_1.pth')
    os.utime(first, (1000, 1000))
    (tmp_path / 'epoch_2.pth').write_bytes(first.read_bytes()[:200])
    assert find_last(tmp_path) == first
    first.unlink()
    with pytest.raises(CheckpointError, match=r'epoch_2\.pth cannot be read'):
        find_last(tmp_path)


def test_no_checkpoint(tmp_path):
    assert find_last(tmp_path) is None


def test_resume_compares_models(tmp_path):
    text = Config(dict(model=MODEL, lr=0.1)).pretty_text
    path = save(tmp_path / 'epoch_1.pth', cfg=text)
    check_resume(Config(dict(model=MODEL)), path)
    other = Config(dict(model=dict(MODEL, size=(1, 3))))
    with pytest.raises(CheckpointError, match=r'differs in model\.size\)'):
        check_resume(other, path)


class Hostile:
    """Pickles as a command."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def test_nothing_is_executed(tmp_path):
    proof = tmp_path / 'executed'
    code = f'model = __import__("os").mkdir({str(proof)!r})'
    texts = (code, f'x = [{code[8:]}]\nmodel = dict(a=x)')
    for index, text in enumerate(texts):
        path = save(tmp_path / f'iter_{index}.pth', cfg=text)
        check_resume(Config(dict(model=MODEL)), path)
    path = save(tmp_path / 'old.pth', config=code)
    with pytest.raises(CheckpointError, match='of an older mmcv'):
        check_resume(Config(dict(model=MODEL)), path)
    torch.save(dict(state_dict=Hostile(proof)), tmp_path / 'pickle.pth')
    with pytest.raises(CheckpointError, match='cannot be read as a checkpoi'):
        load(tmp_path / 'pickle.pth')
    assert not proof.exists()


def test_literals():
    text = "a = 1\nmodel = dict(b=[dict(c=-1.5), {'d-e': (None, True)}])\n"
    expected = dict(b=[dict(c=-1.5), {'d-e': (None, True)}])
    assert read_literal(text, 'model') == expected
    for other in ('model = f()', 'model = dict(x, y=1)', 'model = (', 'x = 1'):
        assert read_literal(other, 'model') is None
