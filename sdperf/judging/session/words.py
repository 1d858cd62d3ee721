"""Sentences that several judges of a session share. Pure."""

from __future__ import annotations

from sdperf.judging.suite_estimate import FEWEST_SESSIONS
from sdperf.units import format_quantity


def format_sessions_missing(count: int) -> str:
    """Say how far the accepted sessions are from binding.

    >>> format_sessions_missing(3)
    '3 accepted sessions, 2 more until the statistical gate binds'
    """
    accepted = format_quantity(count, "accepted session")
    if count >= FEWEST_SESSIONS:
        return f"{accepted}, the statistical gate binds"
    missing = FEWEST_SESSIONS - count
    return f"{accepted}, {missing} more until the statistical gate binds"
