"""Trends as text with small plots, and as JSON. Pure."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from sdperf.judging.trend.causes import Cause, TrendChange
from sdperf.judging.trend.changes import ALL_CASES, Creep, Trend
from sdperf.judging.trend.points import Metric, TrendPoint, flatten_environment
from sdperf.record.verdict import Outcome, shorten_cases
from sdperf.report.text.lines import Line
from sdperf.report.text.plot import UNICODE, Glyphs, format_plot
from sdperf.report.text.wrapping import WIDTH, wrap_text
from sdperf.stats.change_points import FEWEST_RUNS
from sdperf.store.history.series import KnownEnvironment, SeriesKey, SeriesResult
from sdperf.units import (
    UNKNOWN,
    format_bytes,
    format_change,
    format_quantity,
    format_score,
    format_seconds,
)

FORMAT_VERSION: Final = 1
SHORT_COMMIT: Final = 10
SHORT_HASH: Final = 12
_HASH: Final = re.compile("[0-9a-f]{64}")

_FORMATS: Final[Mapping[str, Callable[[float], str]]] = {
    "seconds": format_seconds,
    "first-call": format_seconds,
    "memory": format_bytes,
    "energy": lambda value: f"{value:.3g} J",
    "ssim": format_score,
    "tile": format_score,
    "entropy": lambda value: f"{value:.2f} bit",
}
_MARKS: Final = {
    Cause.ENVIRONMENT: "e",
    Cause.MACHINE: "m",
    Cause.PASSING: "p",
}
LEGEND: Final = (
    "below the axis: S slower, heavier or worse by the code; F the reverse; e, m, p a level that "
    "came with an update, with the machine, for a day; u an update"
)


def make_points(
    results: Iterable[SeriesResult],
    metric: Metric,
    environments: Mapping[int, KnownEnvironment],
) -> list[TrendPoint]:
    """Turn rows of the history into the points of a trend; those without the metric are left out.

    Args:
        results: In order of time.
        metric: Which figure.
        environments: All of the history's, by number.
    """
    flat: dict[int, dict[str, str]] = {}
    points = []
    for result in results:
        values = (getattr(result.figures, column) for column in metric.columns)
        value = next((value for value in values if metric.accepts(value)), None)
        known = environments.get(result.environment_id or 0)
        if value is None:
            continue
        if known is not None and known.id not in flat:
            flat[known.id] = flatten_environment(known.document)
        commit = result.commit_id
        points.append(
            TrendPoint(
                run=result.run_id,
                measured_at=result.measured_at,
                commit=f"{commit}-dirty" if commit and result.is_dirty else commit,
                value=float(value),
                environment={} if known is None else flat[known.id],
                disturbance=_find_disturbance(result),
                is_accepted=result.is_accepted,
            )
        )
    return points


def _find_disturbance(result: SeriesResult) -> str | None:
    if not result.counts:
        return "the run was void or interrupted"
    if result.figures.outcome == Outcome.BROKEN.value:
        return "the case was BROKEN"
    return result.figures.disturbance


def label_series(keys: Sequence[SeriesKey]) -> dict[int, str]:
    """Name the series of one machine by case; where a case has several, also by what differs."""
    labels: dict[int, str] = {}
    for key in keys:
        twins = [other for other in keys if other.case == key.case]
        flats = {twin.id: _flatten_setup(twin.setup) for twin in twins}
        differing = [
            f"{name} {value}"
            for name, value in flats[key.id].items()
            if any(flat.get(name) != value for flat in flats.values())
        ]
        named = f" ({', '.join(differing)})" if differing else ""
        label = f"{key.case}{named[:160]}"
        labels[key.id] = label if label not in labels.values() else f"{label} #{key.id}"
    return labels


def _flatten_setup(setup: Mapping[str, Any]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in setup.items():
        if isinstance(value, Mapping):
            flat |= _flatten_setup(value)
        elif value is not None:
            flat[name] = _name_value(value)
    return flat


def _name_value(value: object) -> str:
    """Name a value of a setup in few words: a list by its items, a hash by its beginning."""
    if isinstance(value, Mapping):
        pairs = ((key, one) for key, one in value.items() if one is not None)
        return " ".join(f"{key} {_name_value(one)}" for key, one in pairs)
    if isinstance(value, list | tuple):
        return "+".join(map(_name_value, value)) or "none"
    text = str(value)
    return text[:SHORT_HASH] if _HASH.fullmatch(text) else text


def format_trends(
    trends: Sequence[Trend], *, every_plot: bool, glyphs: Glyphs = UNICODE
) -> list[Line]:
    """Lay out the trends of one machine: a plot and words where something changed.

    Args:
        trends: Trends of one machine.
        every_plot: Draw also those in which nothing changed.
        glyphs: Characters to draw the plots with.
    """
    lines = []
    has_plot = False
    short = shorten_cases([trend.case for trend in trends], lambda case: case.rpartition("::")[2])
    for trend in trends:
        head = _format_head(trend, short[trend.case])
        lines += [
            dataclasses.replace(head, text=text)
            for text in wrap_text(head.text, subsequent_indent="    ")
        ]
        if every_plot or trend.changes or trend.is_worse:
            lines += [Line(f"  {text}") for text in _draw(trend, glyphs)]
            has_plot = True
        for text, colour in _say(trend):
            lines += [
                Line(piece, colour)
                for piece in wrap_text(text, initial_indent="  ", subsequent_indent="      ")
            ]
    legend = wrap_text(LEGEND) if has_plot else []
    return [*lines, *(Line(text) for text in legend)]


def _format_head(trend: Trend, name: str) -> Line:
    counting = [value for value in trend.values if math.isfinite(value)]
    if not counting:
        return Line(f"{name}: no run that counts", bold=True)
    level = next(level for level in reversed(trend.levels) if math.isfinite(level))
    parts = [format_quantity(len(counting), "run")]
    if trend.case != ALL_CASES:
        last = next(p for p, v in zip(*_reversed(trend), strict=True) if math.isfinite(v))
        parts.append(f"last {_FORMATS[trend.metric.name](last.value)}")
        if not trend.is_adjusted:
            parts.append(f"level {_format_value(trend.metric, level)}")
    if trend.spread is not None:
        parts.append(f"noise {_format_spread(trend.metric, trend.spread)}")
    if len(counting) < FEWEST_RUNS:
        parts.append(f"{FEWEST_RUNS - len(counting)} more needed to see changes")
    elif not trend.changes:
        parts.append("no change of level")
    return Line(f"{name}: {', '.join(parts)}", bold=True)


def _reversed(trend: Trend) -> tuple[list[TrendPoint], list[float]]:
    return list(reversed(trend.points)), list(reversed(trend.values))


def _draw(trend: Trend, glyphs: Glyphs) -> list[str]:
    metric = trend.metric
    offset = 0.0
    if trend.is_adjusted:  # the searched values lack the shared part: show seconds again
        pairs = zip(trend.points, trend.values, strict=True)
        rests = [
            metric.scale(point.value) - value for point, value in pairs if math.isfinite(value)
        ]
        offset = rests[-1] if rests else 0.0
    marks = {position: "u" for position, _ in trend.updates}
    for one in trend.changes:
        worse = one.change.effect * metric.worse > 0
        marks[one.change.index] = _MARKS.get(one.cause, "S" if worse else "F")
    left_out = {
        index: metric.scale(point.value)
        for index, point in enumerate(trend.points)
        if point.disturbance is not None
    }
    lines = format_plot(
        [value + offset for value in trend.values],
        [level + offset for level in trend.levels],
        marks,
        left_out,
        lambda value: _format_scaled(trend, value),
        WIDTH - 2,
        glyphs,
    )
    first, last = trend.points[0].measured_at, trend.points[-1].measured_at
    return [*lines, f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"]


def _say(trend: Trend) -> list[tuple[str, str]]:
    texts = []
    for one in trend.changes:
        worse = one.change.effect * trend.metric.worse > 0
        colour = ("red" if worse else "green") if one.cause is Cause.CODE else "yellow"
        texts.append((_describe_change(one, trend.metric), colour))
    for position, words in trend.updates:
        point = trend.points[position]
        texts.append((f"update     run {point.run} ({point.measured_at:%Y-%m-%d}): {words}", ""))
    if trend.creep is not None and (trend.creep.is_significant or trend.changes):
        texts.append(_describe_creep(trend.creep, trend.metric))
    out = sum(point.disturbance is not None for point in trend.points)
    if out:
        reasons = {p.disturbance for p in trend.points if p.disturbance is not None}
        shown = "; ".join(sorted(reasons)[:2])
        runs = format_quantity(len(trend.points), "run")
        texts.append((f"left out   {out} of {runs}: {shown}", ""))
    return texts


def _describe_change(one: TrendChange, metric: Metric) -> str:
    change = one.change
    word = _name_change(metric, change.effect)
    commits = f"{_short(one.after)}..{_short(one.until)}"
    fresh = (
        "; all runs since are of one day: measure again tomorrow before you believe it"
        if one.is_fresh and one.cause is Cause.CODE
        else ""
    )
    return (
        f"{word:<10} {format_effect(metric, change.effect)} "
        f"[{format_effect(metric, change.lower)}, {format_effect(metric, change.upper)}] "
        f"in {commits}, runs {one.after.run} to {one.until.run} "
        f"({one.until.measured_at:%Y-%m-%d}), {one.cause.value}: {one.reason}{fresh}"
    )


def _describe_creep(creep: Creep, metric: Metric) -> tuple[str, str]:
    colour = "red" if creep.is_significant else ""
    word = "creep" if creep.is_significant else "anchor"
    return (
        f"{word:<10} {format_effect(metric, creep.drift)} "
        f"[{format_effect(metric, creep.lower)}, {format_effect(metric, creep.upper)}] "
        f"since the first {format_quantity(creep.anchor_runs, 'run')} (up to "
        f"{_short(creep.anchor_ends)}, {creep.anchor_ends.measured_at:%Y-%m-%d}); "
        f"no change of level explains {format_effect(metric, creep.unexplained)} of it",
        colour,
    )


def _name_change(metric: Metric, effect: float) -> str:
    if metric.name in ("seconds", "first-call"):
        return "slower" if effect > 0 else "faster"
    if metric.is_ratio:
        return "more" if effect > 0 else "less"
    return "higher" if effect > 0 else "lower"


def format_effect(metric: Metric, effect: float) -> str:
    """Format a change on a metric's scale: a percentage of a ratio, else a difference."""
    if metric.is_ratio:
        return format_change(math.exp(effect)).replace(" %", "%")
    return f"{effect:+.4f}"


