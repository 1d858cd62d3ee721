"""Predicts cases that creep: each gets slower (or faster) every session, at its own rate.

Compared with the mean of its past, a case that creeps by 0.15 % per session is 0.7 % too high after
eight sessions. No single case shows so small a slope. All cases together show how far slopes
scatter, and each slope counts that far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST_CASES_TO_DRIFT: Final = 10
"""Fewest cases. With fewer the scatter of slopes cannot be told from noise; none is assumed."""

FEWEST_SESSIONS_TO_DRIFT: Final = 5
"""Fewest sessions. With fewer the noise of a slope can hardly be estimated."""


@dataclass(frozen=True)
class CaseHistory:
    """One case's accepted sessions.

    Attributes:
        times: ``(K,)`` number of each session with the case, increasing.
        log_medians: ``(K,)`` log seconds.
    """

    times: NDArray[np.float64]
    log_medians: NDArray[np.float64]

    @property
    def count(self) -> int:
        """How many sessions have the case."""
        return int(self.log_medians.size)


@dataclass(frozen=True)
class DriftFit:
    """What a case's sessions predict for the next one.

    Attributes:
        count: Number of sessions, K.
        mean: Mean log median of the sessions.
        predicted: Expected log median of the next session.
        variance: Variance between sessions, log units squared, with K - 1 degrees of freedom.
        error_factor: Variance of the next session about `predicted` over `variance`.
        held_out: ``(K,)`` each session minus the prediction of the others for it, log units.
        held_out_factors: ``(K,)`` variance of each ``held_out`` over `variance`.
        held_out_variances: ``(K,)`` value of `variance` without the session, K - 2 degrees of
            freedom.
    """

    count: int
    mean: float
    predicted: float
    variance: float
    error_factor: float
    held_out: NDArray[np.float64]
    held_out_factors: NDArray[np.float64]
    held_out_variances: NDArray[np.float64]


def estimate_drift_ratio(
    histories: Sequence[CaseHistory], residual_variances: Sequence[float], bias: float = 1.0
) -> float:
    """Estimate the variance of slopes between cases, in units of the variance between sessions.

    Args:
        histories: Histories of cases with at least five sessions.
        residual_variances: Each case's variance about its own line, shrunk towards the pool.
        bias: Mean of 1 / residual variance times the true one, less than 1 in the denominator:
            ``df / (df - 2)`` of the shrunk variances.

    Returns:
        Slope variance over session variance, per session squared; 0 where noise explains the
        scatter of the slopes, or with fewer than ten cases.

    Source: method of moments for a variance component, E[slope^2] = s^2 (1 / S + ratio), S the sum
        of squared centred times; cut at 0.
    """
    if len(histories) < FEWEST_CASES_TO_DRIFT:
        return 0.0
    leverages, excesses = [], []
    for history, variance in zip(histories, residual_variances, strict=True):
        slope, leverage, _ = _fit_line(history)
        excesses.append(slope**2 * leverage / variance / bias - 1)
        leverages.append(leverage)
    return max(0.0, float(np.mean(excesses)) / float(np.mean(leverages)))


def compute_line_variance(history: CaseHistory) -> float:
    """Compute a case's variance about its own straight line, K - 2 degrees of freedom."""
    slope, leverage, squares = _fit_line(history)
    return max(0.0, squares - slope**2 * leverage) / (history.count - 2)


def fit_drift(history: CaseHistory, next_time: float, ratio: float) -> DriftFit:
    """Predict the next session of a case; its slope counts as far as ``ratio`` allows.

    Args:
        history: The history of two sessions or more.
        next_time: Number of the next session.
        ratio: From `estimate_drift_ratio`; 0 predicts the mean.

    Raises:
        ValueError: There are fewer than two sessions, or the ratio is negative.

    Source: best linear unbiased prediction with random slopes (Laird and Ware, 1982); held-out
        sessions by the cross-validation formulas of kriging (Dubrule, 1983).
    """
    if history.count < 2 or ratio < 0:
        raise ValueError(f"no prediction from {history.count} sessions, ratio {ratio}")
    count = history.count
    slope, leverage, squares = _fit_line(history)
    believed = ratio * leverage / (1 + ratio * leverage)
    mean = float(history.log_medians.mean())
    times = history.times - history.times.mean()
    ahead = next_time - float(history.times.mean())
    squares = max(0.0, squares - believed * slope**2 * leverage)
    precisions = 1 - 1 / count - believed * times**2 / leverage
    weighted = history.log_medians - mean - believed * slope * times
    without = np.maximum(squares - weighted**2 / precisions, 0.0)
    return DriftFit(
        count=count,
        mean=mean,
        predicted=mean + believed * slope * ahead,
        variance=squares / (count - 1),
        error_factor=1 + 1 / count + believed * ahead**2 / leverage,
        held_out=weighted / precisions,
        held_out_factors=1 / precisions,
        held_out_variances=without / max(count - 2, 1),
    )


def _fit_line(history: CaseHistory) -> tuple[float, float, float]:
    """Return the slope, and the sums of squared centred times and of squared centred values."""
    times = history.times - history.times.mean()
    values = history.log_medians - history.log_medians.mean()
    leverage = float(times @ times)
    return float(times @ values) / leverage, leverage, float(values @ values)
