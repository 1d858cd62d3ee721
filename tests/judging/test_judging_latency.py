import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdperf.judging.latency import (
    LatencyLimits,
    Suspect,
    judge_confirmation,
    judge_offline,
    judge_repeats,
    screen_latency,
)
from sdperf.judging.suite_estimate import CaseSessions, compute_suite_estimate
from sdperf.record.verdict import Outcome
from sdperf.stats.paired import decide_by_blocks


def make_suite(
    *, cases=20, sessions=8, spread=0.005, mood=0.01, rises=None, seed=0, limit=0.03, rounds=10
):
    """Cases of 1 to 20 s; ``rises`` maps case index to a factor on the current session."""
    rng = np.random.default_rng(seed)
    base = np.linspace(0, 3, cases)
    logs = base + rng.normal(0, spread, (sessions + 1, cases))
    logs += rng.normal(0, mood, (sessions + 1, 1))
    for case, factor in (rises or {}).items():
        logs[-1, case] += math.log(factor)
    noise = 1 + np.linspace(-0.002, 0.002, rounds)
    return [
        CaseSessions(
            f"case{case}",
            tuple(np.exp(logs[:-1, case]).tolist()),
            tuple((np.exp(logs[-1, case]) * noise).tolist()),
            limit,
        )
        for case in range(cases)
    ]


def outcomes(suite):
    return {
        name: f.outcome for name, f in judge_offline(compute_suite_estimate(suite)).cases.items()
    }


def with_rounds(case, factors):
    current = case.current_s
    return CaseSessions(
        case.case, case.history_s, tuple(current * f for f in factors), case.max_slowdown
    )


