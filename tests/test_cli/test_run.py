"""Train, resume, test and infer for real, on a few generated images."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet_assigners.__main__ import main
from mmdet_assigners.datasets.shapes import generate_shapes

CONFIG = 'sapd_r50_fpn_1x_coco'


def command(*arguments):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, '-m', 'mmdet_assigners', *map(str, arguments)],
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1'),
    )


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'shapes'
    return generate_shapes(root, num_train=8, num_val=4, num_test=2)


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """Work folder after one epoch."""
    folder = tmp_path_factory.mktemp('run')
    done = command(
        'train', CONFIG, '--mini', '--data', data, '--epochs', 1,
        '--seed', 0, '--work-dir', folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def mini(data, *more):
    return [CONFIG, '--mini', '--data', str(data), *map(str, more)]


def test_resume_goes_on(trained, data, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(trained, folder)
    # the folder was moved, and a later training was killed while it saved
    (folder / 'last_checkpoint').write_text('/gone/epoch_1.pth')
    (folder / 'epoch_9.pth').write_bytes(b'PK')
    done = command(
        'train', *mini(data, '--epochs', 2, '--work-dir', folder, '--resume')
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-2000:]
    assert 'resumed epoch: 1' in output
    assert (folder / 'epoch_2.pth').is_file()


def test_resume_of_another_model_is_refused(trained, data, capsys):
    with pytest.raises(SystemExit, match='1'):
        main(
            ['train', 'sepc_retinanet_r50_fpn_1x_coco', '--mini', '--data',
             str(data), '--work-dir', str(trained), '--resume']
        )  # fmt: skip
    error = capsys.readouterr().err
    assert 'another model' in error and 'model.bbox_head' in error


def test_resume_from_a_damaged_checkpoint(trained, data, tmp_path, capsys):
    folder = tmp_path / 'damaged'
    folder.mkdir()
    whole = (trained / 'epoch_1.pth').read_bytes()
    (folder / 'epoch_1.pth').write_bytes(whole[: len(whole) // 2])
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    with pytest.raises(SystemExit, match='1'):
        main(['train', *mini(data, '--work-dir', folder, '--resume')])
    assert 'cannot be read as a checkpoint' in capsys.readouterr().err


def test_test_evaluates(trained, data, tmp_path):
    done = command(
        'test', *mini(data, trained / 'epoch_1.pth', '--work-dir', tmp_path),
        '--cfg-options', 'model.test_cfg.score_thr=0.0',
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-2000:]
    assert 'coco/bbox_mAP' in output


def test_test_refuses_what_does_not_fit(trained, data, tmp_path, capsys):
    for checkpoint, message in (
        (trained / 'epoch_1.pth', 'does not fit the config'),
        (tmp_path / 'no.pth', 'there is no checkpoint'),
    ):
        with pytest.raises(SystemExit, match='1'):
            main(
                ['test', 'sepc_retinanet_r50_fpn_1x_coco', '--mini', '--data',
                 str(data), str(checkpoint), '--work-dir', str(tmp_path)]
            )  # fmt: skip
        assert message in capsys.readouterr().err


def test_inferencer_and_init_detector(trained, data):
    from mmdet.apis import DetInferencer, inference_detector, init_detector

    config = str(next(trained.glob('*.py')))
    weights = str(trained / 'epoch_1.pth')
    image = str(next((data / 'images').glob('*')))
    model = init_detector(config, weights, device='cpu')
    found = inference_detector(model, image).pred_instances
    inferencer = DetInferencer(
        model=config, weights=weights, device='cpu', show_progress=False
    )
    result = inferencer(image)['predictions'][0]
    assert len(result['scores']) == len(found)
    assert result['scores'] == pytest.approx(found.scores.tolist())


def test_dumped_config_registers_us(trained):
    """Foreign tools read the copy in the work folder without our import."""
    code = (
        'from mmengine.config import Config\n'
        f'cfg = Config.fromfile({str(next(trained.glob("*.py")))!r})\n'
        'from mmdet.registry import MODELS\n'
        'print(MODELS.get(cfg.model.bbox_head.type).__module__)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True
    )
    last = done.stdout.splitlines()[-1:]  # others print at import
    assert last[0].startswith('mmdet_assigners.'), done.stderr


def test_full_scale_with_data(data):
    """``--data`` alone changes files and classes, nothing else."""
    import argparse

    from mmdet_assigners.cli import common

    parser = argparse.ArgumentParser()
    common.add_config_arguments(parser)
    args = parser.parse_args(
        [CONFIG, '--data', str(data), '--batch-size', '3', '--epochs', '24',
         '--cfg-options', 'model.bbox_head.topk=2', 'work_dir=x']
    )  # fmt: skip
    cfg = common.load_config(args)
    assert cfg.model.backbone.depth == 50
    assert cfg.model.bbox_head.topk == 2
    assert cfg.model.bbox_head.num_classes == len(
        cfg.train_dataloader.dataset.metainfo.classes
    )
    assert cfg.train_dataloader.batch_size == 3
    assert cfg.train_cfg.max_epochs == 24
    assert cfg.param_scheduler[1].milestones == [16, 22]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['sapd_r50', '--mini'], 'did you mean sapd_r50_fpn_1x_coco'),
        ([CONFIG, '--mini', '--data', 'nowhere'], 'nowhere is not a folder'),
        ([CONFIG], 'there is no annotation file data/coco/'),
        ([CONFIG, '--mini', '--epochs', '0'], 'epochs must be at least 1'),
        ([CONFIG, '--mini', '--batch-size', '-1'], 'batch_size must be'),
    ],
)
def test_bad_arguments(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        'mmdet_assigners.datasets.shapes.generate_shapes', lambda root: root
    )
    with pytest.raises(SystemExit, match='1'):
        main(['train', *arguments])
    assert message in capsys.readouterr().err


def test_what_a_class_refuses_is_one_line(data, capsys, tmp_path):
    """A value that only the constructor of a class can judge."""
    with pytest.raises(SystemExit):
        main(
            ['train', *mini(data, '--work-dir', tmp_path),
             '--cfg-options', 'model.bbox_head.eta=-1']
        )  # fmt: skip
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith('mmdet-assigners: ')
    assert 'eta must be' in line


def test_cfg_options_need_a_value(data, capsys):
    with pytest.raises(SystemExit, match='1'):
        main(['train', *mini(data, '--cfg-options', 'model.x')])
    assert 'expected KEY=VALUE' in capsys.readouterr().err


def test_missing_image_folder(data, capsys, tmp_path):
    with pytest.raises(SystemExit, match='1'):
        main(
            ['train', *mini(data, '--work-dir', tmp_path, '--cfg-options',
             'train_dataloader.dataset.data_prefix.img=gone/')]
        )  # fmt: skip
    assert 'no image folder gone' in capsys.readouterr().err


def test_awkward_annotations_train(data, tmp_path):
    """Boxes without area or outside, and images without any, are data."""
    root = tmp_path / 'awkward'
    shutil.copytree(data, root)
    for path in (root / 'annotations').glob('*.json'):
        content = json.loads(path.read_text())
        for number, box in enumerate(content['annotations']):
            if number % 5 == 0:
                box['bbox'] = [10, 10, 0, 0]
            elif number % 5 == 1:
                box['bbox'] = [-60, -60, 20, 20]
            elif number % 5 == 2:
                box['bbox'] = [300, 200, 900, 900]
        path.write_text(json.dumps(content))
    done = command(
        'train', 'sepc_retinanet_r50_fpn_1x_coco', '--mini', '--data', root,
        '--epochs', 1, '--work-dir', tmp_path / 'run',
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-2000:]
    assert not re.search(r'\bnan\b', output)


def test_weights_check_counts(tmp_path):
    from torch import nn

    from mmdet_assigners.diagnostics.checkpoints import check_weights

    model = nn.Linear(2, 3)
    good = tmp_path / 'good.pth'
    torch.save(dict(state_dict=model.state_dict()), good)
    check_weights(model, good)
    bad = tmp_path / 'bad.pth'
    torch.save(dict(state_dict=dict(weight=torch.zeros(3, 4))), bad)
    with pytest.raises(
        ValueError, match=r'weight is \(3, 4\), not \(3, 2\); bias is missing'
    ):
        check_weights(model, bad)
    Path(bad).write_bytes(b'no checkpoint')
    with pytest.raises(ValueError, match='cannot be read'):
        check_weights(model, bad)
