"""Figures that contradict each other, as lines of the summary. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.judging.doubts.contradictions import find_contradictions
from sdperf.report.text.lines import Line, wrap_line
from sdperf.report.text.session.cases import Row


def format_contradictions(rows: Iterable[Row]) -> list[Line]:
    """Name each case whose figure contradicts another figure, and what to look at."""
    measured = {row.case: row.measurement for row in rows if row.measurement is not None}
    lines: list[Line] = []
    for one in find_contradictions(measured):
        lines += wrap_line(f"contradiction  {one.case}: {one.sentence}", "yellow")
        lines += wrap_line(f"    next: {one.hint}", "")
    return [Line(""), *lines] if lines else []
