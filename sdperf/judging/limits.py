"""Parses limits of two parts, as people type them, into the values that judge. Pure."""

from __future__ import annotations

from sdperf.judging.resources.memory import MemoryLimits
from sdperf.judging.starts import StartLimits
from sdperf.settings.kinds import GROWTH, START


def parse_growth(text: str) -> MemoryLimits:
    """Parse ``10%+64MiB``.

    Raises:
        ValueError: The text is not a percentage and a size in KiB, MiB or GiB.
    """
    return MemoryLimits(*GROWTH.parse(text))


def parse_start_limits(text: str) -> StartLimits:
    """Parse ``50%+2s``.

    Raises:
        ValueError: The text is not a percentage and a number of seconds.
    """
    return StartLimits(*START.parse(text))
