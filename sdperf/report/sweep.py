"""A sweep in tables and words, for terminal, Markdown and page alike. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from sdperf.bisect.judging import format_bounds
from sdperf.record.verdict import shorten_case
from sdperf.report.table import Column, RowStyle, Table
from sdperf.report.text.lines import Line, wrap_line
from sdperf.report.text.table import format_text_table
from sdperf.report.text.wrapping import wrap_text
from sdperf.sweep.judging import CaseStep, MemoryAnswer, PictureAnswer, SpeedAnswer, StageStep
from sdperf.sweep.summary import SweepSummary, VersionCurve, VersionPoint, VersionStep
from sdperf.sweep.sweeping import SweepEnding
from sdperf.units import (
    UNKNOWN,
    format_bytes,
    format_change,
    format_names,
    format_quantity,
    format_score,
    format_seconds,
)

_COLOURS: Final[dict[SpeedAnswer, str]] = {
    "slower": "red",
    "faster": "green",
    "same": "",
    "open": "yellow",
}
_ENDINGS: Final[dict[SweepEnding, str]] = {
    "done": "every comparison was made",
    "nothing": "no two versions can be measured here",
    "budget": "the time given is over",
    "void": "void",
    "interrupted": "interrupted",
}
_MEMORIES: Final[dict[MemoryAnswer, str]] = {
    "more": "more memory",
    "less": "less memory",
    "same": "same memory",
    "unknown": "memory unknown",
}
_PICTURES: Final[dict[PictureAnswer, str]] = {
    "equal": "pictures equal",
    "alike": "pictures alike",
    "changed": "pictures changed",
    "broken": "pictures broken",
    "unknown": "pictures not compared",
}
_SIZES: Final = ("largest", "second largest", "third largest")
_UNTIMED: Final = "not timed"
_NAME: Final = 16
_BEFORE: Final = 12
_MOST_NAMES: Final = 6


def format_sweep_lines(summary: SweepSummary) -> list[Line]:
    """Lay a sweep out for a terminal."""
    lines = [Line(line.text, line.colour, bold=True) for line in wrap_line(describe_sweep(summary))]
    lines += wrap_line(f"  {describe_run(summary)}")
    for curve in summary.curves:
        if len(summary.curves) > 1:
            lines += [Line(""), Line(shorten_case(curve.case), bold=True)]
        lines += [Line(""), *format_text_table(tabulate_points(summary, curve), "  ")]
        if curve.steps:
            lines += [Line(""), *format_text_table(tabulate_steps(curve), "  ")]
        lines.append(Line(""))
        for text in list_words(curve):
            lines += wrap_line(text)
    for text in list_failures(summary):
        lines += wrap_line(text, "yellow")
    lines += wrap_line(describe_error(summary))
    return lines


def describe_sweep(summary: SweepSummary) -> str:
    """Say in a line what was swept, and how much of it was measured."""
    points = summary.curves[0].points
    measured = sum(one.state == "measured" for one in points)
    ends = f"{points[0].name} .. {points[-1].name}"
    noun = "commit" if summary.question.kind == "revisions" else "version"
    told = f"{summary.question.about} {ends}: {measured} of {format_quantity(len(points), noun)}"
    ending = _ENDINGS[summary.ending]
    if summary.ending == "done" and summary.lost:
        ending = f"{format_quantity(summary.lost, 'comparison')} could not be made"
    elif summary.ending == "void":
        ending = f"void: {summary.why}"
    elif summary.ending in ("budget", "interrupted"):
        ending += f", {format_quantity(summary.left, 'comparison')} left, kept for the next time"
    return f"{told} measured, {ending}"


def describe_run(summary: SweepSummary) -> str:
    """Say what was drawn, on which device, and how many images."""
    question, where = summary.question, summary.environment
    drawn = f"{question.workload.model}: {question.workload.describe_sampling()}"
    machine = "" if where is None else f", on {where.device_kind}"
    if where is not None and where.device_name:
        machine += f" ({where.device_name})"
    made = format_quantity(summary.comparisons, "comparison")
    took = f" in {format_seconds(summary.took_s)}" if summary.comparisons else ""
    return f"{drawn}{machine}; {made}{took}"


def tabulate_points(summary: SweepSummary, curve: VersionCurve) -> Table:
    """Tabulate the versions of a case: time against the anchor, memory, first call, load."""
    return tabulate_versions(curve, summary.anchor, is_timed=summary.question.options.is_timed)


def tabulate_versions(curve: VersionCurve, anchor: str | None, *, is_timed: bool) -> Table:
    """Tabulate the versions of a curve.

    Args:
        curve: The case.
        anchor: Name of the version that all are compared with; ``None`` where there is none.
        is_timed: Whether images were timed.
    """
    columns = (
        Column("version", is_text=True, least=8, most=_NAME),
        Column("s/image", least=8, gap=1),
        Column(f"against {anchor or UNKNOWN}", least=23, most=27, gap=2),
        Column("answer", is_text=True, least=6, most=9, gap=2),
        Column("peak", least=8, most=9, gap=1),
        Column("first call", least=10, gap=2),
        Column("load", least=7, gap=2),
    )
    styles = {
        number: RowStyle(colour=_COLOURS.get(point.speed or "same", ""))
        for number, point in enumerate(curve.points)
    }
    rows = tuple(_list_point(point, is_timed=is_timed) for point in curve.points)
    return Table(columns, rows, styles)


def _list_point(point: VersionPoint, *, is_timed: bool) -> tuple[str, ...]:
    if point.state != "measured":
        return (point.name, UNKNOWN, UNKNOWN, point.state, UNKNOWN, UNKNOWN, UNKNOWN)
    figures = point.figures
    is_anchor = point.change_log == 0.0 and point.speed is None
    return (
        point.name,
        format_seconds(point.seconds_per_image),
        UNKNOWN
        if is_anchor
        else _format_bounds(point.change_log, point.lower_log, point.upper_log),
        "anchor" if is_anchor else (point.speed or "open") if is_timed else _UNTIMED,
        format_bytes(figures.peak_device_bytes or figures.peak_rss_bytes),
        format_seconds(figures.first_call_s),
        format_seconds(figures.load_s),
    )


def tabulate_steps(curve: VersionCurve, *, with_stages: bool = False) -> Table:
    """Tabulate what each version did against the one before it.

    Args:
        curve: The case.
        with_stages: Whether the stages that differ have a column; else they stand below the row.
    """
    columns = [
        Column("step", is_text=True, least=8, most=2 * _BEFORE + 4),
        Column("time", least=23, most=27, gap=1),
        Column("answer", is_text=True, least=6, gap=2),
        Column("memory", least=7, gap=1),
        Column("pictures", is_text=True, least=8, gap=2),
        Column("SSIM", least=6, gap=1),
        Column("tile", least=6, gap=1),
    ]
    if with_stages:
        columns.append(Column("stages that differ (95 %)", is_text=True))
    rows, styles = [], {}
    for number, step in enumerate(curve.steps):
        found = step.found
        told = "; ".join(map(describe_stage_step, () if found is None else found.stages))
        rows.append((*_list_step(step), told or UNKNOWN) if with_stages else _list_step(step))
        below = () if with_stages else tuple(_indent(told))
        colour = "yellow" if found is None else _COLOURS[found.speed]
        styles[number] = RowStyle(colour=colour, below=below)
    return Table(tuple(columns), tuple(rows), styles)


def _indent(text: str) -> list[str]:
    """Wrap the text below a row into lines; no lines where there is no text."""
    return wrap_text(text, 94, initial_indent=" " * 6, subsequent_indent=" " * 6)


def _list_step(step: VersionStep) -> tuple[str, ...]:
    name, found = name_step(step), step.found
    if found is None:
        return (name, UNKNOWN, "open", *([UNKNOWN] * 4))
    log = found.memory_log
    return (
        name,
        _format_bounds(found.change_log, found.lower_log, found.upper_log),
        _UNTIMED if found.is_untimed else found.speed,
        UNKNOWN if log is None else format_change(math.exp(log)),
        found.pictures,
        format_score(found.ssim),
        format_score(found.worst_tile_ssim),
    )


def list_words(curve: VersionCurve) -> Iterator[str]:
    """Say the largest steps in words: of time, of memory, of pictures; then what stays open."""
    largest = curve.list_largest()
    for size, step in zip(_SIZES, largest, strict=False):
        yield f"{size} step in time: {describe_step(step)}"
    found = [step.found for step in curve.steps if step.found is not None]
    if found and all(one.is_untimed for one in found):
        yield "no image was timed"
    elif not largest and found:
        whole = "no step in time beyond the limit"
        yield f"{whole} was settled" if curve.list_open() else whole
    for size, step in zip(_SIZES, curve.list_largest_memory(), strict=False):
        yield f"{size} step in peak memory: {_describe_memory_step(step)}"
    for step in curve.list_changed_pictures():
        yield f"pictures left the floors: {_describe_picture_step(step)}"
    left = [step for step in curve.list_open() if step.found and not step.found.is_untimed]
    if left:
        yield f"not settled: {', '.join(map(_describe_open_step, left))}"
    for step in curve.steps:
        for note in () if step.found is None else step.found.notes:
            yield f"note on {name_step(step)}: {note}"


def describe_step(step: VersionStep) -> str:
    """Say a step in words.

    "2.12 -> 2.13: -6.1 % (-7.0 to -5.2), 80 % of the gain is in denoise, same memory, ..."
    """
    found = step.found
    if found is None:
        return f"{name_step(step)}: not compared"
    parts = [_UNTIMED if found.is_untimed else _format_case_bounds(found)]
    parts += [found.place] if found.place else []
    parts += [_MEMORIES[found.memory], _PICTURES[found.pictures]]
    return f"{name_step(step)}: {', '.join(parts)}"


def describe_stage_step(stage: StageStep) -> str:
    """Say how a stage changed."""
    return f"{stage.name} {format_bounds(stage.change_log, stage.lower_log, stage.upper_log)}"


def describe_error(summary: SweepSummary) -> str:
    """Say how sure the answers are."""
    if not summary.question.options.is_timed:
        return "memory and pictures are compared without a test; load and first call are told alone"
    plan, alpha = summary.question.plan, summary.question.options.alpha
    planned = plan.most_chosen_pairs + plan.most_dense_pairs
    limit = format_change(1 + summary.question.options.max_slowdown).lstrip("+")
    over = (
        "belongs to the only comparison"
        if planned == 1
        else f"is divided among all {planned} comparisons"
    )
    return (
        f"limit {limit} in either direction; an error of {alpha * 100:g} % for any false step in "
        f"time {over} that there can be, and the bounds are at that level"
    )


def list_failures(summary: SweepSummary) -> Iterator[str]:
    """Say which versions cannot be measured and which comparisons could not be made, and why."""
    for point in summary.curves[0].points:
        if point.state == "failed":
            yield f"{point.name} cannot be measured: {point.reason}"
    told = set()
    for step in summary.curves[0].steps:
        if step.reason:
            told.add((step.before, step.after))
            yield f"{name_step(step)} could not be compared: {step.reason}"
    for point in summary.curves[0].points:
        if point.state == "failed" or not point.reason or (summary.anchor, point.name) in told:
            continue
        anchor = summary.anchor or UNKNOWN
        yield f"{point.name} could not be compared with the anchor {anchor}: {point.reason}"
    yield from _list_conflicts(summary)


def _list_conflicts(summary: SweepSummary) -> Iterator[str]:
    """Say what pip named that does not fit together, once for all versions that share it."""
    points = summary.curves[0].points
    for conflict in dict.fromkeys(text for point in points for text in point.conflicts):
        names = [point.name for point in points if conflict in point.conflicts]
        yield f"pip names a conflict with {format_names(names, _MOST_NAMES)}: {conflict}"


def name_step(step: VersionStep) -> str:
    """Name a step by its ends."""
    return f"{step.before} -> {step.after}"


def _describe_memory_step(step: VersionStep) -> str:
    found = step.found
    log = None if found is None else found.memory_log
    return f"{name_step(step)}: {UNKNOWN if log is None else format_change(math.exp(log))}"


def _describe_picture_step(step: VersionStep) -> str:
    found = step.found
    if found is None or found.ssim is None:
        return f"{name_step(step)}: other sizes, or none"
    tile = format_score(found.worst_tile_ssim)
    return f"{name_step(step)}: SSIM {format_score(found.ssim)}, worst tile {tile}"


def _describe_open_step(step: VersionStep) -> str:
    found = step.found
    if found is None or found.change_log is None:
        return name_step(step)
    return f"{name_step(step)} {_format_case_bounds(found)}"


def _format_case_bounds(found: CaseStep) -> str:
    return _format_bounds(found.change_log, found.lower_log, found.upper_log)


def _format_bounds(mean: float | None, lower: float | None, upper: float | None) -> str:
    if mean is None or lower is None or upper is None:
        return UNKNOWN
    return format_bounds(mean, lower, upper)
