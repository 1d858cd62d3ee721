"""A case of a session with its record in each base, for every judge. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdperf.judging.session.limits import Limits
from sdperf.judging.settling import UNKNOWN, Typed, suggest_ab, suggest_repeat
from sdperf.judging.suite_estimate import CaseSessions, SuiteEstimate, compute_suite_estimate
from sdperf.record.measurement import Measurement


@dataclass(frozen=True)
class HeldCase:
    """A case that is judged, with its record in each base.

    Attributes:
        rounds_s: Seconds of its rounds, in order.
        measurement: Its record; ``None`` without one, such as in a suite that does not use sdperf.
        history: The record of the case in each base, oldest first; ``None`` where a base does not
            count, or has no record.
        history_s: Median seconds of each base, oldest first; ``None`` where it does not count.
        saved: How many of the bases that count are saved runs, which nobody accepted.
    """

    rounds_s: tuple[float, ...]
    measurement: Measurement | None = None
    history: tuple[Measurement | None, ...] = ()
    history_s: tuple[float | None, ...] = ()
    saved: int = 0

    @property
    def has_history(self) -> bool:
        """Whether any base counts."""
        return any(one is not None for one in self.history_s)

    @property
    def counted_s(self) -> tuple[float, ...]:
        """Median seconds of the bases that count."""
        return tuple(one for one in self.history_s if one is not None)


def take_medians(history: Sequence[Measurement | None]) -> tuple[float | None, ...]:
    """Return the median seconds of each record."""
    return tuple(None if one is None else statistics.median(one.rounds_s) for one in history)


def estimate_session(
    cases: Mapping[str, HeldCase],
    limits: Limits,
    typed: Typed = UNKNOWN,
    *,
    is_here: bool = False,
) -> SuiteEstimate:
    """Estimate where all cases of a session stand against its bases.

    Args:
        cases: Cases by test id; their histories name the same bases in the same order.
        limits: The limits to judge by.
        typed: How the session was started.
        is_here: Whether its code is the working tree.
    """
    return compute_suite_estimate(
        [
            CaseSessions(
                case=name,
                history_s=one.history_s,
                rounds_s=one.rounds_s,
                max_slowdown=limits.slowdown_of(name),
                settle=_suggest_ab(one, typed, is_here=is_here),
                saved=one.saved,
                repeat=suggest_repeat(name, one.measurement, typed),
                images_per_round=1 if one.measurement is None else one.measurement.images_per_round,
            )
            for name, one in cases.items()
        ]
    )


def _suggest_ab(one: HeldCase, typed: Typed, *, is_here: bool) -> str | None:
    """Return the command that would settle a case: its code against that of the latest base."""
    saved = next((each for each in reversed(one.history) if each is not None), None)
    if saved is None or one.measurement is None:
        return None
    return suggest_ab(saved, one.measurement, is_here=is_here, typed=typed)
