"""Learns from the accepted sessions of all cases how much heavier than normal the tails are.

Sixty cases and eight sessions contain 480 small experiments in which nothing changed: each session
of each case against the other sessions of that case. Where the normal distribution calls the
current session one in ten thousand, they tell whether this machine makes such sessions more often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

RECIPROCALS: Final = (0.0, *(step / 50 for step in range(1, 21)))
"""Values of 1 / degrees of freedom: 0 is normal, 0.4 is close to an infinite variance."""

NORMAL_SHARE: Final = 0.5
"""Prior probability that the tails are normal ..."""

HEAVY_MEAN: Final = 0.15
"""... and if not, 1 / degrees of freedom is exponential with this mean (cut at 0.4)."""


@dataclass(frozen=True)
class TailShape:
    """A mixture of Student's t distributions, all of variance 1.

    Attributes:
        weights: Weight of each of `RECIPROCALS`; they add up to 1.
    """

    weights: tuple[float, ...]

    def compute_tails(self, scores: ArrayLike) -> NDArray[np.float64]:
        """Compute the chance of exceeding each score when nothing was changed.

        Args:
            scores: Normal scores, any shape.

        Source: posterior predictive probability; ``scipy.special.stdtr``.
        """
        from scipy.special import ndtr, stdtr

        values = np.asarray(scores, dtype=np.float64)
        tails = self.weights[0] * np.asarray(ndtr(-values))
        for reciprocal, weight in zip(RECIPROCALS[1:], self.weights[1:], strict=True):
            if weight > 1e-7:
                tails = tails + weight * stdtr(1 / reciprocal, -values / _scale(reciprocal))
        return np.minimum(tails, 1.0)


NORMAL: Final = TailShape((1.0, *(0.0,) * (len(RECIPROCALS) - 1)))


def fit_tail_shape(scores: Sequence[float] | NDArray[np.float64]) -> TailShape:
    """Weigh each shape by how well it explains the scores of unchanged sessions.

    Few scores tell little about tails: then about half the weight stays on heavy tails, and
    p-values are larger than the normal ones.

    Args:
        scores: Normal scores of held-out sessions; without scores the result is the prior.

    Raises:
        ValueError: A score is not finite.

    Source: Bayes' rule on a grid; an empirical null as in Efron (2004), with the t family of Lange,
        Little and Taylor (1989).
    """
    values = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError("scores are finite")
    prior = np.array([math.exp(-reciprocal / HEAVY_MEAN) for reciprocal in RECIPROCALS])
    prior[0] = 0.0
    prior *= (1 - NORMAL_SHARE) / prior.sum()
    prior[0] = NORMAL_SHARE
    fits = np.array([_log_likelihood(values, reciprocal) for reciprocal in RECIPROCALS])
    weights = prior * np.exp(fits - fits.max())
    return TailShape(tuple((weights / weights.sum()).tolist()))


def compute_normal_scores(t: ArrayLike, degrees_of_freedom: ArrayLike) -> NDArray[np.float64]:
    """Turn values of Student's t into the normal values of the same upper tail.

    Args:
        t: Values of Student's t, any shape.
        degrees_of_freedom: Broadcasts with ``t``; ``inf`` leaves a value as it is.

    Source: ``scipy.special.ndtri`` and ``stdtr`` of the smaller tail, accurate far out.
    """
    from scipy.special import ndtr, ndtri, stdtr

    values, dfs = np.broadcast_arrays(
        np.asarray(t, dtype=np.float64), np.asarray(degrees_of_freedom, dtype=np.float64)
    )
    finite = np.isfinite(dfs)
    beyond = -np.abs(values)
    tails = np.where(finite, stdtr(np.where(finite, dfs, 1.0), beyond), ndtr(beyond))
    scores: NDArray[np.float64] = -ndtri(np.maximum(tails, 1e-300)) * np.sign(values)
    return scores


def _log_likelihood(values: NDArray[np.float64], reciprocal: float) -> float:
    if reciprocal == 0:
        return float(-0.5 * np.sum(values**2)) - values.size * 0.5 * math.log(2 * math.pi)
    df, scale = 1 / reciprocal, _scale(reciprocal)
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2)
    constant -= 0.5 * math.log(df * math.pi) + math.log(scale)
    bends = np.log1p((values / scale) ** 2 / df)
    return values.size * constant - (df + 1) / 2 * float(np.sum(bends))


def _scale(reciprocal: float) -> float:
    """Return the factor that gives Student's t a variance of 1."""
    return math.sqrt(1 - 2 * reciprocal)
