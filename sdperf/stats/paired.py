"""Compares baseline (A) and current (B) by fresh ABBA blocks, and decides in a few looks."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sdperf.stats.distributions import compute_student_t_quantile

CYCLE: Final = 4
"""Turns of a mirrored cycle, such as ``ABBA``."""

DEFAULT_LOOKS: Final = (4, 6, 9, 12)
"""Numbers of blocks after which a decision is tried."""

BLOCK_SPREAD_FLOOR: Final = 0.0015
"""Smallest plausible standard error, in log seconds (0.15 %)."""


TRIMMED_SHARE: Final = 0.2
"""Share of blocks cut on each side: none of 4, one of 6 or 9, two of 12."""


class Decision(Enum):
    """The decision that the blocks so far allow."""

    FAIL = "fail"
    """B is slower, and by more than the limit."""
    PASS = "pass"
    """Any slowdown is below the limit."""
    CONTINUE = "continue"
    """It is undecided, and a later look remains."""
    INCONCLUSIVE = "inconclusive"
    """It is undecided after the last look."""


@dataclass(frozen=True)
class YuenBounds:
    """Trimmed mean of the block contrasts with one-sided bounds.

    Attributes:
        mean: Trimmed mean, log ratio B/A; positive is slower.
        lower: One-sided lower bound, log ratio.
        upper: One-sided upper bound, log ratio.
        standard_error: Standard error of the trimmed mean, log units.
        degrees_of_freedom: Degrees of freedom of Student's t.
    """

    mean: float
    lower: float
    upper: float
    standard_error: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class PairedResult:
    """A decision and the look that it was made at.

    Attributes:
        decision: The decision.
        blocks: How many blocks were used: those of the deciding look, or all so far.
        bounds: The bounds at that look; ``None`` before the first look.
    """

    decision: Decision
    blocks: int
    bounds: YuenBounds | None


def choose_block_order(block: int, *, current_first: bool = False, cycles: int = 1) -> str:
    """Return the order of the arms in a block, A baseline and B current.

    Each cycle of four turns is symmetric, and the next cycle mirrors it: linear drift cancels
    within a cycle, and the advantage of a position within two. Many short turns are less affected
    by slow changes of the machine than few long ones of the same total length.

    Args:
        block: Number of the block.
        current_first: Whether block 0 begins with B.
        cycles: Number of cycles of four turns in a block.

    >>> choose_block_order(0), choose_block_order(1), choose_block_order(0, current_first=True)
    ('ABBA', 'BAAB', 'BAAB')
    >>> choose_block_order(1, cycles=3)
    'BAABABBABAAB'
    """
    return "".join(
        "BAAB" if bool((block + cycle) % 2) != current_first else "ABBA" for cycle in range(cycles)
    )


def compute_block_contrast(order: str, durations_s: Sequence[float]) -> float:
    """Compute a block's log ratio B/A, free of linear drift.

    Each two neighbouring turns of different arms give a log ratio. The median of the pairs in which
    B comes second and the median of the pairs in which A comes second are averaged. What a drift or
    the change of arms adds to one median, it takes from the other. A machine that changes its speed
    spoils only the pair at that moment. In a single cycle the result is the mean log of B minus the
    mean log of A.

    Args:
        order: Arms in order of execution, such as ``ABBA``.
        durations_s: One duration per turn, seconds.

    Returns:
        The log ratio; positive is slower.

    Raises:
        ValueError: The lengths differ, an arm is missing, or a duration is not positive and finite.

    Source: balanced interleaving, Abedi and Brecht (2017).
    """
    if len(order) != len(durations_s) or any(
        set(order[first : first + CYCLE]) != {"A", "B"} for first in range(0, len(order), CYCLE)
    ):
        raise ValueError(f"a block of order {order!r} cannot hold {len(durations_s)} durations")
    if not all(0 < duration < math.inf for duration in durations_s):
        raise ValueError("durations are positive and finite")
    turns = zip(order, map(math.log, durations_s), strict=True)
    pairs: dict[str, list[float]] = {"AB": [], "BA": []}
    for (first, first_log), (second, second_log) in itertools.pairwise(turns):
        if first != second:
            ratio = second_log - first_log
            pairs[first + second].append(ratio if second == "B" else -ratio)
    return statistics.fmean(statistics.median(ratios) for ratios in pairs.values() if ratios)


def compute_yuen_bounds(contrasts: Sequence[float], alpha: float) -> YuenBounds:
    """Bound the mean contrast, trimming 20 % of the blocks on each side from six blocks on.

    Args:
        contrasts: Block log ratios, two or more.
        alpha: Error of each one-sided bound, in (0, 0.5).

    Raises:
        ValueError: There are too few contrasts, one is not finite, or ``alpha`` is out of range.

    Source: Yuen (1974), one-sample trimmed mean with the winsorised standard deviation.
    """
    count = len(contrasts)
    if count < 2 or not 0 < alpha < 0.5 or not all(map(math.isfinite, contrasts)):
        raise ValueError(f"no bounds from {count} contrasts at level {alpha}")
    ordered = sorted(contrasts)
    trim = int(TRIMMED_SHARE * count) if count >= 6 else 0
    kept = ordered[trim : count - trim]
    winsorised = [kept[0]] * trim + kept + [kept[-1]] * trim
    mean = statistics.fmean(kept)
    standard_error = max(
        _compute_deviation(winsorised) / ((1 - 2 * trim / count) * math.sqrt(count)),
        BLOCK_SPREAD_FLOOR,
    )
    degrees_of_freedom = len(kept) - 1
    reach = compute_student_t_quantile(1 - alpha, degrees_of_freedom) * standard_error
    return YuenBounds(mean, mean - reach, mean + reach, standard_error, degrees_of_freedom)


def _compute_deviation(values: Sequence[float]) -> float:
    """Compute the sample's standard deviation.

    The one of `statistics` adds fractions, which took nine tenths of the time of the bounds.
    """
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - 1))


def compute_process_bounds(
    contrasts: Sequence[float], shared: int, alpha: float
) -> YuenBounds | None:
    """Bound the mean contrast where several blocks in a row share a pair of processes.

    Where memory lies belongs to a process, so blocks that share a pair of processes resemble each
    other, and an interval over all blocks is too narrow. The bounds are the wider of two: those of
    all blocks, and Student's t over the median block of each pair of processes. Both lie about the
    trimmed mean of all blocks.

    Args:
        contrasts: Block log ratios in order of measurement.
        shared: How many blocks in a row share a pair of processes; the last pair may have fewer.
        alpha: Error of each one-sided bound, in (0, 0.5).

    Returns:
        The bounds; ``None`` with fewer than two pairs of processes, which cannot tell how much one
        differs from another.

    Raises:
        ValueError: A contrast is not finite, or ``alpha`` or ``shared`` is out of range.

    Source: the sample is the process, not the block; Kalibera and Jones (2013).

    >>> one = compute_process_bounds([0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0], 3, 0.025)
    >>> round(one.upper - one.mean, 3), one.degrees_of_freedom
    (0.248, 2)
    """
    if shared < 1:
        raise ValueError(f"{shared} blocks cannot share a pair of processes")
    if len(contrasts) <= shared:
        return None
    blocks = compute_yuen_bounds(contrasts, alpha)
    medians = [
        statistics.median(contrasts[first : first + shared])
        for first in range(0, len(contrasts), shared)
    ]
    degrees_of_freedom = len(medians) - 1
    standard_error = max(_compute_deviation(medians) / math.sqrt(len(medians)), BLOCK_SPREAD_FLOOR)
    reach = compute_student_t_quantile(1 - alpha, degrees_of_freedom) * standard_error
    if reach <= blocks.upper - blocks.mean:
        return blocks
    mean = blocks.mean
    return YuenBounds(mean, mean - reach, mean + reach, standard_error, degrees_of_freedom)


def decide_by_blocks(
    contrasts: Sequence[float],
    limit_log: float,
    *,
    alpha: float = 0.01,
    looks: Sequence[int] = DEFAULT_LOOKS,
    is_two_sided: bool = False,
) -> PairedResult:
    """Test the blocks at each look reached so far; the first look that decides is final.

    At a look, the decision is FAIL when the lower bound is above 0 *and* the trimmed mean is above
    the limit. It is PASS when the upper bound is below the limit. A true slowdown of about the
    limit stays undecided. If two-sided, PASS also waits until a gain is decided: the lower bound is
    above the negative limit, or the upper bound is below 0 and the mean below the negative limit.

    Args:
        contrasts: Block log ratios in order of measurement.
        limit_log: Largest slowdown allowed, log ratio, positive (``log(1.03)`` for 3 %).
        alpha: Chance of a false FAIL over all looks together; divide it by the number of cases
            that are confirmed together.
        looks: Increasing numbers of blocks; the first is at least 2.
        is_two_sided: Whether a gain beyond the limit is decided as surely as a loss. The chance of
            a false gain is ``alpha`` too, in addition to that of a false FAIL.

    Raises:
        ValueError: A limit, level, look or contrast is out of range.

    Source: Bonferroni spending of alpha over the looks.
    """
    if not limit_log > 0 or not looks or looks[0] < 2 or list(looks) != sorted(set(looks)):
        raise ValueError(f"cannot decide with limit {limit_log} and looks {looks}")
    bounds = None
    for look in looks:
        if look > len(contrasts):
            return PairedResult(Decision.CONTINUE, len(contrasts), bounds)
        bounds = compute_yuen_bounds(contrasts[:look], alpha / len(looks))
        if bounds.lower > 0 and bounds.mean > limit_log:
            return PairedResult(Decision.FAIL, look, bounds)
        is_gain = bounds.upper < 0 and bounds.mean < -limit_log
        is_told = not is_two_sided or is_gain or bounds.lower > -limit_log
        if bounds.upper < limit_log and is_told:
            return PairedResult(Decision.PASS, look, bounds)
    return PairedResult(Decision.INCONCLUSIVE, looks[-1], bounds)


def is_null_control_sound(
    contrasts: Sequence[float],
    limit_log: float,
    *,
    alpha: float = 0.01,
    looks: Sequence[int] = DEFAULT_LOOKS,
) -> bool:
    """Tell whether A compared with itself, in the same way as with B, shows no difference.

    A control that FAILs in either direction makes the session void: the machine is not fit, and no
    timing of other cases counts.

    Args:
        contrasts: Block log ratios of the same code on both sides.
        limit_log: Largest difference allowed, as `decide_by_blocks` takes it.
        alpha: Chance of voiding a sound session.
        looks: Numbers of blocks, as `decide_by_blocks` takes them.

    Raises:
        ValueError: For the reasons of `decide_by_blocks`.
    """
    mirrored = [-contrast for contrast in contrasts]
    return all(
        decide_by_blocks(side, limit_log, alpha=alpha / 2, looks=looks).decision
        is not Decision.FAIL
        for side in (contrasts, mirrored)
    )
