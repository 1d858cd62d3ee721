"""How far each case of a session is from its accepted sessions, and how sure that is.

All cases are estimated together: the session's mood (suite-wide shift) is taken out of every
session, and each case's spread borrows strength from the spreads of the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdperf.stats.bimodality import Bimodality, detect_bimodality
from sdperf.stats.distributions import compute_student_t_tail
from sdperf.stats.intervals import (
    SPREAD_FLOOR,
    PredictionInterval,
    compute_prediction_interval,
    predict_next_session,
)
from sdperf.stats.pooled import PooledSpread, pool_variances, shrink_spread
from sdperf.stats.steps import has_step
from sdperf.stats.suite_shift import SuiteShift, compute_suite_shift
from sdperf.stats.summaries import compute_median, compute_median_interval

FEWEST_SESSIONS: Final = 5
"""Accepted sessions from which on spreads between sessions are believed."""


@dataclass(frozen=True)
class CaseSessions:
    """One case in the accepted sessions and in the current one; the session is the sample.

    Attributes:
        case: Name of the case.
        history_s: Median seconds in each accepted session, oldest first, the same sessions for all
            cases of a suite; ``None`` where a session lacks the case.
        rounds_s: Seconds of the current session's rounds, in order.
        max_slowdown: Tolerated slowdown of this case as a fraction (0.03 is 3 %).
        settle: Command that would settle an open answer; ``None`` where none is known.
    """

    case: str
    history_s: tuple[float | None, ...]
    rounds_s: tuple[float, ...]
    max_slowdown: float
    settle: str | None = None

    @property
    def current_s(self) -> float:
        """Median of the current session's rounds."""
        return compute_median(self.rounds_s)


@dataclass(frozen=True)
class CaseEstimate:
    """Where one case stands against its accepted sessions.

    Attributes:
        data: What it was estimated from.
        sessions: Accepted sessions that hold the case.
        baseline_s: Geometric mean of their medians; ``None`` without any.
        rise_log: Log ratio of current to baseline, suite-wide shift removed; ``None`` without any.
        lowest_rise_log: The same for the lower end of the current rounds' 95 % interval of their
            median: what is left of the rise if a good part of the rounds was disturbed.
        interval: Where an unchanged session would fall, as a log ratio around 0; ``None`` with
            fewer than five sessions.
        slower_p_value: Chance of rising at least this far when nothing changed; ``None`` likewise.
        faster_p_value: Chance of falling at least this far when nothing changed; ``None`` likewise.
        outlier_p_value: The smallest such chance among the accepted sessions themselves, each held
            against the others; ``None`` likewise, and with two modes.
        modes: Two clusters among the accepted sessions, if they fall in two.
    """

    data: CaseSessions
    sessions: int
    baseline_s: float | None
    rise_log: float | None
    lowest_rise_log: float | None
    interval: PredictionInterval | None = None
    slower_p_value: float | None = None
    faster_p_value: float | None = None
    outlier_p_value: float | None = None
    modes: Bimodality | None = None


@dataclass(frozen=True)
class ShiftEstimate:
    """What all cases of the session have in common.

    Attributes:
        sessions: Accepted sessions.
        rise_log: Log ratio of the current session to the mean of the accepted ones.
        interval: Where an unchanged session would fall, as a log ratio around 0; ``None`` with
            fewer than five sessions.
        slower_p_value: Chance of rising at least this far; ``None`` likewise.
        faster_p_value: Chance of falling at least this far; ``None`` likewise.
    """

    sessions: int
    rise_log: float
    interval: PredictionInterval | None
    slower_p_value: float | None
    faster_p_value: float | None


@dataclass(frozen=True)
class SuiteEstimate:
    """All cases of a session, estimated together.

    Attributes:
        cases: In the order they were given.
        shift: The suite-wide shift; ``None`` where too few cases are shared to tell it.
        has_steps: Whether the machine changed speed within the current rounds of any case.
    """

    cases: tuple[CaseEstimate, ...]
    shift: ShiftEstimate | None
    has_steps: bool


