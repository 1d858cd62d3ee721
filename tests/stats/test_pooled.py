import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.pooled import PooledSpread, pool_variances, shrink_spread


def draw_variances(prior_variance, prior_df, df, cases, seed):
    """Variances as the model of Smyth (2004) makes them."""
    rng = np.random.default_rng(seed)
    true = prior_variance * prior_df / rng.chisquare(prior_df, cases)
    return (true * rng.chisquare(df, cases) / df).tolist()


def test_the_prior_that_made_the_variances_is_found_again():
    pool = pool_variances(draw_variances(1e-4, 10, 7, 20_000, 0), [7.0] * 20_000)
    assert pool.variance == pytest.approx(1e-4, rel=0.05)
    assert pool.degrees_of_freedom == pytest.approx(10, rel=0.1)


def test_equal_true_variances_are_pooled_almost_fully():
    rng = np.random.default_rng(1)
    pool = pool_variances((1e-4 * rng.chisquare(7, 5000) / 7).tolist(), [7.0] * 5000)
    assert pool.variance == pytest.approx(1e-4, rel=0.05)
    assert pool.degrees_of_freedom > 100


def test_variances_closer_than_chance_are_one_variance():
    pool = pool_variances([1e-4, 1.01e-4, 0.99e-4], [7.0] * 3)
    assert math.isinf(pool.degrees_of_freedom)
    assert shrink_spread(5e-4, 7, pool).spread == pytest.approx(0.01, rel=0.01)


def test_two_cases_say_nothing_of_a_third():
    assert pool_variances([1e-4, 2e-4], [7.0, 7.0]).degrees_of_freedom == 0
    assert pool_variances([], []).degrees_of_freedom == 0


def test_worked_example_of_shrinking():
    shrunk = shrink_spread(9e-4, 7, PooledSpread(variance=1e-4, degrees_of_freedom=9))
    assert shrunk.spread == pytest.approx(math.sqrt((9 * 1e-4 + 7 * 9e-4) / 16))
    assert shrunk.degrees_of_freedom == 16


@given(st.floats(0, 1), st.floats(1, 20), st.floats(1e-9, 1), st.floats(0.1, 100))
def test_the_shrunk_spread_lies_between_its_sources(own, df, common, prior_df):
    shrunk = shrink_spread(own, df, PooledSpread(common, prior_df)).spread ** 2
    assert min(own, common) * (1 - 1e-9) <= shrunk <= max(own, common) * (1 + 1e-9)


@given(st.lists(st.floats(1e-10, 1), min_size=3, max_size=40), st.floats(0.01, 100))
def test_a_change_of_unit_scales_the_pool(variances, factor):
    dfs = [7.0] * len(variances)
    one = pool_variances(variances, dfs)
    other = pool_variances([factor * variance for variance in variances], dfs)
    assert other.variance == pytest.approx(factor * one.variance, rel=1e-6)


def test_without_degrees_of_freedom_there_is_no_spread():
    with pytest.raises(ValueError):
        shrink_spread(1e-4, 0, PooledSpread(0.0, 0.0))


@pytest.mark.parametrize(("variances", "dfs"), [([1.0], []), ([0.0], [1.0]), ([1.0], [math.nan])])
def test_what_cannot_be_pooled_is_refused(variances, dfs):
    with pytest.raises(ValueError):
        pool_variances(variances, dfs)
