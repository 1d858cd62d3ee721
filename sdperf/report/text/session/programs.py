"""External programs: what each says of itself, and its seconds beside sdperf's. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from sdperf.record.measurement import Measurement
from sdperf.record.workload import ProgramFacts, name_engine
from sdperf.report.table import Column, Table
from sdperf.report.text.lines import Line
from sdperf.report.text.session.cases import Row
from sdperf.report.text.table import format_text_table
from sdperf.report.text.wrapping import wrap_text
from sdperf.units import UNKNOWN, format_seconds

_HEADER = ("case", "ours", "its own", "difference")


def format_programs(rows: Iterable[Row]) -> list[Line]:
    """Describe each program, and show both figures of a round for each of its cases."""
    groups: dict[str, list[tuple[str, Measurement, ProgramFacts]]] = {}
    for row in rows:
        measured = row.measurement
        program = None if measured is None or measured.engine is None else measured.engine.program
        if measured is not None and program is not None:
            engine = name_engine(measured.variant.engine)
            groups.setdefault(engine, []).append((row.case, measured, program))
    lines = []
    for name, members in groups.items():
        lines += [Line(""), *_format_group(name, members)]
    return lines


def _format_group(name: str, members: list[tuple[str, Measurement, ProgramFacts]]) -> list[Line]:
    facts = members[0][2]
    on = " ".join(filter(None, (facts.device, facts.device_name)))
    versions = "".join(f", {package} {version}" for package, version in facts.versions.items())
    title = f"{name}: {facts.name} {facts.version}{versions}; {facts.model} on {on}"
    columns = (Column(_HEADER[0], is_text=True), *(Column(one, gap=2) for one in _HEADER[1:]))
    table = Table(columns, tuple(_tabulate(case, measured) for case, measured, _ in members))
    lines = [Line(piece, bold=True) for piece in wrap_text(title)]
    return [*lines, *format_text_table(table, "  ")]


def _tabulate(case: str, measured: Measurement) -> tuple[str, ...]:
    ours_s = statistics.median(measured.rounds_s)
    if not measured.rounds_own_s:
        return case, format_seconds(ours_s), UNKNOWN, UNKNOWN
    own_s = statistics.median(measured.rounds_own_s)
    sign = "+" if ours_s >= own_s else "-"
    difference = f"{sign}{format_seconds(abs(ours_s - own_s))}"
    return case, format_seconds(ours_s), format_seconds(own_s), difference
