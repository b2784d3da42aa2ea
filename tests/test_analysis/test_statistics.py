"""The numbers of `table assign` and the histograms, by hand."""

import numpy as np
import pytest
from test_visualization.hand_made import ASSIGNED, make_row

from mmdet_assigners.analysis.statistics import (
    Agreement,
    Statistics,
    inside_count,
    positive_cells,
)
from mmdet_assigners.visualization.histograms import (
    object_histogram,
    weight_histogram,
)


def test_lines_by_hand():
    numbers = Statistics('name')
    # positives: object 0 two on P4 and one on P5, object 1 two on P4
    numbers.add(make_row(ASSIGNED), [100, 2000], 0.25)
    # an image whose objects, one large, have none; and one without objects
    numbers.add(make_row([-1] * 14), [96**2, 32**2], 0.75)
    numbers.add(make_row([-1] * 14, boxes=()), [], 0.5)
    lines = numbers.lines()
    assert [line['size'] for line in lines] == [
        'all',
        'small',
        'medium',
        'large',
    ]
    assert lines[0] == {
        'config': 'name',
        'size': 'all',
        'objects': '4',
        'mean': '1.25',
        'median': '1',
        'none %': '50.00',
        'P4': '1.00',
        'P5': '0.25',
        # of five positives the one at (40, 8) is inside the second box only,
        # (56, 8) too, and no other lies in both
        'ambiguous %': '0.00',
        's / image': '0.5000',
    }
    assert lines[1]['mean'] == '3.00'
    assert lines[2]['objects'] == '2'
    assert lines[2]['none %'] == '50.00'
    assert lines[3]['median'] == '0'


def test_ambiguous_positives():
    boxes = ((0, 0, 64, 48), (0, 0, 16, 16))
    numbers = Statistics('name')
    numbers.add(make_row([1, 0, *[-1] * 12], boxes), [9, 9], 0)
    assert numbers.lines()[0]['ambiguous %'] == '50.00'
    points = np.array([[8.0, 8.0], [16.0, 8.0], [64.0, 8.0]])
    assert inside_count(points, np.array(boxes)).tolist() == [2, 1, 0]


def test_areas_belong_to_objects():
    with pytest.raises(ValueError, match='1 areas for 2 objects'):
        Statistics('name').add(make_row(ASSIGNED), [1], 0)


def test_agreement():
    one = make_row(ASSIGNED)  # five positive cells
    moved = list(ASSIGNED)
    moved[2], moved[0] = -1, 1  # one cell lost, one new
    wider = make_row(moved)
    table = Agreement(3)
    table.add([one, wider, make_row([-1] * 14)])
    found = table.table()
    assert np.allclose(found.diagonal()[:2], 1)
    assert found[0, 1] == found[1, 0] == pytest.approx(4 / 6)
    assert found[0, 2] == 0
    assert np.isnan(found[2, 2])  # nothing is positive
    # another object at the same place is no agreement
    other = [1 - a if a >= 0 else a for a in ASSIGNED]
    table = Agreement(2)
    table.add([one, make_row(other)])
    assert table.table()[0, 1] == 0


def test_images_of_different_size_are_not_compared():
    table = Agreement(2)
    smaller = ((4, 4, 20, 20), (16, 0, 32, 8))
    table.add([make_row(ASSIGNED), make_row(ASSIGNED, smaller)])
    assert np.isnan(table.table()[0, 1])


def test_anchors_of_a_cell_count_once():
    # two anchors around the corner (16, 16) of a cell, a point in it
    fields = dict(
        level=np.zeros(2, dtype=int),
        stride=np.full(2, 16),
        weight=np.ones(2),
    )
    anchors = np.array([[8.0, 8, 24, 24], [0, 12, 32, 20]])
    keys = positive_cells(make_row([0, 0], priors=anchors, **fields))
    points = np.array([[24.0, 24.0], [40.0, 24.0]])
    assert len(keys) == 1
    assert np.array_equal(
        keys, positive_cells(make_row([0, -1], priors=points, **fields))
    )
    outside = make_row([0, 1], priors=points - 64, **fields)
    assert len(positive_cells(outside)) == 2


def test_histograms():
    totals = np.array([0, 0, 1, 2, 3, 4, 127, 128, 500])
    assert object_histogram(totals).tolist() == [2, 1, 2, 1, 0, 0, 0, 1, 2]
    edges, counts = weight_histogram(np.array([0.05, 0.95, 1.0]))
    assert edges[0] == 0 and edges[-1] == 1
    assert counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 2]
    edges, counts = weight_histogram(np.array([0.1, 4.0]))
    assert edges[-1] == 4
    assert counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert weight_histogram(np.zeros(0))[1].sum() == 0