class TestOffline:
    def test_an_unchanged_suite_passes(self):
        findings = judge_offline(compute_suite_estimate(make_suite()))
        assert {f.outcome for f in findings.cases.values()} == {Outcome.PASS}
        assert findings.suite is not None
        assert findings.suite.outcome is Outcome.PASS

    def test_one_slower_case_is_found_and_named(self):
        findings = judge_offline(compute_suite_estimate(make_suite(rises={7: 1.06})))
        slower = [name for name, f in findings.cases.items() if f.outcome is Outcome.SLOWER]
        assert slower == ["case7"]
        assert "8 accepted sessions" in findings.cases["case7"].reason
        assert "limit +3.0 %" in findings.cases["case7"].reason

    def test_seconds_of_several_images_are_called_a_round(self):
        suite = make_suite(rises={7: 1.06})
        suite[7] = dataclasses.replace(suite[7], images_per_round=2)
        found = judge_offline(compute_suite_estimate(suite)).cases
        assert " a round of 2 images against " in found["case7"].reason
        assert "a round of" not in found["case6"].reason

    def test_with_few_sessions_the_limit_that_failed_is_named(self):
        found = judge_offline(compute_suite_estimate(make_suite(sessions=2, rises={7: 1.6}))).cases
        assert found["case7"].outcome is Outcome.SLOWER
        named = "beyond the gross limit +25.0 %, which fails with fewer than 5 sessions"
        assert named in found["case7"].reason
        assert "limit +3.0 %" not in found["case7"].reason

    def test_a_case_that_gained_less_than_all_others_is_said_in_this_order(self):
        gains = dict.fromkeys(range(20), 0.5) | {7: 0.8}
        found = judge_offline(compute_suite_estimate(make_suite(rises=gains))).cases["case7"]
        assert re.search(
            r": -[12]\d\.\d %, where all cases together changed by -[45]\d\.\d %: "
            r"\+[56]\d\.\d % beside them, limit \+3\.0 %",
            found.reason,
        ), found.reason

    def test_one_faster_case_is_found(self):
        assert outcomes(make_suite(rises={7: 1 / 1.06}))["case7"] is Outcome.FASTER

    def test_a_warm_day_is_the_suites_not_the_cases(self):
        findings = judge_offline(
            compute_suite_estimate(make_suite(mood=0.002, rises=dict.fromkeys(range(20), 1.10)))
        )
        assert Outcome.SLOWER not in {f.outcome for f in findings.cases.values()}
        assert findings.suite is not None
        assert findings.suite.outcome is Outcome.SLOWER

    def test_a_noisy_machine_is_inconclusive_not_guessed(self):
        findings = outcomes(make_suite(spread=0.05, rises={3: 1.05}))
        assert Outcome.SLOWER not in findings.values()
        assert sum(outcome is Outcome.INCONCLUSIVE for outcome in findings.values()) == 20

    def test_even_there_a_huge_slowdown_is_slower(self):
        assert outcomes(make_suite(spread=0.05, rises={3: 2.5}))["case3"] is Outcome.SLOWER

    def test_a_machine_that_goes_grossly_astray_by_itself_proves_nothing(self):
        suite = make_suite(spread=0.05, rises={3: 20.0})
        assert outcomes(suite)["case3"] is Outcome.SLOWER
        wild = make_suite(spread=0.2, rises={3: 20.0})
        assert outcomes(wild)["case3"] is Outcome.INCONCLUSIVE

    def test_a_rise_above_the_limit_without_proof_is_inconclusive(self):
        assert outcomes(make_suite(spread=0.012, rises={3: 1.04}))["case3"] in {
            Outcome.INCONCLUSIVE,
            Outcome.PASS,
        }

    def test_a_rise_that_happened_before_without_a_change_is_inconclusive(self):
        suite = make_suite(rises={3: 1.08})
        assert outcomes(suite)["case3"] is Outcome.SLOWER
        freak = list(suite[5].history_s)
        freak[2] *= 1.14
        suite[5] = CaseSessions("case5", tuple(freak), suite[5].rounds_s, 0.03)
        assert outcomes(suite)["case3"] is Outcome.INCONCLUSIVE

    def test_a_median_made_of_disturbed_rounds_is_inconclusive(self):
        suite = make_suite()
        suite[3] = with_rounds(suite[3], [1.0, 1.2, 1.0, 1.2, 1.0, 1.2, 1.0, 1.2, 1.2, 1.2])
        assert outcomes(suite)["case3"] is Outcome.INCONCLUSIVE

    def test_throttling_seen_in_a_neighbour_makes_a_like_rise_inconclusive(self):
        suite = make_suite(rises={3: 1.25})
        assert outcomes(suite)["case3"] is Outcome.SLOWER
        suite[4] = with_rounds(suite[4], [1.25] * 3 + [1.0] * 7)
        assert outcomes(suite)["case3"] is Outcome.INCONCLUSIVE

    def test_a_case_with_two_modes_is_inconclusive_and_says_why(self):
        suite = make_suite()
        jumping = [s * (1.8 if k % 2 else 1.0) for k, s in enumerate(suite[3].history_s)]
        suite[3] = CaseSessions("case3", tuple(jumping), suite[3].rounds_s, 0.03)
        finding = judge_offline(compute_suite_estimate(suite)).cases["case3"]
        assert finding.outcome is Outcome.INCONCLUSIVE
        assert "two modes" in finding.reason
        assert finding.next_step is not None
        assert "--sd-processes" in finding.next_step

    def test_a_per_case_limit_is_honoured(self):
        suite = make_suite(rises={7: 1.06})
        suite[7] = CaseSessions("case7", suite[7].history_s, suite[7].rounds_s, 0.10)
        assert outcomes(suite)["case7"] is Outcome.PASS

    def test_no_cases_no_findings(self):
        findings = judge_offline(compute_suite_estimate([]))
        assert findings.cases == {}
        assert findings.suite is None


