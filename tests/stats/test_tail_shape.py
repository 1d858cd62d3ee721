import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.tail_shape import (
    NORMAL,
    RECIPROCALS,
    TailShape,
    compute_normal_scores,
    fit_tail_shape,
)


def only(index):
    return TailShape(tuple(float(i == index) for i in range(len(RECIPROCALS))))


@pytest.mark.parametrize("index", [1, 5, 10, 20])
def test_tails_are_those_of_scipys_t_of_variance_1(index):
    df = 1 / RECIPROCALS[index]
    t = scipy.stats.t(df, scale=math.sqrt((df - 2) / df))
    assert t.var() == pytest.approx(1)
    scores = np.array([-3.0, 0.0, 1.5, 6.0])
    assert only(index).compute_tails(scores) == pytest.approx(t.sf(scores), rel=1e-6)


def test_normal_tails_are_scipys():
    scores = np.array([-2.0, 0.0, 4.0, 9.0])
    assert NORMAL.compute_tails(scores) == pytest.approx(scipy.stats.norm.sf(scores))


def test_weights_are_bayes_rule_with_scipys_densities():
    scores = np.array([-2.5, -0.3, 0.1, 0.9, 3.1])
    densities = [scipy.stats.norm.logpdf(scores).sum()]
    for reciprocal in RECIPROCALS[1:]:
        df = 1 / reciprocal
        scale = math.sqrt((df - 2) / df)
        densities.append(scipy.stats.t.logpdf(scores, df, scale=scale).sum())
    prior = np.exp(-np.array(RECIPROCALS[1:]) / 0.15)
    prior = np.array([0.5, *(0.5 * prior / prior.sum())])
    expected = prior * np.exp(densities)
    assert fit_tail_shape(scores).weights == pytest.approx(expected / expected.sum())


def test_heavy_tails_are_recognised_and_normal_ones_too():
    rng = np.random.default_rng(0)
    heavy = fit_tail_shape(rng.standard_t(4, 480) * math.sqrt(0.5))
    normal = fit_tail_shape(rng.normal(0, 1, 480))
    assert heavy.weights[0] < 0.01
    assert normal.weights[0] > 0.5
    assert heavy.compute_tails(4.5) > 10 * normal.compute_tails(4.5)


def test_without_scores_half_is_believed_normal():
    assert fit_tail_shape([]).weights[0] == pytest.approx(0.5)


@given(st.lists(st.floats(-30, 30), max_size=50), st.floats(-40, 40), st.floats(0, 5))
def test_tails_are_falling_probabilities(scores, at, further):
    shape = fit_tail_shape(scores)
    assert sum(shape.weights) == pytest.approx(1)
    near, far = shape.compute_tails([at, at + further])
    assert 0 <= far <= near <= 1
    assert shape.compute_tails(at) + shape.compute_tails(-at) == pytest.approx(1)


@given(st.floats(-20, 20), st.floats(2, 200))
def test_scores_keep_the_tail_of_student_t(t, df):
    score = compute_normal_scores(t, df)
    assert scipy.stats.norm.sf(abs(score)) == pytest.approx(scipy.stats.t.sf(abs(t), df), rel=1e-6)
    assert compute_normal_scores(-t, df) == pytest.approx(-score)


def test_infinite_degrees_of_freedom_change_nothing():
    assert compute_normal_scores([-3.0, 0.0, 5.0], math.inf) == pytest.approx([-3, 0, 5])


def test_what_is_no_score_is_refused():
    with pytest.raises(ValueError):
        fit_tail_shape([0.0, math.nan])
