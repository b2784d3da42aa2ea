import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_assigners import get_config
from mmdet_assigners.__main__ import main
from mmdet_assigners.diagnostics.config_check import check_padding
from mmdet_assigners.diagnostics.dry_run import (
    Step,
    build_initialized,
    dry_steps,
)
from mmdet_assigners.diagnostics.environment import (
    PACKAGES,
    release,
    stack_notes,
    stack_problems,
)
from mmdet_assigners.small_scale import load_config
from mmdet_assigners.versions import installed_versions

ROOT = Path(__file__).parent.parent.parent
CONFIG = 'sepc_retinanet_r50_fpn_1x_coco'
GOOD = dict(
    torch='2.13.0+cpu',
    numpy='2.4.6',
    pycocotools='2.0.11',
    setuptools='81.0.0',
    mmcv='2.1.0',
    mmengine='0.10.7',
    mmdet='3.3.0',
)
MODULES = ('cv2', 'pkg_resources')
PYTHON = (3, 11, 7)


def problems(remove=(), ops=True, modules=MODULES, python=PYTHON, **change):
    versions = {k: v for k, v in GOOD.items() if k not in remove} | change
    return stack_problems(versions, ops, modules, python)


def test_good_stacks_have_no_problems():
    assert problems() == []
    fork = problems(
        remove=('mmdet', 'mmengine', 'mmcv', 'setuptools'),
        modules=('cv2',),
        **{
            'onedl-mmdetection': '3.5.1',
            'onedl-mmengine': '0.10.12',
            'onedl-mmcv': '2.3.6',
        },
    )
    assert fork == []


@pytest.mark.parametrize(
    'broken, what, fix',
    [
        (dict(remove=['torch']), 'torch is not', "pip install 'torch>=2.4'"),
        (dict(torch='2.1.0'), 'torch 2.1.0 is too old', 'install --upgrade'),
        (dict(remove=['numpy']), 'numpy is not', 'pip install numpy'),
        (dict(modules=['pkg_resources']), 'cv2', 'install opencv-python'),
        (dict(remove=['mmcv']), 'mmcv is not', '--no-build-isolation'),
        (dict(ops=False), 'mmcv 2.1.0 has no compiled ops', 'MMCV_WITH_OPS=1'),
        (dict(mmcv='2.2.0'), 'not accept mmcv 2.2.0', 'mmcv==2.1.0'),
        (dict(mmcv='1.7.2'), 'not accept mmcv 1.7.2', 'mmcv==2.1.0'),
        (dict(remove=['mmdet']), 'mmdet is not', "install 'mmdet>=3.3'"),
        (dict(mmdet='2.28.2'), 'mmdet 2.28.2 is too old', '--upgrade'),
        (dict(remove=['mmengine']), 'mmengine is not', "'mmengine>=0.10'"),
        (
            dict(setuptools='82.0.0', modules=['cv2']),
            'setuptools 82.0.0 has no pkg_resources',
            "pip install 'setuptools>=66.1,<82'",
        ),
        (
            dict(setuptools='60.2.0', python=(3, 12, 1)),
            'setuptools 60.2.0 fails on Python >= 3.12',
            "pip install 'setuptools>=66.1,<82'",
        ),
        (dict(python=(3, 9, 2)), 'Python 3.9.2 is older', 'PYTHON='),
    ],
)
def test_each_broken_stack_has_one_problem_and_its_line(broken, what, fix):
    (problem,) = problems(**broken)
    assert what in problem.what
    assert fix in problem.fix
    assert '\n' not in str(problem)


@pytest.mark.parametrize(
    'rival, ours',
    [
        ('onedl-mmdetection', 'mmdet'),
        ('onedl-mmengine', 'mmengine'),
        ('mmcv-lite', 'mmcv'),
    ],
)
def test_two_distributions_in_one_folder(rival, ours):
    (problem,) = problems(**{rival: '3.5.1'})
    assert f'{ours} and {rival} are both installed' in problem.what
    assert f'pip uninstall -y {ours} {rival} && ' in problem.fix
    assert f'{ours}=={GOOD[ours]}' in problem.fix


def test_lite_build_of_mmcv_is_replaced():
    (problem,) = problems(remove=['mmcv'], ops=False, **{'mmcv-lite': '2.1.0'})
    assert problem.fix.startswith('pip uninstall -y mmcv-lite && pip install')


def test_notes():
    (note,) = stack_notes(GOOD)
    assert 'torch >= 2.6' in note and 'handled' in note
    assert stack_notes(GOOD | dict(torch='2.5.1')) == []
    assert 'newer' in stack_notes(GOOD | dict(torch='2.5', mmdet='4.0.0'))[0]


