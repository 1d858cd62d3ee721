"""The guard `order`: a move beyond the first case's own noise, and cores that were lost."""

import dataclasses

import pytest

from sdperf.judging.doubts.order import describe_leftovers, judge_order
from tests.support.measurements import ENVIRONMENT, measurement


def first(**changes):
    fields = {"rounds_s": (0.38, 0.40, 0.39, 0.385, 0.395)}
    fields["rounds_cpu_s"] = tuple(1.98 * one for one in fields["rounds_s"])
    return measurement(**fields | changes)


def judge(again_s, busy=1.98, **changes):
    return judge_order(
        "latency",
        first(**changes.pop("first", {})),
        again_s,
        [busy * one for one in again_s],
        **changes,
    )


@pytest.mark.parametrize(
    ("again_s", "state"),
    [
        ((0.39, 0.41), "ok"),
        ((0.80, 0.82), "warn"),
        ((0.80, 0.39), "ok"),  # one disturbed round is no state
        ((0.405, 0.404), "ok"),  # outside of all, but by less than 5 %
        ((0.30, 0.31), "warn"),  # the first case was the slow one
    ],
)
def test_a_move_is_a_move_of_all_rounds(again_s, state):
    assert judge(again_s).state == state


def test_noise_of_the_first_case_is_taken_into_account():
    noisy = {"rounds_s": (0.3, 0.4, 0.6), "rounds_cpu_s": ()}
    assert judge((0.55, 0.5), first=noisy).state == "ok"
    assert judge((0.75, 0.7), first=noisy).state == "warn"


def test_lost_cores_are_a_move_even_where_the_seconds_are_noisy():
    guard = judge((0.39, 0.40), busy=1.14)
    assert guard.state == "warn"
    assert "1.98 cores busy and 1.14" in guard.sentence
    on_gpu = {"environment": dataclasses.replace(ENVIRONMENT, device_kind="cuda")}
    assert judge((0.39, 0.40), busy=1.14, first=on_gpu).state == "ok"


def test_strict_makes_it_a_failure():
    assert judge((0.8, 0.8), is_strict=True).state == "fail"
    assert judge((0.39, 0.39), is_strict=True).state == "ok"


def test_leftovers_are_named_once_each():
    assert describe_leftovers(()) is None
    said = "torch's threads was 1 and is 2"
    guard = describe_leftovers((said, said))
    assert (guard.name, guard.state) == ("order", "warn")
    assert guard.sentence.endswith(f": {said}")


@pytest.mark.parametrize(
    ("again_s", "busy", "words"),
    [
        ((0.8, 0.82), 1.14, "left something behind that takes cores"),
        ((0.39, 0.40), 1.14, "left something behind that takes cores"),
        ((0.8, 0.82), 1.98, "as many cores were busy, so that nothing took them: the machine"),
        ((0.30, 0.31), 1.98, "the machine became faster"),
        ((0.30, 0.31), 2.0, "had not when the first case was measured"),
    ],
)
def test_equal_cores_accuse_no_case_of_taking_cores(again_s, busy, words):
    guard = judge(again_s, busy=busy)
    assert guard.state == "warn"
    assert words in guard.sentence
    assert ("takes cores" in guard.sentence) == (busy < 1.5)


@pytest.mark.parametrize(("threads", "busy", "is_idle"), [(1, 0.37, True), (1, 0.95, False)])
def test_threads_without_a_core_each_were_not_alone(threads, busy, is_idle):
    """A stranger read that nothing took cores where one thread had 0.37 of one."""
    slow = {
        "rounds_cpu_s": tuple(busy * one for one in first().rounds_s),
        "worker_threads": threads,
    }
    sentence = judge((0.20, 0.21), busy=busy, first=slow).sentence
    assert ("other work took processor time" in sentence) == is_idle
    assert ("nothing took them" in sentence) != is_idle


def test_unknown_cores_leave_the_cause_open():
    guard = judge((0.8, 0.82), first={"rounds_cpu_s": ()})
    assert guard.sentence.endswith(
        "a case in between left something behind, or the machine changed"
    )
    assert "cores" not in guard.sentence


def test_more_cores_at_the_end_accuse_whoever_took_them_at_first():
    """A newcomer was told that 0.99 cores and 1.95 are as many."""
    alone = {"rounds_cpu_s": tuple(0.99 * one for one in first().rounds_s)}
    guard = judge((0.20, 0.21), busy=1.95, first=alone)
    assert guard.state == "warn"
    assert "0.99 cores busy and 1.95" in guard.sentence
    assert "other work took cores when the first case was measured" in guard.sentence
    assert "as many cores" not in guard.sentence
