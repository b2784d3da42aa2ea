"""What all converters share: refusals, atomic files, the command."""

import pytest
import torch
from mmdet.registry import MODELS
from official_weights import build

from mmdet_assigners.__main__ import main
from mmdet_assigners.conversion import (
    alternatives,
    convert_file,
    converters,
    load_converter,
)
from mmdet_assigners.conversion.geometry import geometry
from mmdet_assigners.utils import config_path, get_config

CONFIG = 'gfl-released_r50_fpn_1x_coco'


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
    before = out.read_bytes()
    with pytest.raises(SystemExit):
        main(['convert', 'gfl', str(official), str(out)])
    assert 'exists, expected the name of a new file' in capsys.readouterr().err
    assert out.read_bytes() == before


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


def test_config_of_another_geometry(official, tmp_path, capsys):
    """It would load, and displace every box."""
    config = 'gfl-ablation_r50_fpn_1x_coco'
    out = tmp_path / 'out.pth'
    files = [str(official), str(out)]
    with pytest.raises(SystemExit):
        main(['convert', 'gfl', *files, '--config', config])
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert f'under {config} the boxes would be displaced' in message
    assert (
        'another bbox_head.inclusive_corners, bbox_head.prior_gen' in message
    )
    assert f'use {CONFIG}, or a config that inherits it' in message
    assert not out.exists()


def test_config_of_the_same_geometry(official, tmp_path):
    config = tmp_path / 'mine.py'
    config.write_text(
        f'_base_ = {config_path(CONFIG)!r}\n'
        'optim_wrapper = dict(optimizer=dict(lr=0.001))\n'
    )
    out = tmp_path / 'out.pth'
    assert convert_file('gfl', official, out, str(config))[1] == str(config)
    assert out.exists()


def test_a_combination_that_has_no_config(official, tmp_path, monkeypatch):
    """It converts under a config that the user names."""
    monkeypatch.setattr(
        load_converter('gfl'), 'guess_config', lambda state: 'gfl-released_r18'
    )
    out = tmp_path / 'out.pth'
    with pytest.raises(ValueError, match=r'no config fits .* --config'):
        convert_file('gfl', official, out)
    assert convert_file('gfl', official, out, CONFIG)[1] == CONFIG


@pytest.mark.parametrize(
    ('method', 'config', 'expected'),
    [
        (
            'sepc',
            'pconv-released_retinanet_r50_fpn_1x_coco',
            ['pconv-released_freeanchor_r50_fpn_1x_coco'],
        ),
        ('sepc', 'pconv-released_fsaf_r50_fpn_1x_coco', []),
        (
            'reppoints',
            'batch-reppoints-minmax_r50_fpn-gn_1x_coco',
            ['batch-reppoints-partial-minmax_r50_fpn-gn_1x_coco'],
        ),
        ('gfl', CONFIG, []),
        (
            'shape_aware',
            'dsc_r50_fpn_1x_coco',
            ['f-dsc_r50_fpn_1x_coco'],
        ),
    ],
)
def test_files_that_could_be_of_another_config(method, config, expected):
    found = alternatives(method, config)
    assert found == expected
    for other in found:  # the same tensors
        assert build(other).state_dict().keys() == (
            build(config).state_dict().keys()
        )


def test_geometry_names_what_boxes_depend_on():
    def of_config(name):
        return geometry(MODELS.build(get_config(name).model))

    found = of_config('sampling-free-released_mask-rcnn_r50-caffe_fpn_1x_coco')
    assert sorted(found) == [
        'roi_head.bbox_head.bbox_coder',
        'roi_head.bbox_roi_extractor',
        'roi_head.mask_roi_extractor',
        'rpn_head.bbox_coder',
        'rpn_head.prior_generator',
    ]
    plain = of_config('sampling-free_mask-rcnn_r50_fpn_1x_coco')
    assert sorted(plain) == sorted(found)
    assert not [name for name in found if plain[name] == found[name]]


def test_file_is_written_whole_or_not_at_all(official, tmp_path, monkeypatch):
    def fail(content, path):
        path.write_text('half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        convert_file('gfl', official, tmp_path / 'out.pth')
    assert list(tmp_path.iterdir()) == []