@pytest.mark.parametrize(
    'version, numbers',
    [('2.13.0+cpu', (2, 13, 0)), ('0.10.0rc1', (0, 10, 0)), ('x', ())],
)
def test_release(version, numbers):
    assert release(version) == numbers


def test_this_environment_is_well(capsys):
    assert main(['check']) == 0
    out = capsys.readouterr().out
    versions = installed_versions(PACKAGES)
    assert {'torch', 'mmcv'} <= versions.keys()
    assert versions.keys() & {'mmdet', 'onedl-mmdetection'}
    for name, version in versions.items():
        assert f'{name} {version}\n' in out
    assert out.endswith('verdict: all is well\n')


def test_works_without_any_package(tmp_path):
    venv = tmp_path / 'venv'
    subprocess.run(
        [sys.executable, '-m', 'venv', '--without-pip', str(venv)], check=True
    )
    done = subprocess.run(
        [venv / 'bin' / 'python', '-m', 'mmdet_assigners', 'check', CONFIG],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1, done.stderr
    for name in ('torch', 'numpy', 'mmcv', 'mmengine', 'mmdet'):
        assert f'problem: {name} is not installed; ' in done.stdout
    assert 'not checked, fix the environment first' in done.stdout


@pytest.fixture
def data(tmp_path):
    """A COCO-format root with two classes and two images per split."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    (tmp_path / 'annotations').mkdir()
    for split in ('train', 'val'):
        images, annotations = [], []
        for index in range(2):
            name = f'{split}{index}.png'
            image = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / 'images' / name), image)
            images.append(dict(id=index, file_name=name, width=64, height=48))
            annotations.append(
                dict(
                    id=index + 1,
                    image_id=index,
                    category_id=index + 1,
                    bbox=[8, 8, 24, 30],
                    area=720,
                    iscrowd=0,
                )
            )
        content = dict(
            images=images,
            annotations=annotations,
            categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        )
        path = tmp_path / 'annotations' / f'{split}.json'
        path.write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def check(data, capsys):
    """Run check at small scale on the data: exit code and problem lines."""

    def run(*options, arguments=()):
        code = main(
            [
                'check', CONFIG, '--mini', '--data', str(data),
                *map(str, arguments), '--cfg-options',
                'train_dataloader.batch_size=2', *options,
            ]
        )  # fmt: skip
        out = capsys.readouterr().out
        lines = [
            line.removeprefix('problem: ')
            for line in out.splitlines()
            if line.startswith('problem: ')
        ]
        assert code == bool(lines)
        return out, lines

    return run


def test_good_config_makes_a_step(check):
    out, lines = check()
    assert lines == []
    assert 'steps on 2 images: ' in out
    assert 'loss_cls' in out and 'loss_bbox' in out
    assert 'forward and backward: ' in out


def test_wrong_number_of_classes_in_a_head(check):
    _, (line,) = check('model.bbox_head.num_classes=80')
    assert line == (
        'model.bbox_head.num_classes is 80, but the training data has 2 '
        'classes; --cfg-options model.bbox_head.num_classes=2'
    )


@pytest.mark.parametrize(('given', 'found'), [(32, 1), (64, 1), (256, 0)])
def test_padding_that_a_backbone_needs(given, found):
    cfg = get_config('spinenet_retinanet_49_640-350e_coco')
    assert check_padding(cfg) == []
    cfg.model.data_preprocessor.pad_size_divisor = given
    lines = [str(problem) for problem in check_padding(cfg)]
    assert (
        lines
        == [
            f'model.data_preprocessor.pad_size_divisor is {given}, but '
            'SpineNet takes images whose sides are multiples of 128; '
            '--cfg-options model.data_preprocessor.pad_size_divisor=128'
        ][:found]
    )


def test_padding_of_wrapped_detectors():
    """A teacher and its student; most backbones take any size."""
    init_default_scope('mmdet')
    detector = dict(backbone=dict(type='SpineNet'))
    cfg = Config(dict(model=dict(detector=detector)))
    (problem,) = check_padding(cfg)
    assert problem.what.startswith('model.detector.data_preprocessor.pad_')
    detector['backbone'] = dict(type='ResNet')
    assert check_padding(Config(dict(model=dict(detector=detector)))) == []


def test_other_classes_in_the_annotation_file(check):
    _, lines = check(
        'train_dataloader.dataset.metainfo.classes=[cat,horse,cow]',
        'model.bbox_head.num_classes=3',
    )
    assert len(lines) == 2
    assert '2 of the 3 classes of the config (horse, cow) are not' in lines[0]
    assert lines[0].endswith(
        '--cfg-options "train_dataloader.dataset.metainfo.classes=[cat,dog]"'
    )
    assert lines[1].endswith('--cfg-options model.bbox_head.num_classes=2')


def test_swapped_class_names(check):
    _, (line,) = check('val_dataloader.dataset.metainfo.classes=[dog,cat]')
    assert 'in another order' in line and 'classes=[cat,dog]' in line


def test_names_with_spaces_cannot_be_options(check, data):
    for path in (data / 'annotations').glob('*.json'):
        path.write_text(path.read_text().replace('dog', 'traffic light'))
    _, (line,) = check('test_dataloader.dataset.metainfo.classes=[cat,dog]')
    assert line.endswith(
        'in the config: test_dataloader.dataset.metainfo = '
        "dict(classes=('cat', 'traffic light'))"
    )


def test_missing_images(check, data):
    # of the images only the first is needed to find the folder
    (data / 'images' / 'train1.png').unlink()
    _, (line,) = check()
    assert '1 of 2 images are missing' in line and 'train1.png' in line
    assert '--cfg-options train_dataloader.dataset.data_prefix.img' in line


def test_missing_annotations(check):
    _, lines = check(
        'val_dataloader.dataset.ann_file=no.json', 'val_evaluator.ann_file=x'
    )
    assert 'val_dataloader.dataset: there is no annotation file no' in lines[0]
    assert lines[1].startswith('val_evaluator: there is no annotation file x;')


def test_files_that_are_no_annotations(check, tmp_path):
    broken, other = tmp_path / 'broken.json', tmp_path / 'other.json'
    empty = tmp_path / 'empty.json'
    broken.write_text('{')
    other.write_text('{}')
    empty.write_text('{"images": [], "annotations": [], "categories": []}')
    _, lines = check(
        f'train_dataloader.dataset.ann_file={broken}',
        f'val_dataloader.dataset.ann_file={other}',
        f'test_dataloader.dataset.ann_file={empty}',
    )
    assert 'broken.json is not valid JSON' in lines[0]
    assert "other.json is not a COCO annotation file: it has no 'i" in lines[1]
    assert 'empty.json lists no images' in lines[2]


def test_missing_data_root(capsys):
    assert main(['check', CONFIG]) == 1
    out = capsys.readouterr().out
    assert 'train_dataloader.dataset: there is no annotation file' in out
    assert 'train_dataloader.dataset.data_root=FOLDER, or --data ROOT' in out


def test_corrupt_and_foreign_checkpoints(check, tmp_path):
    broken, foreign = tmp_path / 'broken.pth', tmp_path / 'foreign.pth'
    broken.write_bytes(b'PK\x03\x04 cut')
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), foreign)
    _, (line,) = check(arguments=['--checkpoint', broken])
    assert 'broken.pth cannot be read as a checkpoint' in line
    _, (line,) = check(arguments=['--checkpoint', foreign])
    assert 'does not fit the config' in line
    _, (line,) = check(arguments=['--checkpoint', tmp_path / 'none.pth'])
    assert 'there is no checkpoint' in line


def test_step_that_fails_is_one_line(check):
    out, (line,) = check('model.bbox_head.anchor_generator.strides=[8]')
    assert line.startswith('a training step fails: ')
    assert 'steps on' not in out


def test_losses_that_are_not_finite():
    step = Step(
        dict(loss=float('nan'), loss_cls=1.0), 2, 0.1, [], ['a.weight'], []
    )
    loss, gradient = step.problems
    assert loss.what == 'loss is nan on the training data'
    assert gradient.what.startswith('the gradients of 1 parameters (first a.')


def test_module_that_returns_nan(data):
    cfg = load_config(CONFIG, True, str(data))
    model = build_initialized(cfg)
    with torch.no_grad():
        model.bbox_head.retina_cls.bias.fill_(torch.nan)
    step = dry_steps(cfg, model)
    assert step.origin == 'bbox_head.retina_cls'
    assert 'loss_cls is nan on the training data: bbox_head.retina_cls' in [
        problem.what.partition(' returns')[0] for problem in step.problems
    ]


def test_lost_progress_hook(data, capsys):
    arguments = ['check', 'mal_r50_fpn_1x_coco', '--mini', '--data', str(data)]
    arguments += ['--cfg-options', 'train_dataloader.batch_size=2']
    assert main(arguments) == 0
    assert main([*arguments, 'custom_hooks=[]']) == 1
    out = capsys.readouterr().out
    assert 'problem: MALRetinaHead, FeatureDepression must follow' in out
    assert "mmdet_assigners.TrainProgressHook')" in out


def test_no_step(check):
    out, lines = check(arguments=['--no-step'])
    assert lines == [] and 'steps on' not in out


def test_wrong_config_name(capsys):
    with pytest.raises(SystemExit, match='1'):
        main(['check', CONFIG[:-1]])
    assert f'did you mean {CONFIG}' in capsys.readouterr().err
