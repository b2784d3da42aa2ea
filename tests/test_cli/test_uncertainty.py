"""`table uncertainty` and `viz uncertainty`."""

import csv
import io

import cv2
import numpy as np
import pytest

from mmdet_assigners.__main__ import main
from mmdet_assigners.analysis import uncertainty
from mmdet_assigners.analysis.images import ground_truths

GAUSSIAN = 'gaussian-yolov3_d53_ms-608-273e_coco'
RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco'
COLUMNS = ['config', 'side', 'decile', 'count', 'mean sigma', 'mean error']
COLUMNS += ['ratio', 'within sigma %', 'rank corr. error', 'mean IoU']
COLUMNS += ['rank corr. IoU']


@pytest.fixture
def calibrated(monkeypatch):
    """Every config's detections are Gaussian errors around the objects."""

    def detect(detector, info):
        boxes, labels = ground_truths(info)
        index = np.repeat(np.arange(len(boxes)), 40)
        generator = np.random.default_rng(3)
        sigma = generator.uniform(0.5, 4, size=(len(index), 4))
        noise = generator.normal(size=sigma.shape) * sigma
        score = np.linspace(1, 0.1, len(index))
        return uncertainty.Detections(
            boxes[index] + noise, sigma, score, labels[index]
        )

    monkeypatch.setattr(uncertainty, 'detect', detect)


def test_table(calibrated, coco, tmp_path, capsys):
    root = str(coco.img_dir.parent)
    plot = tmp_path / 'plots' / 'plot.png'
    args = ['table', 'uncertainty', GAUSSIAN, '--mini', '--data', root]
    options = ['--format', 'csv', '--deciles', '--plot', str(plot)]
    assert main([*args, *options, '--iou-thr', '0.1']) == 0
    text, warnings = capsys.readouterr()
    assert f'{GAUSSIAN} is not trained' in warnings
    assert text.splitlines()[-1] == f'wrote {plot}'
    assert plot.is_file()
    rows = list(csv.DictReader(io.StringIO(text)))[:-1]
    assert [*rows[0]] == COLUMNS
    assert len(rows) == 15
    assert float(rows[4]['ratio']) == pytest.approx(1, abs=0.2)
    out = tmp_path / 'table.md'
    assert main([*args, '--out', str(out), '--score-thr', '1']) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == f'| {" | ".join(COLUMNS)} |'
    assert len(lines) == 2 + 5


def test_viz(calibrated, coco, tmp_path, capsys):
    root = str(coco.img_dir.parent)
    out = tmp_path / 'out.png'
    args = ['viz', 'uncertainty', GAUSSIAN, GAUSSIAN, '--mini']
    args += ['--data', root, '--out', str(out), '--max-boxes', '3']
    assert main(args) == 0
    text = capsys.readouterr().out
    assert text.count(': 3 of ') == 2
    assert cv2.imread(str(out)).std() > 5


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        (GAUSSIAN, ['test_cfg.score_thr=0', 'test_cfg.conf_thr=0']),
        ('kl-loss_faster-rcnn_r50_fpn_2x_coco', ['test_cfg.rcnn.score_thr=0']),
        ('gfl-ablation_r50_fpn_1x_coco', ['test_cfg.score_thr=0']),
    ],
)
def test_a_real_head(name, options, coco, capsys):
    root = str(coco.img_dir.parent)
    args = ['table', 'uncertainty', name, '--mini', '--data', root]
    args += ['--iou-thr', '0', '--score-thr', '0', '--images', '1']
    args += ['--cfg-options', *(f'model.{option}' for option in options)]
    assert main(args) == 0
    total = capsys.readouterr().out.splitlines()[-1].split(' | ')
    assert int(total[3]) > 0
    assert float(total[4]) > 0


@pytest.mark.parametrize(
    ('args', 'text'),
    [
        (['table', 'uncertainty', RETINA], 'RetinaHead carry no box_sigmas'),
        (['viz', 'uncertainty', RETINA], 'RetinaHead carry no box_sigmas'),
        (
            ['table', 'uncertainty', GAUSSIAN, '--iou-thr', '2'],
            '--iou-thr 2.0: expected 0 to 1',
        ),
        (
            ['table', 'uncertainty', GAUSSIAN, '--plot', 'a.jpg'],
            '--plot a.jpg: expected a file ending in .png',
        ),
        (
            ['table', 'uncertainty', GAUSSIAN, '--images', '-1'],
            '--images -1: expected 0 (all) or more',
        ),
        (
            ['viz', 'uncertainty', GAUSSIAN, '--max-boxes', '0'],
            '--max-boxes 0: expected at least 1',
        ),
        (
            ['viz', 'uncertainty', GAUSSIAN, '--score-thr', '-1'],
            '--score-thr -1.0: expected 0 to 1',
        ),
        (
            ['viz', 'uncertainty', GAUSSIAN, '--img', 'a.png'],
            '--img needs its objects',
        ),
        (
            ['viz', 'uncertainty', GAUSSIAN, '--checkpoint', '-', '-'],
            '2 checkpoints for 1 configs',
        ),
    ],
)
def test_refused(args, text, coco, capsys):
    root = str(coco.img_dir.parent)
    if '--img' not in args:
        args = [*args, '--data', root]
    with pytest.raises(SystemExit) as error:
        main([*args, '--mini'])
    assert error.value.code == 1
    assert text in capsys.readouterr().err
