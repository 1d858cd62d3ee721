"""How far each case of a session is from its accepted sessions, and how sure that is.

All cases are estimated together. The suite-wide shift is taken out of every session. The spread of
each case is estimated with the help of the spreads of the others. The drift of each case counts as
far as the slopes of all cases scatter. The accepted sessions, each compared with the others, tell
how heavy the tails are.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sdperf.stats.bimodality import Bimodality, detect_bimodality
from sdperf.stats.distributions import compute_student_t_tail
from sdperf.stats.drift import (
    CaseHistory,
    DriftFit,
    compute_line_variance,
    estimate_drift_ratio,
    fit_drift,
)
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
from sdperf.stats.tail_shape import NORMAL, TailShape, compute_normal_scores, fit_tail_shape

FEWEST_SESSIONS: Final = 5
"""With this many accepted sessions, the spread between sessions counts as known."""


@dataclass(frozen=True)
class CaseSessions:
    """One case in the compared sessions and in the current one; the session is the sample.

    Attributes:
        case: Name of the case.
        history_s: Median seconds in each compared session, oldest first, the same sessions for all
            cases of a suite; ``None`` where a session lacks the case.
        rounds_s: Seconds of the current session's rounds, in order.
        max_slowdown: Tolerated slowdown of this case as a fraction (0.03 is 3 %).
        settle: Command that would settle an open answer; ``None`` where none is known.
        saved: How many of the sessions that hold it are saved runs, which nobody accepted.
        repeat: Command that measures the case again; ``None`` where none is known.
        images_per_round: How many images a round has; its seconds are those of all of them.
    """

    case: str
    history_s: tuple[float | None, ...]
    rounds_s: tuple[float, ...]
    max_slowdown: float
    settle: str | None = None
    saved: int = 0
    repeat: str | None = None
    images_per_round: int = 1

    @property
    def current_s(self) -> float:
        """Median of the current session's rounds."""
        return compute_median(self.rounds_s)


@dataclass(frozen=True)
class CaseEstimate:
    """Where one case stands against its accepted sessions.

    Attributes:
        data: The measurements that it was estimated from.
        sessions: How many accepted sessions hold the case.
        baseline_s: Geometric mean of their medians, seconds; ``None`` without a session.
        rise_log: Log ratio of the current median to the expected one, suite-wide shift removed;
            ``None`` without a session.
        lowest_rise_log: The same for the lower end of the current rounds' 95 % interval of their
            median: what is left of the rise if a good part of the rounds was disturbed.
        interval: Where an unchanged session would fall, as a log ratio around 0; ``None`` with
            fewer than five sessions.
        slower_p_value: Chance of rising at least this far when nothing changed; ``None`` where
            there is no interval.
        faster_p_value: Chance of falling at least this far when nothing changed; ``None`` where
            there is no interval.
        drift_log: What the case's drift over the accepted sessions adds to their mean for this
            session, log ratio; 0 where the suite's cases do not drift.
        modes: The two clusters of the accepted sessions, if they fall into two.
    """

    data: CaseSessions
    sessions: int
    baseline_s: float | None
    rise_log: float | None
    lowest_rise_log: float | None
    interval: PredictionInterval | None = None
    slower_p_value: float | None = None
    faster_p_value: float | None = None
    drift_log: float = 0.0
    modes: Bimodality | None = None


@dataclass(frozen=True)
class ShiftEstimate:
    """What all cases of the session have in common.

    Attributes:
        sessions: How many sessions are compared with.
        rise_log: Log ratio of the current session to the mean of the accepted ones.
        interval: Where an unchanged session would fall, as a log ratio around 0; ``None`` with
            fewer than five sessions.
        slower_p_value: Chance of rising at least this far; ``None`` where there is no interval.
        faster_p_value: Chance of falling at least this far; ``None`` where there is no interval.
        saved: How many of the sessions are saved runs, which nobody accepted.
    """

    sessions: int
    rise_log: float
    interval: PredictionInterval | None
    slower_p_value: float | None
    faster_p_value: float | None
    saved: int = 0


@dataclass(frozen=True)
class SuiteEstimate:
    """All cases of a session, estimated together.

    Attributes:
        cases: In the order they were given.
        shift: The suite-wide shift; ``None`` where too few cases are shared to tell it.
        has_steps: Whether the machine changed speed within the current rounds of any case.
        tails: How heavy the tails of unchanged sessions are.
        outlier_p_value: The smallest chance among the accepted sessions themselves, each compared
            with the others of its case; 1 without a session.
    """

    cases: tuple[CaseEstimate, ...]
    shift: ShiftEstimate | None
    has_steps: bool
    tails: TailShape = NORMAL
    outlier_p_value: float = 1.0


