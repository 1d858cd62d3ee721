"""A comparison on the terminal: one line per case, then where the time went. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from typing import Final

from sdperf.ab.sides.interpreters import TELLING, compare_packages
from sdperf.ab.sides.sides import SIDES, SideName, describe_case
from sdperf.ab.verdict.comparison import (
    AbComparison,
    CaseComparison,
    SideRecord,
    list_rounds_s,
)
from sdperf.ab.verdict.judging import (
    AbVerdict,
    CaseVerdict,
    StageChange,
    is_control_sound,
    list_control_contrasts,
)
from sdperf.ab.verdict.words import describe_change
from sdperf.record.execution import name_drawn_model
from sdperf.record.guard import Guard
from sdperf.record.verdict import Outcome
from sdperf.report.table import Column, Table
from sdperf.report.text.lines import Line, colour_of, wrap_line
from sdperf.report.text.session.controls import format_self_difference
from sdperf.report.text.table import format_text_table
from sdperf.shell import join_step
from sdperf.units import UNKNOWN, format_quantity, format_seconds

SHOWN_PACKAGES: Final = 12
"""The most differing packages that the terminal shows; JSON and Markdown list all of them."""

WIDEST_RATIO: Final = 2.0
"""Factor either way within which a stage's change of time has to be known to be shown."""

_REVISION: Final = 12
_QUIET: Final = (Outcome.PASS, Outcome.FASTER)


def format_comparison(comparison: AbComparison, verdict: AbVerdict) -> list[Line]:
    """Lay a comparison out for a terminal."""
    lines = [
        *_format_sides(comparison),
        *_format_packages(comparison),
        *_format_machine(comparison, verdict),
    ]
    for case in verdict.cases:
        lines += [Line(""), *_format_case(case)]
    for note in comparison.notes:
        lines += wrap_line(f"note: {note}", "yellow")
    if len(verdict.cases) > 1:
        lines += [Line(""), Line(format_count(verdict), colour_of(verdict.outcome), bold=True)]
    return lines


def format_count(verdict: AbVerdict) -> str:
    """Count the outcomes of several cases."""
    outcomes = [case.outcome for case in verdict.cases]
    parts = [f"{outcomes.count(one)} {one.value}" for one in Outcome if one in outcomes]
    return f"{format_quantity(len(outcomes), 'case')}: {', '.join(parts)}"


def describe_side(side: SideRecord) -> str:
    """Describe a side in one line."""
    parts = [side.label]
    if side.revision is not None:
        parts.append(f"commit {side.revision[:_REVISION]}")
    if side.subject is not None:
        parts.append(side.subject)
    known = [f"Python {side.python}"]
    if side.program is not None:
        program = side.program
        known = [f"{program.name} {program.version} ({program.model} on {program.device})"]
        known += [f"{name} {version}" for name, version in program.versions.items()]
    else:
        known += [f"{name} {side.packages[name]}" for name in TELLING[:2] if name in side.packages]
    return ", ".join([*parts, *(one for one in known if one != side.label)])


def _format_sides(comparison: AbComparison) -> Iterator[Line]:
    for name, side in (("A", comparison.a), ("B", comparison.b)):
        yield from wrap_line(f"{name}  {describe_side(side)}")
    for which, drawing in describe_drawings(comparison):
        yield from wrap_line(f"{which}  {drawing}" if which else drawing)


def describe_drawings(comparison: AbComparison) -> list[tuple[str, str]]:
    """Say what each side draws and where, and once without a side where both draw the same.

    Args:
        comparison: What was compared.
    """
    machine = comparison.environment.device_name
    a, b = (_describe_drawing(comparison, side) for side in SIDES)
    return [("", f"{a} ({machine})")] if a == b else [("A", a), ("B", f"{b} ({machine})")]


