"""Does a series go on rising? Its slope per value, with an interval that a single step cannot move.

Memory over the rounds of one process rises in steps: an allocator takes an arena, a cache fills.
A straight line through such a series has a slope, and an interval that assumes independent values.
What tells a leak from a step is that it goes on: it shows between all stretches of the series.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.stats.summaries import compute_median_interval

STRETCHES: Final = 12
"""Stretches of equal length that a series is divided into; eleven rises lie between them, and the
second smallest and second largest of eleven enclose their median with 98.8 %."""

FEWEST_VALUES: Final = 48
"""With fewer a stretch has fewer than three values."""

_SETTLING: Final = 8
"""One value in so many is left out at the beginning: allocators and caches fill there."""


@dataclass(frozen=True)
class Slope:
    """How much a series rises from one value to the next.

    Attributes:
        per_value: Median rise between stretches over the values of a stretch.
        lower: Lower end of its interval.
        upper: Upper end.
        coverage: Probability of enclosing the median rise, were rises independent draws.
        values: Values of the series, those that were left out included.
    """

    per_value: float
    lower: float
    upper: float
    coverage: float
    values: int


def compute_slope(series: Sequence[float], confidence: float = 0.95) -> Slope | None:
    """Compute the slope of a series.

    The series is divided into equal stretches; the rises between the medians of neighbours are
    taken as a sample of their own. One step moves one of eleven rises, and so neither the median
    nor its interval; a rise that goes on moves all of them.

    Args:
        series: Values in order, finite.
        confidence: Of the interval.

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
