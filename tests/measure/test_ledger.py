"""Each second of a session is counted once, as what it was spent on."""

import threading

import pytest

from sdperf.measure.ledger import Durations, Ledger


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s

    def pass_s(self, seconds):
        self.now_s += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    return Ledger(clock)


def start_worker(ledger, clock, *, starts_s=5.0, loads_s=2.0, what="fp32, worker 1", fresh=False):
    with ledger.spend("process starts"):
        clock.pass_s(starts_s + loads_s)
    ledger.move(loads_s, "process starts", "model loads")
    ledger.note_load(what, is_fresh=fresh)


def test_what_happens_inside_an_activity_is_taken_from_it(ledger, clock):
    with ledger.spend("quality"):
        clock.pass_s(1)
        with ledger.spend("comparing"):
            clock.pass_s(10)
        clock.pass_s(2)
    found = ledger.read()
    assert found.seconds == {"quality": 3, "comparing": 10}
    assert found.total_s == 13


def test_start_up_lasts_until_the_first_worker_runs(ledger, clock):
    clock.pass_s(3)
    start_worker(ledger, clock)
    clock.pass_s(4)
    start_worker(ledger, clock, what="bf16, worker 1")
    assert ledger.read().seconds == {
        "start-up": 8,
        "process starts": 5,
        "model loads": 4,
        "the rest": 4,
    }


def test_only_rounds_lie_inside(ledger, clock):
    start_worker(ledger, clock, loads_s=1.0)
    for activity, seconds in (
        ("warm-up rounds", 3),
        ("measured rounds", 10),
        ("profiled rounds", 2),
        ("device's peak", 1),
        ("waiting", 3),
    ):
        with ledger.spend(activity):
            clock.pass_s(seconds)
    assert ledger.read().share_outside == pytest.approx(5 / 20)


def test_there_is_no_share_before_the_first_worker(ledger, clock):
    clock.pass_s(3)
    assert ledger.read().share_outside is None
    assert Durations({}).share_outside is None


def test_an_error_ends_the_activity(ledger, clock):
    def fail():
        with ledger.spend("measured rounds"):
            clock.pass_s(1)
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        fail()
    clock.pass_s(5)
    assert ledger.read().seconds == {"start-up": 5, "measured rounds": 1}


def test_no_more_is_moved_than_there_is(ledger, clock):
    with ledger.spend("measured rounds"):
        clock.pass_s(2)
    ledger.move(5, "measured rounds", "waiting")
    ledger.move(-1, "waiting", "measured rounds")
    assert ledger.read().seconds == {"waiting": 2}


def test_loading_again_is_named_unless_a_fresh_process_was_wanted(ledger, clock):
    start_worker(ledger, clock)
    start_worker(ledger, clock, what="fp32, worker 2")
    start_worker(ledger, clock, fresh=True)
    assert ledger.read().reloads == ()
    start_worker(ledger, clock)
    assert ledger.read().reloads == ("fp32, worker 1",)
    assert ledger.read().loads == {"fp32, worker 1": 3, "fp32, worker 2": 1}


def test_other_threads_leave_the_count_alone(ledger, clock):
    def work():
        with ledger.spend("quality"):
            clock.pass_s(1)

    other = threading.Thread(target=work)
    other.start()
    other.join()
    assert ledger.read().seconds == {"start-up": 1}
