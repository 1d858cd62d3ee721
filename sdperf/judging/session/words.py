"""Sentences that several judges of a session share. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from sdperf.judging.suite_estimate import FEWEST_SESSIONS
from sdperf.units import format_quantity


def count_held(
    sessions: Sequence[tuple[Collection[str], Collection[str]]], names: Iterable[str] | None = None
) -> tuple[int, ...]:
    """Count for each case the sessions of its present level that hold it.

    >>> count_held([(["a", "b"], []), (["a", "b"], ["b"])])
    (2, 1)

    Args:
        sessions: The cases of each session, and those whose earlier history it ends; oldest first.
        names: The cases; those of the latest session where none are given. A case that no session
            holds is left out.
    """
    if names is None:
        names = sessions[-1][0] if sessions else ()
    held = []
    for name in names:
        counting = 0
        for cases, level_changed in sessions:
            counting = (0 if name in level_changed else counting) + (name in cases)
        held.append(counting)
    return tuple(filter(None, held))


def count_short(held: Sequence[int]) -> str:
    """Name the cases that have too few sessions; empty where all of them or none has.

    >>> count_short([1, 5, 7]), count_short([1, 2]), count_short([5])
    ('1 of 3 cases', '', '')
    """
    short = sum(one < FEWEST_SESSIONS for one in held)
    if short in (0, len(held)):
        return ""
    return f"{short} of {format_quantity(len(held), 'case')}"


def describe_fewest(count: int, held: Sequence[int]) -> str:
    """Say for how many cases how few of the sessions count; empty where enough or all count.

    >>> describe_fewest(2, [1, 2, 2])
    ', of which 1 counts for 1 of 3 cases'
    >>> describe_fewest(6, [2, 2]), describe_fewest(9, [7, 9])
    (', of which 2 count', '')
    """
    fewest = min(held, default=count)
    if fewest >= min(count, FEWEST_SESSIONS):
        return ""
    those = held.count(fewest)
    counts = "counts" if fewest == 1 else "count"
    where = "" if those == len(held) else f" for {those} of {format_quantity(len(held), 'case')}"
    return f", of which {fewest} {counts}{where}"


def format_sessions_missing(count: int, held: Sequence[int] = ()) -> str:
    """Say how far the accepted sessions are from binding.

    >>> format_sessions_missing(3)
    '3 accepted sessions, 2 more until the statistical gate binds'
    >>> format_sessions_missing(2, [1, 1])
    '2 accepted sessions, of which 1 counts, 4 more until the statistical gate binds'

    Args:
        count: The accepted sessions of the machine.
        held: How many of them count for each case; without any, all count.
    """
    accepted = f"{format_quantity(count, 'accepted session')}{describe_fewest(count, held)}"
    missing = FEWEST_SESSIONS - min(held, default=count)
    if missing <= 0:
        return f"{accepted}, the statistical gate binds"
    for_all = " for all" if count_short(held) else ""
    return f"{accepted}, {missing} more until the statistical gate binds{for_all}"
