"""The result of a search, as a few lines for a terminal. Pure; `bisect_markdown` has it all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sdperf.ab.verdict.comparison import AbComparison
from sdperf.ab.verdict.judging import CaseVerdict
from sdperf.bisect.judging import describe_verdict, format_bounds
from sdperf.bisect.searching import Conclusion, Ending, count_tests
from sdperf.bisect.state import BisectState, StepRecord
from sdperf.report.text.ab import describe_place
from sdperf.report.text.lines import Line, wrap_line
from sdperf.units import format_quantity, format_seconds

EXPLAINED_AT_LEAST: Final = 0.6
"""Share of the bad end's loss; if the first bad step explains less, other steps lose too."""

_COLOURS: Final[dict[Ending, str]] = {
    "found": "red",
    "range": "yellow",
    "nothing": "green",
    "undecided": "yellow",
    "void": "yellow",
    "interrupted": "yellow",
}
_ALL_SHOWN: Final = 12
_FACTS_SHOWN: Final = 2


@dataclass(frozen=True)
class StepInfo:
    """What identifies a step to people.

    Attributes:
        name: What it is called: a short hash, or versions.
        title: Subject line of a commit; empty for versions.
        facts: Further facts, as pairs of a word and its value.
        files: What a commit changed: letter of the change and path.
    """

    name: str
    title: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.title}".rstrip()


@dataclass(frozen=True)
class BisectPicture:
    """Two images and their difference, drawn into one file.

    Attributes:
        path: The file, relative to the report.
        caption: What the picture shows.
    """

    path: str
    caption: str


@dataclass(frozen=True)
class BisectReport:
    """The result of a search, with all that its report tells.

    Attributes:
        conclusion: The outcome of the search.
        steps: What identifies each step to people; the good end is among them.
        end: The bad end against the good end, as judged; empty before that.
        closing: The first bad step against the one before it, case by case.
        comparison: A comparison whose record tells where all of this was measured.
        pictures: Images of the first bad step beside those before it.
        command: The command that asks the same question again.
        noun: What a step is: ``commit`` or ``version``.
        version: Of sdperf.
    """

    conclusion: Conclusion
    steps: Mapping[str, StepInfo]
    end: tuple[CaseVerdict, ...] = ()
    closing: tuple[CaseVerdict, ...] = ()
    comparison: AbComparison | None = None
    pictures: tuple[BisectPicture, ...] = ()
    command: str = ""
    noun: str = "commit"
    version: str = ""
    notes: tuple[str, ...] = field(default=())

    @property
    def state(self) -> BisectState:
        """The state of the search: every step that was tested."""
        return self.conclusion.state

    def info(self, step: str) -> StepInfo:
        """Return what identifies a step to people."""
        return self.steps.get(step, StepInfo(step))

    @property
    def first_bad(self) -> StepInfo | None:
        """The first bad step, where it was found."""
        step = self.conclusion.standing.first_bad
        return None if step is None or self.conclusion.ending != "found" else self.info(step)


def format_headline(report: BisectReport) -> str:
    """Say in one line how the search ended."""
    ending, standing = report.conclusion.ending, report.conclusion.standing
    question = report.state.question
    ends = f"{report.info(question.good).name} and {report.info(question.bad).name}"
    if ending == "found":
        return f"first bad {report.noun}: {report.first_bad}"
    if ending == "range":
        return (
            f"the first bad {report.noun} is one of {len(standing.suspects)}, which could not be "
            f"told apart"
        )
    if ending == "nothing":
        asked = ", ".join(question.aspects)
        return f"nothing to find: the bad end is not worse than the good end ({asked})"
    if ending == "undecided":
        return f"undecided: this machine cannot tell {ends} apart"
    if ending == "void":
        return f"void: {report.conclusion.why}"
    return (
        f"interrupted: {len(standing.suspects)} of {len(question.history.steps)} {report.noun}s "
        f"are left, kept for the next time"
    )


def format_bisect_lines(report: BisectReport) -> list[Line]:
    """Lay a search out for a terminal: what was found, why, and what to do next."""
    lines = wrap_line(format_headline(report), _COLOURS[report.conclusion.ending])
    lines = [Line(lines[0].text, lines[0].colour, bold=True), *lines[1:]]
    for text in (*_list_details(report), *list_doubts(report), *report.notes):
        lines += wrap_line(f"  {text}", "")
    return lines


