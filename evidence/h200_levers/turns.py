"""Turns of several sides, and what is made of their seconds; no torch here."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sdperf.measure.clock import monotonic_clock
from sdperf.stats.summaries import compute_median_interval

FEWEST_TURNS: Final = 3
TENTH: Final = 10


def take_turns(
    sides: Mapping[str, Callable[[int], float]],
    seconds: float,
    note: Callable[[str, float], None],
    clock: Callable[[], float] = monotonic_clock,
    most: int | None = None,
) -> int:
    """Let sides take turns until the time is over; each second turn in the other order.

    Args:
        sides: By name, what takes the turn's number and returns its seconds per image.
        seconds: How long; three turns are made in any case.
        note: Told of each figure.
        clock: Returns seconds.
        most: Turns after which it ends in any case.

    Returns:
        Turns that were made.
    """
    end_s = clock() + seconds
    turn = 0
    longest_s = 0.0
    while turn < FEWEST_TURNS or (turn != most and clock() + longest_s < end_s):
        start_s = clock()
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            note(name, sides[name](turn))
        longest_s = max(longest_s, clock() - start_s)
        turn += 1
    return turn


def summarise(
    plain_s: Sequence[float], side_s: Sequence[float], plain_first_s: float, first_s: float
) -> dict[str, Any]:
    """Make figures of the turns of the plain side and of another.

    Args:
        plain_s: Seconds per image of the plain side, one a turn.
        side_s: The same of the other, of as many turns.
        plain_first_s: Seconds of the plain side's first call.
        first_s: Of the other's.
    """
    ratios = [plain / own for plain, own in zip(plain_s, side_s, strict=True)]
    interval = compute_median_interval(ratios)
    median_s, plain_median_s = statistics.median(side_s), statistics.median(plain_s)
    return {
        "seconds_per_image": round(median_s, 4),
        "gain": round(statistics.median(ratios), 3),
        "gain_interval": [round(interval.lower, 3), round(interval.upper, 3)],
        "gain_coverage": round(interval.coverage, 3),
        "turns": len(ratios),
        "first_call_s": round(first_s, 2),
        "until_tenth_image_s": round(first_s + (TENTH - 1) * median_s, 2),
        "pays_from_image": find_break_even(plain_first_s, plain_median_s, first_s, median_s),
    }


def find_break_even(
    plain_first_s: float, plain_s: float, first_s: float, own_s: float
) -> int | None:
    """Return the picture from which on a set has taken less time in all; ``None`` is never.

    Args:
        plain_first_s: Seconds of the plain pipeline's first picture.
        plain_s: Seconds of each picture after it.
        first_s: Seconds of the set's first picture.
        own_s: Seconds of each picture after it.

    >>> find_break_even(2.0, 1.5, 32.0, 0.5)
    31
    """
    if first_s <= plain_first_s:
        return 1
    if own_s >= plain_s:
        return None
    more = (first_s - plain_first_s) / (plain_s - own_s)
    return 1 + int(-(-more // 1))
