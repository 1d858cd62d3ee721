"""Where the next session's log median should fall, given the accepted sessions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.stats.distributions import compute_student_t_quantile

SPREAD_FLOOR: Final = 0.003
"""Smallest plausible spread between sessions, in log seconds (0.3 %).

Eight sessions that happen to agree to 0.01 % do not make a machine that repeats to 0.01 %.
"""


@dataclass(frozen=True)
class PredictionInterval:
    """Range in which one more session of unchanged code falls, with the confidence on each side.

    Attributes:
        centre: Mean of the accepted sessions' log medians.
        half_width: Distance from the centre to either bound, log units.
        standard_error: Standard error of one new session minus the centre, log units.
        degrees_of_freedom: Degrees of freedom of the spread; may be fractional where it is pooled.
        confidence: One-sided confidence: 0.95 leaves 5 % above the upper bound and 5 % below the
            lower one.
    """

    centre: float
    half_width: float
    standard_error: float
    degrees_of_freedom: float
    confidence: float

    @property
    def lower(self) -> float:
        """Lower bound, log seconds."""
        return self.centre - self.half_width

    @property
    def upper(self) -> float:
        """Upper bound, log seconds."""
        return self.centre + self.half_width


def compute_prediction_interval(
    centre: float,
    spread: float,
    count: int,
    degrees_of_freedom: float,
    *,
    confidence: float = 0.95,
    error_factor: float | None = None,
) -> PredictionInterval:
    """Compute the interval from a spread, either of one case or pooled over a suite.

    Args:
        centre: Mean of the accepted sessions' log medians.
        spread: Standard deviation between sessions, log units; raised to `SPREAD_FLOOR`.
        count: Number of accepted sessions behind the centre, 1 or more.
        degrees_of_freedom: Degrees of freedom of the spread.
        confidence: One-sided confidence, in (0.5, 1).
        error_factor: Variance of the next session about the centre over the squared spread;
            ``None`` is 1 + 1/K, that of a plain mean.

    Raises:
        ValueError: A count, spread or confidence is out of range.

    Source: m +- t(df, confidence) s sqrt(1 + 1/K), the prediction interval of one more normal
        observation (Hahn and Meeker, Statistical Intervals, 4.7).
    """
    if count < 1 or not spread >= 0 or not 0.5 < confidence < 1:
        raise ValueError(f"no interval from count={count}, spread={spread}, level={confidence}")
    standard_error = max(spread, SPREAD_FLOOR) * math.sqrt(
        1 + 1 / count if error_factor is None else error_factor
    )
    quantile = compute_student_t_quantile(confidence, degrees_of_freedom)
    return PredictionInterval(
        centre=centre,
        half_width=quantile * standard_error,
        standard_error=standard_error,
        degrees_of_freedom=degrees_of_freedom,
        confidence=confidence,
    )


def predict_next_session(
    log_medians: Sequence[float], *, confidence: float = 0.95
) -> PredictionInterval:
    """Compute the interval from the sessions of one case alone.

    Args:
        log_medians: Natural log of each accepted session's median, two or more.
        confidence: One-sided confidence.

    Raises:
        ValueError: There are fewer than two sessions, or the confidence is out of range.
    """
    if len(log_medians) < 2:
        raise ValueError("a spread between sessions needs at least two of them")
    return compute_prediction_interval(
        statistics.fmean(log_medians),
        statistics.stdev(log_medians),
        len(log_medians),
        len(log_medians) - 1,
        confidence=confidence,
    )
