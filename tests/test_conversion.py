"""What all converters share: refusals, atomic files, the command."""

import pytest
import torch
from official_weights import build

from mmdet_assigners.__main__ import main
from mmdet_assigners.conversion import (
    convert_file,
    converters,
    load_converter,
)

CONFIG = 'gfl-ablation_r50_fpn_1x_coco'


@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """A file of GFL, whose names are mmdet's but one."""
    state = {
        name.replace('integral', 'distribution_project'): torch.zeros(t.shape)
        for name, t in build(CONFIG).state_dict().items()
    }
    path = tmp_path_factory.mktemp('official') / 'gfl.pth'
    torch.save(dict(state_dict=state, meta=dict(CLASSES=('a', 'b'))), path)
    return path


@pytest.mark.parametrize('method', converters())
def test_every_converter_refuses_the_weights_of_another_method(method):
    converter = load_converter(method)
    state = {'rpn.head.iou.bias': torch.zeros(1)}
    with pytest.raises((ValueError, KeyError), match=r'rpn\.head\.iou|number'):
        converter.convert(state)


def test_command(official, tmp_path, capsys):
    out = tmp_path / 'out.pth'
    assert main(['convert', 'gfl', str(official), str(out)]) == 0
    assert f'config: {CONFIG}' in capsys.readouterr().out
    content = torch.load(out)
    assert content['meta'] == dict(
        converted_from='gfl.pth',
        config=CONFIG,
        dataset_meta=dict(classes=('a', 'b')),
    )
    build(CONFIG).load_state_dict(content['state_dict'], assign=True)


@pytest.mark.parametrize(
    ('method', 'message'),
    [('gflv', 'did you mean gfl'), ('fsaf', "no converter for 'fsaf'")],
)
def test_methods_without_converter(
    official, tmp_path, capsys, method, message
):
    with pytest.raises(SystemExit):
        main(['convert', method, str(official), str(tmp_path / 'out.pth')])
    assert message in capsys.readouterr().err


def test_refuses_what_is_no_checkpoint(tmp_path):
    bad, out = tmp_path / 'bad.pth', tmp_path / 'out.pth'
    bad.write_text('no')
    with pytest.raises(ValueError, match=r'bad\.pth cannot be read'):
        convert_file('gfl', bad, out)
    torch.save(dict(model=3), bad)
    with pytest.raises(ValueError, match='expected a state dict of tensors'):
        convert_file('gfl', bad, out)
    with pytest.raises(ValueError, match='there is no checkpoint'):
        convert_file('gfl', tmp_path / 'none', out)
    assert not out.exists()


def test_config_of_another_shape(official, tmp_path):
    config = 'atss-ladder_r50_fpn_1x_coco'
    with pytest.raises(ValueError, match=f'does not fit {config}: .* missing'):
        convert_file('gfl', official, tmp_path / 'out.pth', config)


def test_file_is_written_whole_or_not_at_all(official, tmp_path, monkeypatch):
    out = tmp_path / 'out.pth'
    torch.save(dict(state_dict={'a': torch.ones(1)}), out)

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        convert_file('gfl', official, out)
    assert torch.load(out)['state_dict']['a'] == 1
    assert [path.name for path in tmp_path.iterdir()] == ['out.pth']
