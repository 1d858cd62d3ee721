"""The first screen: the verdict in a sentence, what changed, where, and how sure. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.machine import JudgedMachine, ReportedCase
from sdperf.judging.session.words import count_short, describe_fewest
from sdperf.judging.suite_estimate import FEWEST_SESSIONS
from sdperf.record.execution import find_program, name_drawn_model
from sdperf.record.verdict import Finding, Outcome
from sdperf.report.figures.palette import SIGNS, role_of
from sdperf.report.html.environments import list_differences
from sdperf.report.text.session.skips import describe_skips
from sdperf.units import UNKNOWN, format_bytes, format_change, format_names, format_quantity

MOST_SHOWN: Final = 6


@dataclass(frozen=True)
class Count:
    """How many cases ended with one outcome."""

    outcome: str
    sign: str
    role: str
    number: int


@dataclass(frozen=True)
class Item:
    """One thing that changed: where, what, and what to do about it."""

    sign: str
    role: str
    word: str
    where: str
    words: str
    next_step: str | None = None


@dataclass(frozen=True)
class Sentence:
    """One reason to believe or to doubt."""

    role: str
    sign: str
    words: str


@dataclass(frozen=True)
class Summary:
    """The first screen of one machine.

    Attributes:
        headline: The verdict.
        role: Its colour.
        sign: Its sign.
        counts: Cases by outcome.
        facts: Name and value of what was measured, and where.
        between: What differs between the runs.
        changed: The worst results first.
        more: How many results did not fit.
        sure: How sure all this is.
    """

    headline: str
    role: str
    sign: str
    counts: tuple[Count, ...]
    facts: tuple[tuple[str, str], ...]
    between: tuple[tuple[str, str, str], ...]
    changed: tuple[Item, ...]
    more: int
    sure: tuple[Sentence, ...]


def summarise(machine: JudgedMachine) -> Summary:
    """Summarise a machine; cases that the run left out are only counted, in `Summary.sure`."""
    counts = Counter(case.verdict.outcome for case in machine.cases if not case.is_absent)
    headline, outcome = _write_headline(machine, counts)
    items = _list_changed(machine)
    return Summary(
        headline=headline,
        role=role_of(outcome),
        sign=SIGNS[outcome],
        counts=tuple(
            Count(each.value, SIGNS[each], role_of(each), counts[each])
            for each in Outcome
            if counts[each]
        ),
        facts=tuple(_list_facts(machine)),
        between=tuple(list_differences(machine)[:MOST_SHOWN]),
        changed=tuple(items[:MOST_SHOWN]),
        more=max(0, len(items) - MOST_SHOWN),
        sure=tuple(_list_doubts(machine)),
    )


def _write_headline(machine: JudgedMachine, counts: Counter[Outcome]) -> tuple[str, Outcome]:
    total = sum(counts.values())
    failed = [outcome for outcome in Outcome if outcome.is_failure and counts[outcome]]
    failures = sum(counts[outcome] for outcome in failed)
    still_open = sum(counts[outcome] for outcome in counts if outcome.is_open)
    summary = machine.head.run.summary
    suite = machine.suite
    if summary is not None and summary.void:
        return f"Void: {summary.void}", Outcome.INCONCLUSIVE
    if failures:
        # Where nothing was compared, or a case broke, nobody knows whether it was better before.
        broken = counts[Outcome.BROKEN] if machine.bases else failures
        worse, cases = failures - broken, format_quantity(total, "case")
        if not worse:
            return f"{broken} of {cases} failed", failed[0]
        also = f", {broken} failed" if broken else ""
        return f"{worse} of {cases} got worse{also}", failed[0]
    if suite is not None and suite.outcome.is_failure:
        return "No single case stands out, but all together got worse", suite.outcome
    if still_open == total:
        return f"No answer yet for {format_quantity(total, 'case')}", Outcome.NO_BASELINE
    if still_open:
        return (
            f"Nothing got worse; {still_open} of {format_quantity(total, 'case')} open",
            Outcome.INCONCLUSIVE,
        )
    if counts[Outcome.FASTER]:
        faster = format_quantity(counts[Outcome.FASTER], "case")
        all_hold = "The only case holds and" if total == 1 else f"All {total} cases hold, {faster}"
        return f"{all_hold} got faster", Outcome.FASTER
    return ("The only case passes" if total == 1 else f"All {total} cases pass"), Outcome.PASS


def _list_changed(machine: JudgedMachine) -> list[Item]:
    """List the suite's shift, then every case but the plain passes; equal reasons stand once.

    A case stands once for each outcome that its verdict tells, such as DEGRADED and SLOWER.
    """
    items = []
    if machine.suite is not None and machine.suite.outcome is not Outcome.PASS:
        items.append(_make_item(machine.suite, "all cases together"))
    grouped: dict[tuple[Outcome, str], list[ReportedCase]] = {}
    findings: dict[tuple[Outcome, str], Finding] = {}
    for outcome in Outcome:
        if outcome in (Outcome.PASS, Outcome.NO_BASELINE):
            continue
        for case in machine.cases:
            finding = next((one for one in case.verdict.told if one.outcome is outcome), None)
            if finding is not None and not case.is_absent:
                grouped.setdefault((outcome, finding.reason), []).append(case)
                findings[outcome, finding.reason] = finding
    for key, cases in grouped.items():
        where = cases[0].short if len(cases) == 1 else f"{cases[0].short} and {len(cases) - 1} more"
        items.append(_make_item(findings[key], where))
    return items


def _make_item(finding: Finding, where: str) -> Item:
    outcome = finding.outcome
    return Item(
        SIGNS[outcome], role_of(outcome), outcome.value, where, finding.reason, finding.next_step
    )


def _list_facts(machine: JudgedMachine) -> Iterable[tuple[str, str]]:
    head = machine.head
    where = head.environment
    known = list(head.measurements.values())
    # A pipeline of diffusers is named before other programs.
    first = next(
        (one for one in known if find_program(one.engine) is None), known[0] if known else None
    )
    if where is None or first is None:
        yield "machine", machine.machine
        return
    if where.device_kind == "cpu":
        cores = UNKNOWN if where.cpu_cores is None else format_quantity(where.cpu_cores, "core")
        yield "device", f"CPU: {where.device_name or where.chip}, {cores}"
    else:
        yield "device", f"{where.device_kind.upper()}: {where.device_name or where.chip}"
        if where.chip not in where.device_name:
            yield "processor", where.chip
    yield "memory", format_bytes(where.ram_bytes)
    yield "system", f"{where.os_name} {where.os_version}, Python {where.python}"
    versions = [f"{name} {where.packages[name]}" for name in _SHOWN if name in where.packages]
    yield "software", ", ".join(versions) or UNKNOWN
    workload = first.workload
    size = first.images[0] if first.images else None
    program = find_program(first.engine)
    yield "model", first.subject or name_drawn_model(workload.model, program)
    if program is not None:
        yield "program", f"{program.name} {program.version}"
    pixels = "" if size is None else f", {size.width} x {size.height} px"
    yield "workload", f"{workload.describe_sampling(program=program)}{pixels}"
    power = [each for each in (where.power_source, where.power_mode, where.thermal_level) if each]
    if power:
        yield "power", ", ".join(power)


_SHOWN: Final = ("torch", "diffusers", "transformers")


def _list_doubts(machine: JudgedMachine) -> Iterable[Sentence]:
    sessions = len(machine.bases)
    held = [case.sessions for case in machine.cases if case.sessions]
    fewest = min(held, default=sessions)
    limit = format_change(1 + machine.limits.max_slowdown)
    gross = format_change(1 + machine.limits.gross_slowdown)
    if not sessions:
        yield _doubt("No earlier run with these cases was compared: times are shown, not judged.")
    elif fewest < FEWEST_SESSIONS:
        runs = f"{format_quantity(sessions, 'earlier run')}{describe_fewest(sessions, held)}"
        short, missing = count_short(held), FEWEST_SESSIONS - fewest
        where = f" in {short}" if short else ""
        binds = f"{limit} binds in all" if short else f"{limit} binds"
        yield _doubt(
            f"Compared with {runs}: only {gross} fails{where}. {missing} more and {binds}."
        )
    else:
        yield _trust(f"Compared with {sessions} earlier runs: {limit} a case binds.")
    widths = [
        (high - low) / 2 / case.current_s
        for case in machine.cases
        if case.current_range_s is not None and case.current_s
        for low, high in [case.current_range_s]
    ]
    if widths:
        width = statistics.median(widths)
        yield (_trust if width < machine.limits.max_slowdown else _doubt)(
            f"Within this run a median is known to ±{width:.1%} (median of "
            f"{format_quantity(len(widths), 'case')}, 95 %); between runs machines differ by more."
        )
    summary = machine.head.run.summary
    control = None if summary is None else summary.null_control
    if control is not None and control.ratio is not None:
        words = f"The same code compared with itself differed by {format_change(control.ratio)}"
        yield _trust(f"{words}.") if control.is_sound else _doubt(f"{words}: not fit.")
    again = sum(one.was_measured_again is True for one in machine.settled.values())
    if again:
        yield _trust(f"{format_quantity(again, 'case')} measured again in the same run.")
    skipped = {} if summary is None else summary.skipped
    if skipped:
        were = "was" if len(skipped) == 1 else "were"
        yield _doubt(
            f"{format_quantity(len(skipped), 'more case')} {were} skipped and not counted above: "
            f"{describe_skips(skipped.values(), MOST_SHOWN)}."
        )
    absent = [case.short for case in machine.cases if case.is_absent]
    if absent:
        were = "was" if len(absent) == 1 else "were"
        yield _doubt(
            f"{format_quantity(len(absent), 'case')} of the earlier runs {were} not run: "
            f"{format_names(absent)}; deselected, skipped or renamed?"
        )
    told = [] if machine.nothing_compared is None else [machine.nothing_compared]
    yield from (_doubt(f"{note}.") for note in (*told, *machine.notes))
    yield from _list_guard_doubts(machine)


def _list_guard_doubts(machine: JudgedMachine) -> Iterable[Sentence]:
    logs = [
        case.measurement.guards
        for case in machine.cases
        if case.measurement is not None and case.measurement.guards is not None
    ]
    if not logs:
        yield _doubt("Nobody asked whether the machine was fit.")
        return
    if all(log.policy == "off" for log in logs):
        yield _doubt("Guards were off: nobody looked at whether the machine was fit.")
        return
    states: dict[str, str] = {}
    for log in logs:
        for guard in (*log.before, *log.after, *log.during):
            worse = _STATES.index(guard.state) < _STATES.index(states.get(guard.name, "ok"))
            if worse or guard.name not in states:
                states[guard.name] = guard.state
    bad = [name for name, state in states.items() if state in ("fail", "warn")]
    unknown = [name for name, state in states.items() if state == "unknown"]
    if bad:
        yield _doubt(f"The machine was not at rest: {', '.join(bad)}.")
    elif len(states) > len(unknown):
        count = format_quantity(len(states) - len(unknown), "guard")
        yield _trust(f"The machine held still: {count} ok.")
    if unknown:
        yield _doubt(f"Could not be told here: {', '.join(unknown)}.")
    excluded = sum(len(log.excluded) for log in logs)
    if excluded:
        were = "was" if excluded == 1 else "were"
        rounds = format_quantity(excluded, "disturbed round")
        yield _doubt(f"{rounds} {were} left out and measured again.")


_STATES: Final[Sequence[str]] = ("fail", "warn", "unknown", "ok")


def _doubt(words: str) -> Sentence:
    return Sentence("open", "!", words)


def _trust(words: str) -> Sentence:
    return Sentence("good", "✓", words)
