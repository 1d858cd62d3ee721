"""Finds where the level of a series changed, by how much, and from which cause. Pure.

A change of level need not be a change of the code. The same commit may have both levels, torch may
have been updated, or the level may have lasted a day: each has its own cause.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from sdperf.judging.trend.causes import Cause, TrendChange, explain_changes, find_updates
from sdperf.judging.trend.points import Metric, TrendPoint
from sdperf.stats.change_points import Segmentation, compute_level_difference, segment_series
from sdperf.stats.suite_shift import FEWEST_CASES_TO_SHARE, compute_suite_shift

ANCHOR_RUNS: Final = 10
"""How many first runs form the anchor of a series; the anchor never moves."""

FEWEST_ANCHOR_RUNS: Final = 5
FEWEST_RECENT_RUNS: Final = 3
CREEP_ALPHA: Final = 0.001
"""Chance that noise alone is reported as a creep, per series and direction."""

CREEP_FACTOR: Final = 3
"""A creep has to be this many times the smallest change that is reported."""

ALL_CASES: Final = "all cases together"


@dataclass(frozen=True)
class Creep:
    """The latest runs compared with the anchor.

    Attributes:
        drift: Latest level less the anchor's, on the metric's scale.
        lower: Lower end of its 95 % interval.
        upper: Upper end of its 95 % interval.
        unexplained: The part of the drift that no change of level explains.
        is_significant: Whether that part is for the worse, above noise and above the smallest
            change of the metric that is reported.
        anchor_runs: How many runs the anchor has.
        recent_runs: How many latest runs are compared with the anchor.
        anchor_ends: The last run of the anchor.
    """

    drift: float
    lower: float
    upper: float
    unexplained: float
    is_significant: bool
    anchor_runs: int
    recent_runs: int
    anchor_ends: TrendPoint


@dataclass(frozen=True)
class Trend:
    """One series with its changes of level.

    Attributes:
        case: Test id, or `ALL_CASES`.
        machine: The machine without its software.
        metric: What was measured.
        points: The runs that were looked at, in order of time.
        values: The searched values, on the metric's scale without the part that all cases share;
            NaN where a run does not count. For `ALL_CASES`, the shared part itself.
        levels: The level at each point, on the same scale; NaN where nothing was searched.
        changes: The changes of level, in order of time.
        updates: Positions at which the environment differs from the point before, with words.
        creep: The latest runs against the anchor; ``None`` where there are too few runs.
        spread: Noise of one run, on the metric's scale; ``None`` where there are too few runs.
        is_adjusted: Whether the part that all cases share was taken out.
    """

    case: str
    machine: str
    metric: Metric
    points: tuple[TrendPoint, ...]
    values: tuple[float, ...]
    levels: tuple[float, ...]
    changes: tuple[TrendChange, ...]
    updates: tuple[tuple[int, str], ...]
    creep: Creep | None
    spread: float | None
    is_adjusted: bool

    @property
    def is_worse(self) -> bool:
        """Whether the latest change of the code was for the worse, or a creep was found."""
        code = [one for one in self.changes if one.cause is Cause.CODE]
        crept = self.creep is not None and self.creep.is_significant
        return crept or (bool(code) and code[-1].change.effect * self.metric.worse > 0)


def analyse_machine(
    series: Mapping[str, Sequence[TrendPoint]],
    machine: str,
    metric: Metric,
    window: int,
    *,
    only: Collection[str] | None = None,
) -> list[Trend]:
    """Read all series of one machine together.

    What all cases of a run have in common (a warm day, another build of the system, a change that
    affects all of them) is taken out of each case and read as a separate series, where enough cases
    share their runs.

    Args:
        series: Points of each case, in order of time: the first ones, and the latest.
        machine: The machine.
        metric: What was measured.
        window: How many of the latest are searched; of those before, the first are the anchor.
        only: Cases to read; what all cases share is computed from all of them.

    Returns:
        The series of what all cases share, where it is known, then the series of each case.
    """
    shifts = _compute_shifts(series, metric) if metric.name == "seconds" else {}
    trends = []
    if shifts:
        shared = _share_points(series, shifts)
        values = [shifts[point.run] for point in shared]
        trends.append(analyse_series(ALL_CASES, machine, metric, shared, values, window))
    for case, points in series.items():
        if only is not None and case not in only:
            continue
        values = [
            metric.scale(point.value) - shifts.get(point.run, 0.0)
            if point.disturbance is None
            else math.nan
            for point in points
        ]
        trend = analyse_series(case, machine, metric, points, values, window)
        trends.append(dataclasses.replace(trend, is_adjusted=bool(shifts)))
    return trends


def analyse_series(
    case: str,
    machine: str,
    metric: Metric,
    points: Sequence[TrendPoint],
    values: Sequence[float],
    window: int,
) -> Trend:
    """Read one series.

    Args:
        case: Its name.
        machine: The machine.
        metric: What was measured.
        points: In order of time: the first ones, and the latest.
        values: The values to search, on the metric's scale; NaN where a run does not count.
        window: How many of the latest are searched.

    Raises:
        ValueError: Points and values do not fit.
    """
    if len(points) != len(values):
        raise ValueError(f"{len(points)} points and {len(values)} values do not fit")
    cut = max(len(points) - window, 0)
    earlier = [value for value in values[:cut] if math.isfinite(value)]
    first = [point for point, value in zip(points, values, strict=True) if math.isfinite(value)]
    points, values = points[cut:], values[cut:]
    used = [index for index, value in enumerate(values) if math.isfinite(value)]
    counting = [values[index] for index in used]
    levels = [math.nan] * len(points)
    changes: list[TrendChange] = []
    found = None
    if counting:
        found = segment_series(
            counting, spread_floor=metric.spread_floor, smallest_effect=metric.smallest
        )
        for segment, level in enumerate(found.levels):
            for position in range(*found.slice(segment, len(used)).indices(len(used))):
                levels[used[position]] = level
        changes = explain_changes(found, [points[index] for index in used], used)
    return Trend(
        case=case,
        machine=machine,
        metric=metric,
        points=tuple(points),
        values=tuple(values),
        levels=tuple(levels),
        changes=tuple(changes),
        updates=tuple(find_updates(points)),
        creep=None if found is None else _measure_creep(found, counting, metric, earlier, first),
        spread=None if found is None or len(counting) < 3 else found.spread,
        is_adjusted=False,
    )


def _compute_shifts(series: Mapping[str, Sequence[TrendPoint]], metric: Metric) -> dict[int, float]:
    """Return what all cases of a run share, by run, for runs with enough cases that count."""
    rows: dict[int, dict[str, float]] = {}
    when: dict[int, datetime] = {}
    for case, points in series.items():
        for point in points:
            if point.disturbance is None:
                rows.setdefault(point.run, {})[case] = metric.scale(point.value)
                when[point.run] = point.measured_at
    runs = sorted(rows, key=lambda run: (when[run], run))
    runs = [run for run in runs if len(rows[run]) >= FEWEST_CASES_TO_SHARE]
    if len(runs) < 2:
        return {}
    table = np.array([[rows[run].get(case, math.nan) for case in series] for run in runs])
    table = table[:, np.isfinite(table).sum(axis=0) > 1]
    shift = compute_suite_shift(table[:-1], table[-1])
    if shift is None:
        return {}
    return dict(zip(runs, [*shift.history.tolist(), shift.current], strict=True))


def _share_points(
    series: Mapping[str, Sequence[TrendPoint]], shifts: Mapping[int, float]
) -> list[TrendPoint]:
    """Make the points of the shared part: a factor on the seconds of all cases."""
    found: dict[int, TrendPoint] = {}
    for points in series.values():
        for point in points:
            if point.run in shifts and point.disturbance is None:
                found.setdefault(
                    point.run,
                    TrendPoint(
                        run=point.run,
                        measured_at=point.measured_at,
                        commit=point.commit,
                        value=math.exp(shifts[point.run]),
                        environment=point.environment,
                    ),
                )
    return sorted(found.values(), key=lambda point: (point.measured_at, point.run))


def _measure_creep(
    found: Segmentation,
    values: Sequence[float],
    metric: Metric,
    earlier: Sequence[float],
    first: Sequence[TrendPoint],
) -> Creep | None:
    """Compare the latest runs with the first ones.

    Args:
        found: The levels of the runs that were searched.
        values: Those runs.
        metric: What was measured.
        earlier: Runs from before them, which are the anchor where they are enough.
        first: All runs that count.
    """
    borders = [change.index for change in found.changes]
    anchor = list(earlier[:ANCHOR_RUNS])
    if len(anchor) < FEWEST_ANCHOR_RUNS:
        anchor = [*earlier, *values[: borders[0] if borders else None]][:ANCHOR_RUNS]
    recent = list(values[max([len(values) - ANCHOR_RUNS, len(anchor), *borders[-1:]]) :])
    if len(anchor) < FEWEST_ANCHOR_RUNS or len(recent) < FEWEST_RECENT_RUNS:
        return None
    drift, lower, upper = compute_level_difference(
        anchor, recent, found.spread, found.autocorrelation
    )
    _, least, most = compute_level_difference(
        anchor, recent, found.spread, found.autocorrelation, confidence=1 - 2 * CREEP_ALPHA
    )
    explained = math.fsum(change.effect for change in found.changes)
    surely = least - explained if metric.worse > 0 else explained - most
    unexplained = drift - explained
    return Creep(
        drift=drift,
        lower=lower,
        upper=upper,
        unexplained=unexplained,
        is_significant=surely > 0 and unexplained * metric.worse >= CREEP_FACTOR * metric.smallest,
        anchor_runs=len(anchor),
        recent_runs=len(recent),
        anchor_ends=first[len(anchor) - 1],
    )
