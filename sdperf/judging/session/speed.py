"""Judges speed over the whole suite at once, and has suspects measured again. Pure."""

from __future__ import annotations

import dataclasses
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
from sdperf.judging.session.held import HeldCase, estimate_session
from sdperf.judging.session.limits import Limits
from sdperf.judging.settling import UNKNOWN, Typed
from sdperf.judging.suite_estimate import CaseEstimate, SuiteEstimate
from sdperf.judging.support import CaseNoise, judge_support
from sdperf.record.verdict import Finding, Outcome

Confirm = Callable[[Screening, LatencyLimits, ControlCase | None], Confirmation]
"""Measures the suspects of a screening again, and compares the same code with itself."""


@dataclass(frozen=True)
class SpeedVerdict:
    """The findings on the speed of every case, and of all cases together.

    Attributes:
        cases: A finding for each case, by test id.
        suite: What all cases have in common; ``None`` where it cannot be told.
        estimates: Where each case stands against its bases, by test id.
        confirmation: The result of measuring again.
        offline: The finding of the saved numbers alone for each case, by test id.
    """

    cases: Mapping[str, Finding] = field(default_factory=dict)
    suite: Finding | None = None
    estimates: Mapping[str, CaseEstimate] = field(default_factory=dict)
    confirmation: Confirmation = field(default_factory=Confirmation)
    offline: Mapping[str, Finding] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, float]:
        """Current over baseline median, by test id; only for cases that have a baseline."""
        return {
            name: one.data.current_s / one.baseline_s
            for name, one in self.estimates.items()
            if one.baseline_s is not None
        }


def judge_speed(
    cases: Mapping[str, HeldCase],
    limits: Limits,
    confirm: Confirm | None = None,
    *,
    unconfirmed: str = "",
    noises: Mapping[str, CaseNoise] | None = None,
    typed: Typed = UNKNOWN,
    is_here: bool = False,
) -> SpeedVerdict:
    """Judge the speed of all cases together.

    A suspect that was not settled by measuring again keeps the finding of the saved numbers alone,
    so that a gross slowdown does not pass for lack of time. Where the user ended the session, the
    suspect stays open: such a session fails by its status, and is never saved.

    Args:
        cases: The session's cases by test id.
        limits: The limits to judge by.
        confirm: Measures again; ``None`` judges by the saved numbers alone.
        unconfirmed: Why nothing is measured again, where ``confirm`` is ``None``.
        noises: How far cases move by themselves by the calibration, by test id.
        typed: How the session was started.
        is_here: Whether its code is the working tree.
    """
    estimate = estimate_session(cases, limits, typed, is_here=is_here)
    estimates = {one.data.case: one for one in estimate.cases}
    offline = judge_offline(estimate, limits.latency)
    if not any(one.has_history for one in cases.values()):
        return SpeedVerdict(offline.cases, offline.suite, estimates, offline=offline.cases)
    if confirm is None:
        notes = (f"no null control, and nothing was measured again: {unconfirmed}",)
        findings = _weigh_noise(offline.cases, estimate, limits.latency, noises or {})
        if unconfirmed == INTERRUPTED:
            findings = {name: leave_suspected(one) for name, one in findings.items()}
        confirmation = Confirmation(notes=notes)
        return SpeedVerdict(findings, offline.suite, estimates, confirmation, offline.cases)
    screening = screen_latency(estimate, limits.latency)
    control = choose_control(estimate.cases, limits.latency)
    confirmation = confirm(screening, limits.latency, control)
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
    findings = _weigh_noise(findings, estimate, limits.latency, unpaired)
    shift = screening.findings.suite
    if confirmation.void is not None:
        findings = {name: void_finding(confirmation.void) for name in findings}
        shift = None if shift is None else void_finding(confirmation.void)
    return SpeedVerdict(findings, shift, estimates, confirmation, offline.cases)


def _weigh_noise(
    findings: Mapping[str, Finding],
    estimate: SuiteEstimate,
    limits: LatencyLimits,
    noises: Mapping[str, CaseNoise],
) -> dict[str, Finding]:
    """Leave cases open that passed a limit which this machine cannot support."""
    return {
        case.data.case: judge_support(
            findings[case.data.case], choose_limit(case, limits), noises.get(case.data.case)
        )
        for case in estimate.cases
    }


def void_finding(reason: str) -> Finding:
    """Return findings that no timing of this session counts."""
    return Finding(
        Outcome.INCONCLUSIVE,
        "latency",
        f"void: {reason}",
        "sdperf doctor; measure again on a quiet machine",
    )
