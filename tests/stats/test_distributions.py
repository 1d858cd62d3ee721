import math

import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.distributions import (
    compute_student_t_quantile,
    compute_student_t_tail,
    compute_trigamma,
    invert_trigamma,
)


@given(st.floats(1e-6, 1 - 1e-6), st.floats(0.5, 500))
def test_quantile_agrees_with_scipy_stats(probability, df):
    assert compute_student_t_quantile(probability, df) == pytest.approx(
        scipy.stats.t.ppf(probability, df), rel=1e-6, abs=1e-9
    )


@given(st.floats(-40, 40), st.floats(0.5, 500))
def test_tail_agrees_with_scipy_stats(t, df):
    assert compute_student_t_tail(t, df) == pytest.approx(scipy.stats.t.sf(t, df), rel=1e-6)


def test_infinite_degrees_of_freedom_are_the_normal_distribution():
    assert compute_student_t_quantile(0.975, math.inf) == pytest.approx(1.959964, abs=1e-6)
    assert compute_student_t_tail(6.0, math.inf) == pytest.approx(scipy.stats.norm.sf(6.0))


def test_infinite_t_is_certain():
    assert compute_student_t_tail(math.inf, 3) == 0
    assert compute_student_t_tail(-math.inf, 3) == 1


@pytest.mark.parametrize(("p", "df"), [(0, 3), (1, 3), (0.5, 0), (0.5, math.nan), (math.nan, 3)])
def test_quantile_out_of_range_is_refused(p, df):
    with pytest.raises(ValueError):
        compute_student_t_quantile(p, df)


def test_tail_of_nan_is_refused():
    with pytest.raises(ValueError):
        compute_student_t_tail(math.nan, 3)


@given(st.floats(1e-8, 1e8))
def test_trigamma_is_inverted(y):
    assert compute_trigamma(invert_trigamma(y)) == pytest.approx(y, rel=2e-3)


@given(st.floats(1e-5, 1e6))
def test_trigamma_is_inverted_closely_in_the_usual_range(y):
    assert compute_trigamma(invert_trigamma(y)) == pytest.approx(y, rel=1e-6)


@pytest.mark.parametrize("y", [0, -1, math.inf, math.nan])
def test_trigamma_takes_no_such_value(y):
    with pytest.raises(ValueError):
        invert_trigamma(y)
