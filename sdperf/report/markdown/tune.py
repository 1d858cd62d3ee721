"""A study as Markdown, to paste or to keep. Pure."""

from __future__ import annotations

from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import escape_markdown, format_code
from sdperf.report.table import Code, Column, Table
from sdperf.report.text.tune import (
    describe_starts,
    describe_study,
    describe_tried,
    describe_winner,
    tabulate_front,
)
from sdperf.tune.summary import StudySummary
from sdperf.units import format_quantity


def format_summary_markdown(summary: StudySummary) -> str:
    """Format a study's summary as Markdown."""
    question = summary.question
    reference, default = (
        format_code(one.describe()) for one in (question.reference, question.default)
    )
    compared = f"The default, and the reference of all images: {default}."
    if question.default != question.reference:
        compared = f"The default: {default}. The reference of all images: {reference}."
    lines = [
        f"**{escape_markdown(describe_winner(summary))}**",
        "",
        f"{escape_markdown(describe_study(summary))}. On {format_code(summary.machine)}.",
        compared,
        "",
        *format_markdown_table(_tabulate(summary)),
    ]
    for told in describe_starts(summary):
        lines += ["", escape_markdown(f"{told[:1].upper()}{told[1:]}.")]
    if summary.confirmations:
        lines += ["", "Measured again beside the default, fresh processes and fresh seeds:", ""]
    for one in summary.confirmations:
        told = f"- trial {one.number}: {escape_markdown(f'{one.judgement}, {one.reason}')}"
        if one.speedup is not None:
            middle, least, most = one.speedup
            told += (
                f"; {middle:.2f} times as fast ({least:.2f} to {most:.2f}), "
                f"{format_quantity(one.blocks, 'block')}"
            )
        lines.append(told)
    for name, shares in summary.importances.items():
        ordered = sorted(shares.items(), key=lambda pair: -pair[1])
        told = ", ".join(f"{dimension} {share:.0%}" for dimension, share in ordered)
        lines += ["", escape_markdown(f"What decides {name}: {told}.")]
    lines += ["", "<details><summary>All trials</summary>", ""]
    for trial in summary.trials:
        told = escape_markdown(trial.ending if trial.tried is None else describe_tried(trial.tried))
        if trial.setting is not None:
            told = f"{format_code(trial.setting.describe(question.default))}: {told}"
        lines.append(f"- {trial.number}: {told}")
    return "\n".join([*lines, "", "</details>", ""])


def _tabulate(summary: StudySummary) -> Table:
    """Tabulate the front, with the settings in a separate column."""
    table = tabulate_front(summary, summary.front)
    default = summary.question.default
    settings = [
        Code(setting.describe(default))
        for number, *_ in table.rows
        if (setting := summary.find_trial(int(number.lstrip("#"))).setting) is not None
    ]
    titles = {"faster": "times as fast", "tile": "worst tile"}
    columns = [Column(titles.get(one, one), is_text=True) for one in table.header]
    rows = zip(table.rows, settings, strict=True)
    return Table(
        (*columns, Column("setting", is_text=True)),
        tuple((*row[:2], row[2].removeprefix("x "), *row[3:], told) for row, told in rows),
    )
