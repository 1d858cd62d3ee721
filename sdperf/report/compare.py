"""Compares saved sessions: the verdicts of ``sdperf compare`` and their forms. Pure.

The judges are the same as in a run, but nothing is measured again: see `judge_offline`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sdperf.judging.session.saved import ComparedCase, SavedComparison
from sdperf.record.verdict import Finding, Outcome, shorten_cases
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import escape_markdown, format_code
from sdperf.report.table import Column, Marked, RowStyle, Table
from sdperf.report.text.lines import Line, colour_of, wrap_line
from sdperf.report.text.table import format_text_table
from sdperf.shell import join_step
from sdperf.units import (
    UNKNOWN,
    format_change,
    format_names,
    format_quantity,
    format_seconds,
)

FORMAT_VERSION = 2
"""Version 1 had the ratio beside the other cases as ``ratio``."""
_CASE_WIDTH: Final = 50
"""Characters of a case's name in the table."""


def format_comparison_table(comparison: SavedComparison) -> list[Line]:
    """Lay the comparison out for a terminal: one line per case, then all but the plain passes.

    Cases that the head did not run (``-k``, one file of several, a renamed test) share a line.
    """
    run = _list_run(comparison)
    bases = len(comparison.bases)
    lines = [
        Line(
            f"{comparison.head} against {format_quantity(bases, 'saved session')}; seconds of a "
            "round, with all its images"
        ),
        *format_text_table(_tabulate(comparison)),
    ]
    if comparison.suite is not None:
        suite = comparison.suite
        lines += wrap_line(
            f"suite: {suite.outcome.value}  {suite.reason}", colour_of(suite.outcome)
        )
    for case in run:
        if case.verdict.outcome is Outcome.PASS:
            continue
        for finding in case.verdict.told:
            text = f"{finding.outcome.value}  {case.verdict.case}: {finding.reason}"
            lines += wrap_line(text, colour_of(finding.outcome))
            if finding.next_step is not None:
                lines += wrap_line(join_step("    next: ", finding.next_step), "")
    absent, nothing = describe_absent(comparison), comparison.nothing_compared
    lines += [] if absent is None else wrap_line(absent, "yellow")
    lines += [] if nothing is None else wrap_line(nothing, "red")
    lines += [line for name in comparison.itself for line in wrap_line(describe_itself(name), "")]
    lines.append(Line(_count(comparison)))
    return lines


def describe_absent(comparison: SavedComparison) -> str | None:
    """Say which cases of the bases the head did not run; ``None`` where it ran all of them.

    A saved run does not tell whether somebody left them out on purpose: ``--strict`` fails them.
    """
    names = [one.verdict.case for one in comparison.cases if one.is_absent]
    absent = list(shorten_cases(names, lambda name: name.rpartition("::")[2]).values())
    if not absent:
        return None
    were = "was" if len(absent) == 1 else "were"
    return (
        f"{format_quantity(len(absent), 'case')} of the baseline {were} not run: "
        f"{format_names(absent)}; deselected, skipped or renamed? --strict fails by this, "
        "--format json lists all"
    )


def describe_itself(name: str) -> str:
    """Say that an accepted session was left out, since it is the judged run."""
    return f"{name} is this run itself, which was accepted: it is left out"


def _list_run(comparison: SavedComparison) -> list[ComparedCase]:
    """Return the cases that the head ran."""
    return [case for case in comparison.cases if not case.is_absent]


def format_comparison_markdown(comparison: SavedComparison) -> str:
    """Lay the comparison out as Markdown, for a job summary or a pull request."""
    lines = [
        f"### {escape_markdown(comparison.head)} against "
        f"{format_quantity(len(comparison.bases), 'saved session')}",
        "",
        "Seconds of a round, with all its images.",
        "",
        *format_markdown_table(_tabulate(comparison)),
    ]
    suite = comparison.suite
    if suite is not None:
        lines += ["", f"Suite: **{suite.outcome.value}** {escape_markdown(suite.reason)}"]
    for told in (describe_absent(comparison), comparison.nothing_compared):
        lines += [] if told is None else ["", escape_markdown(told)]
    for name in comparison.itself:
        lines += ["", escape_markdown(describe_itself(name))]
    return "\n".join([*lines, "", _count(comparison), ""])


def _tabulate(comparison: SavedComparison) -> Table:
    rows, run = [], _list_run(comparison)
    names = name_cases([case.verdict.case for case in run])
    for case, name in zip(run, names, strict=True):
        outcome = case.verdict.outcome
        reasons = "; ".join(finding.reason for finding in case.verdict.decisive)
        detail = "" if outcome is Outcome.PASS else f": {escape_markdown(reasons)}"
        for finding in case.verdict.told:
            if finding.outcome is not outcome:
                detail += f"; **{finding.outcome.value}**: {escape_markdown(finding.reason)}"
        rows.append(
            (
                Marked(name, format_code(case.verdict.case)),
                format_seconds(case.baseline_s),
                format_seconds(case.current_s),
                format_change(case.change),
                Marked(outcome.value, f"**{outcome.value}**{detail}"),
            )
        )
    colours = (colour_of(case.verdict.outcome) for case in run)
    return Table(
        (
            Column("case", is_text=True, most=_CASE_WIDTH, keeps_end=True, takes_rest=True),
            Column("baseline", least=11),
            Column("current", least=11),
            Column("change", least=9),
            Column("verdict", is_text=True, gap=2),
        ),
        tuple(rows),
        {number: RowStyle(colour) for number, colour in enumerate(colours)},
    )


def name_cases(ids: Sequence[str]) -> list[str]:
    """Return how the table names cases: by their ids, where these fit into its column.

    Where one does not, all go without file and ``test_``, but for those that this makes equal.

    >>> name_cases(["a.py::test_a[1]", "benchmarks/in_one_longer_folder/test_b.py::test_b[1]"])
    ['a[1]', 'b[1]']
    """
    if all(len(name) <= _CASE_WIDTH for name in ids):
        return list(ids)
    short = shorten_cases(ids)
    return [short[name] for name in ids]


def format_comparison_json(comparison: SavedComparison) -> str:
    """Lay the comparison out as JSON; no NaN, unknown is null."""
    document: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "bases": list(comparison.bases),
        "head": comparison.head,
        "suite": None if comparison.suite is None else _plain_finding(comparison.suite),
        "nothing_compared": comparison.nothing_compared,
        "cases": [
            {
                "case": case.verdict.case,
                "outcome": case.verdict.outcome.value,
                "baseline_s": case.baseline_s,
                "current_s": case.current_s,
                "ratio": case.change,
                "ratio_beside_others": case.ratio_beside_others,
                "sessions": case.sessions,
                "findings": [_plain_finding(finding) for finding in case.verdict.findings],
            }
            for case in comparison.cases
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _plain_finding(finding: Finding) -> dict[str, str | None]:
    return {
        "outcome": finding.outcome.value,
        "gate": finding.gate,
        "reason": finding.reason,
        "next_step": finding.next_step,
    }


def _count(comparison: SavedComparison) -> str:
    run = _list_run(comparison)
    counts = Counter(case.verdict.outcome for case in run)
    named = ", ".join(
        f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]
    )
    absent = len(comparison.cases) - len(run)
    rest = f"; {absent} of the baseline not run" if absent else ""
    return f"{format_quantity(len(run), 'case')}: {named or UNKNOWN}{rest}"