def _describe_drawing(comparison: AbComparison, side: SideName) -> str:
    """Say what a side draws and where: model, steps, guidance, size, device."""
    record = comparison.a if side == "A" else comparison.b
    workload = record.workload
    pairs = [pair for case in comparison.cases for pair in case.images[:1]]
    sizes = [(pair.a if side == "A" else pair.b) for pair in pairs]
    size = f", {sizes[0].width} x {sizes[0].height} px" if sizes else ""
    model = name_drawn_model(workload.model, record.program)
    sampling = workload.describe_sampling(program=record.program)
    return f"{model}: {sampling}{size}, on {record.device}"


def _format_packages(comparison: AbComparison) -> Iterator[Line]:
    found = compare_packages(comparison.a.packages, comparison.b.packages)
    if not found:
        return
    shared = [one for one in found if one.name in TELLING or None not in (one.a, one.b)]
    yield Line("")
    columns = (
        Column("packages that differ", is_text=True, least=30, most=30),
        *(Column(side, least=20, most=20) for side in ("A", "B")),
    )
    rows = ((one.name, one.a or UNKNOWN, one.b or UNKNOWN) for one in shared[:SHOWN_PACKAGES])
    yield from format_text_table(Table(columns, tuple(rows)), "  ")
    rest = [one for one in found if one not in shared[:SHOWN_PACKAGES]]
    counts = {
        "differ too": sum(None not in (one.a, one.b) for one in rest),
        "only in A": sum(one.b is None for one in rest),
        "only in B": sum(one.a is None for one in rest),
    }
    told = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    if told:
        yield Line(f"  besides: {told} (--json and --markdown list them)")


def list_worrying_guards(comparison: AbComparison) -> list[Guard]:
    """List the guards that say that the machine was not fit."""
    return [guard for guard in comparison.guards if guard.state in ("fail", "warn")]


def _format_machine(comparison: AbComparison, verdict: AbVerdict) -> Iterator[Line]:
    for guard in list_worrying_guards(comparison):
        colour = "red" if guard.state == "fail" else "yellow"
        yield from wrap_line(guard.describe(), colour)
    if verdict.void is not None:
        yield Line("")
        yield from wrap_line(f"VOID  null control failed: {verdict.void}", "red")
        yield from wrap_line(
            "    next: find out what else uses this machine (sdperf doctor), then compare again"
        )
    elif verdict.control is not None:
        seen = format_self_difference(
            list_control_contrasts(comparison), is_sound=is_control_sound(comparison)
        )
        yield from wrap_line(f"null control: A differs from itself by {seen}")


def _format_case(verdict: CaseVerdict) -> Iterator[Line]:
    case = verdict.case
    executions = format_quantity(len(case.contrasts), "block")
    discarded = [block.discarded for block in case.blocks if block.discarded is not None]
    yield Line(f"{describe_case(case.case, case.variant_a, case.variant_b)}, {executions}")
    for piece in wrap_line(verdict.line, colour_of(verdict.outcome)):
        yield Line(piece.text, piece.colour, bold=True)
    for finding in verdict.findings:
        if finding.outcome in _QUIET:
            continue
        yield from wrap_line(
            f"{finding.outcome.value}  {finding.reason}", colour_of(finding.outcome)
        )
        if finding.next_step is not None:
            yield from wrap_line(join_step("    next: ", finding.next_step))
    for reason in dict.fromkeys(discarded):
        again = format_quantity(discarded.count(reason), "block")
        yield from wrap_line(f"discarded and measured again: {again}: {reason}", "yellow")
    for note in case.notes:
        if not any(note in finding.reason for finding in verdict.findings):
            yield from wrap_line(f"note: {note}", "yellow")
    if verdict.stages:
        yield from _format_stages(verdict)
    for told in list_own_figures(case):
        yield from wrap_line(f"  {told}")


