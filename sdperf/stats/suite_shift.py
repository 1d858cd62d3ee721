"""Finds what all cases of a session have in common: a warm day, another OS build, a new torch."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FEWEST_CASES_TO_SHARE: Final = 5
"""Fewest cases: with fewer, the change of one case could pass for a shift of all."""


@dataclass(frozen=True)
class SuiteShift:
    """The part of each session that all its cases share, and the rest of each case.

    Attributes:
        history: ``(K,)`` log shift of each accepted session; their mean is 0.
        current: Log shift of the current session against the accepted ones.
        adjusted_history: ``(K, C)`` log medians without their session's shift; NaN where absent.
        adjusted_current: ``(C,)`` log medians without the current shift; NaN where absent.
    """

    history: NDArray[np.float64]
    current: float
    adjusted_history: NDArray[np.float64]
    adjusted_current: NDArray[np.float64]


def compute_suite_shift(
    history: NDArray[np.float64], current: NDArray[np.float64]
) -> SuiteShift | None:
    """Split log medians into session shift and case, ``y[k, c] = m[c] + g[k] + rest``.

    The shift is a median over cases, so up to half of the cases may change without moving it much.
    A change that affects most cases equally becomes the shift, so the shift needs a separate limit.

    Args:
        history: ``(K, C)`` log seconds, one row per session, NaN where a session lacks the case.
        current: ``(C,)`` log seconds, NaN where the session lacks the case.

    Returns:
        The split; ``None`` where a session shares fewer than five cases with the others, since a
        shift then cannot be told from the change of one case.

    Raises:
        ValueError: The shapes do not fit.

    Source: Tukey's median polish (1977), means over sessions and medians over cases.
    """
    if history.ndim != 2 or current.shape != history.shape[1:]:
        raise ValueError(f"shapes {history.shape} and {current.shape} do not fit")
    shared = np.isfinite(history).sum(axis=0) > 0
    counts = [int((np.isfinite(row) & shared).sum()) for row in [*history, current]]
    if history.shape[0] == 0 or min(counts) < FEWEST_CASES_TO_SHARE:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a case that no session has: mean is NaN
        shifts = np.zeros(history.shape[0])
        for _ in range(20):
            means = np.nanmean(history - shifts[:, None], axis=0)
            step = np.nanmedian(history - means, axis=1) - shifts
            step -= step.mean()
            shifts += step
            if np.abs(step).max() < 1e-9:
                break
        means = np.nanmean(history - shifts[:, None], axis=0)
        current_shift = float(np.nanmedian(current - means))
    return SuiteShift(
        history=shifts,
        current=current_shift,
        adjusted_history=history - shifts[:, None],
        adjusted_current=current - current_shift,
    )
