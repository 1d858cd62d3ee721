"""Do some rounds take far longer than the others? What a median cannot see. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome
from sdperf.stats.summaries import compute_quantile
from sdperf.units import format_change

GATE: Final = "tail"
FEWEST_ROUNDS: Final = 20
"""With twenty rounds, one in ten slow shows in two of them, and p95 is above the next slowest."""

DEFAULT_MAX_TAIL: Final = 0.25
REPEATS: Final = 1
QUANTILE: Final = 0.95


@dataclass(frozen=True)
class Tail:
    """The slow end of a session's rounds, relative to its median.

    Attributes:
        p95: Quantile 0.95 over the median.
        worst: The slowest round over the median.
        rounds: How many there were.
    """

    p95: float
    worst: float
    rounds: int


def compute_tail(rounds_s: Sequence[float]) -> Tail:
    """Compute the slow end of rounds; at least one.

    Relative to their own median: a case that is slower as a whole is the latency gate's affair.
    """
    median_s = statistics.median(rounds_s)
    return Tail(
        compute_quantile(sorted(rounds_s), QUANTILE) / median_s,
        max(rounds_s) / median_s,
        len(rounds_s),
    )


def has_tail(measurement: Measurement) -> bool:
    """Tell whether a case has rounds enough for its tail to be judged."""
    return len(measurement.rounds_s) >= FEWEST_ROUNDS


def judge_tail(
    rounds_s: Sequence[float],
    history: Sequence[Measurement | None],
    max_tail: float = DEFAULT_MAX_TAIL,
    repeats: Sequence[Sequence[float]] | None = None,
) -> Finding | None:
    """Judge the slow end of a case's rounds against that of the compared sessions.

    SLOWER when p95 over the median is above the largest of all compared sessions by more than the
    limit, the worst round is above theirs too, and so again in a fresh process.

    Args:
        rounds_s: Seconds of the current rounds.
        history: The compared sessions; those with too few rounds do not count.
        max_tail: Tolerated growth of p95 over the median, as a fraction.
        repeats: Rounds of the same case in fresh processes; ``None`` judges without.

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
    if not _is_longer(now, p95, worst, max_tail):
        return Finding(Outcome.PASS, GATE, seen)
    limit = f"limit {format_change(1 + max_tail)}"
    step = "look at what happens now and then: garbage collection, synchronising, growing caches"
    tails = [compute_tail(one) for one in repeats or ()]
    if all(_is_longer(one, p95, worst, max_tail) for one in tails):
        again = "".join(f"; again {one.p95:.2f} in a fresh process" for one in tails)
        return Finding(Outcome.SLOWER, GATE, f"{seen}, {limit}{again}", step)
    again = ", ".join(f"{one.p95:.2f}" for one in tails)
    return Finding(Outcome.PASS, GATE, f"{seen}; it did not repeat in a fresh process ({again})")


def _is_longer(now: Tail, p95: float, worst: float, max_tail: float) -> bool:
    return now.p95 > p95 * (1 + max_tail) and now.worst > worst