def compute_suite_estimate(cases: Sequence[CaseSessions]) -> SuiteEstimate:
    """Estimate every case's rise over its accepted sessions and the chance of it.

    Args:
        cases: All cases of the session; their histories name the same sessions in the same order.

    Raises:
        ValueError: Histories of different lengths, or a duration that is not positive and finite,
            or a case without rounds.
    """
    if not cases:
        return SuiteEstimate(cases=(), shift=None, has_steps=False)
    history, current = _to_log_arrays(cases)
    shift = compute_suite_shift(history, current)
    if shift is not None:
        history, current = shift.adjusted_history, shift.adjusted_current
    samples = [column[np.isfinite(column)] for column in history.T]
    modes = [detect_bimodality(np.exp(sample).tolist()) for sample in samples]
    pool = _pool([sample for sample, two in zip(samples, modes, strict=True) if two is None])
    return SuiteEstimate(
        cases=tuple(
            _estimate_case(case, sample, float(log_current), pool, two)
            for case, sample, log_current, two in zip(cases, samples, current, modes, strict=True)
        ),
        shift=None if shift is None else _estimate_shift(shift),
        has_steps=any(has_step(case.rounds_s) for case in cases),
    )


def _to_log_arrays(
    cases: Sequence[CaseSessions],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len({len(case.history_s) for case in cases}) > 1:
        raise ValueError("the cases' histories name different sessions")
    for case in cases:
        for duration in (*case.rounds_s, *case.history_s):
            if duration is not None and not 0 < duration < math.inf:
                raise ValueError(f"{case.case} has a duration of {duration} s")
    history = np.array(
        [
            [math.nan if median is None else math.log(median) for median in case.history_s]
            for case in cases
        ],
        dtype=np.float64,
    ).T
    return history, np.log([case.current_s for case in cases])


def _pool(samples: Sequence[NDArray[np.float64]]) -> PooledSpread:
    enough = [sample for sample in samples if sample.size >= 2]
    return pool_variances(
        [max(float(sample.var(ddof=1)), SPREAD_FLOOR**2) for sample in enough],
        [float(sample.size - 1) for sample in enough],
    )


def _estimate_case(
    case: CaseSessions,
    sample: NDArray[np.float64],
    log_current: float,
    pool: PooledSpread,
    modes: Bimodality | None,
) -> CaseEstimate:
    if sample.size == 0:
        return CaseEstimate(case, sessions=0, baseline_s=None, rise_log=None, lowest_rise_log=None)
    centre = float(sample.mean())
    rise = log_current - centre
    lower_s = compute_median_interval(case.rounds_s).lower
    lowest_rise = rise + math.log(lower_s / case.current_s)
    known = [median for median in case.history_s if median is not None]
    baseline_s = math.exp(statistics.fmean(math.log(median) for median in known))
    if sample.size < FEWEST_SESSIONS:
        return CaseEstimate(case, int(sample.size), baseline_s, rise, lowest_rise, modes=modes)
    interval = _predict(float(sample.var(ddof=1)), int(sample.size), pool)
    return CaseEstimate(
        data=case,
        sessions=int(sample.size),
        baseline_s=baseline_s,
        rise_log=rise,
        lowest_rise_log=lowest_rise,
        interval=interval,
        slower_p_value=_tail(rise, interval),
        faster_p_value=_tail(-rise, interval),
        outlier_p_value=None if modes else _find_outlier(sample - centre, pool),
        modes=modes,
    )


def _predict(variance: float, count: int, pool: PooledSpread) -> PredictionInterval:
    moderated = shrink_spread(variance, count - 1, pool)
    return compute_prediction_interval(
        0.0, moderated.spread, count, moderated.degrees_of_freedom, confidence=0.95
    )


def _tail(rise: float, interval: PredictionInterval) -> float:
    return compute_student_t_tail(rise / interval.standard_error, interval.degrees_of_freedom)


def _find_outlier(deviations: NDArray[np.float64], pool: PooledSpread) -> float:
    """Hold the farthest accepted session against the others, as the current one is held.

    The farthest from the mean is also the farthest from the others in units of their spread.
    """
    count = deviations.size
    farthest = float(np.abs(deviations).max())
    others = float(np.sum(deviations**2)) - farthest**2 * count / (count - 1)
    interval = _predict(max(others, 0.0) / (count - 2), count - 1, pool)
    return _tail(farthest * count / (count - 1), interval)


def _estimate_shift(shift: SuiteShift) -> ShiftEstimate:
    sessions = len(shift.history)
    if sessions < FEWEST_SESSIONS:
        return ShiftEstimate(sessions, shift.current, None, None, None)
    interval = predict_next_session(shift.history.tolist())
    return ShiftEstimate(
        sessions=sessions,
        rise_log=shift.current,
        interval=interval,
        slower_p_value=_tail(shift.current, interval),
        faster_p_value=_tail(-shift.current, interval),
    )
