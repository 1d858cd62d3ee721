"""Exact paired test: did scores drop, over pairs of the same prompt and seed?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

LARGEST_ENUMERATED_PAIRS: Final = 16
RANDOM_FLIPS: Final = 99_999


def compute_sign_flip_p_value(drops: Sequence[float]) -> float:
    """Compute the one-sided p-value that drops this large are random signs.

    If nothing changed, each pair's difference is as likely up as down. For up to 16 pairs all sign
    patterns are enumerated. For more pairs 99,999 random patterns (fixed seed) replace them, which
    is still a valid test. Eight pairs can reach 1/256, six only 1/64.

    Args:
        drops: Baseline score minus current score per (prompt, seed); positive is a loss.

    Returns:
        Share of sign patterns whose sum is at least the observed one, in (0, 1].

    Raises:
        ValueError: There are no pairs, or a difference is not finite.

    Source: Fisher's randomisation test (1935); the +1 of the random version from Phipson and
        Smyth (2010).
    """
    differences = np.asarray(drops, dtype=np.float64)
    if differences.size == 0 or not np.isfinite(differences).all():
        raise ValueError("a paired test needs finite differences")
    largest = float(np.abs(differences).max())
    if largest == 0:
        return 1.0
    differences = differences / largest
    observed = float(differences.sum())
    reached = observed - 1e-9 * differences.size
    if differences.size <= LARGEST_ENUMERATED_PAIRS:
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums + difference, sums - difference])
        return float(np.mean(sums >= reached))
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (RANDOM_FLIPS, differences.size))
    return float((1 + np.sum(signs @ differences >= reached)) / (RANDOM_FLIPS + 1))
