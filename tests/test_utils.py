import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.hub import get_config as hub_get_config

import mmdet_assigners
from mmdet_assigners.utils import (
    config_path,
    get_config,
    inference_pipeline,
    leaf_datasets,
    registered_names,
    resolve_config,
    type_name,
    walk_config,
)

NAME = 'sepc/sepc_retinanet_r50_fpn_1x_coco.py'


@pytest.mark.parametrize(
    'name',
    [
        NAME,
        NAME.removesuffix('.py'),
        'sepc_retinanet_r50_fpn_1x_coco',
        f'mmdet_assigners::{NAME}',
    ],
)
def test_config_path_takes_every_form(name):
    assert config_path(name).endswith(NAME)


def test_config_path_names_those_that_begin_so():
    with pytest.raises(
        FileNotFoundError, match='did you mean fpt_no-p2_faster-rcnn_r50_1x'
    ):
        config_path('fpt_no-p2')


def test_config_path_names_the_nearest():
    with pytest.raises(
        FileNotFoundError, match='did you mean sepc_retinanet_r50_fpn_1x_coco'
    ):
        config_path('sepc_retinanet_r50_1x_coco')


def test_resolve_config(tmp_path):
    path = tmp_path / 'a.py'
    path.touch()
    assert resolve_config(str(path)) == str(path)
    assert resolve_config(NAME).endswith(NAME)
    name = 'fsaf/fsaf_r50_fpn_1x_coco'
    assert resolve_config(f'mmdet::{name}').endswith(f'{name}.py')
    with pytest.raises(FileNotFoundError, match=f'did you mean.*{name}'):
        resolve_config(f'mmdet::{name}2')


def test_walk_config_gives_the_keys_of_cfg_options():
    cfg = dict(a=[dict(b=1), dict(b=dict(c=(dict(),)))], d=2)
    assert list(walk_config(cfg, 'model')) == [
        ('model', cfg),
        ('model.a.0', cfg['a'][0]),
        ('model.a.1', cfg['a'][1]),
        ('model.a.1.b', cfg['a'][1]['b']),
        ('model.a.1.b.c.0', {}),
    ]
    assert [key for key, _ in walk_config(cfg)][:2] == ['', 'a.0']


def test_every_way_to_a_config_gives_the_same():
    expected = get_config(NAME)
    assert hub_get_config(f'mmdet_assigners::{NAME}').model == expected.model
    child = Config.fromstring(f"_base_ = 'mmdet_assigners::{NAME}'", '.py')
    assert child.model.keys() >= expected.model.keys() - {'_scope_'}
    foreign = Config.fromstring(
        f"_base_ = [__import__('mmdet_assigners').config_path('{NAME}')]",
        '.py',
    )
    assert foreign.model == expected.model


def test_prefixed_type_needs_no_custom_imports():
    """In a process that has not imported the package."""
    code = (
        'from mmdet.registry import MODELS\n'
        'from mmengine.registry import init_default_scope\n'
        'init_default_scope("mmdet")\n'
        'neck = MODELS.build(dict(type="mmdet_assigners.SEPC", '
        'in_channels=8, out_channels=8, num_levels=3))\n'
        'print(type(neck).__name__)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    # others print at import
    assert done.stdout.splitlines()[-1:] == ['SEPC'], done.stderr


def test_every_registered_class_is_exported():
    for name, cls in registered_names().items():
        assert getattr(mmdet_assigners, name) is cls
        assert name in dir(mmdet_assigners)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match='NoSuchHead'):
        _ = mmdet_assigners.NoSuchHead


def test_without_mmdet_the_message_says_what_to_run():
    code = (
        'import sys; sys.modules["mmdet"] = None\n'
        'try:\n'
        '    import mmdet_assigners\n'
        'except ImportError as error:\n'
        '    print(error)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    assert 'python -m mmdet_assigners check' in done.stdout


def test_names_of_types():
    class Resize:
        pass

    for value in ('Resize', 'mmdet.Resize', 'mmdet.datasets.x.Resize', Resize):
        assert type_name(value) == type_name(dict(type=value)) == 'Resize'
    assert type_name('mmpretrain.ResNet') == 'mmpretrain.ResNet'
    assert type_name(dict(a=1)) == ''


def test_datasets_inside_wrappers():
    one, two = dict(type='A', pipeline=[1]), dict(type='B', pipeline=[2])
    joined = dict(type='ConcatDataset', datasets=[one, two])
    loader = dict(dataset=dict(type='RepeatDataset', dataset=joined))
    assert list(leaf_datasets(loader, 'test_dataloader')) == [
        ('test_dataloader.dataset.dataset.datasets.0', one),
        ('test_dataloader.dataset.dataset.datasets.1', two),
    ]
    assert list(leaf_datasets(None, 'x')) == []
    assert inference_pipeline(dict(test_dataloader=loader)) == [1]
    other = dict(test_dataloader=None, val_dataloader=dict(dataset=two))
    assert inference_pipeline(other) == [2]
    with pytest.raises(ValueError, match='neither a test_dataloader nor a'):
        inference_pipeline(dict(test_dataloader=None))
