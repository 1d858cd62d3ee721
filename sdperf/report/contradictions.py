"""Figures that contradict each other, as lines of the summary. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.judging.doubts.contradictions import find_contradictions
from sdperf.judging.settling import UNKNOWN, Typed
from sdperf.report.text.lines import Line, wrap_line
from sdperf.report.text.session.cases import Row
from sdperf.shell import join_step


def format_contradictions(rows: Iterable[Row], typed: Typed = UNKNOWN) -> list[Line]:
    """Name each case whose figure contradicts another figure, and what to look at.

    Args:
        rows: The cases.
        typed: How the session was started.
    """
    measured, ids = {}, {}
    for row in rows:
        if row.measurement is not None:
            measured[row.case] = row.measurement
            ids[row.case] = row.verdict.case
    lines: list[Line] = []
    for one in find_contradictions(measured, ids, typed):
        lines += wrap_line(f"contradiction  {one.case}: {one.sentence}", "yellow")
        lines += wrap_line(join_step("    next: ", one.hint), "")
    return [Line(""), *lines] if lines else []
