"""The numbers of `table assign` and the histograms, by hand."""

import numpy as np
import pytest
from test_analysis.hand_made import ASSIGNED, make_assignment

from mmdet_assigners.analysis.statistics import (
    Agreement,
    Statistics,
    inside_count,
    object_histogram,
    positive_cells,
    weight_histogram,
)


def statistics(*assignments):
    numbers = Statistics()
    for assignment in assignments:
        numbers.add(assignment)
    return numbers


def test_summaries_by_hand():
    numbers = statistics(
        # positives: object 0 two on P4 and one on P5, object 1 two on P4
        make_assignment(ASSIGNED, areas=np.array([100, 2000]), seconds=0.25),
        # two objects without positives, one of them large
        make_assignment(
            [-1] * 14, areas=np.array([96**2, 32**2]), seconds=0.75
        ),
        make_assignment([-1] * 14, boxes=(), seconds=0.5),
    )
    all_sizes, small, medium, large = numbers.by_size()
    assert all_sizes == (
        'all', 4, 1.25, 1, 0.5, {'P4': 1.0, 'P5': 0.25},
    )  # fmt: skip
    assert small == ('small', 1, 3, 3, 0, {'P4': 2, 'P5': 1})
    assert (medium.size, medium.objects, medium.without) == ('medium', 2, 0.5)
    assert (large.size, large.median) == ('large', 0)
    # (40, 8) and (56, 8) are inside the second box only, the other three
    # positives inside the first only
    assert numbers.in_several == 0
    assert numbers.seconds == 0.5


def test_no_object_at_all():
    (summary,) = statistics(make_assignment([-1] * 14, boxes=())).by_size()
    assert (summary.size, summary.objects) == ('all', 0)
    numbers = [*summary[2:5], *summary.per_level.values()]
    assert np.isnan(numbers).all()
    assert [*summary.per_level] == ['P4', 'P5']


def test_no_image_at_all():
    with pytest.raises(ValueError, match='no images to summarize'):
        Statistics().by_size()


def test_positives_in_several_boxes():
    boxes = ((0, 0, 64, 48), (0, 0, 16, 16))
    numbers = statistics(make_assignment([1, 0, *[-1] * 12], boxes))
    assert numbers.in_several == 0.5
    points = np.array([[8.0, 8.0], [16.0, 8.0], [64.0, 8.0]])
    assert inside_count(points, np.array(boxes)).tolist() == [2, 1, 0]


def test_agreement():
    one = make_assignment(ASSIGNED)  # five positive cells
    moved = list(ASSIGNED)
    moved[2], moved[0] = -1, 1  # one cell lost, one new
    wider = make_assignment(moved)
    table = Agreement(3)
    table.add([one, wider, make_assignment([-1] * 14)])
    found = table.table()
    assert np.allclose(found.diagonal()[:2], 1)
    assert found[0, 1] == found[1, 0] == pytest.approx(4 / 6)
    assert found[0, 2] == 0
    assert np.isnan(found[2, 2])  # nothing is positive
    # another object at the same place is no agreement
    other = [1 - a if a >= 0 else a for a in ASSIGNED]
    table = Agreement(2)
    table.add([one, make_assignment(other)])
    assert table.table()[0, 1] == 0


def test_images_of_different_size_are_not_compared():
    table = Agreement(2)
    smaller = ((4, 4, 20, 20), (16, 0, 32, 8))
    table.add([make_assignment(ASSIGNED), make_assignment(ASSIGNED, smaller)])
    assert np.isnan(table.table()[0, 1])


def test_anchors_of_a_cell_count_once():
    # two anchors around the corner (16, 16) of a cell, a point in it
    fields = dict(
        level=np.zeros(2, dtype=int),
        stride=np.full(2, 16),
        weight=np.ones(2),
    )
    anchors = np.array([[8.0, 8, 24, 24], [0, 12, 32, 20]])
    keys = positive_cells(make_assignment([0, 0], priors=anchors, **fields))
    points = np.array([[24.0, 24.0], [40.0, 24.0]])
    assert len(keys) == 1
    assert np.array_equal(
        keys, positive_cells(make_assignment([0, -1], priors=points, **fields))
    )
    outside = make_assignment([0, 1], priors=points - 64, **fields)
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
