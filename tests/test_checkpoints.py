"""Reading checkpoints: the last one is found, nothing of it is executed."""

import os

import pytest
import torch
from helpers import mini_model
from mmengine.config import Config

from mmdet_assigners.diagnostics.checkpoints import (
    CheckpointError,
    check_resume,
    check_weights,
    find_last,
    load,
    read_literal,
)
from mmdet_assigners.utils import config_path

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


def test_resume_goes_on_averaging(tmp_path):
    """Without the hook, mmengine would train the averages."""
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={}, ema_state_dict={}), path)
    with pytest.raises(CheckpointError, match=r'epoch_1.*no EMAHook.*--ema'):
        check_resume(Config(dict(model=MODEL)), path)
    hooks = [dict(type='mmengine.EMAHook')]
    check_resume(Config(dict(model=MODEL, custom_hooks=hooks)), path)


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


def saved_model(path, file, num_classes, **meta):
    state = mini_model(path, num_classes).state_dict()
    torch.save(dict(state_dict=state, meta=meta), file)
    return file


@pytest.mark.parametrize(
    ('name', 'numbers', 'message'),
    [
        # logits of classes and background, masks
        ('d2det-instance_r101_fpn_2x_coco', (5, 3), '5'),
        # fewer outputs than the background could be told from
        ('d2det_r50_fpn_2x_coco', (7, 1), '4 or 7'),
        # anchors
        ('sepc_retinanet_r50_fpn_1x_coco', (7, 1), '7'),
        # anchors, with boxes in the same layer
        ('gaussian-yolov3_d53_ms-608-273e_coco', (8, 2), '8'),
    ],
)
def test_number_of_classes_disagrees(name, numbers, message, tmp_path):
    path = config_path(name)
    file = saved_model(path, tmp_path / 'other.pth', numbers[0])
    with pytest.raises(CheckpointError) as error:
        check_weights(mini_model(path, numbers[1]), file)
    head = 'bbox_head' if 'd2det' not in name else 'roi_head.bbox_head'
    line = (
        f'other.pth has num_classes {message}, but model.{head}.num_classes is'
    )
    assert f'{line} {numbers[1]};' in str(error.value)


def test_other_shapes_are_not_classes(tmp_path):
    """Twice the anchors, and another width."""
    path = config_path('sepc_retinanet_r50_fpn_1x_coco')
    state = mini_model(path).state_dict()
    for names in (('retina_cls', 'retina_reg'), ('neck',)):
        wider = {
            name: torch.cat((value, value))
            if value.ndim and any(part in name for part in names)
            else value
            for name, value in state.items()
        }
        meta = dict(dataset_meta=dict(classes=('cat', 'dog')))
        torch.save(dict(state_dict=wider, meta=meta), tmp_path / 'other.pth')
        with pytest.raises(CheckpointError, match='does not fit the config'):
            check_weights(mini_model(path), tmp_path / 'other.pth')


def test_order_of_the_classes(tmp_path):
    path = config_path('sepc_retinanet_r50_fpn_1x_coco')
    file = saved_model(
        path, tmp_path / 'a.pth', 2, dataset_meta=dict(classes=('cat', 'dog'))
    )
    model = mini_model(path)
    check_weights(model, file, ('cat', 'dog'))
    check_weights(model, file, ('Cat', 'Hund'))  # renamed
    with pytest.raises(CheckpointError, match="first 'cat' instead of 'dog'"):
        check_weights(model, file, ('dog', 'cat'))
