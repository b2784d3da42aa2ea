"""What users install: the wheel and the editable package, in fresh venvs.

The venvs see this environment's packages through a ``.pth`` line, which does
not carry over editable installs, so only what the wheel holds is found.
"""

import json
import os
import re
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest
import yaml

import mmdet_assigners
from mmdet_assigners.versions import installed_versions

ROOT = Path(__file__).parent.parent
SOURCES = (
    'LICENSE',
    'MANIFEST.in',
    'README.md',
    'configs',
    'mmdet_assigners',
    'model-index.yml',
    'pyproject.toml',
    'setup.py',
    'tools',
)
CONFIG = 'sepc_retinanet_r50_fpn_1x_coco.py'
MIM = 'from mim.cli import cli; cli()'
ONEDL = bool(installed_versions(['onedl-mmdetection']))
# the name that mim knows mmdet by
MMDET = 'onedl-mmdetection' if ONEDL else 'mmdet'
finds_us_by_name = pytest.mark.skipif(
    ONEDL, reason='onedl-mim takes the first folder in RECORD, our dist-info'
)


def run(*command, cwd, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=dict(os.environ, OMP_NUM_THREADS='1', **environment),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-3000:]
    return output


class Venv:
    """A fresh environment in a folder of its own, which is the cwd too."""

    def __init__(self, folder, *install):
        self.folder = folder
        run(
            sys.executable, '-m', 'venv', '--without-pip', folder / 'venv',
            cwd=folder,
        )  # fmt: skip
        self.bin = folder / 'venv' / 'bin'
        packages = next((folder / 'venv').glob('lib/python*/site-packages'))
        packages.joinpath('parent.pth').write_text(
            '\n'.join(site.getsitepackages()) + '\n'
        )
        run(
            sys.executable, '-m', 'pip', '--python', self.bin / 'python',
            'install', '--quiet', '--no-index', '--no-deps',
            '--no-build-isolation', *install, cwd=folder,
        )  # fmt: skip

    def python(self, code, *arguments):
        return run(
            self.bin / 'python', '-W', 'ignore', '-c', code, *arguments,
            cwd=self.folder, PATH=f'{self.bin}:{os.environ["PATH"]}',
        )  # fmt: skip


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the repository, so that builds leave nothing in it."""
    folder = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                folder / name,
                symlinks=True,  # as after an editable install
                ignore=shutil.ignore_patterns('__pycache__'),
            )
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    run(
        sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-index',
        '--no-deps', '--no-build-isolation', '--wheel-dir', folder, source,
        cwd=folder,
    )  # fmt: skip
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    return Venv(tmp_path_factory.mktemp('installed'), wheel)


@pytest.fixture(scope='module')
def editable(source, wheel, tmp_path_factory):
    # after `wheel`: both write into the source tree
    return Venv(tmp_path_factory.mktemp('editable'), '--editable', source)


def test_editable_install_links_the_same(wheel, editable, source):
    mim = source / 'mmdet_assigners' / '.mim'
    links = {p.relative_to(mim).as_posix(): p.resolve() for p in mim.glob('*')}
    assert links.pop('tools') == mim / 'tools'  # a folder of links
    assert links == {n: source / n for n in ('configs', 'model-index.yml')}
    tools = {path.name: path.resolve() for path in mim.glob('tools/*')}
    assert tools == {
        name: source / 'tools' / name for name in ('train.py', 'test.py')
    }


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """Options that make a COCO config train one step on two images."""
    root = tmp_path_factory.mktemp('tiny')
    images, annotations = [], []
    for index in range(2):
        name = f'{index}.png'
        cv2.imwrite(str(root / name), np.full((64, 64, 3), 90 * index, 'u1'))
        images.append(dict(id=index, file_name=name, width=64, height=64))
        annotations.append(
            dict(
                id=index + 1,
                image_id=index,
                category_id=1,
                bbox=[8, 8, 40, 30],
                area=1200,
                iscrowd=0,
            )
        )
    categories = [dict(id=1, name='person')]
    (root / 'all.json').write_text(
        json.dumps(
            dict(images=images, annotations=annotations, categories=categories)
        )
    )
    options = [
        'train_cfg.max_epochs=1',
        'model.backbone.init_cfg=None',
        'model.bbox_head.num_classes=1',
        'model.test_cfg.nms_pre=10',
        'model.test_cfg.score_thr=0.0',  # a new model is not sure of any box
        'default_hooks.logger.interval=1',
    ]
    for part, step in (('train', 2), ('val', 1), ('test', 1)):
        loader = f'{part}_dataloader'
        options += [
            f'{loader}.num_workers=0',
            f'{loader}.persistent_workers=False',
            f'{loader}.dataset.data_root={root}/',
            f'{loader}.dataset.ann_file=all.json',
            f'{loader}.dataset.data_prefix.img=',
            f'{loader}.dataset.metainfo.classes=[person]',
            f'{loader}.dataset.pipeline.{step}.scale=(64,64)',
        ]
    options += [
        f'{part}_evaluator.ann_file={root}/all.json'
        for part in ('val', 'test')
    ]
    return ['--cfg-options', *options]


def test_wheel_holds_what_mim_needs_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    mim = 'mmdet_assigners/.mim'
    expected = {f'{mim}/model-index.yml', 'mmdet_assigners/py.typed'}
    tools = {f'{mim}/tools/{name}.py' for name in ('train', 'test')}
    for path in (ROOT / 'configs').rglob('*.*'):
        if '__pycache__' not in path.parts:
            expected.add(f'{mim}/{path.relative_to(ROOT).as_posix()}')
    for path in (ROOT / 'mmdet_assigners').rglob('*.py'):
        if '.mim' not in path.parts:
            expected.add(path.relative_to(ROOT).as_posix())
    assert expected - names == set()
    top = {name.split('/')[0] for name in names}
    assert {part for part in top if not part.endswith('.dist-info')} == {
        'mmdet_assigners'
    }
    assert {n for n in names if n.startswith(f'{mim}/tools/')} == tools
    files = map(PurePosixPath, names)
    assert not [
        file
        for file in files
        if file.name.startswith('test_') or '__pycache__' in file.parts
    ]
    assert wheel.name.endswith('-py3-none-any.whl')


def test_one_version(wheel):
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    version = wheel.name.split('-')[1]
    assert version == mmdet_assigners.__version__ == citation['version']
    assert f'dist/{wheel.name}[' in (ROOT / 'docs/install.md').read_text()


def test_wheel_does_not_require_a_stack(wheel):
    metadata = next(
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith('METADATA')
    )
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    required = [
        line.removeprefix('Requires-Dist: ')
        for line in text.splitlines()
        if line.startswith('Requires-Dist')
    ]
    stacks = [line for line in required if 'mm' in line.partition(';')[0]]
    assert {re.match(r'[\w-]+', line)[0] for line in stacks} == {
        'mmdet',
        'mmengine',
        'onedl-mmdetection',
        'onedl-mmengine',
    }  # not mmcv, which pip cannot build in isolation
    assert not [line for line in stacks if 'extra ==' not in line]


# Each block is a promise to users; one process, because imports take seconds.
PREFIX = """
import sys
from mmengine.registry import init_default_scope
from mmdet.registry import MODELS
init_default_scope('mmdet')
assert 'mmdet_assigners' not in sys.modules
neck = MODELS.build(dict(
    type='mmdet_assigners.SEPC', in_channels=8, out_channels=8, num_levels=5))
