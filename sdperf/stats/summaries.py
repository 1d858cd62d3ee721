"""Summarises a few measurements, with the uncertainty of their median."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Number = TypeVar("Number", int, float)

LARGEST_EXACT_COUNT: Final = 1000
"""With more values the binomial count of values below the median is treated as normal."""


@dataclass(frozen=True)
class MedianInterval:
    """Two order statistics that enclose the median of the distribution.

    It is valid for independent draws of any continuous distribution. The rounds of one process are
    not independent: for them it describes this process only, never the next one.

    Attributes:
        lower: Lower end, a measured value.
        upper: Upper end, a measured value.
        coverage: Exact probability of enclosing the median; below the requested one where values
            are too few (5 values reach 93.75 %, 6 reach 96.9 %).
    """

    lower: float
    upper: float
    coverage: float


def compute_median(values: Sequence[float]) -> float:
    """Compute the median.

    Raises:
        ValueError: There are no values, or one is not finite.
    """
    return float(statistics.median(_require_finite(values)))


def compute_quantile(values: Sequence[float], probability: float) -> float:
    """Compute a quantile by linear interpolation between order statistics.

    >>> compute_quantile([1.0, 2.0, 3.0, 4.0], 0.25)
    1.75

    Raises:
        ValueError: There are no values, one is not finite, or the probability is outside [0, 1].

    Source: Hyndman and Fan (1996), type 7; numpy's default.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"no quantile for probability {probability}")
    ordered = sorted(_require_finite(values))
    position = probability * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    share = position - below
    between = ordered[below] * (1 - share) + ordered[above] * share
    return float(min(max(between, ordered[below]), ordered[above]))


def compute_median_interval(values: Sequence[float], confidence: float = 0.95) -> MedianInterval:
    """Enclose the median of the distribution between two order statistics.

    It takes the narrowest symmetric pair that still reaches the confidence, or the extremes where
    no pair does, and reports the coverage that is really reached.

    >>> compute_median_interval([5.0, 1.0, 4.0, 2.0, 3.0, 6.0])
    MedianInterval(lower=1.0, upper=6.0, coverage=0.96875)

    Raises:
        ValueError: There are no values, one is not finite, or the confidence is outside (0, 1).

    Source: David and Nagaraja, Order Statistics, 7.1: P(x(k) < median < x(n+1-k)) is
        1 - 2 P(Binomial(n, 1/2) <= k - 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"no interval of confidence {confidence}")
    ordered = sorted(_require_finite(values))
    cut, outside = _find_cut(len(ordered), confidence)
    return MedianInterval(
        lower=float(ordered[cut]),
        upper=float(ordered[len(ordered) - 1 - cut]),
        coverage=max(0.0, 1 - outside),
    )


def _find_cut(count: int, confidence: float) -> tuple[int, float]:
    """Return how many values to leave out on each side, and the chance of missing the median."""
    if count > LARGEST_EXACT_COUNT:
        normal = statistics.NormalDist(count / 2, math.sqrt(count) / 2)
        cut = math.floor(normal.inv_cdf((1 - confidence) / 2))
        return cut, 2 * normal.cdf(cut + 0.5)
    ways = below = 1
    cut = 0
    while True:
        ways = ways * (count - cut) // (cut + 1)
        if cut + 1 >= count - 1 - cut or 2 * (below + ways) / 2**count > 1 - confidence:
            return cut, 2 * below / 2**count
        cut, below = cut + 1, below + ways


def _require_finite(values: Sequence[float]) -> Sequence[float]:
    if not values:
        raise ValueError("a summary needs at least one value")
    if not all(math.isfinite(value) for value in values):
        raise ValueError("a summary needs finite values")
    return values


def keep_complete(values: Iterable[Number | None]) -> tuple[Number, ...]:
    """Return the values where all are known, else an empty tuple."""
    listed = list(values)
    known = tuple(one for one in listed if one is not None)
    return known if len(known) == len(listed) else ()


def sum_known(values: Iterable[int | None]) -> int | None:
    """Sum the values where all are known; else the sum is unknown (``None``)."""
    listed = list(values)
    known = keep_complete(listed)
    return sum(known) if listed and len(known) == len(listed) else None


def sum_peaks(rounds: Iterable[Sequence[int | None]]) -> int | None:
    """Sum the peaks of all workers over the rounds; ``None`` when one is unknown."""
    total = 0
    for peaks in zip(*rounds, strict=True):
        known = [peak for peak in peaks if peak is not None]
        if not known:
            return None
        total += max(known)
    return total
