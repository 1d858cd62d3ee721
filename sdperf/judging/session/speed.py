"""Speed is judged over the whole suite at once, and suspects are measured again. Pure."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sdperf.judging.latency import (
    LatencyLimits,
    Screening,
    choose_limit,
    judge_offline,
    screen_latency,
)
from sdperf.judging.session.confirmation import (
    INTERRUPTED,
    Confirmation,
    ControlCase,
    choose_control,
    leave_suspected,
)
from sdperf.judging.session.gate import JudgedCase
from sdperf.judging.settling import UNKNOWN, Typed, suggest_ab, suggest_repeat
from sdperf.judging.suite_estimate import CaseSessions, SuiteEstimate, compute_suite_estimate
from sdperf.judging.support import CaseNoise, judge_support
from sdperf.record.verdict import Finding, Outcome

Confirm = Callable[[Screening, LatencyLimits, ControlCase | None], Confirmation]
"""Holds the same code against itself and measures the suspects of a screening again."""


@dataclass(frozen=True)
class SpeedVerdict:
    """What is said of every case's speed, and of all together.

    Attributes:
        cases: A finding for each case that has something to be compared with, by test id.
        suite: What all cases have in common; ``None`` where it cannot be told.
        changes: Current over baseline median of the same cases.
        confirmation: What measuring again came to.
    """

    cases: Mapping[str, Finding] = field(default_factory=dict)
    suite: Finding | None = None
    changes: Mapping[str, float] = field(default_factory=dict)
    confirmation: Confirmation = field(default_factory=Confirmation)


def judge_speed(
    judged: Mapping[str, JudgedCase],
    slowdowns: Mapping[str, float],
    limits: LatencyLimits,
    confirm: Confirm | None,
    *,
    unconfirmed: str = "",
    noises: Mapping[str, CaseNoise] | None = None,
    typed: Typed = UNKNOWN,
) -> SpeedVerdict:
    """Judge the speed of all cases together.

    A suspect that was not settled by measuring again keeps what the saved numbers alone say of it,
    so that a gross slowdown does not pass for want of time. Where the user ended the session, it is
    a suspicion and open: such a session fails by its status, and is never saved.

    Args:
        judged: The session's cases by test id.
        slowdowns: Tolerated slowdown of each, as a fraction.
        limits: The suite's limits.
        confirm: Measures again; ``None`` judges by the saved numbers alone.
        unconfirmed: Why nothing is measured again, where ``confirm`` is ``None``.
        noises: How far cases move by themselves, as calibrated, by test id.
        typed: How the session was asked for.
    """
    suite = [
        CaseSessions(
            case=name,
            history_s=tuple(
                None if saved is None else statistics.median(saved.rounds_s)
                for saved in one.history
            ),
            rounds_s=one.measurement.rounds_s,
            max_slowdown=slowdowns[name],
            settle=_suggest_ab(one, typed),
            saved=one.saved,
            repeat=suggest_repeat(name, one.measurement, typed),
            images_per_round=one.measurement.images_per_round,
        )
        for name, one in judged.items()
        if any(saved is not None for saved in one.history)
    ]
    if not suite:
        return SpeedVerdict()
    estimate = compute_suite_estimate(suite)
    offline = judge_offline(estimate, limits)
    changes = {
        case.data.case: case.data.current_s / case.baseline_s
        for case in estimate.cases
        if case.baseline_s is not None
    }
    if confirm is None:
        notes = (f"no null control, and nothing was measured again: {unconfirmed}",)
        judged_cases = _weigh_noise(offline.cases, estimate, limits, noises or {})
        if unconfirmed == INTERRUPTED:
            judged_cases = {name: leave_suspected(one) for name, one in judged_cases.items()}
        return SpeedVerdict(judged_cases, offline.suite, changes, Confirmation(notes=notes))
    screening = screen_latency(estimate, limits)
    confirmation = confirm(screening, limits, choose_control(estimate.cases, limits))
    findings = dict(screening.findings.cases)
    for suspect in screening.suspects:
        name = suspect.case.data.case
        unsettled = offline.cases[name]
        unsettled = (
            leave_suspected(unsettled)
            if confirmation.was_interrupted
            else dataclasses.replace(unsettled, reason=f"{unsettled.reason}; not measured again")
        )
        findings[name] = confirmation.findings.get(name, unsettled)
    unpaired = {
        name: one for name, one in (noises or {}).items() if name not in confirmation.paired
    }
    findings = _weigh_noise(findings, estimate, limits, unpaired)
    shift = screening.findings.suite
    if confirmation.void is not None:
        findings = {name: void_finding(confirmation.void) for name in findings}
        shift = None if shift is None else void_finding(confirmation.void)
    return SpeedVerdict(findings, shift, changes, confirmation)


def _weigh_noise(
    findings: Mapping[str, Finding],
    estimate: SuiteEstimate,
    limits: LatencyLimits,
    noises: Mapping[str, CaseNoise],
) -> dict[str, Finding]:
    """Leave open what passed a limit that this machine cannot support."""
    return {
        case.data.case: judge_support(
            findings[case.data.case], choose_limit(case, limits), noises.get(case.data.case)
        )
        for case in estimate.cases
    }


def _suggest_ab(judged: JudgedCase, typed: Typed) -> str | None:
    saved = next((one for one in reversed(judged.history) if one is not None), None)
    if saved is None:
        return None
    return suggest_ab(saved, judged.measurement, is_here=True, typed=typed)


def void_finding(reason: str) -> Finding:
    """Say that nothing timed in this session counts."""
    return Finding(
        Outcome.INCONCLUSIVE,
        "latency",
        f"void: {reason}",
        "sdperf doctor; measure again on a quiet machine",
    )
