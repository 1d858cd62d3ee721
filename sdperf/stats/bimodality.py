"""Finds two modes among fresh processes: some choose a far slower kernel and keep it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SMALLEST_GAP_LOG: Final = math.log(1.15)
"""Two modes have to differ by this ratio: closer ones cannot be told from noise (15 %)."""

GAP_TO_RANGE: Final = 4.0
"""The gap between two modes exceeds the range within either one by this factor."""


@dataclass(frozen=True)
class Bimodality:
    """Two separate clusters of process medians.

    Attributes:
        fast_s: Median of the fast cluster, seconds.
        slow_s: Median of the slow cluster, seconds.
        slow_share: Share of processes in the slow cluster, in (0, 1).
    """

    fast_s: float
    slow_s: float
    slow_share: float

    @property
    def ratio(self) -> float:
        """Slow over fast, above 1."""
        return self.slow_s / self.fast_s


def detect_bimodality(medians_s: Sequence[float]) -> Bimodality | None:
    """Split process (or session) medians at their widest gap, if it is a real one.

    Two modes are reported where the widest gap is at least 15 % and at least four times the range
    within either side. One slow process of three is reported too, so that more processes are
    measured. A result of ``None`` does not prove a single mode: with a slow share of 40 %, three
    processes all agree in 28 % of sessions, five processes in 9 %.

    Args:
        medians_s: Median seconds of each fresh process, all positive.

    Returns:
        The two modes; ``None`` for one mode, or for fewer than two processes.

    Raises:
        ValueError: A median that is not positive and finite.

    Source: single-linkage clustering cut at the widest gap (Gower and Ross, 1969); the reason is
        pytorch issue 182815, 2-3x slower matrix products in about 40 % of fresh processes.
    """
    if not all(0 < median < math.inf for median in medians_s):
        raise ValueError("medians are positive and finite")
    logs = sorted(math.log(median) for median in medians_s)
    if len(logs) < 2:
        return None
    cut = max(range(1, len(logs)), key=lambda index: logs[index] - logs[index - 1])
    fast, slow = logs[:cut], logs[cut:]
    gap = slow[0] - fast[-1]
    widest_range = max(fast[-1] - fast[0], slow[-1] - slow[0])
    if gap < SMALLEST_GAP_LOG or gap < GAP_TO_RANGE * widest_range:
        return None
    return Bimodality(
        fast_s=math.exp(_middle(fast)),
        slow_s=math.exp(_middle(slow)),
        slow_share=len(slow) / len(logs),
    )


def _middle(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
