"""Uncertainty against errors: known sigmas, the commands, the images."""

import csv
import io
import itertools

import cv2
import numpy as np
import pytest

from mmdet_assigners.__main__ import main
from mmdet_assigners.analysis import uncertainty as lab
from mmdet_assigners.visualization.uncertainty_plots import (
    draw_reliability,
    draw_uncertainty,
)

GAUSSIAN = 'gaussian-yolov3_d53_ms-608-273e_coco'
RETINA = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco'
COLUMNS = ['config', 'side', 'decile', 'count', 'mean sigma', 'mean error']
COLUMNS += ['ratio', 'within sigma %', 'rank corr. error', 'mean IoU']
COLUMNS += ['rank corr. IoU']
BOX = np.array([[40.0, 60, 140, 110]])


def gaussian_detections(sigma, factor=1.0, seed=0):
    """Detections of one box whose errors are ``factor`` times as wide."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=sigma.shape) * sigma * factor
    return lab.Detections(
        BOX + noise,
        sigma,
        np.full(len(sigma), 0.9),
        np.zeros(len(sigma), dtype=int),
    )


def sigmas(count, seed=1):
    generator = np.random.default_rng(seed)
    return np.exp(generator.uniform(-1, 1.5, size=(count, 1))) * np.ones(4)


def errors(factor=1.0, count=5000, **kwargs):
    found = gaussian_detections(sigmas(count), factor)
    return lab.match(found, BOX, np.zeros(1, dtype=int), **kwargs)


def test_calibrated_head_has_ratio_one():
    own = errors(iou_thr=0.1)
    assert len(own.iou) == 5000
    for side in (*range(4), None):
        sigma, error, iou = own.side(side)
        assert lab.calibration(sigma, error) == pytest.approx(1, abs=0.03)
        assert np.mean(error <= sigma) == pytest.approx(0.683, abs=0.02)
        assert lab.spearman(sigma, error) > 0.4
        assert lab.spearman(sigma, iou) < -0.4
    for sigma, error, _ in lab.deciles(*own.side(None)):
        assert lab.calibration(sigma, error) == pytest.approx(1, abs=0.06)


def test_over_estimated_sigma_has_ratio_above_one():
    sigma, error, _ = errors(0.5).side(None)
    assert lab.calibration(sigma, error) == pytest.approx(2, abs=0.06)


def test_iou_threshold_cuts_errors_off():
    assert len(errors(iou_thr=0.9).iou) < len(errors(iou_thr=0.5).iou)
    assert errors(iou_thr=0.9).iou.min() >= 0.9


def test_relative_divides_by_the_size():
    absolute, relative = errors(), errors(relative=True)
    unit = np.array([100, 50, 100, 50])
    np.testing.assert_allclose(relative.sigma * unit, absolute.sigma)
    np.testing.assert_allclose(relative.error * unit, absolute.error)
    np.testing.assert_array_equal(relative.iou, absolute.iou)


def test_match_takes_the_best_object_of_the_class():
    objects = np.array([[0.0, 0, 10, 10], [0, 0, 10, 20], [50, 50, 60, 60]])
    boxes = np.array(
        [[0.0, 0, 10, 18], [0, 0, 10, 10], [50, 50, 60, 61], [80, 80, 90, 90]]
    )
    found = lab.Detections(
        boxes, np.ones((4, 4)), np.full(4, 0.5), np.array([0, 0, 1, 0])
    )
    own = lab.match(found, objects, np.array([0, 0, 0]))
    # the third has another class, the fourth nothing
    np.testing.assert_allclose(own.iou, [0.9, 1.0])
    np.testing.assert_allclose(own.error, [[0, 0, 0, 2], [0, 0, 0, 0]])
    nothing = lab.match(found, np.zeros((0, 4)), np.zeros(0, dtype=int))
    assert nothing.sigma.shape == (0, 4)


def test_spearman():
    x = np.array([1.0, 2, 3, 4, 5])
    assert lab.spearman(x, np.exp(x)) == pytest.approx(1)
    assert lab.spearman(x, -x) == pytest.approx(-1)
    # ranks 1 2 3 4 5 and 2 1 4 3 5: 1 - 6 * 4 / (5 * 24)
    assert lab.spearman(x, np.array([2.0, 1, 4, 3, 5])) == pytest.approx(0.8)
    # ties share ranks: 1.5 1.5 3.5 3.5 against 1 2 3 4
    tied = lab.spearman(np.array([0.0, 0, 7, 7]), x[:4])
    assert tied == pytest.approx(4 / (4 * 5) ** 0.5)
    assert np.isnan(lab.spearman(x, np.ones(5)))
    assert np.isnan(lab.spearman(x[:1], x[:1]))


def test_deciles_are_of_equal_size_and_ordered():
    parts = lab.deciles(*errors(count=251).side(None))
    assert [len(s) for s, _, _ in parts] == [101] * 4 + [100] * 6
    for (low, _, _), (high, _, _) in itertools.pairwise(parts):
        assert low.max() <= high.min()
    few = np.arange(3.0)
    assert [len(s) for s, _, _ in lab.deciles(few, few, few)] == [1, 1, 1]


def test_lines():
    lines = lab.table_lines('one', errors(count=500), with_deciles=True)
    assert len(lines) == 5 + 10
    assert all([*line] == COLUMNS for line in lines)
    assert [line['side'] for line in lines[:5]] == [*lab.SIDES, 'all']
    assert [line['decile'] for line in lines[4:]] == [
        'all',
        *map(str, range(1, 11)),
    ]
    nothing = lab.table_lines('none', lab.SideErrors.join([]), True)
    assert len(nothing) == 5
    assert nothing[0]['count'] == '0'
    assert set([*nothing[0].values()][4:]) == {'-'}


def test_plots(tmp_path):
    nothing = lab.SideErrors.join([])
    own = [('calibrated', errors(count=300)), ('nothing', nothing)]
    out = draw_reliability(own, tmp_path / 'plot.png', relative=True)
    assert cv2.imread(str(out)).std() > 5
    with pytest.raises(ValueError, match='nothing to plot'):
        draw_reliability([], tmp_path / 'plot.png')
    with pytest.raises(ValueError, match='nothing to draw'):
        draw_uncertainty([], ('a',), tmp_path / 'plot.png')


@pytest.fixture
def calibrated(monkeypatch):
    """Every config's detections are Gaussian errors around the objects."""

    def detect(self, info):
        boxes, labels = lab.objects_of(info)
        index = np.repeat(np.arange(len(boxes)), 40)
        generator = np.random.default_rng(3)
        sigma = generator.uniform(0.5, 4, size=(len(index), 4))
        noise = generator.normal(size=sigma.shape) * sigma
        score = np.linspace(1, 0.1, len(index))
        return lab.Detections(
            boxes[index] + noise, sigma, score, labels[index]
        )

    monkeypatch.setattr(lab.UncertainDetector, 'detect', detect)


def test_table(calibrated, coco, tmp_path, capsys):
    root = str(coco[0].parent.parent)
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
    root = str(coco[0].parent.parent)
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
    root = str(coco[0].parent.parent)
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
    root = str(coco[0].parent.parent)
    if '--img' not in args:
        args = [*args, '--data', root]
    with pytest.raises(SystemExit) as error:
        main([*args, '--mini'])
    assert error.value.code == 1
    assert text in capsys.readouterr().err