class TestFewSessions:
    @pytest.mark.parametrize("sessions", [1, 4])
    def test_only_gross_slowdowns_fail(self, sessions):
        findings = outcomes(make_suite(sessions=sessions, rises={1: 1.30, 2: 1.10}))
        assert findings["case1"] is Outcome.SLOWER
        assert findings["case2"] is Outcome.INCONCLUSIVE
        assert findings["case3"] is Outcome.PASS

    def test_a_limit_that_was_given_binds_at_once_and_is_told_once(self):
        suite = compute_suite_estimate(make_suite(sessions=3, rises={2: 1.05}, limit=0.07))
        given = LatencyLimits(gross_slowdown=0.07)
        assert (
            judge_offline(suite, given)
            .cases["case2"]
            .reason.endswith("2 more accepted sessions to know the spread between sessions")
        )

    def test_the_advice_counts_the_missing_sessions(self):
        findings = judge_offline(compute_suite_estimate(make_suite(sessions=3, rises={2: 1.1})))
        assert findings.cases["case2"].next_step == (
            "2 more accepted sessions for the limit to bind (+3.0 %; until then only +25.0 % fails)"
        )
        assert findings.cases["case2"].reason.endswith(" beside them, above +3.0 %")
        assert "limit +3.0 %" not in findings.cases["case2"].reason  # it does not bind yet

    @pytest.mark.parametrize(
        ("rise", "words"),
        [
            (1.9, "beyond the gross limit +25.0 %, which fails with fewer than 5 sessions"),
            (1.1, "above +3.0 %; with fewer than 5 sessions only +25.0 % fails"),
            (1.0, "; with fewer than 5 sessions only +25.0 % fails"),
        ],
    )
    def test_all_cases_together_name_the_limit_that_decided(self, rise, words):
        suite = make_suite(sessions=1, rises=dict.fromkeys(range(20), rise))
        found = judge_offline(compute_suite_estimate(suite)).suite
        assert "against 1 accepted session" in found.reason
        assert found.reason.endswith(words)
        assert "limit +3.0 %" not in found.reason

    def test_the_gross_limit_can_be_set(self):
        estimate = compute_suite_estimate(make_suite(sessions=1, rises={2: 1.1}))
        findings = judge_offline(estimate, LatencyLimits(gross_slowdown=0.05))
        assert findings.cases["case2"].outcome is Outcome.SLOWER

    def test_a_new_case_has_no_baseline(self):
        suite = [*make_suite(), CaseSessions("new", (None,) * 8, (1.0, 1.1), 0.03)]
        assert outcomes(suite)["new"] is Outcome.NO_BASELINE

    def test_a_single_case_is_judged_by_its_own_sessions(self):
        suite = make_suite(cases=1, mood=0.0, rises={0: 1.08})
        findings = judge_offline(compute_suite_estimate(suite))
        assert findings.suite is None
        assert findings.cases["case0"].outcome is Outcome.SLOWER


class TestScreen:
    def test_only_risen_cases_are_suspects_and_none_is_called_slower(self):
        screening = screen_latency(compute_suite_estimate(make_suite(rises={7: 1.06})))
        assert [suspect.case.data.case for suspect in screening.suspects] == ["case7"]
        assert screening.suspects[0].is_shown
        assert screening.findings.cases["case7"].outcome is Outcome.INCONCLUSIVE
        assert "not confirmed" in screening.findings.cases["case7"].reason

    def test_an_unchanged_suite_has_no_suspects(self):
        assert not screen_latency(compute_suite_estimate(make_suite())).suspects

    def test_with_one_session_gross_slowdowns_are_suspects(self):
        suite = make_suite(sessions=1, rises={1: 1.3, 2: 1.1})
        screening = screen_latency(compute_suite_estimate(suite))
        assert [suspect.case.data.case for suspect in screening.suspects] == ["case1"]


def suspect_of(sessions=8, factor=1.06):
    suite = make_suite(sessions=sessions, rises={7: factor})
    (suspect,) = screen_latency(compute_suite_estimate(suite)).suspects
    return suspect


class TestConfirmation:
    @pytest.mark.parametrize(
        ("contrasts", "outcome"),
        [
            ([0.06, 0.061, 0.059, 0.06], Outcome.SLOWER),
            ([0.001, -0.001, 0.0, 0.001], Outcome.PASS),
            ([0.2, -0.2, 0.1, -0.1] * 3, Outcome.INCONCLUSIVE),
            ([0.06, 0.06], Outcome.INCONCLUSIVE),
        ],
    )
    def test_blocks_decide(self, contrasts, outcome):
        confirmed = decide_by_blocks(contrasts, math.log(1.03))
        assert judge_confirmation(suspect_of(), confirmed).outcome is outcome


