"""Can this machine support a limit? Its calibration says how far cases move by themselves. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sdperf.record.verdict import Finding, Outcome
from sdperf.settings import MAX_SLOWDOWN
from sdperf.units import format_change


@dataclass(frozen=True)
class CaseNoise:
    """How far an unchanged case moves from session to session on this kind of machine.

    Attributes:
        width: Change that the case stays below in 95 % of sessions, as a fraction.
        source: Where the calibration is, for people.
    """

    width: float
    source: str


def explain_unsupported(limit: float, noise: CaseNoise) -> str | None:
    """Say why a limit cannot be supported; ``None`` where it can.

    Args:
        limit: Tolerated slowdown, as a fraction.
        noise: The noise of the case.
    """
    if noise.width <= limit:
        return None
    return (
        f"limit {format_change(1 + limit)} cannot be supported here: this machine tells changes "
        f"above {format_change(1 + noise.width)}, see {noise.source}"
    )


def suggest_limit(noise: CaseNoise) -> str:
    """Return what to type instead of a limit that cannot be supported."""
    return f"pytest {MAX_SLOWDOWN} {math.ceil(round(noise.width * 100, 6))}%, or sdperf ab"


def judge_support(finding: Finding, limit: float, noise: CaseNoise | None) -> Finding:
    """Leave a pass open where the machine could not have seen a slowdown of the limit.

    A finding that was made in spite of the noise stays.
    """
    reason = None if noise is None else explain_unsupported(limit, noise)
    if noise is None or reason is None or finding.outcome is not Outcome.PASS:
        return finding
    step = finding.next_step or f"use {suggest_limit(noise)}"
    return replace(
        finding,
        outcome=Outcome.INCONCLUSIVE,
        reason=f"{finding.reason}; {reason}",
        next_step=step,
    )
