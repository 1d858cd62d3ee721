"""What is drawn from real sessions keeps what must stay, and the page is what its data say."""

import json
import random
from pathlib import Path

import pytest

from evidence.unchanged_sessions.recording import record_sessions
from evidence.unchanged_sessions.resampling import (
    describe_sessions,
    judge_resampled,
    resample,
    summarise,
)
from evidence.unchanged_sessions.table import format_page
from sdperf.record.measurement import FreshRounds, Start
from sdperf.store.runs import SavedCase
from sdperf.store.session_file import SavedSession, TimedCase
from tests.support.measurements import measurement

NAME = "test_unchanged.py::test_latency[fp32-sync-1w]"


def session(number, scale=1.0, **changes):
    """Make a session of twenty rounds that differ by 1 %."""
    chance = random.Random(number)
    rounds_s = tuple(scale * (1 + 0.01 * chance.random()) for _ in range(20))
    fields = {"load_s": 1.0, "first_call_s": 1.0, "start": Start(True, "warm")}
    measured = measurement(rounds_s=rounds_s, **fields | changes)
    case = TimedCase(NAME, rounds_s, SavedCase(NAME, measured, "PASS", None))
    return SavedSession(Path(f"session-{number:02}.json"), "here", {NAME: case})


SESSIONS = [session(number) for number in range(8)]


def test_only_the_seconds_of_rounds_are_drawn_anew():
    before = SESSIONS[0].cases[NAME]
    after = resample(SESSIONS[0], random.Random(1)).cases[NAME]
    assert after.rounds_s != before.rounds_s
    assert set(after.rounds_s) <= set(before.rounds_s)
    assert after.measurement.rounds_s == after.rounds_s
    for name in ("images", "imprints", "load_s", "first_call_s", "start", "fresh", "memory"):
        assert getattr(after.measurement, name) == getattr(before.measurement, name)


def test_draws_are_equal_for_equal_seeds():
    assert summarise(SESSIONS, 5, 3) == summarise(SESSIONS, 5, 3)


@pytest.mark.parametrize("bases", [1, 5])
def test_unchanged_sessions_pass(bases):
    chance = random.Random(0)
    assert all(judge_resampled(SESSIONS, bases, chance).failing == () for _ in range(20))


@pytest.mark.parametrize(
    ("changes", "gate"),
    [
        ({"load_s": 12.0}, "load"),
        ({"fresh": FreshRounds((9.0,))}, "plausibility"),
        ({"scale": 1.5, "rounds_cpu_s": ()}, "latency"),
    ],
)
def test_a_damaged_session_would_be_counted(changes, gate):
    """The gates are in reach: a session that is damaged fails when it is the one that is drawn."""
    damaged = session(99, **changes)
    others = SESSIONS[:5]

    class Chosen(random.Random):
        def sample(self, *_arguments, **_named):
            return [*others, damaged]

    # What a suspect is measured again with is as damaged: the code is what is slow.
    judged = judge_resampled([*others, damaged, session(98, **changes)], 5, Chosen(0))
    if gate == "latency":
        assert judged.suspects == 1
    else:
        assert gate in judged.failing


def test_a_slow_load_that_does_not_repeat_is_no_failure():
    slow = session(99, load_s=12.0)
    others = SESSIONS[:5]

    class Chosen(random.Random):
        def sample(self, *_arguments, **_named):
            return [*others, slow]

    assert judge_resampled([*SESSIONS, slow], 5, Chosen(0)).failing == ()


def test_the_page_says_what_was_counted_and_what_was_not_drawn_anew():
    results = {
        "machine": "here",
        "options": ["--sd-steps=5"],
        "real": describe_sessions(SESSIONS),
        "judged": summarise(SESSIONS, 4, 0),
    }
    page = format_page(json.loads(json.dumps(results)))
    assert "8 real sessions" in page
    assert "| 1 accepted session | 0 of 4 | - | 0 | 0 |" in page
    assert "| 5 accepted sessions | 0 of 4 | - | 0 | 0 |" in page
    assert "| test_latency[fp32-sync-1w] | 1 .. 1" in page
    assert "**Not resampled**" in page


def test_more_sessions_at_once_than_processors_are_refused(tmp_path):
    with pytest.raises(ValueError, match="--at-once 9999 takes 19998 processors"):
        record_sessions(tmp_path, 3, 9999)


def test_sessions_that_are_there_are_not_recorded_again(tmp_path):
    kept = [tmp_path / f"session-{number:03}.json" for number in (1, 2, 3)]
    for path in kept:
        path.write_text("{}")
    assert record_sessions(tmp_path, 3, 1) == kept
