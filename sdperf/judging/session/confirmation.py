"""What measuring suspects again found, and the null control that goes with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sdperf.judging.latency import LatencyLimits, choose_limit
from sdperf.judging.suite_estimate import CaseEstimate
from sdperf.record.verdict import Finding, Outcome
from sdperf.store.controls import NullControl

INTERRUPTED: Final = "interrupted"
"""The reason given where nothing was measured again because the user ended the session."""


@dataclass(frozen=True)
class ControlCase:
    """The case that is compared with itself.

    Attributes:
        case: Its test id.
        current_s: Median seconds of a round.
        limit: Slowdown that it is allowed in this session, as a fraction.
    """

    case: str
    current_s: float
    limit: float


@dataclass(frozen=True)
class Confirmation:
    """The result of measuring suspects again.

    Attributes:
        findings: The finding on each suspect that was settled, by test id.
        paired: Suspects that were settled by paired blocks with the baseline's own code.
        null_control: The same code compared with itself; ``None`` where nothing was compared.
        void: Why no timing of this session counts; ``None`` where it does.
        notes: Lines to show to people.
        was_interrupted: Whether the user ended it.
    """

    findings: dict[str, Finding] = field(default_factory=dict)
    paired: frozenset[str] = frozenset()
    null_control: NullControl | None = None
    void: str | None = None
    notes: tuple[str, ...] = ()
    was_interrupted: bool = False


def leave_suspected(finding: Finding) -> Finding:
    """Leave a slowdown open where an interruption prevented measuring it again. Pure.

    A slowdown does not pass in this way: an interrupted session exits 2 and is never saved.
    """
    if finding.outcome is not Outcome.SLOWER:
        return finding
    reason = f"suspected, not confirmed: {finding.reason}; measuring it again was interrupted"
    return replace(finding, outcome=Outcome.INCONCLUSIVE, reason=reason)


def choose_control(cases: Sequence[CaseEstimate], limits: LatencyLimits) -> ControlCase | None:
    """Choose the quickest case that has a baseline; ``None`` where no case has one. Pure."""
    compared = [case for case in cases if case.rise_log is not None]
    if not compared:
        return None
    quickest = min(compared, key=lambda case: case.data.current_s)
    return ControlCase(quickest.data.case, quickest.data.current_s, choose_limit(quickest, limits))
