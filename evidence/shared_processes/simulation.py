"""Simulates comparisons of copies whose blocks share processes, many at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from sdperf.ab.turns.blocks import RENEW_EVERY
from sdperf.bisect.judging import LOOKS
from sdperf.judging.latency import DEFAULT_FAMILY_ERROR, DEFAULT_MAX_SLOWDOWN
from sdperf.stats.paired import BLOCK_SPREAD_FLOOR, DEFAULT_LOOKS, TRIMMED_SHARE

LIMIT_LOG = math.log1p(DEFAULT_MAX_SLOWDOWN)
COMPARISONS = 17
"""Comparisons of a sweep of ten versions: nine of neighbours, eight more with the anchor."""

AT_ONCE = 100_000

Values = NDArray[np.float64]


@dataclass(frozen=True)
class FalseShares:
    """How often copies are called different.

    Attributes:
        ab: Share of `sdperf ab` with one case that says SLOWER.
        sweep: Share of sweeps of ten versions with a false step or point, comparisons independent.
    """

    ab: float
    sweep: float


def draw_contrasts(
    generator: np.random.Generator, count: int, blocks: int, spread: float, ratio: float
) -> Values:
    """Draw the blocks of comparisons of copies.

    Args:
        generator: Source of chance.
        count: Number of comparisons.
        blocks: Blocks of each.
        spread: Standard deviation of a block within its pair of processes, log ratio.
        ratio: Mean square between pairs of processes over mean square within, 1 or more.

    Returns:
        Log ratios, float64, shape (count, blocks).
    """
    pairs = -(-blocks // RENEW_EVERY)
    shared = generator.normal(0, spread * math.sqrt((ratio - 1) / RENEW_EVERY), (count, pairs))
    own = generator.normal(0, spread, (count, blocks))
    result: Values = np.repeat(shared, RENEW_EVERY, axis=1)[:, :blocks] + own
    return result


def bound_rows(contrasts: Values, alpha: float) -> tuple[Values, Values]:
    """Compute the trimmed mean and its reach of each row, as `compute_yuen_bounds` does."""
    count = contrasts.shape[1]
    trim = int(TRIMMED_SHARE * count) if count >= 6 else 0
    kept = np.sort(contrasts, axis=1)[:, trim : count - trim]
    ends = [np.repeat(kept[:, place], trim, axis=1) for place in (slice(0, 1), slice(-1, None))]
    spread = np.concatenate([ends[0], kept, ends[1]], axis=1).std(axis=1, ddof=1)
    error = np.maximum(spread / ((1 - 2 * trim / count) * math.sqrt(count)), BLOCK_SPREAD_FLOOR)
    reach = scipy.stats.t.ppf(1 - alpha, kept.shape[1] - 1) * error
    return kept.mean(axis=1), reach


def count_false(
    contrasts: Values, alpha: float, looks: tuple[int, ...], *, is_two_sided: bool
) -> int:
    """Count the rows that a look calls slower, or faster where two-sided.

    Args:
        contrasts: Log ratios of copies, shape (comparisons, blocks).
        alpha: Error of each direction, over all looks.
        looks: Numbers of blocks after which a decision is tried.
        is_two_sided: Whether a gain is decided as surely as a loss, as in a sweep.
    """
    false = 0
    for look in looks:
        mean, reach = bound_rows(contrasts[:, :look], alpha / len(looks))
        slower = (mean - reach > 0) & (mean > LIMIT_LOG)
        faster = (mean + reach < 0) & (mean < -LIMIT_LOG)
        false += int(slower.sum()) + (int(faster.sum()) if is_two_sided else 0)
        is_told = faster | (mean - reach > -LIMIT_LOG) if is_two_sided else True
        contrasts = contrasts[~(slower | ((mean + reach < LIMIT_LOG) & is_told))]
    return false


def simulate(
    generator: np.random.Generator, spread: float, ratio: float, draws: int
) -> FalseShares:
    """Simulate comparisons of copies.

    Args:
        generator: Source of chance.
        spread: Standard deviation of a block within its pair of processes, log ratio.
        ratio: Mean square between pairs of processes over mean square within.
        draws: Number of comparisons, rounded up to hundred thousands.
    """
    alpha = DEFAULT_FAMILY_ERROR / COMPARISONS / 2
    rounds = -(-draws // AT_ONCE)
    ab = sweep = 0
    for _ in range(rounds):
        rows = draw_contrasts(generator, AT_ONCE, LOOKS[-1], spread, ratio)
        ab += count_false(rows, DEFAULT_FAMILY_ERROR, DEFAULT_LOOKS, is_two_sided=False)
        sweep += count_false(rows, alpha, LOOKS, is_two_sided=True)
    count = rounds * AT_ONCE
    return FalseShares(ab / count, 1 - (1 - sweep / count) ** COMPARISONS)