def list_own_figures(case: CaseComparison) -> list[str]:
    """Say for each side that is a program what a round takes by its own figure, beside ours. Pure.

    Args:
        case: What was compared.
    """
    lines = []
    figures: dict[SideName, tuple[float, ...]] = {"A": case.own_a_s, "B": case.own_b_s}
    for side, told_s in figures.items():
        ours_s = list_rounds_s(case.blocks, side)
        if not told_s or not ours_s:
            continue
        ours, own = statistics.median(ours_s), statistics.median(told_s)
        sign = "+" if ours >= own else "-"
        lines.append(
            f"a round of {side} takes {format_seconds(ours)}, {format_seconds(own)} by its own "
            f"figure: difference {sign}{format_seconds(abs(ours - own))}"
        )
    return lines


def _format_stages(verdict: CaseVerdict) -> Iterator[Line]:
    columns = (
        Column("stage", is_text=True, least=15),
        *(Column(name, least=12, gap=0) for name in ("A", "B", "B saves")),
        Column("time", is_text=True, gap=2),
    )
    yield from format_text_table(tabulate_stages(verdict, columns), "  ")
    for told in (describe_statistics(verdict), describe_place(verdict)):
        if told is not None:
            yield from wrap_line(f"  {told}")


def describe_statistics(verdict: CaseVerdict) -> str | None:
    """Say what the two statistics of the stages are, and which changes the rounds do not show.

    The two may disagree where rounds scatter. A change without support is no surer than seconds.
    """
    told = []
    if any(map(is_supported, verdict.stages)):
        told.append(
            "seconds are medians of all profiled rounds; the change of time comes from rounds in "
            "pairs and is surer where the two disagree"
        )
    if any(one.bounds is not None and not is_supported(one) for one in verdict.stages):
        told.append(
            f"{UNKNOWN}: the change is unknown, its interval is wider than a factor of two either "
            "way (more blocks narrow it: --looks)"
        )
    return "; ".join(told) or None


def is_supported(stage: StageChange) -> bool:
    """Tell whether a stage's change is known, to within a factor of two either way."""
    bounds = stage.bounds
    return bounds is not None and bounds.upper - bounds.lower <= 2 * math.log(WIDEST_RATIO)


def tabulate_stages(verdict: CaseVerdict, columns: tuple[Column, ...], unknown: str = "") -> Table:
    """Tabulate what each stage took on both sides.

    Args:
        verdict: What was compared.
        columns: Headings: stage, seconds of both sides, what is saved, and how its time changed.
        unknown: The cell for a stage whose change of time is unknown.
    """
    seconds = [
        tuple(map(format_seconds, (stage.a_s, stage.b_s, stage.saved_s)))
        for stage in verdict.stages
    ]
    rows = zip(verdict.stages, seconds, strict=True)
    told = ((stage.name, *each, describe_stage(stage) or unknown) for stage, each in rows)
    return Table(columns, tuple(told))


def describe_stage(stage: StageChange) -> str:
    """Say how a stage's time changed, with its 95 % interval.

    Nothing where there is none, and a dash where it is so wide that it supports no change.
    """
    if stage.bounds is None:
        return ""
    return describe_change(stage.bounds) if is_supported(stage) else UNKNOWN


def describe_place(verdict: CaseVerdict) -> str | None:
    """Say which stage most of the difference lies in, where the speeds differ at all.

    The profiled rounds have to show at least half of the timed difference. Otherwise they were
    disturbed, or the difference is not in the stages, and no stage is named.
    """
    bounds = verdict.bounds
    if bounds is None or bounds.lower <= 0 <= bounds.upper or not verdict.stages:
        return None
    a_s = sum(stage.a_s for stage in verdict.stages)
    saved_s = sum(stage.saved_s for stage in verdict.stages)
    seen_log = math.log((a_s - saved_s) / a_s)
    if seen_log / bounds.mean < 0.5:
        return "the profiled rounds do not show this difference: no stage is named"
    largest = max(verdict.stages, key=lambda stage: stage.saved_s / saved_s)
    share = largest.saved_s / saved_s
    if share < 0.5:
        return "the difference is spread over the stages"
    what = "gain" if saved_s > 0 else "loss"
    return f"{min(1.0, share) * 100:.0f} % of the {what} is in {largest.name}"
