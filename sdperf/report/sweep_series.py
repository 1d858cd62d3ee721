"""Sweeps from the history as text and as JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from sdperf.record.json import format_record
from sdperf.record.verdict import shorten_case
from sdperf.report.sweep import list_words, name_step, tabulate_steps, tabulate_versions
from sdperf.report.text.lines import Line, wrap_line
from sdperf.report.text.table import format_text_table
from sdperf.sweep.series import SweepSeries
from sdperf.units import format_quantity

FORMAT_VERSION: Final = 1


def format_series(found: Sequence[SweepSeries]) -> Iterator[Line]:
    """Lay series out for a terminal: versions, steps, and the largest steps in words."""
    for number, one in enumerate(found):
        if number:
            yield Line("")
        for line in wrap_line(_describe(one)):
            yield Line(line.text, line.colour, bold=True)
        yield from wrap_line(f"  {_describe_dates(one)}; {one.machine}")
        yield Line("")
        table = tabulate_versions(one.curve, one.anchor, is_timed=one.is_timed)
        yield from format_text_table(table, "  ")
        if one.curve.steps:
            yield Line("")
            yield from format_text_table(tabulate_steps(one.curve), "  ")
        yield Line("")
        for text in list_words(one.curve):
            yield from wrap_line(text)
        for text in _list_failures(one):
            yield from wrap_line(text, "yellow")


def format_series_json(found: Iterable[SweepSeries]) -> str:
    """Format series as JSON: every version with its figures, every step with its answer."""
    documents: list[dict[str, Any]] = [format_record(one) for one in found]
    whole = {"format_version": FORMAT_VERSION, "series": documents}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)


def _describe(one: SweepSeries) -> str:
    points = one.curve.points
    measured = sum(point.state == "measured" for point in points)
    ends = f"{points[0].name} .. {points[-1].name}"
    known = f"{measured} of {format_quantity(len(points), 'version')} measured"
    return f"{one.about} {ends}, {shorten_case(one.curve.case)} of {one.model}: {known}"


def _describe_dates(one: SweepSeries) -> str:
    days = sorted({begun[:10] for begun in one.begun.values()})
    return f"swept {days[0]}" if len(days) == 1 else f"swept {days[0]} to {days[-1]}"


def _list_failures(one: SweepSeries) -> Iterator[str]:
    for point in one.curve.points:
        if point.state == "failed":
            yield f"{point.name} cannot be measured: {point.reason}"
        elif point.reason:
            yield f"{point.name} could not be compared with {one.anchor}: {point.reason}"
    for step in one.curve.steps:
        if step.reason:
            yield f"{name_step(step)}: {step.reason}"
