import pytest

from sdperf.judging.session.recorded import (
    RecordedCase,
    RecordedLimits,
    judge_recorded,
    repeat_suspects,
)
from sdperf.judging.starts import (
    StartLimits,
    choose_baseline,
    find_first_of_each_load,
    judge_start,
)
from sdperf.judging.tail import compute_tail, judge_tail
from sdperf.record.guard import Guard
from sdperf.record.measurement import GuardLog, Start
from sdperf.record.verdict import Outcome
from tests.support.measurements import measurement

WARM = Start(is_fresh=True, page_cache="warm")


def loaded(seconds, start=WARM):
    return measurement(load_s=seconds, first_call_s=seconds, start=start)


def outcome(seconds, history, repeats=None, start=WARM, limits=None):
    past = [loaded(one) for one in history]
    finding = judge_start("load", loaded(seconds, start), past, limits, repeats)
    return None if finding is None else finding.outcome


@pytest.mark.parametrize(
    ("seconds", "history", "expected"),
    [
        (3.4, [2.0], Outcome.PASS),  # 70 %, but not two seconds
        (4.1, [2.0], Outcome.SLOWER),
        (12.0, [10.0], Outcome.PASS),  # two seconds, but not 50 %
        (15.5, [10.0], Outcome.SLOWER),
        (4.1, [2.0, 2.0, 4.2], Outcome.PASS),  # a time that was reached before
        (4.1, [], None),
    ],
)
def test_both_limits_have_to_be_exceeded(seconds, history, expected):
    assert outcome(seconds, history) is expected


def test_five_sessions_that_agree_narrow_the_limits():
    four, five = [2.0, 2.01, 2.0, 1.99], [2.0, 2.01, 2.0, 1.99, 2.0]
    assert outcome(2.6, four) is Outcome.PASS
    assert outcome(2.6, five) is Outcome.SLOWER
    noisy = [2.0, 2.8, 1.6, 3.1, 2.2]
    assert outcome(2.6, noisy) is Outcome.PASS
    limits = StartLimits()
    assert choose_baseline("load", loaded(2.0), list(map(loaded, noisy)), limits).limit_s <= 4.3


@pytest.mark.parametrize(
    "start",
    [None, Start(is_fresh=False, page_cache="warm"), Start(is_fresh=True, page_cache="cold")],
)
def test_only_fresh_processes_with_equal_caches_are_compared(start):
    assert outcome(99.0, [2.0], start=start) is None
    past = [measurement(load_s=2.0, start=start)]
    assert judge_start("load", loaded(99.0), past) is None


def test_the_compile_cache_is_part_of_a_first_calls_identity():
    cold, warm = (
        Start(is_fresh=True, page_cache="warm", compile_cache=state) for state in ("cold", "warm")
    )
    assert judge_start("first call", loaded(99.0, cold), [loaded(2.0, warm)]) is None
    assert judge_start("load", loaded(99.0, cold), [loaded(2.0, warm)]).outcome is Outcome.SLOWER


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        ([9.0, 9.5], Outcome.SLOWER),
        ([9.0, 2.1], Outcome.PASS),
        ([], Outcome.INCONCLUSIVE),
    ],
)
def test_repeats_confirm_or_clear(repeats, expected):
    assert outcome(9.0, [2.0], repeats) is expected


def test_cases_of_one_load_are_judged_once():
    cases = [("a", loaded(2.0)), ("b", loaded(2.0)), ("c", loaded(2.1))]
    assert find_first_of_each_load(cases, lambda one: one.load_s) == ["a", "c"]


STEADY = [1.0, 1.01] * 10
ONE_IN_TEN = [*([1.0, 1.01] * 5)[:9], 2.0] * 2


def tail_of(rounds, *history, repeats=None):
    past = [measurement(rounds_s=tuple(one)) for one in history]
    finding = judge_tail(rounds, past, repeats=repeats)
    return None if finding is None else finding.outcome


def test_one_round_in_ten_twice_as_long_is_a_tail():
    assert compute_tail(ONE_IN_TEN).p95 > 1.9
    assert tail_of(ONE_IN_TEN, STEADY) is Outcome.SLOWER
    assert tail_of(ONE_IN_TEN, STEADY, repeats=[ONE_IN_TEN]) is Outcome.SLOWER
    assert tail_of(ONE_IN_TEN, STEADY, repeats=[STEADY]) is Outcome.PASS
    assert tail_of(ONE_IN_TEN, STEADY, ONE_IN_TEN) is Outcome.PASS  # seen before
    assert tail_of(STEADY, STEADY) is Outcome.PASS


def test_repeats_are_judged_together():
    """Two processes with one slow round in forty between them have no long p95."""
    once = [*STEADY[:-1], 1.9]
    assert tail_of(ONE_IN_TEN, STEADY, repeats=[ONE_IN_TEN, STEADY]) is Outcome.PASS
    assert tail_of(ONE_IN_TEN, STEADY, repeats=[ONE_IN_TEN, once]) is Outcome.SLOWER
    slower_as_a_whole = [3 * one for one in STEADY]
    assert tail_of(ONE_IN_TEN, STEADY, repeats=[STEADY, slower_as_a_whole]) is Outcome.PASS


@pytest.mark.parametrize(
    ("sessions", "expected"), [(1, Outcome.PASS), (4, Outcome.PASS), (5, Outcome.SLOWER)]
)
def test_five_sessions_narrow_the_limit_of_a_tail(sessions, expected):
    """A tail that is 40 % longer is within the wide limit of 50 % and beyond 25 %."""
    longer = [*([1.0, 1.01] * 5)[:9], 1.4] * 2
    assert tail_of(longer, *[STEADY] * sessions) is expected


def test_one_odd_round_of_forty_is_no_tail():
    assert tail_of([*STEADY, *STEADY[:-1], 1.9], STEADY) is Outcome.PASS


def test_a_case_that_is_slower_as_a_whole_has_no_tail():
    assert tail_of([2 * one for one in STEADY], STEADY) is Outcome.PASS


def test_few_rounds_are_not_judged():
    assert tail_of(ONE_IN_TEN[-5:], STEADY) is None
    assert tail_of(ONE_IN_TEN, STEADY[:5]) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("ok", Outcome.SLOWER),
        ("unknown", Outcome.SLOWER),
        ("warn", Outcome.INCONCLUSIVE),
        ("fail", Outcome.INCONCLUSIVE),
    ],
)
def test_a_tail_where_other_work_took_processors_stays_open(state, expected):
    guards = GuardLog("warn", before=(Guard("load", state, "1.5 per core", "other work"),))
    current = measurement(rounds_s=tuple(ONE_IN_TEN), guards=guards)
    past = [measurement(rounds_s=tuple(STEADY))]
    case = RecordedCase(current, past)
    found = judge_recorded({"case": case}, RecordedLimits())["case"]
    assert [one.outcome for one in found if one.gate == "tail"] == [expected]
    asked = []
    repeat_suspects({"case": case}, RecordedLimits(), lambda *asked_for: asked.append(asked_for))
    assert bool(asked) == (expected is Outcome.SLOWER)
