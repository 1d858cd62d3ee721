import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.summaries import (
    LARGEST_EXACT_COUNT,
    compute_median,
    compute_median_interval,
    compute_quantile,
)

samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


def test_worked_example():
    values = [5.0, 1.0, 4.0, 2.0, 3.0, 6.0]
    assert [compute_quantile(values, share) for share in (0.0, 0.25, 0.75, 1.0)] == [
        1.0,
        2.25,
        4.75,
        6.0,
    ]
    assert compute_median(values) == 3.5
    interval = compute_median_interval(values)
    assert (interval.lower, interval.upper, interval.coverage) == (1.0, 6.0, 1 - 2 / 64)


@given(samples, st.floats(0, 1))
def test_quantiles_agree_with_numpy(values, probability):
    assert compute_quantile(values, probability) == pytest.approx(
        float(np.quantile(values, probability)), rel=1e-9, abs=1e-6
    )


@given(samples, st.floats(0.5, 0.999))
def test_interval_encloses_the_sample_median(values, confidence):
    interval = compute_median_interval(values, confidence)
    assert interval.lower <= compute_median(values) <= interval.upper
    assert 0 <= interval.coverage <= 1


@pytest.mark.parametrize("count", [*range(6, 40), 999, 1000, 1001, 5000])
def test_interval_agrees_with_scipys_exact_quantile_test(count):
    interval = compute_median_interval([float(value) for value in range(count)])
    cut = int(interval.lower)
    assert interval.upper == count - 1 - cut
    exact = 1 - 2 * scipy.stats.binom.cdf(cut, count, 0.5)
    tolerance = 1e-12 if count <= LARGEST_EXACT_COUNT else 1e-3
    assert interval.coverage == pytest.approx(exact, abs=tolerance)
    assert interval.coverage >= 0.95 - tolerance
    assert 1 - 2 * scipy.stats.binom.cdf(cut + 1, count, 0.5) < 0.95 + tolerance


def test_too_few_values_say_what_they_cover():
    assert compute_median_interval([2.0]).coverage == 0
    assert compute_median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).coverage == 0.9375


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
@pytest.mark.parametrize("compute", [compute_median, compute_median_interval])
def test_what_has_no_summary_is_refused(compute, values):
    with pytest.raises(ValueError):
        compute(values)


@pytest.mark.parametrize("confidence", [0, 1, -1, math.nan])
def test_confidence_out_of_range_is_refused(confidence):
    with pytest.raises(ValueError):
        compute_median_interval([1.0, 2.0], confidence)
