"""Where pretrained weights come from, with a local server as the mirror."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from mmdet_assigners import compat
from mmdet_assigners.__main__ import main
from mmdet_assigners.datasets.shapes import generate_shapes
from mmdet_assigners.diagnostics.weights import (
    describe_weights,
    names_of_weights,
    replace_weights,
)
from mmdet_assigners.utils import config_root

CONFIG = 'sepc_retinanet_r50_fpn_1x_coco'
CAFFE = 'open-mmlab://detectron2/resnet50_caffe'
CAFFE_FILE = 'resnet50_msra-5891d200.pth'
PATH = f'pretrain/third_party/{CAFFE_FILE}'
# the name itself is a URL of the mirror in the list of onedl-mmengine
OLD_URL = f'https://download.openmmlab.com/{PATH}'
NOWHERE = 'http://127.0.0.1:9/none.pth'  # no one listens there


@pytest.fixture(autouse=True)
def own_folders(monkeypatch, tmp_path):
    """No weights of the user."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.delenv(compat.WEIGHTS_FOLDER, raising=False)


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A server in place of the mirror; its folder and address."""
    root = tmp_path / 'mirror'
    root.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=root)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        address = f'http://127.0.0.1:{server.server_port}'
        hosts = {'download.openmmlab.com': address}
        monkeypatch.setattr(compat, 'WEIGHTS_MIRRORS', hosts)
        threading.Thread(target=server.serve_forever).start()
        yield root, address
        server.shutdown()


def save(path, value=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=dict(weight=torch.full((2,), value))), path)


def config(**backbone):
    return Config(dict(model=dict(type='X', backbone=backbone)))


@pytest.mark.parametrize(
    'name, location, instead_of',
    [
        (
            OLD_URL,
            f'https://mmassets.onedl.ai/{PATH}',
            'download.openmmlab.com',
        ),
        (
            'http://download.openmmlab.com/mmdetection/v2.0/a/b.pth',
            'https://mmassets.onedl.ai/mmdetection/v2.0/a/b.pth',
            'download.openmmlab.com',
        ),
        (
            'torchvision://resnet50',
            'https://download.pytorch.org/models/resnet50-0676ba61.pth',
            '',
        ),
        ('work_dirs/a/epoch_1.pth', 'work_dirs/a/epoch_1.pth', ''),
    ],
)
def test_locations(name, location, instead_of):
    assert compat.find_weights(name) == (name, location, instead_of)


def test_location_of_a_name():
    location = compat.find_weights(CAFFE).location
    assert location == f'https://mmassets.onedl.ai/{PATH}'


def test_weights_of_every_config_are_known():
    names = set()
    for path in sorted(config_root().glob('*/*.py')):
        names.update(names_of_weights(Config.fromfile(path)))
    assert {CAFFE, 'torchvision://resnet50'} < names
    needs_torchvision = 'torchvision://resnext101_64x4d.imagenet1k_v1'
    # the address in the code of CenterNet
    official = 'http://dl.yf.io/dla/models/imagenet/dla34-ba72cf86.pth'
    # files that the README of a method tells how to get
    files = {name for name in names if name.startswith('checkpoints/')}
    for name in names - files - {needs_torchvision, official}:
        source = compat.find_weights(name)
        assert source.location.startswith('https://')
        assert 'openmmlab' not in source.location


def test_mmengine_loads_from_the_mirror(mirror):
    root, address = mirror
    save(root / PATH, 3.0)
    found = f'from {address}/{PATH} (instead of download.openmmlab.com), '
    assert describe_weights(OLD_URL).startswith(f'{OLD_URL} {found}')
    loaded = CheckpointLoader.load_checkpoint(OLD_URL, 'cpu')
    assert loaded['state_dict']['weight'].tolist() == [3.0, 3.0]
    # now torch has it
    (root / PATH).unlink()
    assert f'/checkpoints/{CAFFE_FILE}, ' in describe_weights(OLD_URL)
    assert CheckpointLoader.load_checkpoint(OLD_URL, 'cpu').keys()


def test_folder_of_the_environment_comes_first(mirror, monkeypatch, tmp_path):
    root, _ = mirror
    save(root / PATH, 3.0)
    save(tmp_path / 'mine' / CAFFE_FILE, 4.0)
    monkeypatch.setenv(compat.WEIGHTS_FOLDER, str(tmp_path / 'mine'))
    loaded = CheckpointLoader.load_checkpoint(OLD_URL, 'cpu')
    assert loaded['state_dict']['weight'].tolist() == [4.0, 4.0]
    assert str(tmp_path / 'mine' / CAFFE_FILE) in describe_weights(OLD_URL)


def test_absent_weights_name_the_choices(mirror):
    _, address = mirror
    with pytest.raises(compat.WeightsError) as asked:
        describe_weights(OLD_URL)
    with pytest.raises(compat.WeightsError) as loaded:
        CheckpointLoader.load_checkpoint(OLD_URL, 'cpu')
    for error in asked, loaded:
        assert str(error.value) == (
            f'{OLD_URL}: {address}/{PATH} cannot be loaded (HTTP Error 404: '
            f'File not found); put {CAFFE_FILE} into a folder and set '
            'MMDET_ASSIGNERS_WEIGHTS to it, or use mmdet-assigners with '
            f'--weights {OLD_URL}=FILE or --no-pretrained'
        )


def test_damaged_file(monkeypatch, tmp_path):
    (tmp_path / CAFFE_FILE).write_bytes(b'PK cut')
    monkeypatch.setenv(compat.WEIGHTS_FOLDER, str(tmp_path))
    with pytest.raises(compat.WeightsError, match=f'{CAFFE_FILE} cannot be'):
        CheckpointLoader.load_checkpoint(CAFFE, 'cpu')


def test_unknown_name():
    with pytest.raises(
        compat.WeightsError,
        match=r"no model 'resnet50_cafe'; the nearest names are .*caffe",
    ):
        compat.find_weights('open-mmlab://resnet50_cafe')


def test_names_of_weights():
    cfg = config(init_cfg=dict(type='Pretrained', checkpoint=CAFFE))
    cfg.load_from = 'a.pth'
    cfg.model.teacher_ckpt = NOWHERE
    cfg.model.pretrained = None
    assert names_of_weights(cfg) == ['a.pth', NOWHERE, CAFFE]


def test_replace_weights(tmp_path):
    cfg = config(init_cfg=dict(type='Pretrained', checkpoint=CAFFE))
    path = tmp_path / 'a=b.pth'
    save(path)
    for option in ('x', 'other=file'):
        with pytest.raises(ValueError, match=f'{option}: expected .*{CAFFE}'):
            replace_weights(cfg, [option])
    with pytest.raises(ValueError, match='there is no checkpoint'):
        replace_weights(cfg, [f'{CAFFE}=none.pth'])
    assert names_of_weights(cfg) == [CAFFE]
    replace_weights(cfg, [f'{CAFFE}={path}'])
    assert names_of_weights(cfg) == [str(path)]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    return generate_shapes(root, num_train=2, num_val=2, num_test=1)


def command(name, data, *more):
    return main(
        [name, CONFIG, '--mini', '--data', str(data), *map(str, more),
         '--cfg-options', f'load_from={NOWHERE}']
    )  # fmt: skip


def test_check_reports_weights(data, tmp_path, capsys):
    assert command('check', data, '--no-step') == 1
    out = capsys.readouterr().out
    assert f'problem: {NOWHERE}: {NOWHERE} cannot be loaded (' in out
    save(tmp_path / 'mine.pth')
    mine = f'{NOWHERE}={tmp_path / "mine.pth"}'
    assert command('check', data, '--no-step', '--weights', mine) == 0
    assert f'weights: {tmp_path}/mine.pth from' in capsys.readouterr().out
    assert command('check', data, '--no-step', '--no-pretrained') == 0
    assert 'weights: ' not in capsys.readouterr().out


def test_training_without_its_weights_is_one_line(data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        command('train', data, '--work-dir', tmp_path / 'run')
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f'mmdet-assigners: {NOWHERE}: {NOWHERE} cannot')
    assert error.endswith('--no-pretrained')


def test_training_without_a_local_file_is_one_line(data, tmp_path, capsys):
    name = 'checkpoints/none.pth'
    options = ['--mini', '--data', str(data), '--work-dir', str(tmp_path)]
    with pytest.raises(SystemExit):
        main(['train', CONFIG, *options, '--cfg-options', f'load_from={name}'])
    assert capsys.readouterr().err.splitlines()[-1] == (
        f'mmdet-assigners: {name}: {name} cannot be loaded (there is no '
        'file); put none.pth there, or use mmdet-assigners with --weights '
        f'{name}=FILE or --no-pretrained'
    )
