import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.stats.suite_shift import compute_suite_shift

CASES = np.log(np.array([1.0, 2.0, 3.0, 5.0, 8.0, 13.0]))


def test_a_warm_day_is_taken_out_of_every_session():
    moods = np.array([-0.01, 0.0, 0.01])
    shift = compute_suite_shift(CASES + moods[:, None], CASES + 0.04)
    assert shift is not None
    assert shift.history == pytest.approx(moods)
    assert shift.current == pytest.approx(0.04)
    assert shift.adjusted_history == pytest.approx(np.tile(CASES, (3, 1)))
    assert shift.adjusted_current == pytest.approx(CASES)


def test_one_slower_case_does_not_move_the_shift():
    current = CASES.copy()
    current[2] += 0.3
    shift = compute_suite_shift(np.tile(CASES, (4, 1)), current)
    assert shift is not None
    assert shift.current == pytest.approx(0)
    assert shift.adjusted_current[2] - CASES[2] == pytest.approx(0.3)


def test_absent_cases_are_left_out():
    history = np.tile(CASES, (3, 1)) + np.array([[0.02], [0.0], [-0.02]])
    history[0, 1] = np.nan
    current = CASES + 0.05
    current[4] = np.nan
    shift = compute_suite_shift(history, current)
    assert shift is not None
    assert shift.current == pytest.approx(0.05)
    assert np.isnan(shift.adjusted_history[0, 1])
    assert np.isnan(shift.adjusted_current[4])


def test_a_case_new_in_the_current_session_takes_no_part():
    history = np.tile(np.append(CASES, np.nan), (3, 1))
    shift = compute_suite_shift(history, np.append(CASES + 0.01, 3.0))
    assert shift is not None
    assert shift.current == pytest.approx(0.01)


@pytest.mark.parametrize("cases", [1, 4])
def test_few_cases_have_no_shift_of_their_own(cases):
    assert compute_suite_shift(np.zeros((5, cases)), np.ones(cases)) is None


def test_no_history_no_shift():
    assert compute_suite_shift(np.zeros((0, 6)), CASES) is None


def test_shapes_must_fit():
    with pytest.raises(ValueError):
        compute_suite_shift(np.zeros((3, 6)), np.zeros(5))


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=8), st.floats(-0.2, 0.2))
def test_any_moods_are_recovered(moods, mood):
    centred = np.array(moods) - np.mean(moods)
    shift = compute_suite_shift(CASES + centred[:, None], CASES + mood)
    assert shift is not None
    assert shift.history == pytest.approx(centred, abs=1e-9)
    assert shift.current == pytest.approx(mood, abs=1e-9)
