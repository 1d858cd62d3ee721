"""The summary in the terminal: the table, what failed, the counts, and what to type next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sdperf.judging.settling import name_baselines
from sdperf.plugin.exit_status import EXIT_VOID
from sdperf.record.execution import find_program
from sdperf.record.verdict import EVIDENCE_PATH, Outcome, shorten_case, shorten_cases
from sdperf.report.contradictions import format_contradictions
from sdperf.report.text.lines import Line, colour_of
from sdperf.report.text.session.cases import (
    Row,
    format_ceilings,
    format_counts,
    format_findings,
    format_table,
    put_changed_first,
)
from sdperf.report.text.session.controls import format_control
from sdperf.report.text.session.durations import format_durations
from sdperf.report.text.session.engines import format_engines
from sdperf.report.text.session.gains import format_gains
from sdperf.report.text.session.inside import format_guards, format_telling
from sdperf.report.text.session.programs import format_programs
from sdperf.report.text.session.skips import format_skips
from sdperf.report.text.session.soak import format_soaks
from sdperf.report.text.wrapping import wrap_text
from sdperf.settings import UNWATCHED, UNWATCHED_GATES
from sdperf.shell import join_step
from sdperf.streams import strip_controls
from sdperf.units import format_names, format_quantity

if TYPE_CHECKING:
    from sdperf.images.input_files import InputFile
    from sdperf.plugin.ending.outcome import SessionOutcome
    from sdperf.plugin.live.session import LiveSession
    from sdperf.record.measurement import Measurement


def print_summary(
    reporter: pytest.TerminalReporter, live: LiveSession, outcome: SessionOutcome
) -> None:
    """Print what changed first: the table, the findings; then details, counts, what to type."""
    rows = put_changed_first(outcome.rows)
    config = reporter.config
    is_verbose = config.get_verbosity() > 0
    reporter.section("sdperf", "=", bold=True)
    for description in describe_run(outcome.rows, live.settings.pictures):
        reporter.write_line(description)
    for text in (*list_without_effect(rows), *outcome.comparison.lines):
        for wrapped in wrap_text(strip_controls(text), subsequent_indent="  "):
            reporter.write_line(wrapped)
    findings = format_findings(rows, is_above=config.option.tbstyle != "no")
    for line in (
        *(format_table(rows) if rows else ()),
        *_format_suite(outcome),
        *((Line(""), *findings) if findings else ()),
        *format_gains(rows),
        *format_ceilings(rows),
        *format_contradictions(rows, live.typed),
        *format_engines(rows),
        *format_programs(rows),
        *format_soaks(rows),
        *format_guards(rows),
        *format_telling(rows, is_verbose=is_verbose),
        Line(""),
        Line(format_counts(rows, len(live.log.skipped))),
        *format_skips(live.log.skipped.values()),
    ):
        _write(reporter, line)
    for line in format_durations(live.ledger.read()) if live.settings.durations else ():
        _write(reporter, line)
    if live.stored.images is not None:
        reporter.write_line(f"images: {_relative(live.stored.images)}")
    if live.stored.exhibits:
        images = format_quantity(live.stored.exhibits, "image")
        reporter.write_line(f"look at: {EVIDENCE_PATH} ({images} beside what they should be)")
    if live.stored.report is not None:
        reporter.write_line(live.stored.report)
    for text, colour in list_kept(live):
        for wrapped in wrap_text(text, subsequent_indent="    "):
            reporter.write_line(wrapped, **({colour: True} if colour else {}))
    for text in live.stored.unkept:
        for wrapped in wrap_text(text, subsequent_indent="    "):
            reporter.write_line(wrapped, red=True)
    for text in list_closing_lines(live, outcome):
        for wrapped in wrap_text(text, subsequent_indent="    "):
            reporter.write_line(wrapped, yellow=True)
    is_new = any(row.verdict.outcome is Outcome.NO_BASELINE for row in outcome.rows)
    if is_new and not outcome.comparison.is_asked and not live.interrupted:
        reporter.write_line(
            "nothing was compared: --benchmark-autosave keeps a run, --benchmark-compare judges"
        )
        reporter.write_line("    the next one by it")


def _format_suite(outcome: SessionOutcome) -> list[Line]:
    """Say what all cases have in common, on separate lines."""
    suite = outcome.speed.suite
    texts = []
    if suite is not None:
        texts.append((f"suite: {suite.outcome.value}  {suite.reason}", colour_of(suite.outcome)))
        if suite.next_step is not None and suite.outcome is not Outcome.PASS:
            texts.append((join_step("    next: ", suite.next_step), ""))
    control = outcome.speed.confirmation.null_control
    if control is not None:
        texts.append((format_control(control), "red" if control.is_sound is False else ""))
    texts += [(note, "") for note in outcome.speed.confirmation.notes]
    if outcome.tails_left_out is not None:
        texts.append((outcome.tails_left_out, ""))
    if outcome.nothing_compared is not None:
        texts.append((outcome.nothing_compared, "red"))
    return [
        Line(piece, colour)
        for text, colour in texts
        for piece in wrap_text(text, subsequent_indent="    ")
    ]


def list_closing_lines(live: LiveSession, outcome: SessionOutcome) -> list[str]:
    """Say what was left undone and what could be done next."""
    lines = []
    absent = outcome.comparison.list_absent(live.log.reports)
    if absent:
        short = shorten_cases(absent, lambda name: name.rpartition("::")[2])
        shown = format_names(list(short.values()))
        lines.append(f"in the baseline, but not run now: {shown}")
    if any(row.verdict.outcome is Outcome.FASTER for row in outcome.rows):
        step = name_baselines("sdperf baseline accept --reason TEXT", live.typed)
        fails = any(row.verdict.outcome.is_failure for row in outcome.rows)
        first = ", once nothing fails any more" if fails else ""
        lines.append(f"faster: {step} keeps what was won{first}")
    if live.settings.unwatched and any(row.measurement is not None for row in outcome.rows):
        why = UNWATCHED if live.settings.cluster is None else "a cluster"
        lines.append(f"not judged for {why}: {UNWATCHED_GATES}")
    if live.log.repeated:
        lines.append(_describe_repeated(live.log.repeated))
    if live.interrupted:
        lines.append(_describe_interruption(live, outcome))
    if outcome.nothing_ran is not None:
        lines.append(outcome.nothing_ran)
    if outcome.void is not None:
        lines.append(f"void, exit status {EXIT_VOID}: {outcome.void}")
    if live.stored.refused_save is not None:
        lines.append(live.stored.refused_save)
    if live.stored.no_run is not None:
        lines.append(live.stored.no_run)
    return lines


def _describe_repeated(repeated: Counter[str]) -> str:
    """Say where the last run of a case counts that was run again after it had failed."""
    shown = format_names([*shorten_cases(repeated).values()])
    cases = format_quantity(len(repeated), "case")
    runs = format_quantity(repeated.total() + len(repeated), "run")
    return (
        f"repeated: {cases} took {runs} ({shown}), and the last of each counts; a failed test that "
        "is run again until it passes hides what happens now and then"
    )


def _describe_interruption(live: LiveSession, outcome: SessionOutcome) -> str:
    """Say that this verdict is not complete, what it leaves out, and how to continue.

    Tests that would be skipped are no cases, as where the session says what it will cost.
    """
    not_run = live.list_left_out()
    left = [node_id for node_id in not_run if node_id not in live.budget.skipped]
    if not outcome.rows:
        cases = format_quantity(len(left), "case")
        return (
            f"interrupted before a case had finished ({cases} left out): nothing is judged or kept"
        )
    if not left and outcome.speed.confirmation.was_interrupted:
        return (
            "interrupted while measuring again: this is the verdict so far; sdperf resume measures "
            "the suspects again and no case twice"
        )
    if not left:
        return "interrupted: this is the verdict so far"
    shown = ", ".join([*shorten_cases(left).values()][:3])
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    cases = format_quantity(len(left), "case")
    return (
        f"interrupted: this is the verdict so far; left out: {cases} ({shown}{more}); "
        "sdperf resume goes on and measures nothing twice"
    )


def list_kept(live: LiveSession) -> list[tuple[str, str]]:
    """Say what an earlier process measured, what could not be written, and where the run is."""
    lines = []
    journal = live.journal
    if journal is not None and journal.kept:
        starts = ", ".join(sorted(set(journal.kept.values())))
        cases = format_quantity(len(journal.kept), "case")
        lines.append(
            (
                f"resumed: {cases} were measured by an earlier process of this session ({starts}) "
                "and are judged by themselves; docs/interrupted.md",
                "yellow",
            )
        )
    if journal is not None:
        lines += [
            (f"measured again: {shorten_case(case)}: {reason}", "yellow")
            for case, reason in journal.measured_anew.items()
        ]
    complaints = list(live.stored.unsaved)
    if journal is not None and journal.complaint is not None:
        complaints.append(journal.complaint)
    lines += [(complaint, "red") for complaint in complaints]
    if complaints:
        lines.append(
            (
                "what was finished is kept in .sdperf; once there is room again: sdperf resume",
                "red",
            )
        )
    lines += [(complaint, "red") for complaint in live.stored.undrawn]
    if live.stored.undrawn and not complaints:
        lines.append(("the run is stored; sdperf report draws it again", "red"))
    return lines


def describe_run(rows: Iterable[Row], pictures: Iterable[InputFile] = ()) -> list[str]:
    """Say what was measured, and where; a pipeline of diffusers is named before other programs.

    Args:
        rows: The cases.
        pictures: The input pictures that were read from files, for their names.
    """
    known = [row.measurement for row in rows if row.measurement is not None]
    if not known:
        return []
    measured = next((one for one in known if find_program(one.engine) is None), known[0])
    workload, image = measured.workload, measured.images[0]
    names = {one.sha256: one.name for one in pictures}
    program = find_program(measured.engine)
    sampling = workload.describe_sampling(measured.sampling_source, names, program)
    text = f"{_name_drawer(measured)}: {sampling}, {image.width} x {image.height} px"
    return wrap_text(strip_controls(text))


def _name_drawer(measured: Measurement) -> str:
    """Name the pipeline or program that drew, and its device."""
    where, program = measured.environment, find_program(measured.engine)
    device = f"{where.device_kind} ({where.device_name or where.chip})"
    if program is not None:
        return f"{program.name} {program.version} with {program.model} on {device}"
    torch = where.packages.get("torch", "unknown")
    loras = f" with {format_names([one.describe() for one in measured.loras])}"
    drawer = f"{measured.subject or measured.workload.model}{loras if measured.loras else ''}"
    return f"{drawer} on {device}, torch {torch}"


def list_without_effect(rows: Iterable[Row]) -> list[str]:
    """Say once which settings had no effect, since readers of the figures rely on them."""
    texts: dict[str, None] = {}
    for row in rows:
        for text in () if row.measurement is None else row.measurement.without_effect:
            texts[text] = None
    return [strip_controls(f"without effect: {text}") for text in texts]


def _relative(path: Path) -> Path:
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def _write(reporter: pytest.TerminalReporter, line: Line) -> None:
    markup = {name: True for name in (line.colour, "bold" if line.bold else "") if name}
    reporter.write_line(line.text, **markup)
