import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.slope import FEWEST_VALUES, compute_slope

SLOPES = st.floats(-1e6, 1e6)
LENGTHS = st.integers(FEWEST_VALUES, 300)


def test_a_worked_example():
    slope = compute_slope([3.0 * number for number in range(100)])
    assert (slope.per_value, slope.lower, slope.upper, slope.values) == (3.0, 3.0, 3.0, 100)
    assert slope.coverage == pytest.approx(1 - 2 * 12 / 2**11)  # eleven rises, one cut on each side


def test_few_values_say_nothing():
    assert compute_slope([1.0] * (FEWEST_VALUES - 1)) is None
    assert compute_slope([]) is None


@given(SLOPES, LENGTHS, st.floats(-1e9, 1e9))
def test_a_straight_line_has_its_slope(slope, length, start):
    found = compute_slope([start + slope * number for number in range(length)])
    tolerance = 1e-9 * (abs(start) + abs(slope) * length) + 1e-12
    for value in (found.per_value, found.lower, found.upper):
        assert math.isclose(value, slope, abs_tol=tolerance, rel_tol=1e-9)


@given(LENGTHS, st.data(), st.floats(1, 1e12))
def test_one_step_of_any_size_anywhere_is_no_slope(length, data, size):
    place = data.draw(st.integers(0, length))
    found = compute_slope([0.0] * place + [size] * (length - place))
    assert (found.per_value, found.lower, found.upper) == (0.0, 0.0, 0.0)


@given(LENGTHS, st.floats(0.1, 1e6))
def test_what_fills_at_the_beginning_is_no_slope(length, size):
    filled = length // 8
    series = [size * min(number, filled) for number in range(length)]
    assert compute_slope(series).upper <= size * 12 / (length - filled)


@given(st.lists(st.floats(-1e6, 1e6), min_size=FEWEST_VALUES, max_size=120), SLOPES)
def test_adding_a_line_adds_its_slope_and_mirroring_mirrors(series, slope):
    before = compute_slope(series)
    mirrored = compute_slope([-value for value in series])
    assert (mirrored.per_value, mirrored.lower) == (-before.per_value, -before.upper)
    assert before.lower <= before.per_value <= before.upper


def test_noise_has_a_slope_as_seldom_as_the_interval_says():
    random = np.random.default_rng(0)
    missed = {"jitter": 0, "walk": 0}
    for _ in range(400):
        jitter = random.normal(size=100)
        for name, series in (("jitter", jitter), ("walk", np.cumsum(jitter))):
            found = compute_slope(series.tolist())
            missed[name] += not found.lower <= 0 <= found.upper
    assert missed["jitter"] <= 400 * 0.05
    assert missed["walk"] <= 400 * 0.05
