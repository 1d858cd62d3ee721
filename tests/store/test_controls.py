import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdperf.errors import RecordError
from sdperf.store import controls
from sdperf.store.controls import (
    ControlLog,
    NullControl,
    append_control,
    merge_controls,
    read_controls,
)


def control(day=1, *, ratio=1.01, is_sound=True, **changes):
    fields = {
        "case": "test_latency.py::test_latency",
        "measured_at": f"2026-11-{day:02}T00:00:00+00:00",
        "limit": 0.03,
        "contrasts": (math.log(ratio),) * 4,
        "is_sound": is_sound,
    }
    return NullControl(**fields | changes)


@pytest.fixture
def log(tmp_path):
    return tmp_path / ".sdperf" / "null-controls.jsonl"


def test_a_log_that_is_not_there_holds_none(log):
    assert read_controls(log, "here") == ControlLog()


def test_every_control_is_kept_with_its_machine(log):
    for day, is_sound in enumerate((True, False), start=1):
        append_control(log, "here", control(day, is_sound=is_sound))
    append_control(log, "elsewhere", control(3))
    found = read_controls(log, "here")
    assert found.controls == (control(1), control(2, is_sound=False))
    assert found.controls[0].ratio == pytest.approx(1.01)


def test_a_control_without_an_answer_is_not_counted(log):
    append_control(log, "here", control(is_sound=None, contrasts=(), reason="out of time"))
    assert read_controls(log, "here").controls == ()
    assert control(contrasts=()).ratio is None


def test_half_a_line_of_a_killed_writer_costs_that_line_alone(log):
    append_control(log, "here", control(1))
    log.write_bytes(log.read_bytes().rstrip()[:-9])
    append_control(log, "here", control(2))
    found = read_controls(log, "here")
    assert found.controls == (control(2),)
    assert found.damaged == 1


def test_a_log_that_cannot_be_read_is_named(log, monkeypatch):
    log.mkdir(parents=True)
    with pytest.raises(RecordError, match=r"null-controls\.jsonl cannot be read"):
        read_controls(log, "here")
    monkeypatch.setattr(controls, "LARGEST_LOG_BYTES", 0)
    with pytest.raises(RecordError, match="too large"):
        read_controls(log, "here")


@given(st.binary(max_size=80))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_arbitrary_bytes_are_damage_and_no_traceback(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert read_controls(path, "here").controls == ()


def test_a_control_of_two_sources_counts_once_and_in_order():
    first, second = control(1), control(2)
    assert merge_controls([second, first], [first]) == (first, second)
    assert merge_controls([control(3, is_sound=None)]) == ()
