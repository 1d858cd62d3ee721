"""A figure of a sweep: time, or the start where none was timed, memory and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sdperf.record.verdict import shorten_case
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.sweep import describe_step, tabulate_points
from sdperf.sweep.judging import SpeedAnswer
from sdperf.sweep.summary import SweepSummary, VersionCurve, VersionPoint
from sdperf.units import format_seconds, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROLES: Final[dict[SpeedAnswer, str]] = {
    "slower": "fail",
    "faster": "teal",
    "same": "blue",
    "open": "grey",
}
_LONGEST_NAME: Final = 14
_MIB: Final = 2**20
_LEAST_SHOWN: Final = 0.05
"""The axis of the pictures reaches at least this far: otherwise small differences look large."""

_LEAST_MEMORY_SHARE: Final = 0.1
"""The axis of memory spans at least this share of the largest peak, for the same reason."""

_MOST_NAMES: Final = 24
"""How many version names fit below the axis; of more, every second or third is named."""

_ABOVE_TIMED: Final = (
    "the time of an image against the anchor with its bounds, which all hold together; a cross is "
    "a version that cannot be measured. Thick lines are steps to the next version beyond the "
    "limit: vermilion is slower, teal is faster."
)
_ABOVE_UNTIMED: Final = (
    "the first call and the load of each version, one figure each and no test; a cross is a "
    "version that cannot be measured. No image was timed."
)
_BELOW: Final = (
    "Below, peak memory, and how far each picture's worst tile is from the version before "
    "(0 is equal)."
)


def draw_sweep(summary: SweepSummary, number: int = 0) -> Drawn | None:
    """Draw the curve of a case; ``None`` where fewer than two versions were measured.

    Where no image was timed, the panel of time is left out and that of first call and load takes
    its place.

    Args:
        summary: The sweep.
        number: Index of the case in the sweep.
    """
    curve = summary.curves[number]
    if sum(point.state == "measured" for point in curve.points) < 2:
        return None
    is_timed = sum(point.change_log is not None for point in curve.points) >= 2
    hints: dict[str, str] = {}
    with figure_style():
        figure, (first, memory, pictures) = new_figure(
            3, 1, 5.4, sharex=True, height_ratios=(3 if is_timed else 2, 1.4, 1.2)
        )
        if is_timed:
            _draw_time(first, curve, hints)
            first.set_ylabel(f"time against\n{shorten(summary.anchor or '', _LONGEST_NAME)}, %")
        else:
            _draw_starts(first, curve.points, hints)
            first.set_ylabel("first call\nand load, s")
        _draw_memory(memory, curve.points)
        _draw_pictures(pictures, curve)
        first.set_title(shorten_case(curve.case), fontsize=8.5)
        memory.set_ylabel("peak, MiB")
        pictures.set_ylabel("1 - worst tile")
        _name_versions(pictures, curve.points)
    return Drawn(
        name=f"sweep-{number + 1}",
        title=f"{summary.question.about}: each version",
        caption=f"Above, {_ABOVE_TIMED if is_timed else _ABOVE_UNTIMED} {_BELOW}",
        figure=figure,
        table=tabulate_points(summary, curve),
        hints=hints,
    )


def _draw_time(ax: Axes, curve: VersionCurve, hints: dict[str, str]) -> None:
    shown: list[float] = [0.0]
    places = {point.name: place for place, point in enumerate(curve.points)}
    for place, point in enumerate(curve.points):
        if point.change_log is None:
            continue
        mean, lower, upper = (
            _percent(end) for end in (point.change_log, point.lower_log, point.upper_log)
        )
        shown += [mean, lower, upper]
        role = "ink" if point.speed is None else _ROLES[point.speed]
        gid = f"version-{place}"
        hints[gid] = f"{point.name}: {mean:+.1f} % ({lower:+.1f} to {upper:+.1f})"
        ax.plot([place, place], [lower, upper], color=light(role), linewidth=1.2)
        ax.plot(place, mean, "o", ms=4, color=light(role), gid=gid)
    for number, step in enumerate(curve.steps):
        ends = [places[step.before], places[step.after]]
        values = [curve.points[place].change_log for place in ends]
        if None in values:
            continue
        heights = [_percent(value) for value in values]
        found = step.found
        if found is None or found.speed not in ("slower", "faster"):
            ax.plot(ends, heights, color=light("rule"), linewidth=0.8, zorder=1)
            continue
        gid = f"step-{number}"
        hints[gid] = describe_step(step)
        ax.plot(ends, heights, color=light(_ROLES[found.speed]), linewidth=1.6, gid=gid)
    _cross_out(ax, curve.points, min(shown) - 0.08 * (max(shown) - min(shown) or 1.0), hints)
    ax.axhline(0, color=light("rule"), linewidth=0.8, zorder=0)
    ax.grid(axis="y")


def _draw_starts(ax: Axes, points: Sequence[VersionPoint], hints: dict[str, str]) -> None:
    """Draw first call and load from 0 on, each where it is known, seconds."""
    series = (("first call", "blue", "first_call_s"), ("load", "teal", "load_s"))
    for name, role, field in series:
        known = [
            (place, float(seconds))
            for place, point in enumerate(points)
            if (seconds := getattr(point.figures, field)) is not None
        ]
        ax.plot(
            [place for place, _ in known],
            [seconds for _, seconds in known],
            "o-",
            ms=3,
            color=light(role),
            linewidth=1,
            label=name,
        )
        for place, seconds in known:
            gid = f"{field}-{place}"
            hints[gid] = f"{points[place].name}: {name} {format_seconds(seconds)}"
            ax.plot(place, seconds, "o", ms=4, color=light(role), gid=gid)
    _cross_out(ax, points, 0.0, hints)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best", fontsize=7, frameon=False)
    ax.grid(axis="y")


def _cross_out(
    ax: Axes, points: Sequence[VersionPoint], height: float, hints: dict[str, str]
) -> None:
    """Mark the versions that cannot be measured by crosses at a height."""
    for place, point in enumerate(points):
        if point.state == "failed":
            gid = f"failed-{place}"
            hints[gid] = f"{point.name} cannot be measured: {shorten(point.reason, 160)}"
            ax.plot(place, height, "x", ms=5, color=light("grey"), gid=gid, clip_on=False)


def _draw_memory(ax: Axes, points: Sequence[VersionPoint]) -> None:
    known = [
        (place, (point.figures.peak_device_bytes or point.figures.peak_rss_bytes or 0) / _MIB)
        for place, point in enumerate(points)
        if point.figures.peak_device_bytes or point.figures.peak_rss_bytes
    ]
    ax.plot(
        [place for place, _ in known],
        [peak for _, peak in known],
        "o-",
        ms=3,
        color=light("violet"),
        linewidth=1,
    )
    if known:
        peaks = [peak for _, peak in known]
        spread = max(max(peaks) - min(peaks), _LEAST_MEMORY_SHARE * max(peaks))
        middle = (max(peaks) + min(peaks)) / 2
        ax.set_ylim(middle - 0.6 * spread, middle + 0.6 * spread)
    ax.locator_params(axis="y", nbins=3)
    ax.grid(axis="y")


def _draw_pictures(ax: Axes, curve: VersionCurve) -> None:
    places = {point.name: place for place, point in enumerate(curve.points)}
    distances = []
    for step in curve.steps:
        if step.found is None or step.found.worst_tile_ssim is None:
            continue
        distance = max(0.0, 1.0 - step.found.worst_tile_ssim)
        distances.append(distance)
        is_far = step.found.pictures in ("changed", "broken")
        place, role = places[step.after], "fail" if is_far else "blue"
        ax.plot([place, place], [0, distance], color=light(role), linewidth=1.2)
        # A point shows equal pictures too, on the axis itself.
        ax.plot(place, distance, "o", ms=4, color=light(role), clip_on=False, zorder=3)
    ax.set_ylim(0, max(_LEAST_SHOWN, 1.05 * max(distances, default=0.0)))
    ax.locator_params(axis="y", nbins=3)
    ax.grid(axis="y")


def _name_versions(ax: Axes, points: Sequence[VersionPoint]) -> None:
    every = math.ceil(len(points) / _MOST_NAMES)
    places = range(0, len(points), every)
    ax.set_xticks(list(places))
    names = [shorten(points[place].name, _LONGEST_NAME) for place in places]
    ax.set_xticklabels(
        names, rotation=45 if len(names) > 6 else 0, ha="right" if len(names) > 6 else "center"
    )
    ax.set_xlim(-0.6, len(points) - 0.4)


def _percent(log_ratio: float | None) -> float:
    return math.nan if log_ratio is None else 100 * math.expm1(log_ratio)
