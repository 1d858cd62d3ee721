import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.plugin.live.time_left import TimeLeft

PLANNED = ("t.py::a[1]", "t.py::a[2]", "t.py::b[1]", "t.py::b[2]", "t.py::c")


def test_a_case_is_taken_to_need_what_its_test_took_and_a_new_test_what_all_did():
    left = TimeLeft(PLANNED)
    assert left.estimate_s(PLANNED[0], 3.0) is None
    left.note(PLANNED[0], 10.0)
    assert left.estimate_s(PLANNED[1], 4.0) == pytest.approx(6 + 3 * 10)
    left.note(PLANNED[1], 30.0)
    left.note(PLANNED[2], 2.0)
    assert left.estimate_s("", 0.0) == pytest.approx(2 + 14)
    assert left.estimate_s(PLANNED[3], 100.0) == pytest.approx(14)  # late, never less than nothing


def test_a_case_that_runs_again_is_left_once():
    left = TimeLeft(PLANNED[:2])
    left.note(PLANNED[0], 10.0)
    left.note(PLANNED[1], 20.0)
    assert left.estimate_s(PLANNED[1], 4.0) == pytest.approx(6)
    left.note(PLANNED[1], 20.0)
    assert left.estimate_s("", 0.0) == 0.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=5))
def test_more_done_never_leaves_more_cases(seconds):
    left = TimeLeft(PLANNED)
    for name, took_s in zip(PLANNED, seconds, strict=False):
        left.note(name, took_s)
    assert 0 <= left.estimate_s("", 0.0) <= (5 - len(seconds)) * max(seconds) + 1e-6
