"""A run as Markdown for a job summary or a pull request: two lines when green. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.record.verdict import Finding, Outcome
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import escape_markdown, format_code
from sdperf.report.table import Code, Column, Table
from sdperf.report.text.session.cases import Row, find_worst_scores, format_counts
from sdperf.units import format_change, format_quantity, format_score, format_seconds

LONGEST: Final = 60_000
"""The most characters of a summary; GitHub accepts 65,536 in a comment."""


@dataclass(frozen=True)
class RunReport:
    """The contents of a run's summary.

    Attributes:
        rows: Its judged cases.
        skipped: How many cases were skipped.
        description: What was measured and where, one entry per part.
        comparison: What the run was compared with.
        suite: What all cases have in common; ``None`` where it could not be told.
        notes: Lines on what was left undone, and what to do next.
        has_failed: Whether the run fails.
        was_interrupted: Whether it was ended early, so that this is the verdict so far.
    """

    rows: Sequence[Row]
    skipped: int
    description: Sequence[str]
    comparison: Sequence[str]
    suite: Finding | None
    notes: Sequence[str]
    has_failed: bool
    was_interrupted: bool = False


def format_run_markdown(report: RunReport) -> str:
    """Lay a run out: the verdict first, then every case but the plain passes.

    Prompts, branches and names may be hostile: no part of them becomes markup, a link, a picture
    or the mention of a person.
    """
    answer = "failed" if report.has_failed else "passed"
    is_worse = any(row.verdict.outcome.is_failure for row in report.rows)
    answer = "interrupted" if report.was_interrupted and not is_worse else answer
    counts = format_counts(report.rows, report.skipped)
    lines = [f"### sdperf {answer}: {escape_markdown(counts)}", ""]
    lines += [f"{escape_markdown(' '.join(report.description))}  "] if report.description else []
    lines += [f"{escape_markdown(text)}  " for text in report.comparison]
    if report.suite is not None and report.suite.outcome is not Outcome.PASS:
        lines.append(f"all cases together: {_format_finding(report.suite)}  ")
    plain = (Outcome.PASS, Outcome.NO_BASELINE)
    telling = [row for row in report.rows if row.verdict.outcome not in plain]
    lines += _within(_list_findings(telling), LONGEST // 2)
    lines += [""] if telling and report.notes else []  # else a note belonged to the last finding
    lines += [f"{escape_markdown(text)}  " for text in report.notes]
    if telling:
        lines += [
            "",
            "<details><summary>all cases</summary>",
            "",
            *_within(format_markdown_table(_tabulate(report.rows)), LONGEST // 3),
            "",
            "</details>",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _list_findings(rows: Iterable[Row]) -> Iterable[str]:
    ordered = sorted(rows, key=lambda row: list(Outcome).index(row.verdict.outcome))
    for row in ordered:
        for finding in row.verdict.told:
            yield f"- {format_code(row.case)} {_format_finding(finding)}"


def _format_finding(finding: Finding) -> str:
    step = "" if finding.next_step is None else f"; next: {format_code(finding.next_step)}"
    return f"**{finding.outcome.value}**: {escape_markdown(finding.reason)}{step}"


def _tabulate(rows: Iterable[Row]) -> Table:
    listed = []
    for row in rows:
        measured = row.measurement
        cells = ("", "", "")
        if measured is not None:
            bits = measured.entropy_bits
            cells = (
                format_seconds(measured.seconds_per_image),
                format_score(find_worst_scores(measured)[0]),
                "" if bits is None else f"{bits:.2f} bit",
            )
        seen = "" if row.seen is None else f" {row.seen}"
        verdict = f"{row.verdict.outcome.value}{seen}"
        change = format_change(row.change)
        listed.append((Code(row.case), cells[0], change, cells[1], cells[2], verdict))
    numbers = map(Column, ("s/image", "change", "SSIM", "entropy"))
    columns = (Column("case", is_text=True), *numbers, Column("verdict", is_text=True))
    return Table(columns, tuple(listed))


def _within(lines: Iterable[str], longest: int) -> list[str]:
    """Keep the first lines that fit, and say how many do not."""
    kept: list[str] = []
    left_out = 0
    for line in lines:
        longest -= len(line) + 1
        if longest > 0 and not left_out:
            kept.append(line)
        else:
            left_out += 1
    return [*kept, *([f"and {format_quantity(left_out, 'more line')}"] if left_out else [])]