print('built', type(neck).__module__)
"""
BASES = f"""
from pathlib import Path, PurePosixPath
import mmdet_assigners
from mmengine.config import Config
from mmengine.hub import get_config
name = 'mmdet_assigners::sepc/{CONFIG}'
Path('child.py').write_text(f"_base_ = {{name!r}}\\nepochs = 7\\n")
path = "__import__('mmdet_assigners').config_path('sepc/{CONFIG}')"
Path('foreign.py').write_text(f'_base_ = [{{path}}]')
for cfg in (
    get_config(name),
    mmdet_assigners.get_config(name),
    Config.fromfile('child.py'),
    Config.fromfile('foreign.py'),
):
    assert 'mmdet_assigners' in cfg.custom_imports.imports
print('from', mmdet_assigners.__file__)
"""


@pytest.fixture(params=['installed', 'editable'])
def venv(request):
    return request.getfixturevalue(request.param)


def test_prefixed_type_needs_no_custom_imports(venv):
    assert 'built mmdet_assigners.methods.sepc' in venv.python(PREFIX)


def test_configs_can_be_bases(installed, editable, source):
    assert f'from {installed.folder}' in installed.python(BASES)
    assert f'from {source}' in editable.python(BASES)


@finds_us_by_name
def test_mim_trains_the_wheel_by_config_name(installed, tiny):
    work_dir = installed.folder / 'by-name'
    output = installed.python(
        MIM, 'train', 'mmdet_assigners', f'sepc/{CONFIG}',
        '--work-dir', work_dir, *tiny,
    )  # fmt: skip
    assert 'Epoch(train) [1][1/1]' in output
    assert (work_dir / 'epoch_1.pth').is_file()


@finds_us_by_name
def test_mim_search_lists_every_model(installed, tmp_path):
    listed = tmp_path / 'models.json'
    installed.python(MIM, 'search', 'mmdet_assigners', '--json', listed)
    columns = json.loads(listed.read_text())
    found = sorted({name for column in columns.values() for name in column})
    configs = (ROOT / 'configs').glob('[!_]*/*.py')
    assert found == sorted(path.stem for path in configs)


@pytest.mark.slow
@finds_us_by_name
def test_mim_tests_a_checkpoint_of_the_wheel(installed, tiny, tmp_path):
    config = f'sepc/{CONFIG}'
    installed.python(
        MIM, 'train', 'mmdet_assigners', config, '--work-dir', tmp_path, *tiny
    )
    output = installed.python(
        MIM, 'test', 'mmdet_assigners', config,
        '--checkpoint', tmp_path / 'epoch_1.pth',
        '--work-dir', tmp_path, *tiny,
    )  # fmt: skip
    assert 'coco/bbox_mAP' in output


@pytest.mark.slow
def test_mim_trains_and_tests_under_mmdet_by_path(venv, tiny, tmp_path):
    path = venv.python(
        'import mmdet_assigners as m\n'
        f"print('@', m.config_path('sepc/{CONFIG}'))"
    ).rpartition('@ ')[2]
    path = path.strip()
    venv.python(MIM, 'train', MMDET, path, '--work-dir', tmp_path, *tiny)
    output = venv.python(
        MIM, 'test', MMDET, path, '--checkpoint', tmp_path / 'epoch_1.pth',
        '--work-dir', tmp_path, *tiny,
    )  # fmt: skip
    assert 'coco/bbox_mAP' in output