class TestRepeats:
    def test_seen_in_every_process_is_slower_with_a_caveat(self):
        suspect = suspect_of()
        now = suspect.case.data.current_s
        finding = judge_repeats(suspect, [now, now * 1.005, now * 0.995])
        assert finding.outcome is Outcome.SLOWER
        assert "drift of the machine is not excluded" in finding.reason

    def test_not_seen_again_passes(self):
        suspect = suspect_of()
        then = suspect.case.baseline_s
        assert judge_repeats(suspect, [then] * 3).outcome is Outcome.PASS

    def test_seen_in_some_processes_only_is_inconclusive(self):
        suspect = suspect_of()
        now = suspect.case.data.current_s
        assert judge_repeats(suspect, [now, now, now / 1.06]).outcome is Outcome.INCONCLUSIVE

    def test_two_kernels_are_named(self):
        suspect = suspect_of(factor=1.4)
        now = suspect.case.data.current_s
        finding = judge_repeats(suspect, [now / 1.4, now, now / 1.4])
        assert finding.outcome is Outcome.INCONCLUSIVE
        assert "run 1.40x slower" in finding.reason

    def test_gross_slowdowns_must_repeat(self):
        suspect = suspect_of(sessions=1, factor=1.4)
        now = suspect.case.data.current_s
        assert judge_repeats(suspect, [now * 1.01]).outcome is Outcome.SLOWER
        assert judge_repeats(suspect, [now / 1.14]).outcome is not Outcome.SLOWER

    def test_two_kernels_are_no_excuse_where_the_faster_one_is_beyond_the_gross_limit(self):
        suspect = suspect_of(sessions=1, factor=5.0)
        now = suspect.case.data.current_s
        assert judge_repeats(suspect, [now * 1.2, now * 1.21, now * 1.2]).outcome is Outcome.SLOWER
        fast = [now / 4.5, now / 4.4]
        assert judge_repeats(suspect, [now, *fast]).outcome is Outcome.INCONCLUSIVE

    def test_what_cannot_be_repeated_is_refused(self):
        with pytest.raises(ValueError):
            judge_repeats(suspect_of(), [])
        new = compute_suite_estimate([CaseSessions("new", (), (1.0,), 0.03)]).cases[0]
        with pytest.raises(ValueError):
            judge_repeats(Suspect(new, is_shown=False), [1.0])


@pytest.mark.parametrize(
    ("history", "rounds"),
    [((1.0, 0.0), (1.0,)), ((1.0,), (math.nan,)), ((math.inf,), (1.0,)), ((1.0,), ())],
)
def test_durations_must_be_positive_and_finite(history, rounds):
    with pytest.raises(ValueError):
        compute_suite_estimate([CaseSessions("case", history, rounds, 0.03)])


def test_histories_name_the_same_sessions():
    with pytest.raises(ValueError, match="different sessions"):
        compute_suite_estimate(
            [CaseSessions("a", (1.0,), (1.0,), 0.03), CaseSessions("b", (), (1.0,), 0.03)]
        )


durations = st.floats(1e-6, 1e6)
suites = st.integers(0, 9).flatmap(
    lambda sessions: st.lists(
        st.tuples(
            st.tuples(*[st.none() | durations] * sessions),
            st.lists(durations, min_size=1, max_size=6).map(tuple),
        ),
        max_size=8,
    )
)


@given(suites)
@settings(deadline=None, max_examples=150)
def test_every_case_gets_exactly_one_answer(raw):
    suite = [
        CaseSessions(f"c{i}", history, rounds, 0.03) for i, (history, rounds) in enumerate(raw)
    ]
    estimate = compute_suite_estimate(suite)
    names = [case.case for case in suite]
    assert list(judge_offline(estimate).cases) == names
    screening = screen_latency(estimate)
    assert list(screening.findings.cases) == names
    for case, finding in judge_offline(estimate).cases.items():
        if finding.outcome is Outcome.SLOWER:
            assert case in {suspect.case.data.case for suspect in screening.suspects}


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_a_session_held_against_itself_is_never_significant(seed):
    suite = [
        CaseSessions(case.case, (*case.history_s[:-1], case.current_s), case.rounds_s, 0.03)
        for case in make_suite(seed=seed)
    ]
    again = [CaseSessions(case.case, (case.current_s,) * 8, case.rounds_s, 0.03) for case in suite]
    assert set(outcomes(again).values()) == {Outcome.PASS}


@given(st.floats(1e-3, 1e3), st.integers(0, 100))
@settings(deadline=None, max_examples=20)
def test_the_unit_of_time_does_not_matter(factor, seed):
    suite = make_suite(seed=seed, rises={3: 1.05})
    scaled = [
        CaseSessions(
            case.case,
            tuple(s * factor for s in case.history_s),
            tuple(s * factor for s in case.rounds_s),
            0.03,
        )
        for case in suite
    ]
    assert outcomes(scaled) == outcomes(suite)
