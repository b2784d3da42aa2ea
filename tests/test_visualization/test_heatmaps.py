import cv2
import numpy as np
import pytest

from mmdet_assigners.analysis.heatmaps import ImageHeatmaps
from mmdet_assigners.visualization.heatmaps import (
    MAX_CLASSES,
    draw_heatmaps,
    render,
)

CLASSES = ('cell', 'plate', 'ring', 'rod', 'dot', 'bar')


def example(labels=(0, 1, 0), scores=(0.9, 0.4, 0.2), points=True):
    """Two maps of 24 x 32 cells, an object in three places."""
    count = len(labels)
    boxes = np.array([[8, 8, 48, 40], [60, 20, 90, 60], [70, 70, 100, 90]])
    boxes = np.resize(boxes, (count, 4)).astype(float)
    maps = np.zeros((2, len(CLASSES), 24, 32), np.float32)
    maps[0, labels, 2, 2] = 1
    maps[1, labels, 10, 12] = 0.5
    x1, y1, x2, y2 = boxes.T
    middle = (x1 + x2) / 2, (y1 + y2) / 2
    extremes = np.stack(
        [(middle[0], y1), (x1, middle[1]), (middle[0], y2), (x2, middle[1])]
    ).transpose(2, 0, 1)
    found = dict(
        bboxes=boxes,
        scores=np.array(scores[:count]),
        labels=np.array(labels),
    )
    if points:
        found['extreme_points'] = extremes
    return ImageHeatmaps(
        name='a_config',
        image=np.full((90, 120, 3), 90, np.uint8),
        boxes=boxes,
        labels=np.array(labels, dtype=int),
        maps=('top-left corners', 'bottom-right corners'),
        targets=maps,
        predictions=maps / 2,
        points=boxes.reshape(count, 2, 2).transpose(1, 0, 2),
        size=(96, 128),
        found=found,
        trained=False,
    )


def titles(figure):
    return [axes.get_title(loc='left') for axes in figure.axes]


def test_a_panel_for_each_class_and_map():
    """The most frequent class first."""
    found = titles(render(example(), CLASSES))
    assert found[:2] == ['3 objects · input 120x90', '2 detections from 0.3']
    assert found[2] == 'cell · top-left corners · target, max 1.00'
    assert found[5] == 'cell · bottom-right corners · predicted, max 0.25'
    assert len(found) == 2 + 2 * 2 * 2


def test_points_and_quadruples_are_marked():
    """Crosses of an object's corners; a dashed outline of four points."""
    figure = render(example(), CLASSES)
    crosses = figure.axes[2].collections[0].get_offsets()
    assert np.asarray(crosses).tolist() == [[8, 8], [70, 70]]
    outlines = [
        patch.get_xy()[:4].tolist()
        for patch in figure.axes[1].patches
        if patch.get_linestyle() == '--'
    ]
    assert outlines == [
        [[75, 20], [60, 40], [75, 60], [90, 40]],
        [[28, 8], [8, 24], [28, 40], [48, 24]],  # the best on top
    ]
    plain = render(example(points=False), CLASSES)
    assert len(plain.axes[1].patches) == 2
    assert len(figure.axes[1].patches) == 4


def test_classes_beyond_the_limit():
    figure = render(example(range(6), [0.9] * 6), CLASSES)
    assert len(figure.axes) == 2 + 2 * 2 * MAX_CLASSES
    note = figure.texts[1].get_text()
    assert note.endswith(f'; maps of {MAX_CLASSES} of 6 classes')


def test_an_image_without_objects(tmp_path):
    empty = example((), ())
    assert titles(render(empty, CLASSES)) == [
        '0 objects · input 120x90',
        '0 detections from 0.3',
    ]
    path = draw_heatmaps(empty, CLASSES, tmp_path / 'a.png')
    assert cv2.imread(str(path)) is not None


def test_another_ending(tmp_path):
    with pytest.raises(ValueError, match='ending in'):
        draw_heatmaps(example(), CLASSES, tmp_path / 'a.jpg')
