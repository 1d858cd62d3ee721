"""Which cases differ from their accepted sessions by more than chance explains? Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sdperf.judging.suite_estimate import SuiteEstimate
from sdperf.stats.multiple import place_bars
from sdperf.stats.tail_shape import compute_normal_scores


@dataclass(frozen=True)
class Significant:
    """The cases that differ by more than chance; the suite-wide shift has the name ``None``.

    Attributes:
        slower: Names of cases above their bar.
        faster: Names of cases as far below it.
    """

    slower: frozenset[str | None]
    faster: frozenset[str | None]


def find_significant(estimate: SuiteEstimate, budget: float) -> Significant:
    """Compare every case with its bar and the shift against its share.

    Cases with two modes or too few sessions have no bar and are never significant.

    Args:
        estimate: All cases of the session.
        budget: Chance that an unchanged suite has such a case, for each direction by itself.
    """
    judged = [
        (case.data.case, case.rise_log, case.interval, math.log1p(case.data.max_slowdown))
        for case in estimate.cases
        if case.interval is not None and case.rise_log is not None and case.modes is None
    ]
    share = budget / (len(judged) + 1)
    errors = np.array([interval.standard_error for _, _, interval, _ in judged])
    dfs = np.array([interval.degrees_of_freedom for _, _, interval, _ in judged])
    bars = place_bars(
        [limit for *_, limit in judged],
        errors.tolist(),
        lambda rises: estimate.tails.compute_tails(compute_normal_scores(rises / errors, dfs)),
        budget - share,
    )
    slower: set[str | None] = set()
    faster: set[str | None] = set()
    for (name, rise, _, _), bar in zip(judged, bars, strict=True):
        if rise > bar:
            slower.add(name)
        elif rise < -bar:
            faster.add(name)
    shift = estimate.shift
    if shift is not None:
        if shift.slower_p_value is not None and shift.slower_p_value <= share:
            slower.add(None)
        if shift.faster_p_value is not None and shift.faster_p_value <= share:
            faster.add(None)
    return Significant(frozenset(slower), frozenset(faster))
