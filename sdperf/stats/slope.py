"""Does a series keep rising? Computes its slope with an interval that a single step cannot move.

Memory over the rounds of one process rises in steps: an allocator takes an arena, or a cache fills.
A straight line through such a series has a slope, and an interval that assumes independent values.
A leak differs from a step because it goes on: it shows between all stretches of the series.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.stats.summaries import compute_median_interval

STRETCHES: Final = 12
"""Number of equal stretches that a series is divided into. There are eleven rises between them, and
the second smallest and second largest of eleven enclose their median with 98.8 %."""

FEWEST_VALUES: Final = 48
"""Fewest values of a series: with fewer a stretch has fewer than three values."""

_SETTLING: Final = 8
"""One in this many values is left out at the beginning, where allocators and caches fill."""


@dataclass(frozen=True)
class Slope:
    """How much a series rises from one value to the next.

    Attributes:
        per_value: Median rise between stretches over the number of values of a stretch.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        coverage: Probability of enclosing the median rise, if rises were independent draws.
        values: Number of values of the series, including those that were left out.
    """

    per_value: float
    lower: float
    upper: float
    coverage: float
    values: int


def compute_slope(series: Sequence[float], confidence: float = 0.95) -> Slope | None:
    """Compute the slope of a series.

    The series is divided into equal stretches, and the rises between the medians of neighbouring
    stretches are the sample. One step moves one of eleven rises, and so neither the median
    nor its interval; a rise that goes on moves all of them.

    Args:
        series: Values in order, finite.
        confidence: Confidence of the interval.

    Returns:
        The slope; ``None`` with fewer than `FEWEST_VALUES`.

    Source: order statistics of the differences of batch medians; batch means (Law and Kelton,
        Simulation Modeling and Analysis, 9.5.3) with medians in place of means and t.
    """
    if len(series) < FEWEST_VALUES:
        return None
    settled = series[-(len(series) - len(series) // _SETTLING) :]
    # Odd, so that a step within a stretch moves one rise and not two by half of it.
    length = (len(settled) // STRETCHES - 1) // 2 * 2 + 1
    used = settled[-length * STRETCHES :]
    medians = [
        statistics.median(used[start : start + length]) for start in range(0, len(used), length)
    ]
    rises = [(after - before) / length for before, after in itertools.pairwise(medians)]
    interval = compute_median_interval(rises, confidence)
    return Slope(
        statistics.median(rises), interval.lower, interval.upper, interval.coverage, len(series)
    )
