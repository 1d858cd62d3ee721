"""Error control over a family of tests: 60 tests at 5 % each would fail a suite most times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_STEPS: Final = 60


def place_bars(
    limits: Sequence[float],
    errors: Sequence[float],
    compute_tails: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    alpha: float,
) -> tuple[float, ...]:
    """Place a bar for each case, so that an unchanged suite crosses one with chance ``alpha``.

    No bar lies below its limit. Precise cases hardly ever rise above the limit by chance, and so
    use almost nothing of ``alpha``; noisy cases get the rest. Equal shares, as Bonferroni has them,
    would leave the share of the precise cases unused.

    Args:
        limits: Rise of each case below which it is never reported, log units, positive.
        errors: Standard error of each rise, log units, positive.
        compute_tails: Takes one rise per case and returns the chance of exceeding each of them when
            nothing changed.
        alpha: Chance in (0, 1).

    Returns:
        ``limit + m error^2 / (2 limit)`` with the smallest m >= 0 at which the chances add up to
        no more than ``alpha``.

    Raises:
        ValueError: The lengths differ, or a limit, an error or ``alpha`` is out of range.

    Source: Boole's inequality for the error; the form of the bars is the most powerful one of
        Spjotvoll (1972) for normal rises of twice the limit.
    """
    if not len(limits) and not len(errors):
        return ()
    if len(limits) != len(errors) or not 0 < alpha < 1:
        raise ValueError(f"no bars for {len(limits)} limits, {len(errors)} errors, alpha={alpha}")
    least, sigma = np.asarray(limits, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if not (np.isfinite(least) & (least > 0) & np.isfinite(sigma) & (sigma > 0)).all():
        raise ValueError("limits and errors are positive and finite")

    def bars(multiplier: float) -> NDArray[np.float64]:
        raised: NDArray[np.float64] = least + multiplier * sigma**2 / (2 * least)
        return raised

    def is_enough(multiplier: float) -> bool:
        return float(np.sum(compute_tails(bars(multiplier)))) <= alpha

    low, high = 0.0, 1.0
    if is_enough(low):
        return tuple(least.tolist())
    while not is_enough(high) and high < 1e12:
        low, high = high, 4 * high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
        if high - low < 1e-4 * high:
            break
    return tuple(bars(high).tolist())
