"""Estimates one case's spread with the help of the spreads of all other cases.

Eight sessions give a case's own spread only seven degrees of freedom, and a test strict enough for
60 cases then needs a slowdown of six spreads. The cases of a suite run on one machine, and their
spreads are similar. How similar they are is estimated from the spreads themselves, and each case's
spread is moved that far towards the common one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdperf.stats.distributions import compute_digamma, compute_trigamma, invert_trigamma


@dataclass(frozen=True)
class PooledSpread:
    """What the cases of a suite tell about the spread of another case.

    Attributes:
        variance: Common variance, log units squared.
        degrees_of_freedom: The weight of the common variance: 0 when the cases have nothing in
            common, ``inf`` when chance explains all differences.
    """

    variance: float
    degrees_of_freedom: float


@dataclass(frozen=True)
class ModeratedSpread:
    """A case's spread after shrinking.

    Attributes:
        spread: Standard deviation, log units.
        degrees_of_freedom: Those of the case plus those of the pool, for Student's t.
    """

    spread: float
    degrees_of_freedom: float


def pool_variances(variances: Sequence[float], degrees_of_freedom: Sequence[float]) -> PooledSpread:
    """Estimate the common variance and how much the cases have in common.

    Args:
        variances: Each case's variance between sessions, log units squared, positive.
        degrees_of_freedom: Degrees of freedom of each variance, positive.

    Returns:
        The pool; it has 0 degrees of freedom with fewer than three cases.

    Raises:
        ValueError: The lengths differ, or an entry is not positive and finite.

    Source: Smyth (2004), "Linear models and empirical Bayes methods", 6.2: moments of log
        variances under a scaled inverse chi-squared prior (``fitFDist`` of limma).
    """
    if len(variances) != len(degrees_of_freedom):
        raise ValueError("each variance needs its degrees of freedom")
    if not all(0 < entry < math.inf for entry in (*variances, *degrees_of_freedom)):
        raise ValueError("variances and their degrees of freedom are positive and finite")
    if len(variances) < 3:
        return PooledSpread(variance=float(np.mean(variances or [0.0])), degrees_of_freedom=0.0)
    halves = [df / 2 for df in degrees_of_freedom]
    logs = np.array(
        [
            math.log(variance) - compute_digamma(half) + math.log(half)
            for variance, half in zip(variances, halves, strict=True)
        ]
    )
    by_chance = float(np.mean([compute_trigamma(half) for half in halves]))
    beyond_chance = float(np.var(logs, ddof=1)) - by_chance
    if beyond_chance <= 0:
        weights = np.asarray(degrees_of_freedom)
        return PooledSpread(
            variance=float(np.average(variances, weights=weights)), degrees_of_freedom=math.inf
        )
    half_prior = invert_trigamma(beyond_chance)
    return PooledSpread(
        variance=math.exp(float(logs.mean()) + compute_digamma(half_prior) - math.log(half_prior)),
        degrees_of_freedom=2 * half_prior,
    )


def shrink_spread(
    variance: float, degrees_of_freedom: float, pool: PooledSpread
) -> ModeratedSpread:
    """Move one case's spread towards that of the pool.

    Args:
        variance: Variance of the case itself, log units squared; 0 is allowed.
        degrees_of_freedom: Its degrees of freedom; 0 for a case without its own spread.
        pool: The pool from `pool_variances`.

    Raises:
        ValueError: Neither the case nor the pool has any degrees of freedom.

    Source: Smyth (2004), 3.1: s~^2 = (d0 s0^2 + d s^2) / (d0 + d), with d0 + d degrees of freedom.
    """
    total = degrees_of_freedom + pool.degrees_of_freedom
    if not total > 0:
        raise ValueError("no spread without degrees of freedom")
    if math.isinf(pool.degrees_of_freedom):
        return ModeratedSpread(spread=math.sqrt(pool.variance), degrees_of_freedom=math.inf)
    shrunk = (pool.degrees_of_freedom * pool.variance + degrees_of_freedom * variance) / total
    return ModeratedSpread(spread=math.sqrt(shrunk), degrees_of_freedom=total)