def compute_suite_estimate(cases: Sequence[CaseSessions]) -> SuiteEstimate:
    """Estimate how far every case rose over its accepted sessions, and the chance of that.

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
    histories = [_drop_absent(column) for column in history.T]
    modes = [detect_bimodality(np.exp(one.log_medians).tolist()) for one in histories]
    fits, pool = _fit_together(histories, modes, len(history))
    steady = [fit for fit, two in zip(fits, modes, strict=True) if fit is not None and two is None]
    scores = np.array([score for fit in steady for score in _score_held_out(fit, pool)])
    tails = fit_tail_shape(scores)
    largest = float(np.abs(scores).max(initial=0.0))
    return SuiteEstimate(
        cases=tuple(
            _estimate_case(case, fit, float(log_current), pool, two, tails, one)
            for case, fit, log_current, two, one in zip(
                cases, fits, current, modes, histories, strict=True
            )
        ),
        shift=None
        if shift is None
        else replace(_estimate_shift(shift), saved=max(case.saved for case in cases)),
        has_steps=any(has_step(case.rounds_s) for case in cases),
        tails=tails,
        outlier_p_value=float(tails.compute_tails(largest)),
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


def _drop_absent(log_medians: NDArray[np.float64]) -> CaseHistory:
    present = np.isfinite(log_medians)
    return CaseHistory(np.flatnonzero(present).astype(np.float64), log_medians[present])


def _fit_together(
    histories: Sequence[CaseHistory], modes: Sequence[Bimodality | None], next_time: int
) -> tuple[list[DriftFit | None], PooledSpread]:
    """Fit every case with enough sessions; cases that fall into two modes are not pooled."""
    enough = [
        one
        for one, two in zip(histories, modes, strict=True)
        if two is None and one.count >= FEWEST_SESSIONS
    ]
    ratio = _estimate_drift(enough)
    fits = [
        fit_drift(one, next_time, ratio) if one.count >= FEWEST_SESSIONS else None
        for one in histories
    ]
    pooled = [fit for fit, two in zip(fits, modes, strict=True) if fit is not None and two is None]
    return fits, _pool([fit.variance for fit in pooled], [fit.count - 1 for fit in pooled])


def _estimate_drift(histories: Sequence[CaseHistory]) -> float:
    if not histories:
        return 0.0
    variances = [compute_line_variance(one) for one in histories]
    pool = _pool(variances, [one.count - 2 for one in histories])
    shrunk = [
        shrink_spread(max(variance, SPREAD_FLOOR**2), one.count - 2, pool)
        for variance, one in zip(variances, histories, strict=True)
    ]
    df = statistics.fmean(one.degrees_of_freedom for one in shrunk)
    bias = 1.0 if math.isinf(df) else df / (df - 2)
    return estimate_drift_ratio(histories, [one.spread**2 for one in shrunk], bias)


def _pool(variances: Sequence[float], degrees_of_freedom: Sequence[int]) -> PooledSpread:
    return pool_variances(
        [max(variance, SPREAD_FLOOR**2) for variance in variances],
        [float(df) for df in degrees_of_freedom],
    )


def _estimate_case(
    case: CaseSessions,
    fit: DriftFit | None,
    log_current: float,
    pool: PooledSpread,
    modes: Bimodality | None,
    tails: TailShape,
    history: CaseHistory,
) -> CaseEstimate:
    if history.count == 0:
        return CaseEstimate(case, sessions=0, baseline_s=None, rise_log=None, lowest_rise_log=None)
    expected = float(history.log_medians.mean()) if fit is None else fit.predicted
    rise = log_current - expected
    lowest_rise = rise + math.log(compute_median_interval(case.rounds_s).lower / case.current_s)
    known = [median for median in case.history_s if median is not None]
    baseline_s = math.exp(statistics.fmean(math.log(median) for median in known))
    if fit is None:
        return CaseEstimate(case, history.count, baseline_s, rise, lowest_rise, modes=modes)
    moderated = shrink_spread(max(fit.variance, SPREAD_FLOOR**2), fit.count - 1, pool)
    interval = compute_prediction_interval(
        0.0,
        moderated.spread,
        fit.count,
        moderated.degrees_of_freedom,
        error_factor=fit.error_factor,
    )
    score = compute_normal_scores(rise / interval.standard_error, interval.degrees_of_freedom)
    slower, faster = tails.compute_tails([float(score), -float(score)]).tolist()
    return CaseEstimate(
        data=case,
        sessions=fit.count,
        baseline_s=baseline_s,
        rise_log=rise,
        lowest_rise_log=lowest_rise,
        interval=interval,
        slower_p_value=slower,
        faster_p_value=faster,
        drift_log=fit.predicted - fit.mean,
        modes=modes,
    )


def _score_held_out(fit: DriftFit, pool: PooledSpread) -> NDArray[np.float64]:
    """Compare each accepted session with the others, as the current one is with all of them."""
    shrunk = [
        shrink_spread(max(float(variance), SPREAD_FLOOR**2), fit.count - 2, pool)
        for variance in fit.held_out_variances
    ]
    errors = np.array([one.spread for one in shrunk]) * np.sqrt(fit.held_out_factors)
    return compute_normal_scores(fit.held_out / errors, shrunk[0].degrees_of_freedom)


def _tail(rise: float, interval: PredictionInterval) -> float:
    return compute_student_t_tail(rise / interval.standard_error, interval.degrees_of_freedom)


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
