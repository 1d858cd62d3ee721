"""The words of a verdict: B compared with A, in the terms that people use. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from sdperf.ab.verdict.comparison import EnergyPair, ImagePair
from sdperf.ab.verdict.images import AGAINST
from sdperf.record.measurement import MemoryUsage
from sdperf.stats.paired import Decision, YuenBounds
from sdperf.units import format_score

SAME_MEMORY: Final = 0.02
"""Peaks that differ by less than this fraction are called the same."""

SAME_ENERGY: Final = 0.01
"""Energy that differs by less than this fraction is called the same."""

_FEWEST_FOR_QUARTILES: Final = 8
"""Windows of each side from which on its quartiles say how much it scatters.

Equal sides of normal noise are then told apart in 4 % of cases (with four windows in 17 %), as by
the ranges of four windows in 3 %."""


def describe_speed(bounds: YuenBounds | None, decision: Decision) -> str:
    """Say how much faster or slower B is, with the interval in the same terms.

    "12.1 % faster" is 12.1 % less time; "8 % slower" is 8 % more.

    Args:
        bounds: Log ratio B over A; ``None`` where too little was measured.
        decision: The decision of the looks.
    """
    if bounds is None:
        return "speed unknown"
    if bounds.upper < 0:
        ends = f"{_less(bounds.upper)} to {_less(bounds.lower)}"
        return f"B is {_less(bounds.mean)} % faster ({ends})"
    if bounds.lower > 0:
        ends = f"{_more(bounds.lower)} to {_more(bounds.upper)}"
        return f"B is {_more(bounds.mean)} % slower ({ends})"
    ends = f"{describe_ratio(bounds.lower)} to {describe_ratio(bounds.upper)}"
    if decision is Decision.PASS:
        return f"B is as fast as A ({ends})"
    return f"B is {describe_ratio(bounds.mean)} ({ends})"


def describe_ratio(log_ratio: float) -> str:
    """Say how much faster or slower a log ratio of times is.

    >>> describe_ratio(math.log(0.9)), describe_ratio(math.log(1.2)), describe_ratio(0.0)
    ('10.0 % faster', '20.0 % slower', 'equal')
    """
    if _less(log_ratio) == "0.0" or _more(log_ratio) == "0.0":
        return "equal"
    if log_ratio < 0:
        return f"{_less(log_ratio)} % faster"
    return f"{_more(log_ratio)} % slower"


def describe_change(bounds: YuenBounds) -> str:
    """Format a change of time with its interval, signed; minus is faster.

    >>> describe_change(YuenBounds(math.log(0.9), math.log(0.85), math.log(1.05), 0.01, 3))
    '-10.0 % (-15.0 to +5.0)'
    """
    mean, lower, upper = (
        (math.exp(end) - 1) * 100 for end in (bounds.mean, bounds.lower, bounds.upper)
    )
    return f"{mean:+.1f} % ({lower:+.1f} to {upper:+.1f})"


def describe_memory(a: MemoryUsage, b: MemoryUsage) -> str | None:
    """Say how B's peak compares: of the device where both know it equally, else resident memory."""
    pairs = [(a.peak_device_bytes, b.peak_device_bytes), (a.peak_rss_bytes, b.peak_rss_bytes)]
    if a.peak_device_sampled != b.peak_device_sampled:
        pairs = pairs[1:]
    for before, after in pairs:
        if before and after is not None:
            change = after / before - 1
            if abs(change) <= SAME_MEMORY:
                return "same memory"
            return f"{abs(change) * 100:.1f} % {'more' if change > 0 else 'less'} memory"
    return None


def describe_energy(energy: EnergyPair | None) -> str | None:
    """Say how B's energy per image compares; ``None`` where it is not known.

    A difference that does not stand out from what the windows of one side differ by is none: with
    few windows their ranges overlap, with more the medians are nearer than the quartiles of a side,
    so that a single window that something disturbed hides nothing.
    """
    if energy is None or not all((*energy.a_j, *energy.b_j)):
        return None
    a_j, b_j = energy.a_j, energy.b_j
    if min(len(a_j), len(b_j)) < _FEWEST_FOR_QUARTILES:
        change = statistics.fmean(b_j) / statistics.fmean(a_j) - 1
        apart = max(a_j) < min(b_j) or max(b_j) < min(a_j)
    else:
        change = statistics.median(b_j) / statistics.median(a_j) - 1
        distance_j = abs(statistics.median(b_j) - statistics.median(a_j))
        apart = distance_j > max(_middle_half(a_j), _middle_half(b_j))
    if abs(change) < SAME_ENERGY or not apart:
        return "same energy"
    return f"{abs(change) * 100:.0f} % {'more' if change > 0 else 'less'} energy"


def describe_images(images: Sequence[ImagePair], unjudged: str | None) -> str | None:
    """Say how similar the images are, by the worst one of all prompts."""
    if not images:
        return None
    scores = [pair.b.score(AGAINST) for pair in images]
    known = [score for score in scores if score is not None]
    if not known:
        return "image: another size"
    if len(known) == len(scores) and all(score.identical for score in known):
        return "image: identical"
    seen = (
        f"image: SSIM {format_score(min(score.ssim for score in known), 3)}, "
        f"worst tile {format_score(min(score.worst_tile_ssim for score in known), 2)}"
    )
    return seen if unjudged is None else f"{seen} (not judged: {unjudged})"


def _middle_half(values: Sequence[float]) -> float:
    """Return the distance of the quartiles."""
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return upper - lower


def _less(log_ratio: float) -> str:
    return f"{(1 - math.exp(log_ratio)) * 100:.1f}"


def _more(log_ratio: float) -> str:
    return f"{(math.exp(log_ratio) - 1) * 100:.1f}"
