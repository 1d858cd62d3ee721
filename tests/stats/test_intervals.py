import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.intervals import (
    SPREAD_FLOOR,
    compute_prediction_interval,
    predict_next_session,
)


def test_worked_example():
    interval = predict_next_session([2.30, 2.31, 2.29, 2.32, 2.28])
    assert interval.centre == pytest.approx(2.30)
    assert interval.half_width == pytest.approx(2.1318 * 0.015811 * math.sqrt(1.2), rel=1e-3)
    assert interval.lower == pytest.approx(interval.centre - interval.half_width)


def test_sessions_that_agree_too_well_get_the_floor():
    interval = predict_next_session([1.0] * 8)
    assert interval.standard_error == pytest.approx(SPREAD_FLOOR * math.sqrt(1 + 1 / 8))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20), st.floats(-3, 3))
def test_a_change_of_unit_moves_the_interval_and_nothing_else(logs, shift):
    one, other = predict_next_session(logs), predict_next_session([x + shift for x in logs])
    assert other.centre - one.centre == pytest.approx(shift, abs=1e-9)
    assert other.half_width == pytest.approx(one.half_width, rel=1e-6)


@given(st.floats(0.6, 0.999), st.integers(2, 20))
def test_more_confidence_is_wider(confidence, count):
    wide = compute_prediction_interval(0.0, 0.01, count, count - 1, confidence=confidence)
    narrow = compute_prediction_interval(0.0, 0.01, count, count - 1, confidence=0.55)
    assert wide.half_width > narrow.half_width
    assert wide.half_width == pytest.approx(
        scipy.stats.t.ppf(confidence, count - 1) * 0.01 * math.sqrt(1 + 1 / count)
    )


def test_one_in_twenty_new_sessions_falls_above():
    draws = np.random.default_rng(3).normal(2.0, 0.02, (4000, 9))
    above = [row[8] > predict_next_session(row[:8].tolist()).upper for row in draws]
    assert np.mean(above) == pytest.approx(0.05, abs=0.012)


def test_one_session_has_no_spread():
    with pytest.raises(ValueError):
        predict_next_session([1.0])


@pytest.mark.parametrize(
    ("spread", "count", "confidence"), [(0.01, 0, 0.95), (-1.0, 5, 0.95), (0.01, 5, 0.5)]
)
def test_arguments_out_of_range_are_refused(spread, count, confidence):
    with pytest.raises(ValueError):
        compute_prediction_interval(0.0, spread, count, 4, confidence=confidence)
