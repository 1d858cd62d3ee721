"""Time over many runs: the levels, where they changed, and what changed at the same time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sdperf.judging.machine import ReportedRun
from sdperf.judging.trend.causes import Cause, TrendChange
from sdperf.judging.trend.changes import Trend
from sdperf.judging.trend.points import TrendPoint, flatten_environment
from sdperf.record.verdict import shorten_cases
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.units import UNKNOWN, format_change, format_quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SERIES: Final = 6
FEWEST_RUNS: Final = 5
"""The fewest runs for which a series is drawn."""

_CAUSES: Final = {
    Cause.CODE: "code",
    Cause.ENVIRONMENT: "update",
    Cause.MACHINE: "machine",
    Cause.PASSING: "passing",
}


def list_points(runs: Sequence[ReportedRun]) -> dict[str, list[TrendPoint]]:
    """Turn saved runs of one machine, oldest first, into the series of their cases.

    A run whose record says when it was measured is a point of every case it holds. A case that was
    void, or failed for another reason than its speed, is shown and does not count.
    """
    series: dict[str, list[TrendPoint]] = {}
    for number, run in enumerate(runs):
        try:
            measured_at = datetime.fromisoformat(str(run.run.document.get("datetime")))
        except ValueError:
            continue
        summary = run.run.summary
        void = None if summary is None or summary.void is None else f"void: {summary.void}"
        for name, measured in run.measurements.items():
            where = measured.environment
            flat = flatten_environment(
                {
                    "os_name": where.os_name,
                    "os_version": where.os_version,
                    "os_build": where.os_build,
                    "python": where.python,
                    "packages": where.packages,
                    "variables": where.variables,
                }
            )
            series.setdefault(name, []).append(
                TrendPoint(
                    run=number,
                    measured_at=measured_at,
                    commit=where.commit,
                    value=measured.seconds_per_image,
                    environment=flat,
                    disturbance=void,
                    is_accepted=run.run.is_accepted,
                )
            )
    return {name: points for name, points in series.items() if len(points) >= FEWEST_RUNS}


def select_trends(trends: Sequence[Trend]) -> list[Trend]:
    """Pick the most telling series: what all cases share, then the worse ones, then the changed."""
    drawable = [one for one in trends if sum(map(math.isfinite, one.values)) >= FEWEST_RUNS]
    return sorted(drawable, key=lambda one: (not one.is_worse, not one.changes))[:MOST_SERIES]


def draw_trend(trends: Sequence[Trend]) -> Drawn | None:
    """Draw series with their change points; ``None`` where none has enough runs.

    Args:
        trends: Trends of one machine, from `sdperf.judging.trend.changes.analyse_machine`.
    """
    chosen = select_trends(trends)
    if not chosen:
        return None
    hints: dict[str, str] = {}
    names = shorten_cases(trend.case for trend in chosen)
    with figure_style():
        figure, axes = new_figure(len(chosen), 1, 0.5 + 1.45 * len(chosen))
        for number, (ax, trend) in enumerate(zip(axes, chosen, strict=True)):
            _draw_series(ax, trend, number, names[trend.case], hints)
        axes[-1].set_xlabel("runs, oldest first")
    rows = [_tabulate(trend, change) for trend in trends for change in trend.changes]
    left_out = len(trends) - len(chosen)
    return Drawn(
        name="trend",
        title="Trend with change points",
        caption=(
            "A point is a run, as its distance from the first level. Crosses do not count (the "
            "machine did not hold still). A step is where the level changed, beyond what noise "
            "does in one of a hundred series; only one that came with nothing but other commits is "
            "put down to the code. Ticks at the foot: an update of the system or of a package."
            + (f" {left_out} steadier series are not drawn." if left_out else "")
        ),
        figure=figure,
        table=Table.of(
            ("case", "change", "95 % interval", "between", "cause", "why"),
            tuple(rows) or ((UNKNOWN, "no change of level", *([UNKNOWN] * 4)),),
        ),
        hints=hints,
    )


def _draw_series(ax: Axes, trend: Trend, number: int, name: str, hints: dict[str, str]) -> None:
    first = next((level for level in trend.levels if math.isfinite(level)), 0.0)
    scale = _percent if trend.metric.is_ratio else _plain
    places = range(len(trend.points))
    counting = [i for i in places if math.isfinite(trend.values[i])]
    disturbed = [i for i in places if i not in set(counting)]
    gid = f"trend-{number}"
    runs = format_quantity(len(counting), "run")
    changes = format_quantity(len(trend.changes), "change")
    hints[gid] = f"{trend.case}: {runs}, {changes} of level"
    shown = [scale(trend.values[i], first) for i in counting]
    ax.plot(counting, shown, "o", ms=2.6, color=light("blue-soft"), gid=gid)
    levels = [scale(level, first) if math.isfinite(level) else math.nan for level in trend.levels]
    _draw_levels(ax, trend, levels)
    low, high = min(shown), max(shown)
    room = max(high - low, 2.0)
    ax.set_ylim(low - 0.3 * room, high + 0.55 * room)
    ax.plot(disturbed, [low - 0.15 * room] * len(disturbed), "x", ms=4, color=light("grey"))
    for change in trend.changes:
        _mark_change(ax, trend, change, high + 0.12 * room)
    for place, words in trend.updates:
        gid = f"update-{number}-{place}"
        hints[gid] = words
        ax.plot(place, low - 0.3 * room, "|", ms=14, color=light("violet"), gid=gid)
        ax.annotate(
            words[:48],
            (place, low - 0.3 * room),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6.5,
            color=light("violet"),
        )
    ax.set_title(f"{name}, {'%' if trend.metric.is_ratio else trend.metric.name}", fontsize=8.5)
    ax.set_xlim(-0.8, len(trend.points) - 0.2)
    ax.locator_params(axis="x", integer=True)
    ax.locator_params(axis="y", nbins=4)
    ax.grid(axis="y")
    if trend.creep is not None and trend.creep.is_significant:
        drift = _words(trend, trend.creep.drift)
        ax.annotate(
            f"creep: {drift} since the first {format_quantity(trend.creep.anchor_runs, 'run')}",
            (1, 1),
            xycoords="axes fraction",
            ha="right",
            va="bottom",
            fontsize=7.5,
            color=light("fail"),
        )


def _draw_levels(ax: Axes, trend: Trend, levels: Sequence[float]) -> None:
    borders = [0, *(change.change.index for change in trend.changes), len(levels)]
    for start, end in itertools.pairwise(borders):
        known = [(i, levels[i]) for i in range(start, end) if math.isfinite(levels[i])]
        if known:
            ends = [known[0][0] - 0.5, known[-1][0] + 0.5]
            ax.plot(ends, [known[0][1]] * 2, color=light("ink"), linewidth=1.4)


def _mark_change(ax: Axes, trend: Trend, change: TrendChange, top: float) -> None:
    is_worse = change.change.effect * trend.metric.worse > 0
    is_code = change.cause is Cause.CODE
    role = "fail" if is_code and is_worse else "teal" if is_code else "dim"
    place = change.change.index - 0.5
    ax.axvline(place, color=light(role), linewidth=1.1, linestyle="-" if is_code else (0, (3, 2)))
    ax.annotate(
        f"{_words(trend, change.change.effect)}  {_CAUSES[change.cause]}\n{_range(change)}",
        (place, top),
        xytext=(4, 0),
        textcoords="offset points",
        va="bottom",
        fontsize=7,
        color=light(role),
        annotation_clip=False,
    )


def _tabulate(trend: Trend, change: TrendChange) -> tuple[str, ...]:
    found = change.change
    return (
        trend.case,
        _words(trend, found.effect),
        f"{_words(trend, found.lower)} to {_words(trend, found.upper)}",
        _range(change),
        _CAUSES[change.cause],
        change.reason,
    )


def _range(change: TrendChange) -> str:
    before, after = (one.commit or "unknown" for one in (change.after, change.until))
    return f"{before[:8]}..{after[:8]}"


def _words(trend: Trend, effect: float) -> str:
    return format_change(math.exp(effect)) if trend.metric.is_ratio else f"{effect:+.4g}"


def _percent(value: float, first: float) -> float:
    return 100 * (math.exp(value - first) - 1)


def _plain(value: float, _: float) -> float:
    return value