def _list_details(report: BisectReport) -> Iterator[str]:
    found = report.first_bad
    if found is not None:
        facts = ", ".join(value for _, value in found.facts[:_FACTS_SHOWN])
        changed = ", ".join(f"{letter} {path}" for letter, path in found.files[:3])
        more = f" and {len(found.files) - 3} more" if len(found.files) > 3 else ""
        if facts or changed:
            yield "; ".join(filter(None, (facts, f"{changed}{more}")))
        base = report.info(report.state.closing_base or report.state.question.good)
        for verdict in report.closing:
            yield f"against {base.name}: {verdict.case.case.id}: {describe_verdict(verdict)}"
            where = describe_place(verdict)
            if where is not None:
                yield where
    elif report.conclusion.ending == "range":
        for step in report.conclusion.standing.suspects[:_ALL_SHOWN]:
            yield str(report.info(step))
    elif report.state.end is not None:
        for case in report.state.end.cases:
            yield f"{case.case}: {case.seen}"
    yield describe_effort(report)


def describe_effort(report: BisectReport) -> str:
    """Say how much was measured for the answer, and how sure it is."""
    state = report.state
    records = [*([state.end] if state.end else []), *state.steps]
    tested = [record for record in records if record.answer != "skipped"]
    skipped = len(records) - len(tested)
    measured = [*tested, *([state.closing] if state.closing else [])]
    blocks = sum(case.blocks for record in measured for case in record.cases)
    took_s = sum(record.took_s for record in (*records, *measured[len(tested) :]))
    suspects = len(state.question.history.steps)
    words = [
        f"{format_quantity(len(tested), 'test')} over {format_quantity(suspects, report.noun)}"
    ]
    if state.closing is not None:
        words.append(f"1 comparison of the first bad {report.noun} by itself")
    words += [format_quantity(blocks, "block")] if blocks else []
    words.append(format_seconds(took_s))
    if skipped:
        words.append(f"{skipped} skipped")
    if any(target.aspect == "speed" for target in state.targets):
        alpha = state.question.options.alpha
        words.append(f"an error of {alpha * 100:g} % for a wrong turn in speed, shared")
    return ", ".join(words)


def list_doubts(report: BisectReport) -> Iterator[str]:
    """Say which part of the loss the answer does not explain."""
    state = report.state
    if report.conclusion.ending == "range":
        for record in state.steps:
            if record.step in report.conclusion.standing.suspects and record.answer in (
                "open",
                "skipped",
            ):
                why = record.reason or "; ".join(case.seen for case in record.cases)
                yield f"{report.info(record.step).name} {record.answer}: {why}"
    closing = state.closing
    if report.conclusion.ending != "found" or closing is None:
        return
    name = report.info(closing.step).name
    if closing.answer == "skipped":
        yield f"{name} could not be measured by itself: {closing.reason}"
        return
    if closing.answer != "bad":
        yield (
            f"by itself {name} does not lose what the search looked for: more {report.noun}s than "
            f"one may be needed for the loss, or the machine changed; see the path"
        )
    for share, case in _list_explained(state, closing):
        if share < EXPLAINED_AT_LEAST:
            yield (
                f"{case}: {name} by itself is {share * 100:.0f} % of what the bad end lost; search "
                f"from there for the rest"
            )


def _list_explained(state: BisectState, closing: StepRecord) -> Iterator[tuple[float, str]]:
    sizes = {target.case: target.size for target in state.targets if target.aspect == "speed"}
    for case in closing.cases:
        size = sizes.get(case.case)
        if size and case.change_log is not None:
            yield max(0.0, case.change_log / size), case.case


def describe_record(record: StepRecord, info: StepInfo) -> str:
    """Say in a line what a test said."""
    blocks = sum(case.blocks for case in record.cases)
    parts = [record.answer, record.reason or "; ".join(case.seen for case in record.cases)]
    if blocks:
        parts.append(format_quantity(blocks, "block"))
    return f"{info.name}: {', '.join(filter(None, parts))}, {format_seconds(record.took_s)}"


def format_case_change(record: StepRecord) -> str:
    """Say how much slower or faster a step was, in the case that decided."""
    for case in reversed(record.cases):
        if (
            case.change_log is not None
            and case.lower_log is not None
            and case.upper_log is not None
        ):
            return format_bounds(case.change_log, case.lower_log, case.upper_log)
    return ""


def count_planned(report: BisectReport) -> int:
    """Return how many tests the allowed error was divided by at first."""
    return count_tests(report.state.question) + 2
