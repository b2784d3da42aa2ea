"""Uncertainty against errors, with known sigmas."""

import itertools

import numpy as np
import pytest
from test_analysis.calibrated import errors

from mmdet_assigners.analysis.uncertainty import (
    SIDES,
    Detections,
    SideErrors,
    by_decile,
    match,
    summarize,
)


def test_calibrated_head_has_ratio_one():
    own = errors(iou_thr=0.1)
    summaries = summarize(own)
    assert [summary.side for summary in summaries] == [*SIDES, 'all']
    assert [summary.sides for summary in summaries] == [5000] * 4 + [20000]
    for summary in summaries:
        assert summary.decile is None
        assert summary.ratio == pytest.approx(1, abs=0.03)
        assert summary.within_sigma == pytest.approx(0.683, abs=0.02)
        assert summary.error_correlation > 0.4
        assert summary.iou_correlation < -0.4
    for summary in by_decile(own):
        assert summary.ratio == pytest.approx(1, abs=0.06)


def test_over_estimated_sigma_has_ratio_above_one():
    assert summarize(errors(0.5))[-1].ratio == pytest.approx(2, abs=0.06)


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
    found = Detections(
        boxes, np.ones((4, 4)), np.full(4, 0.5), np.array([0, 0, 1, 0])
    )
    own = match(found, objects, np.array([0, 0, 0]))
    # the third has another class, the fourth overlaps nothing
    np.testing.assert_allclose(own.iou, [0.9, 1.0])
    np.testing.assert_allclose(own.error, [[0, 0, 0, 2], [0, 0, 0, 0]])
    nothing = match(found, np.zeros((0, 4)), np.zeros(0, dtype=int))
    assert nothing.sigma.shape == (0, 4)


def test_boxes_without_area_match_nothing():
    objects = np.array([[5.0, 5, 5, 5], [0, 0, 10, 10]])
    boxes = np.array([[5.0, 5, 5, 5], [10, 10, 0, 0]])
    found = Detections(boxes, np.ones((2, 4)), np.ones(2), np.zeros(2, int))
    own = match(found, objects, np.zeros(2, dtype=int), iou_thr=0)
    assert len(own.iou) == 0


def summary_of(sigma, error):
    """The summary of all sides, with these values on each side."""
    sigma, error = (np.repeat([x], 4, 0).T for x in (sigma, error))
    return summarize(SideErrors(sigma, error, np.ones(len(sigma))))[-1]


def test_numbers_by_hand():
    summary = summary_of([1.0, 2, 3, 4], [2.0, 1, 4, 3])
    assert summary[:5] == ('all', None, 16, 2.5, 2.5)
    assert summary.ratio == pytest.approx((2 / np.pi) ** 0.5)
    assert summary.within_sigma == 0.5
    # ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * 4 / (4 * 15)
    first, *_ = summarize(
        SideErrors(
            np.arange(16.0).reshape(4, 4),
            np.array([[4.0], [0], [12], [8]]) * np.ones(4),
            np.ones(4),
        )
    )
    assert first.error_correlation == pytest.approx(0.6)
    assert np.isnan(first.iou_correlation)  # all IoUs are equal


def test_numbers_that_are_not_defined_are_nan():
    assert np.isnan(summary_of([1.0], [0.0]).ratio)
    single = SideErrors(np.ones((1, 4)), np.ones((1, 4)), np.ones(1))
    assert np.isnan(summarize(single)[0].error_correlation)
    nothing = summarize(SideErrors.join([]), with_deciles=True)
    assert [summary.side for summary in nothing] == [*SIDES, 'all']
    for summary in nothing:
        assert summary.sides == 0
        assert np.isnan(summary[3:]).all()


def test_deciles_are_of_equal_size_and_ordered():
    own = errors(count=251)
    deciles = by_decile(own)
    assert [x.sides for x in deciles] == [101] * 4 + [100] * 6
    assert [x.decile for x in deciles] == list(range(1, 11))
    for low, high in itertools.pairwise(deciles):
        assert low.mean_sigma < high.mean_sigma
    few = SideErrors(np.ones((2, 4)), np.ones((2, 4)), np.ones(2))
    assert [x.sides for x in by_decile(few)] == [1] * 8
    assert summarize(own, with_deciles=True)[5:] == deciles
