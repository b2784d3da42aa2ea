import cv2
import numpy as np
import pytest
from test_analysis.hand_made import ASSIGNED, NAMES, make_assignment

from mmdet_assigners.visualization.assignment import draw_assignments
from mmdet_assigners.visualization.colors import distinct_colors
from mmdet_assigners.visualization.count_table import table_lines
from mmdet_assigners.visualization.panels import _spread


def near(image, color):
    """Pixels of a BGR image that are within 3 of an RGB color in 0..1."""
    target = np.round(np.array(color)[::-1] * 255)
    return int((np.abs(image - target).max(-1) <= 3).sum())


def test_one_config(tmp_path):
    out = draw_assignments(
        [make_assignment(ASSIGNED)], NAMES, tmp_path / 'a' / 'b.png'
    )
    image = cv2.imread(str(out)).astype(int)
    # three columns of 4.4 inches, table, histograms, margins, at 165 dpi
    assert image.shape[1] == round((0.4 + 3 * 4.5 + 3.5 + 2.5) * 165)
    empty = draw_assignments(
        [make_assignment([-1] * 14)], NAMES, tmp_path / 'empty.png'
    )
    without = cv2.imread(str(empty)).astype(int)
    for color in distinct_colors(2):
        assert near(image, color) > near(without, color) + 500
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a', 'empty.png']


def test_weight_shows(tmp_path):
    def pixels(weight):
        row = make_assignment(ASSIGNED, weight=np.full(14, weight))
        out = draw_assignments([row], NAMES, tmp_path / 'weight.png')
        return near(cv2.imread(str(out)).astype(int), distinct_colors(2)[0])

    assert pixels(1.0) > pixels(0.05) + 300


def test_ignored_differs_from_negative(tmp_path):
    images = []
    for value in (-1, -2):
        row = make_assignment([value] * 14, description='')
        out = draw_assignments([row], NAMES, tmp_path / f'{value}.png')
        images.append(cv2.imread(str(out)).astype(int))
    header = int(0.9 * 165)  # names the number of ignored priors
    difference = np.abs(images[0] - images[1])[header:]
    assert (difference.max(-1) > 40).sum() > 100


def test_several_configs_with_different_levels(tmp_path):
    one_level = make_assignment(
        [0, *[-1] * 11],
        priors=make_assignment(ASSIGNED).priors[:12],
        level=np.zeros(12, dtype=int),
        stride=np.full(12, 16),
        weight=np.ones(12),
    )
    out = draw_assignments(
        [make_assignment(ASSIGNED), one_level], NAMES, tmp_path / 'two.png'
    )
    image = cv2.imread(str(out))
    assert image.shape[1] == round((0.4 + 3 * 3.4 + 3.5 + 2.5) * 165)


def test_upright_image_and_no_objects(tmp_path):
    row = make_assignment(
        [-1] * 14,
        boxes=(),
        image=np.zeros((640, 64, 3), dtype=np.uint8),
        ignored_boxes=np.array([[0, 0, 64, 20]]),
    )
    out = draw_assignments([row], NAMES, tmp_path / 'empty.png')
    assert cv2.imread(str(out)) is not None


def test_crowd_of_objects(tmp_path):
    boxes = np.random.default_rng(0).uniform(0, 30, (100, 4))
    boxes[:, 2:] += boxes[:, :2]
    row = make_assignment(ASSIGNED, boxes=boxes)
    out = draw_assignments([row], NAMES, tmp_path / 'crowd.png')
    assert cv2.imread(str(out)) is not None


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match='rows is empty'):
        draw_assignments([], NAMES, tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r"a\.jpg': expected .*\.png"):
        draw_assignments(
            [make_assignment(ASSIGNED)], NAMES, tmp_path / 'a.jpg'
        )


def test_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    out = tmp_path / 'a.png'
    out.write_text('before')

    def fail(*args):
        raise OSError('disk full')

    monkeypatch.setattr('os.replace', fail)
    with pytest.raises(OSError, match='disk full'):
        draw_assignments([make_assignment(ASSIGNED)], NAMES, out)
    assert [p.name for p in tmp_path.iterdir()] == ['a.png']
    assert out.read_text() == 'before'


def test_colors_are_distinct_and_stable():
    colors = distinct_colors(30)
    assert np.array_equal(distinct_colors(5), colors[:5])
    distance = np.abs(colors[:, None] - colors[None]).max(-1)
    assert distance[~np.eye(30, dtype=bool)].min() > 0.05
    assert distinct_colors(0).shape == (0, 3)


def test_priors_of_one_place_are_spread_over_the_cell():
    centers = np.array([[8, 8]] * 9 + [[24, 8]] * 9, dtype=float)
    spread, side = _spread(centers, np.full(18, 16))
    assert side == 3
    assert len(np.unique(spread.round(3), axis=0)) == 18
    assert np.allclose(spread[4], [8, 8])
    assert np.abs(spread - centers).max() == pytest.approx(16 * 0.85 / 3)
    alone, side = _spread(centers[[0, 9]], np.full(2, 16))
    assert side == 1
    assert np.array_equal(alone, centers[[0, 9]])


def lines(labels, areas, limit):
    """Lines of objects that have 2 i + 1 positives on P4 and i on P5."""
    assigned = [i for i in range(len(labels)) for _ in range(2 * i + 1)]
    coarse = [i for i in range(len(labels)) for _ in range(i)]
    priors = np.zeros((len(assigned) + len(coarse), 2))
    assignment = make_assignment(
        assigned + coarse,
        boxes=np.zeros((len(labels), 4)),
        labels=np.array(labels),
        areas=np.array(areas),
        priors=priors,
        level=np.array([0] * len(assigned) + [1] * len(coarse)),
        stride=np.array([16] * len(assigned) + [32] * len(coarse)),
    )
    return table_lines(assignment, ('ball', 'cone', 'cube'), limit)


def test_table_is_sorted_by_size():
    small, large = lines([0, 1], [100, 4], limit=2)
    assert (small.name, large.name) == ('1  cone', '0  ball')
    assert small.counts.tolist() == [3, 1]
    assert np.array_equal(small.color, distinct_colors(2)[1])


def test_table_of_many_objects_is_by_class():
    labels = [0, 1, 1, 2, 1, 0]
    found = lines(labels, [1] * 6, limit=3)
    assert [line.name for line in found] == ['cone x3', 'ball x2', 'cube x1']
    # objects 1, 2 and 4 have (3, 1), (5, 2) and (9, 4)
    assert found[0].counts.tolist() == [17, 7]
    assert found[0].color is None
    cone, rest = lines(labels, [1] * 6, limit=2)
    assert (cone.name, rest.name) == ('cone x3', '2 more classes x3')
    assert rest.counts.tolist() == [1 + 7 + 11, 0 + 3 + 5]
