"""Did loading or the first call become slower? Only for fresh processes with equal caches. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sdperf.judging.settling import suggest_ab
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.shell import join_step
from sdperf.stats.intervals import compute_prediction_interval
from sdperf.units import format_change, format_quantity, format_seconds

StartGate = Literal["load", "first call"]
START_GATES: Final[tuple[StartGate, ...]] = ("load", "first call")

DEFAULT_MAX_SLOWDOWN: Final = 0.5
DEFAULT_MAX_LONGER_S: Final = 2.0
FEWEST_NARROWING: Final = 5
"""With this many accepted sessions, their spread narrows the limits."""

NARROWEST_SLOWDOWN: Final = 0.1
NARROWEST_LONGER_S: Final = 0.25
"""No spread narrows the limits below these: file system caches and import orders differ."""

CONFIDENCE: Final = 0.999
"""Coverage of the prediction interval whose upper bound is the narrowed limit."""

REPEATS: Final = 2
"""How many fresh processes measure a suspect again."""

_LOOK: Final = "look at imports and caches"


@dataclass(frozen=True)
class StartLimits:
    """A start is slower when it takes longer by more than *both* limits.

    Attributes:
        max_slowdown: Tolerated slowdown as a fraction.
        max_longer_s: Tolerated additional seconds.
    """

    max_slowdown: float = DEFAULT_MAX_SLOWDOWN
    max_longer_s: float = DEFAULT_MAX_LONGER_S


@dataclass(frozen=True)
class StartBaseline:
    """The baseline of one start, from the accepted sessions.

    Attributes:
        baseline_s: Median of the sessions, seconds.
        limit_s: Seconds above which a start is slower.
        sessions: How many sessions count.
        caches: The state of the caches that these sessions share, in words.
    """

    baseline_s: float
    limit_s: float
    sessions: int
    caches: str


def read_start_s(gate: StartGate, measurement: Measurement) -> float | None:
    """Return the seconds of a start; ``None`` where unknown, or where no fresh process made it."""
    if measurement.start is None or not measurement.start.is_fresh:
        return None
    return measurement.load_s if gate == "load" else measurement.first_call_s


def describe_caches(gate: StartGate, measurement: Measurement) -> str:
    """Name the state of the caches that a start depends on; only starts with equal ones compare."""
    start = measurement.start
    if start is None:
        return "caches unknown"
    page = f"page cache {start.page_cache or 'unknown'}"
    if gate == "load":
        return page
    return f"{page}, compile cache {start.compile_cache or 'none'}"


def choose_baseline(
    gate: StartGate,
    current: Measurement,
    history: Sequence[Measurement | None],
    limits: StartLimits | None = None,
) -> StartBaseline | None:
    """Choose the sessions that a start is compared with: fresh processes with the same caches.

    Args:
        gate: The name of the start.
        current: The current measurement.
        history: The compared sessions, oldest first.
        limits: The widest limits; five sessions or more narrow them.

    Returns:
        The baseline; ``None`` where no session counts.
    """
    limits = limits or StartLimits()
    caches = describe_caches(gate, current)
    known_s = [
        seconds
        for saved in history
        if saved is not None
        and describe_caches(gate, saved) == caches
        and (seconds := read_start_s(gate, saved)) is not None
        and seconds > 0
    ]
    if not known_s:
        return None
    baseline_s = statistics.median(known_s)
    slowdown, longer_s = limits.max_slowdown, limits.max_longer_s
    if len(known_s) >= FEWEST_NARROWING:
        logs = [math.log(one) for one in known_s]
        interval = compute_prediction_interval(
            statistics.fmean(logs),
            statistics.stdev(logs),
            len(logs),
            len(logs) - 1,
            confidence=CONFIDENCE,
        )
        reach_s = math.exp(interval.upper) - baseline_s
        slowdown = min(slowdown, max(NARROWEST_SLOWDOWN, reach_s / baseline_s))
        longer_s = min(longer_s, max(NARROWEST_LONGER_S, reach_s))
    limit_s = max(baseline_s * (1 + slowdown), baseline_s + longer_s, max(known_s))
    return StartBaseline(baseline_s, limit_s, len(known_s), caches)


def judge_start(
    gate: StartGate,
    current: Measurement,
    history: Sequence[Measurement | None],
    limits: StartLimits | None = None,
    repeats_s: Sequence[float] | None = None,
) -> Finding | None:
    """Judge one start, and its repeats in fresh processes where it was suspect.

    Args:
        gate: The name of the start.
        current: The current measurement.
        history: The compared sessions, oldest first.
        limits: The widest limits.
        repeats_s: Seconds of the same start in more fresh processes with the same caches;
            ``None`` judges by the one number alone, an empty sequence says that none was possible.

    Returns:
        SLOWER, INCONCLUSIVE or PASS; ``None`` where there is nothing to judge.
    """
    seconds = read_start_s(gate, current)
    baseline = choose_baseline(gate, current, history, limits)
    if seconds is None or baseline is None:
        return None
    seen = (
        f"{gate} {format_seconds(seconds)} against {format_seconds(baseline.baseline_s)} in "
        f"{format_quantity(baseline.sessions, 'session')} ({baseline.caches}): "
        f"{format_change(seconds / baseline.baseline_s)}, limit {format_seconds(baseline.limit_s)}"
    )
    if seconds <= baseline.limit_s:
        return Finding(Outcome.PASS, gate, seen)
    saved = next(one for one in reversed(history) if one is not None)
    command = suggest_ab(saved, current)
    step = _LOOK if command is None else join_step(command, f"; {_LOOK}")
    if repeats_s is None:
        return Finding(Outcome.SLOWER, gate, seen, step)
    if not repeats_s:
        reason = f"{seen}; it could not be repeated with the same caches"
        return Finding(Outcome.INCONCLUSIVE, gate, reason, step)
    shown = ", ".join(map(format_seconds, repeats_s))
    if min(repeats_s) > baseline.limit_s:
        return Finding(Outcome.SLOWER, gate, f"{seen}; in fresh processes again {shown}", step)
    return Finding(Outcome.PASS, gate, f"{seen}; it did not repeat in fresh processes ({shown})")


def find_first_of_each_load(
    measurements: Sequence[tuple[str, Measurement]], key: Callable[[Measurement], object]
) -> list[str]:
    """Name the first case of each set of loaded workers: later cases on it repeat its figures.

    Args:
        measurements: Case ids with their measurements, in the order in which they ran.
        key: Returns what identifies a set of workers.
    """
    first: dict[object, str] = {}
    for name, measurement in measurements:
        first.setdefault(key(measurement), name)
    return list(first.values())
