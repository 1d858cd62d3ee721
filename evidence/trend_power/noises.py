"""Series of log seconds in which nothing changed, and such in which one thing did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def draw_gaussian(count: int, rng: np.random.Generator) -> Array:
    """Independent and normal."""
    return rng.normal(size=count)


def draw_spikes(count: int, rng: np.random.Generator) -> Array:
    """Normal, and 4 % of the runs 5 to 15 standard deviations slower."""
    struck = rng.random(count) < 0.04
    return rng.normal(size=count) + struck * rng.uniform(5, 15, count)


def draw_heavy_tails(count: int, rng: np.random.Generator) -> Array:
    """Student's t with 3 degrees of freedom, scaled to a standard deviation of 1."""
    return rng.standard_t(3, count) / np.sqrt(3)


def draw_skewed(count: int, rng: np.random.Generator) -> Array:
    """Lognormal (sigma 0.6), centred and scaled: slow runs are far, fast ones near."""
    raw = rng.lognormal(0, 0.6, count)
    mean, variance = np.exp(0.18), (np.exp(0.36) - 1) * np.exp(0.36)
    return np.asarray((raw - mean) / np.sqrt(variance))


def make_autocorrelated(phi: float) -> Callable[[int, np.random.Generator], Array]:
    """Normal, each run correlated with the one before it."""

    def draw(count: int, rng: np.random.Generator) -> Array:
        shocks = rng.normal(size=count) * np.sqrt(1 - phi**2)
        values = np.empty(count)
        values[0] = rng.normal()
        for index in range(1, count):
            values[index] = phi * values[index - 1] + shocks[index]
        return values

    return draw


NOISES: dict[str, Callable[[int, np.random.Generator], Array]] = {
    "gaussian": draw_gaussian,
    "4 % spikes": draw_spikes,
    "heavy tails (t, 3 df)": draw_heavy_tails,
    "skewed (lognormal)": draw_skewed,
    "autocorrelation 0.1": make_autocorrelated(0.1),
    "autocorrelation 0.2": make_autocorrelated(0.2),
    "autocorrelation 0.3": make_autocorrelated(0.3),
}
"""Each of standard deviation 1 but for the spikes."""

CLAIMED = tuple(list(NOISES)[:6])
"""The noises for which at most 1 % of series may show a change; the last is shown beside them."""


def draw_step(before: int, after: int, cv: float, rise: float, rng: np.random.Generator) -> Array:
    """Log seconds of a case that becomes slower by ``rise`` after ``before`` runs."""
    values = rng.normal(size=before + after) * cv
    values[before:] += np.log1p(rise)
    return values
