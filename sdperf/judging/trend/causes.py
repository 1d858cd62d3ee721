"""The cause of a change of level: the code, an update, the machine, a single day. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Final

from sdperf.judging.trend.points import TrendPoint
from sdperf.stats.change_points import ChangePoint, Segmentation

A_DAY: Final = timedelta(hours=24)


class Cause(Enum):
    """What changed together with the level."""

    CODE = "code"
    """Only the commit changed: it was the code, as far as this history can tell."""
    ENVIRONMENT = "environment"
    """The system or a package was updated; the code may have changed too."""
    MACHINE = "machine"
    """Neither changed: the same commit was measured on both levels."""
    PASSING = "passing"
    """The level came and went within a day."""


@dataclass(frozen=True)
class TrendChange:
    """One change of level and its cause.

    Attributes:
        change: Where and how much, as positions in `Trend.points`.
        cause: What changed at the same time.
        reason: The cause in words.
        after: The last run that surely was on the old level.
        until: The first run that surely was on the new level.
        is_fresh: Whether all runs since are of one day, so that a warm day may be the cause.
    """

    change: ChangePoint
    cause: Cause
    reason: str
    after: TrendPoint
    until: TrendPoint
    is_fresh: bool


def explain_changes(
    found: Segmentation, points: Sequence[TrendPoint], used: Sequence[int]
) -> list[TrendChange]:
    """Find the cause of each change of level.

    Args:
        found: The levels.
        points: The runs that were searched, in order of time.
        used: Position of each of them among all runs.
    """
    changes = []
    for number, change in enumerate(found.changes):
        start = found.changes[number - 1].index if number else 0
        following = found.changes[number + 1 : number + 2]
        stop = following[0].index if following else len(points)
        before = points[start : max(change.earliest, start + 1)]
        after = points[min(change.latest, stop - 1) : stop]
        cause, reason = _find_cause(found, number, points, before, after)
        first, last = points[change.index], points[-1]
        changes.append(
            TrendChange(
                change=ChangePoint(
                    index=used[change.index],
                    earliest=used[change.earliest],
                    latest=used[change.latest],
                    effect=change.effect,
                    lower=change.lower,
                    upper=change.upper,
                ),
                cause=cause,
                reason=reason,
                after=points[max(change.earliest - 1, 0)],
                until=points[change.latest],
                is_fresh=not following and last.measured_at - first.measured_at < A_DAY,
            )
        )
    return changes


def _find_cause(
    found: Segmentation,
    number: int,
    points: Sequence[TrendPoint],
    before: Sequence[TrendPoint],
    after: Sequence[TrendPoint],
) -> tuple[Cause, str]:
    both = _find_same_commit(before, after)
    differing = _list_differences(before, after)
    if differing:
        code = (
            f"commit {both[:12]} was measured on both levels"
            if both is not None
            else "the code may have changed too; sdperf ab tells the two apart"
        )
        return Cause.ENVIRONMENT, f"{', '.join(differing)}; {code}"
    passed = _describe_passing(found, number, points)
    if passed is not None:
        return Cause.PASSING, passed
    if both is not None:
        return (
            Cause.MACHINE,
            f"commit {both[:12]} was measured on both levels: not the code, and nothing that is "
            "recorded of the environment",
        )
    return Cause.CODE, "no update came with it"


def _list_differences(before: Sequence[TrendPoint], after: Sequence[TrendPoint]) -> list[str]:
    """List fields with one value in all runs of the old level and another in all new runs."""
    names = sorted(set(before[-1].environment) & set(after[0].environment))
    differing = []
    for name in names:
        old = {point.environment.get(name) for point in before}
        new = {point.environment.get(name) for point in after}
        if not old & new:
            differing.append(
                f"{name} {before[-1].environment[name]} -> {after[0].environment[name]}"
            )
    return differing


def _find_same_commit(before: Sequence[TrendPoint], after: Sequence[TrendPoint]) -> str | None:
    """Return a clean commit that was measured on both levels."""
    clean = [
        {point.commit for point in side if point.commit and not point.commit.endswith("-dirty")}
        for side in (before, after)
    ]
    return max(clean[0] & clean[1], default=None)


def _describe_passing(found: Segmentation, number: int, points: Sequence[TrendPoint]) -> str | None:
    """Say so where a level came and went within a day."""
    changes = found.changes
    for first, second in ((number, number + 1), (number - 1, number)):
        if first < 0 or second >= len(changes):
            continue
        came, went = changes[first], changes[second]
        rest = came.effect + went.effect
        back = abs(rest) < max(abs(came.effect) / 3, 2 * found.spread / math.sqrt(3))
        inside = points[came.index : went.index]
        if came.effect * went.effect < 0 and back:
            lasted = inside[-1].measured_at - inside[0].measured_at
            if lasted < A_DAY:
                return f"{len(inside)} runs of {inside[0].measured_at:%Y-%m-%d}; over since"
    return None


def find_updates(points: Sequence[TrendPoint]) -> list[tuple[int, str]]:
    """Return each position at which the environment differs from the run before, with words."""
    updates = []
    for index in range(1, len(points)):
        old, new = points[index - 1].environment, points[index].environment
        if old is new:
            continue
        words = [
            f"{name} {old[name]} -> {new[name]}"
            for name in sorted(set(old) & set(new))
            if old[name] != new[name]
        ]
        if words:
            updates.append((index, ", ".join(words)))
    return updates