def _format_value(metric: Metric, scaled: float) -> str:
    return _FORMATS[metric.name](math.exp(scaled) if metric.is_ratio else scaled)


def _format_scaled(trend: Trend, scaled: float) -> str:
    if trend.case == ALL_CASES:
        return format_change(math.exp(scaled))
    return _format_value(trend.metric, scaled)


def _format_spread(metric: Metric, spread: float) -> str:
    return f"{math.expm1(spread) * 100:.1f} %" if metric.is_ratio else f"{spread:.4f}"


def _short(point: TrendPoint) -> str:
    if point.commit is None:
        return UNKNOWN
    dirty = "+" if point.commit.endswith("-dirty") else ""
    return point.commit.removesuffix("-dirty")[:SHORT_COMMIT] + dirty


def format_trends_json(trends: Sequence[Trend]) -> str:
    """Lay trends out as JSON; unknown is null, effects are on the metric's scale."""
    document = {"format_version": FORMAT_VERSION, "trends": [_plain_trend(one) for one in trends]}
    return json.dumps(document, indent=2, allow_nan=False)


def _plain_trend(trend: Trend) -> dict[str, Any]:
    updates = dict(trend.updates)
    return {
        "case": trend.case,
        "machine": trend.machine,
        "metric": trend.metric.name,
        "scale": "log" if trend.metric.is_ratio else "linear",
        "is_worse": trend.is_worse,
        "is_adjusted": trend.is_adjusted,
        "noise": trend.spread,
        "changes": [
            {
                "cause": one.cause.value,
                "reason": one.reason,
                "effect": one.change.effect,
                "lower": one.change.lower,
                "upper": one.change.upper,
                "ratio": math.exp(one.change.effect) if trend.metric.is_ratio else None,
                "last_before": _plain_point(one.after),
                "first_after": _plain_point(one.until),
                "position": one.change.index,
                "is_fresh": one.is_fresh,
            }
            for one in trend.changes
        ],
        "creep": None
        if trend.creep is None
        else vars(trend.creep) | {"anchor_ends": _plain_point(trend.creep.anchor_ends)},
        "runs": [
            _plain_point(point)
            | {
                "value": point.value,
                "searched": _finite(value),
                "level": _finite(level),
                "left_out": point.disturbance,
                "is_accepted": point.is_accepted,
                "update": updates.get(position),
            }
            for position, (point, value, level) in enumerate(
                zip(trend.points, trend.values, trend.levels, strict=True)
            )
        ],
    }


def _plain_point(point: TrendPoint) -> dict[str, Any]:
    return {
        "run": point.run,
        "measured_at": point.measured_at.isoformat(),
        "commit": point.commit,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
