"""What a session settled of a case's speed stands for all who read its run, and for nobody else."""

import dataclasses
import json
from pathlib import Path

import pytest

from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.judging.session.confirmation import Confirmation
from sdperf.judging.session.held import HeldCase
from sdperf.judging.session.judge import Again, judge_session, settle_case
from sdperf.judging.session.limits import Limits
from sdperf.judging.session.saved import compare_sessions
from sdperf.record.json import format_record
from sdperf.record.verdict import Finding, Outcome, SettledCase, Verdict
from sdperf.report.compare import format_comparison_table
from sdperf.store.runs import parse_run
from tests.support.reported_runs import real_run, slowed

LATENCY = "benchmarks/test_latency.py::test_latency[fp32-sync-1w]"
HELD = HeldCase(rounds_s=(1.5, 1.5, 1.5), history_s=(1.0, None))
CASE = "case"


def settle(outcome, judged, *, is_doubted=False):
    verdict = Verdict(CASE, (Finding(outcome, "latency", "so"),))
    return settle_case(verdict, judged, Limits(), is_doubted=is_doubted)


def test_what_the_numbers_say_as_well_is_not_kept():
    judged = judge_session({CASE: HELD}, Limits())
    assert judged.speed.cases[CASE].outcome is Outcome.SLOWER
    assert settle(Outcome.SLOWER, judged) is None
    expected = SettledCase("PASS", "so", 0.03, 0.25, (1.0,), was_measured_again=False)
    assert settle(Outcome.PASS, judged) == expected
    doubted = dataclasses.replace(expected, outcome="SLOWER")
    assert settle(Outcome.SLOWER, judged, is_doubted=True) == doubted


def test_what_was_measured_again_is_kept_whatever_came_of_it():
    def confirm(screening, limits, control):
        return Confirmation(findings={CASE: Finding(Outcome.SLOWER, "latency", "so")})

    judged = judge_session({CASE: HELD}, Limits(), Again(confirm=confirm))
    expected = SettledCase("SLOWER", "so", 0.03, 0.25, (1.0,), was_measured_again=True)
    assert settle(Outcome.SLOWER, judged) == expected


def test_a_case_without_a_history_settles_nothing():
    judged = judge_session({CASE: HeldCase(rounds_s=(1.0,), history_s=(None,))}, Limits())
    assert settle(Outcome.PASS, judged) is None
    assert settle_case(Verdict("other", ()), judged, Limits(), is_doubted=True) is None


@pytest.fixture
def pair():
    """A base, and a head that its numbers alone call slower and that its session called equal."""
    base = json.loads(json.dumps(real_run()))
    head = json.loads(json.dumps(slowed(base, 1.6, only="test_latency")))
    (median,) = compare_sessions([parse_run(Path("a"), base)], parse_run(Path("b"), head)).cases[:1]
    settled = SettledCase("PASS", "the slowdown did not repeat", 0.03, 0.25, (median.baseline_s,))
    head["sdperf"]["settled"] = {LATENCY: format_record(settled)}
    return base, head


def outcome_of(base, head, limits=None):
    runs = [parse_run(Path("a.json"), base), parse_run(Path("b.json"), head)]
    compared = {one.verdict.case: one for one in compare_sessions(runs[:1], runs[1], limits).cases}
    named = [parse_reported_run("a.json", base), parse_reported_run("b.json", head)]
    shown = {one.name: one for one in judge_machine(named, limits).cases}
    assert shown[LATENCY].verdict == compared[LATENCY].verdict
    return compared[LATENCY].verdict.outcome


def test_it_stands_for_the_same_comparison(pair):
    base, head = pair
    assert outcome_of(base, head) is Outcome.PASS
    del head["sdperf"]["settled"]
    assert outcome_of(base, head) is Outcome.SLOWER


def test_it_does_not_stand_for_another_base_or_limit(pair):
    base, head = pair
    assert outcome_of(slowed(base, 1.01, only="test_latency"), head) is Outcome.SLOWER
    assert outcome_of(base, head, Limits(max_slowdown=0.04)) is Outcome.SLOWER
    assert outcome_of(base, head, Limits(gross_slowdown=0.2)) is Outcome.SLOWER


def settle_as(head, **fields):
    head["sdperf"]["settled"][LATENCY] |= fields


def test_it_makes_nothing_comparable_that_is_not(pair):
    base, head = pair
    settle_as(head, history_s=[])
    base["sdperf"]["void"] = "the control failed"
    assert outcome_of(base, head) is Outcome.INCOMPARABLE


@pytest.mark.parametrize("outcome", ["NO BASELINE", "INCOMPARABLE", "CHANGED"])
def test_it_tells_a_speed_and_nothing_else(pair, outcome):
    base, head = pair
    settle_as(head, outcome=outcome)
    assert outcome_of(base, head) is Outcome.SLOWER


@pytest.mark.parametrize(
    "mark", [{"void": "the control failed"}, {"earlier": {LATENCY: "2026-11-01"}}]
)
def test_a_run_that_is_void_or_was_resumed_leaves_its_speed_open(pair, mark):
    base, head = pair
    head["sdperf"] |= mark
    assert outcome_of(base, head) is Outcome.INCONCLUSIVE


def test_an_open_answer_is_shown_beside_a_picture_that_failed_with_what_settles_it(pair):
    base, head = pair
    settled = head["sdperf"]["settled"][LATENCY]
    settled |= {"outcome": "INCONCLUSIVE", "reason": "+20 % over 4 processes"}
    for case in head["benchmarks"]:
        if case["fullname"] == LATENCY:
            finding = {"outcome": "DEGRADED", "gate": "image", "reason": "uglier"}
            case["extra_info"]["sdperf"]["verdict"] = {"outcome": "DEGRADED", "findings": [finding]}
    assert outcome_of(base, head) is Outcome.DEGRADED
    runs = [parse_run(Path("a.json"), base), parse_run(Path("b.json"), head)]
    lines = [line.text for line in format_comparison_table(compare_sessions(runs[:1], runs[1]))]
    at = next(i for i, line in enumerate(lines) if line.startswith("INCONCLUSIVE"))
    assert "+20 % over 4 processes" in " ".join(lines[at : at + 2])
    assert "    next: " in "\n".join(lines[at : at + 3])
