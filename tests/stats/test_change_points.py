import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdperf.stats import change_points
from sdperf.stats.change_points import (
    FEWEST_RUNS,
    compute_level_difference,
    segment_series,
)
from sdperf.stats.distributions import compute_student_t_quantile

STEP = math.log(1.05)


def noise(count, seed=0, sigma=0.02):
    return np.random.default_rng(seed).normal(size=count) * sigma


def places(values, **options):
    return [change.index for change in segment_series(list(values), **options).changes]


def test_a_step_is_found_where_it_is_and_as_large_as_it_is():
    values = noise(60)
    values[30:] += STEP
    (change,) = segment_series(values.tolist()).changes
    assert change.earliest <= 30 <= change.latest
    assert change.lower < STEP < change.upper
    assert change.effect == pytest.approx(STEP, abs=0.015)


def test_several_steps_are_found_together():
    values = noise(90, seed=1, sigma=0.01)
    values[20:] += 0.06
    values[50:] += 0.08
    values[70:] -= 0.10
    found = segment_series(values.tolist())
    assert [change.index for change in found.changes] == [20, 50, 70]
    assert found.levels == pytest.approx([0, 0.06, 0.14, 0.04], abs=0.01)
    assert found.slice(1, 90) == slice(20, 50)
    assert found.slice(3, 90) == slice(70, 90)


def test_a_level_that_came_and_went_is_two_changes():
    values = noise(60, seed=2, sigma=0.01)
    values[25:35] += 0.06
    assert places(values) == [25, 35]


@pytest.mark.parametrize("seed", range(5))
def test_the_places_are_those_of_the_best_segmentation(seed):
    """An oracle: ruptures' dynamic programme, told how many changes there are."""
    values = noise(70, seed=seed, sigma=0.01)
    values[20:45] += 0.05
    values[45:] += 0.09
    found = places(values)
    ruptures = pytest.importorskip("ruptures", reason="it has no release for this Python")
    model = ruptures.KernelCPD(kernel="linear", min_size=3).fit(values)
    assert found == model.predict(n_bkps=2)[:-1]


@pytest.mark.parametrize("seed", range(20))
def test_noise_shows_nothing(seed):
    values = noise(80, seed=100 + seed)
    values[np.random.default_rng(seed).random(80) < 0.04] += 0.2
    assert places(values) == []


def test_two_slow_runs_are_spikes_and_no_level():
    values = noise(40, seed=3)
    values[-2:] += 0.5
    assert places(values) == []
    values[20:22] += 0.5
    assert places(values) == []


def test_too_few_runs_hold_no_change():
    values = [0.0] * 6 + [1.0] * 6
    assert len(values) < FEWEST_RUNS
    assert places(values) == []
    assert places([0.0] * 7 + [1.0] * 7) == [7]


def test_equal_runs_hold_no_change_and_their_noise_is_the_floor():
    found = segment_series([1.0] * 50, spread_floor=0.003)
    assert found.changes == ()
    assert found.spread == 0.003


def test_a_change_below_the_smallest_that_counts_is_not_reported():
    values = noise(100, sigma=0.002)
    values[50:] += 0.008
    assert places(values) == [50]
    assert places(values, smallest_effect=0.01) == []


def test_memory_of_the_noise_makes_it_harder_to_convince(monkeypatch):
    """With the correction for autocorrelation taken away, correlated noise raises alarms."""

    def count_false():
        found = 0
        for seed in range(25):
            rng = np.random.default_rng(seed)
            values = np.zeros(100)
            for index in range(1, 100):
                values[index] = 0.5 * values[index - 1] + rng.normal()
            found += bool(places(values * 0.02))
        return found

    corrected = count_false()
    monkeypatch.setattr(
        change_points, "_autocorrelation", lambda residuals: np.zeros(len(residuals))
    )
    assert corrected < count_false() / 2


def test_the_search_is_repeatable():
    values = noise(60, seed=5)
    values[30:] += 0.03
    assert segment_series(values.tolist()) == segment_series(values.tolist())


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40),
    st.floats(-5, 5),
)
@settings(deadline=None, max_examples=60)
def test_any_series_is_read_and_a_constant_changes_nothing(values, constant):
    found = segment_series(values)
    assert len(found.levels) == len(found.changes) + 1
    borders = [0, *(change.index for change in found.changes), len(values)]
    assert borders == sorted(set(borders))
    for change in found.changes:
        assert change.earliest <= change.index <= change.latest
        assert change.lower <= change.effect <= change.upper
    moved = segment_series([round(value, 3) + round(constant, 3) for value in values])
    assert len(moved.levels) == len(moved.changes) + 1


def test_swapping_up_and_down_mirrors_the_result():
    values = noise(50, seed=6)
    values[20:] += 0.06
    (up,) = segment_series(values.tolist()).changes
    (down,) = segment_series((-values).tolist()).changes
    assert (up.index, up.earliest, up.latest) == (down.index, down.earliest, down.latest)
    assert up.effect == pytest.approx(-down.effect)


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_values_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        segment_series(values)


def test_a_floor_has_to_be_positive():
    with pytest.raises(ValueError, match="positive floor"):
        segment_series([1.0], spread_floor=0.0)


def test_a_difference_of_levels_is_students():
    difference, lower, upper = compute_level_difference([1.0, 1.2], [1.5, 1.7], 0.2, 0.0)
    assert difference == pytest.approx(0.5)
    reach = compute_student_t_quantile(0.975, 2) * 0.2
    assert (lower, upper) == pytest.approx((0.5 - reach, 0.5 + reach))
    wider = compute_level_difference([1.0, 1.2], [1.5, 1.7], 0.2, 0.5)
    assert wider[2] - wider[1] == pytest.approx((upper - lower) * math.sqrt(3))
    with pytest.raises(ValueError, match="both sides"):
        compute_level_difference([], [1.0], 0.2, 0.0)
