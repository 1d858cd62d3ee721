"""Do some rounds take far longer than the others? A median does not show it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.starts import FEWEST_NARROWING
from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.stats.summaries import compute_quantile
from sdperf.units import format_change, format_quantity

GATE: Final = "tail"
FEWEST_ROUNDS: Final = 20
"""Fewest rounds: one slow round in ten shows twice in twenty, and p95 is above the next slowest."""

DEFAULT_MAX_TAIL: Final = 0.5
"""Tolerated growth of p95 over the median, as a fraction, where few sessions are compared."""

NARROWED_MAX_TAIL: Final = 0.25
"""The same with `FEWEST_NARROWING` sessions or more: fewer tell little about how tails vary."""

REPEATS: Final = 2
"""How many fresh processes measure a suspect again; their rounds are judged together."""

QUANTILE: Final = 0.95


@dataclass(frozen=True)
class Tail:
    """The slow end of a session's rounds, relative to its median.

    Attributes:
        p95: Quantile 0.95 over the median.
        worst: The slowest round over the median.
        rounds: How many rounds there were.
    """

    p95: float
    worst: float
    rounds: int


def compute_tail(rounds_s: Sequence[float]) -> Tail:
    """Compute the slow end of one or more rounds.

    It is relative to the median of the rounds: the latency gate judges a case that is slower as a
    whole.
    """
    median_s = statistics.median(rounds_s)
    return Tail(
        compute_quantile(sorted(rounds_s), QUANTILE) / median_s,
        max(rounds_s) / median_s,
        len(rounds_s),
    )


def has_tail(measurement: Measurement) -> bool:
    """Tell whether a case has enough rounds for its tail to be judged."""
    return len(measurement.rounds_s) >= FEWEST_ROUNDS


def judge_tail(
    rounds_s: Sequence[float],
    history: Sequence[Measurement | None],
    max_tail: float = DEFAULT_MAX_TAIL,
    repeats: Sequence[Sequence[float]] | None = None,
) -> Finding | None:
    """Judge the slow end of a case's rounds against that of the compared sessions.

    SLOWER when p95 over the median is above the largest of all compared sessions by more than the
    limit, the worst round is above theirs too, and both repeat in the fresh processes together.

    Args:
        rounds_s: Seconds of the current rounds.
        history: The compared sessions; those with too few rounds do not count.
        max_tail: Tolerated growth of p95 over the median, as a fraction; `FEWEST_NARROWING`
            sessions or more narrow it to `NARROWED_MAX_TAIL`.
        repeats: Seconds of rounds of the same case in fresh processes; ``None`` judges without.

    Returns:
        SLOWER or PASS; ``None`` with too few rounds here or there.
    """
    known = [
        compute_tail(saved.rounds_s) for saved in history if saved is not None and has_tail(saved)
    ]
    if len(rounds_s) < FEWEST_ROUNDS or not known:
        return None
    now = compute_tail(rounds_s)
    p95, worst = max(one.p95 for one in known), max(one.worst for one in known)
    seen = (
        f"p95 {now.p95:.2f} times the median of {now.rounds} rounds, worst {now.worst:.2f} times, "
        f"against at most {p95:.2f} and {worst:.2f} in {len(known)} compared"
    )
    if len(known) >= FEWEST_NARROWING:
        max_tail = min(max_tail, NARROWED_MAX_TAIL)
    if not _is_longer(now, p95, worst, max_tail):
        return Finding(Outcome.PASS, GATE, seen)
    limit = f"limit {format_change(1 + max_tail)}"
    step = "look at what happens now and then: garbage collection, synchronising, growing caches"
    if not repeats:
        return Finding(Outcome.SLOWER, GATE, f"{seen}, {limit}", step)
    fresh = compute_tail(_pool_rounds(repeats))
    again = f"{fresh.p95:.2f} in {format_quantity(fresh.rounds, 'round')} of fresh processes"
    if _is_longer(fresh, p95, worst, max_tail):
        return Finding(Outcome.SLOWER, GATE, f"{seen}, {limit}; again {again}", step)
    return Finding(Outcome.PASS, GATE, f"{seen}; it did not repeat ({again})")


def _pool_rounds(repeats: Sequence[Sequence[float]]) -> list[float]:
    """Join the rounds of several processes, each divided by the median of its process."""
    pooled: list[float] = []
    for rounds_s in repeats:
        median_s = statistics.median(rounds_s)
        pooled += [one_s / median_s for one_s in rounds_s]
    return pooled


def _is_longer(now: Tail, p95: float, worst: float, max_tail: float) -> bool:
    return now.p95 > p95 * (1 + max_tail) and now.worst > worst
