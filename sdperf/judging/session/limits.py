"""The limits by which a session is judged, whoever calls the judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sdperf.judging.latency import DEFAULT_GROSS_SLOWDOWN, DEFAULT_MAX_SLOWDOWN, LatencyLimits
from sdperf.judging.resources.memory import (
    DEFAULT_MAX_GROWTH,
    DEFAULT_MAX_GROWTH_BYTES,
    MemoryLimits,
)
from sdperf.judging.session.recorded import RecordedLimits


@dataclass(frozen=True)
class Limits:
    """The limits by which a session is judged.

    Attributes:
        max_slowdown: Tolerated slowdown of each case, as a fraction.
        suite_slowdown: Tolerated slowdown of all cases together, as a fraction.
        gross_slowdown: Tolerated slowdown of a case with fewer than five sessions, as a fraction.
        max_growth: Tolerated growth of peak memory, as a fraction.
        max_growth_bytes: Tolerated growth of peak memory in bytes; a failure exceeds both.
        own_slowdowns: Tolerated slowdowns of single cases, as fractions by test id.
        recorded: Limits of the other records: starts, tails, growth, energy.
    """

    max_slowdown: float = DEFAULT_MAX_SLOWDOWN
    suite_slowdown: float = DEFAULT_MAX_SLOWDOWN
    gross_slowdown: float = DEFAULT_GROSS_SLOWDOWN
    max_growth: float = DEFAULT_MAX_GROWTH
    max_growth_bytes: int = DEFAULT_MAX_GROWTH_BYTES
    own_slowdowns: Mapping[str, float] = field(default_factory=dict)
    recorded: RecordedLimits = field(default_factory=RecordedLimits)

    @property
    def latency(self) -> LatencyLimits:
        """The limits of the suite's speed."""
        return LatencyLimits(self.suite_slowdown, self.gross_slowdown)

    @property
    def memory(self) -> MemoryLimits:
        """Tolerated growth of peak memory."""
        return MemoryLimits(self.max_growth, self.max_growth_bytes)

    def slowdown_of(self, case: str) -> float:
        """Return the tolerated slowdown of one case, as a fraction."""
        return self.own_slowdowns.get(case, self.max_slowdown)
