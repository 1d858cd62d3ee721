import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.drift import (
    CaseHistory,
    compute_line_variance,
    estimate_drift_ratio,
    fit_drift,
)

sessions = st.lists(st.floats(-0.1, 0.1), min_size=5, max_size=12)


def history(values, times=None):
    times = np.arange(len(values)) if times is None else np.asarray(times)
    return CaseHistory(times.astype(float), np.asarray(values, dtype=float))


def covariance(times, ratio):
    centred = np.asarray(times, dtype=float) - np.mean(times)
    return np.eye(len(centred)) + ratio * np.outer(centred, centred)


def predict_by_matrices(times, values, next_time, ratio):
    """Generalised least squares, from its definition: the predicted value and its variance."""
    times, values = np.asarray(times, dtype=float), np.asarray(values)
    centre = times.mean()
    inverse = np.linalg.inv(covariance(times, ratio))
    ones = np.ones(len(times))
    mean = ones @ inverse @ values / (ones @ inverse @ ones)
    towards = ratio * (times - centre) * (next_time - centre)
    predicted = mean + towards @ inverse @ (values - mean)
    own = 1 + ratio * (next_time - centre) ** 2
    lack = 1 - ones @ inverse @ towards
    variance = own - towards @ inverse @ towards + lack**2 / (ones @ inverse @ ones)
    squares = (values - mean) @ inverse @ (values - mean)
    return predicted, variance, squares / (len(times) - 1)


@given(sessions, st.floats(0, 0.5))
def test_the_prediction_is_that_of_generalised_least_squares(values, ratio):
    fit = fit_drift(history(values), len(values), ratio)
    expected = predict_by_matrices(range(len(values)), values, len(values), ratio)
    assert (fit.predicted, fit.error_factor, fit.variance) == pytest.approx(expected, abs=1e-9)


@given(sessions)
def test_without_drift_the_mean_is_predicted(values):
    fit = fit_drift(history(values), len(values), 0.0)
    assert fit.predicted == pytest.approx(np.mean(values))
    assert fit.variance == pytest.approx(np.var(values, ddof=1), abs=1e-12)
    assert fit.error_factor == pytest.approx(1 + 1 / len(values))
    for index in range(len(values)):
        others = np.delete(values, index)
        assert fit.held_out[index] == pytest.approx(values[index] - others.mean(), abs=1e-9)
        assert fit.held_out_variances[index] == pytest.approx(others.var(ddof=1), abs=1e-9)
        assert fit.held_out_factors[index] == pytest.approx(1 + 1 / len(others))


@given(sessions, st.floats(0.001, 0.5))
def test_a_held_out_session_is_what_the_others_leave(values, ratio):
    """The short formulas against leaving each session out and inverting the rest."""
    full = covariance(range(len(values)), ratio)
    fit = fit_drift(history(values), len(values), ratio)
    for index in range(len(values)):
        rest = np.delete(np.arange(len(values)), index)
        inverse = np.linalg.inv(full[np.ix_(rest, rest)])
        towards, ones = full[index, rest], np.ones(len(rest))
        kept = np.asarray(values)[rest]
        mean = ones @ inverse @ kept / (ones @ inverse @ ones)
        predicted = mean + towards @ inverse @ (kept - mean)
        lack = 1 - ones @ inverse @ towards
        factor = (
            full[index, index] - towards @ inverse @ towards + lack**2 / (ones @ inverse @ ones)
        )
        assert fit.held_out[index] == pytest.approx(values[index] - predicted, abs=1e-9)
        assert fit.held_out_factors[index] == pytest.approx(factor)


def test_a_fully_believed_slope_is_the_straight_line():
    times, values = np.array([0.0, 1, 3, 4, 6]), np.array([0.0, 0.02, 0.05, 0.09, 0.11])
    line = np.polyfit(times, values, 1)
    fit = fit_drift(history(values, times), 8, 1e9)
    assert fit.predicted == pytest.approx(np.polyval(line, 8), rel=1e-6)
    residuals = values - np.polyval(line, times)
    assert compute_line_variance(history(values, times)) == pytest.approx(residuals @ residuals / 3)


def test_the_ratio_that_made_the_slopes_is_found_again():
    rng = np.random.default_rng(0)
    times = np.arange(8.0)
    cases = 20_000
    slopes = rng.normal(0, 0.2, (cases, 1))
    values = rng.normal(0, 1, (cases, 8)) + slopes * times
    ratio = estimate_drift_ratio([history(one) for one in values], [1.0] * cases)
    assert ratio == pytest.approx(0.04, rel=0.05)


def test_no_drift_is_none_and_few_cases_tell_none():
    flat = [history([0.0, 0.01, -0.01, 0.01, -0.01, 0.0])] * 12
    assert estimate_drift_ratio(flat, [1e-4] * 12) == 0
    creeping = [history(0.01 * np.arange(6.0))] * 9
    assert estimate_drift_ratio(creeping, [1e-6] * 9) == 0


@pytest.mark.parametrize(("values", "ratio"), [([1.0], 0.0), ([1.0, 2.0, 3.0], -1.0)])
def test_what_cannot_be_predicted_is_refused(values, ratio):
    with pytest.raises(ValueError):
        fit_drift(history(values), 3, ratio)
