"""Finds a jump within the rounds of one process: the machine changed speed while measuring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

SMALLEST_STEP_LOG: Final = math.log(1.10)
"""Smallest jump that is reported: smaller ones cannot be told from noise (10 %)."""

FEWEST_ROUNDS_A_SIDE: Final = 2


def has_step(rounds_s: Sequence[float]) -> bool:
    """Tell whether all rounds up to some point are 10 % or more away from all rounds after it.

    Throttling that sets in or ends between two rounds leaves such a step; a slower program does
    not. A step that falls on the border between two cases leaves none.

    Args:
        rounds_s: Seconds of the rounds in order of measurement, all positive.

    Raises:
        ValueError: A duration is not positive and finite.
    """
    if not all(0 < duration < math.inf for duration in rounds_s):
        raise ValueError("durations are positive and finite")
    logs = [math.log(duration) for duration in rounds_s]
    for cut in range(FEWEST_ROUNDS_A_SIDE, len(logs) - FEWEST_ROUNDS_A_SIDE + 1):
        before, after = logs[:cut], logs[cut:]
        gap = max(min(after) - max(before), min(before) - max(after))
        if gap >= SMALLEST_STEP_LOG:
            return True
    return False
