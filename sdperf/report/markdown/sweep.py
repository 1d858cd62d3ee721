"""A sweep as Markdown, to paste or to keep. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import escape_markdown, format_block, format_code
from sdperf.report.sweep import (
    describe_error,
    describe_run,
    describe_sweep,
    list_failures,
    list_words,
    tabulate_points,
    tabulate_steps,
)
from sdperf.sweep.summary import SweepSummary
from sdperf.units import format_bytes, format_quantity


def format_sweep_markdown(summary: SweepSummary) -> str:
    """Lay out a whole sweep; no word of a version becomes markup, a link or a mention."""
    return "\n".join(_format(summary)).rstrip() + "\n"


def _format(summary: SweepSummary) -> Iterator[str]:
    yield f"# {escape_markdown(describe_sweep(summary))}"
    yield ""
    yield f"{escape_markdown(describe_run(summary))}."
    yield ""
    for curve in summary.curves:
        yield f"## {escape_markdown(curve.case)}"
        yield ""
        for text in list_words(curve):
            yield f"- {escape_markdown(text)}"
        yield ""
        yield from format_markdown_table(tabulate_points(summary, curve))
        yield ""
        if curve.steps:
            yield "Each version against the one before it:"
            yield ""
            yield from format_markdown_table(tabulate_steps(curve, with_stages=True))
            yield ""
    failures = list(list_failures(summary))
    if failures:
        yield "## What could not be measured"
        yield ""
        yield from (f"- {escape_markdown(text)}" for text in failures)
        yield ""
    if summary.titles:
        yield "## The commits"
        yield ""
        for name, title in summary.titles.items():
            yield f"- {format_code(name)} {escape_markdown(title)}"
        yield ""
    yield "## How sure it is"
    yield ""
    error = describe_error(summary)
    yield f"{escape_markdown(error[:1].upper() + error[1:])}."
    yield ""
    yield from _format_where(summary)
    if summary.command:
        yield "## To see it again"
        yield ""
        yield from format_block(summary.command)


def _format_where(summary: SweepSummary) -> Iterator[str]:
    where = summary.environment
    if where is None:
        return
    yield "## Where"
    yield ""
    parts = [
        where.chip,
        "" if where.cpu_cores is None else format_quantity(where.cpu_cores, "core"),
        "" if where.ram_bytes is None else format_bytes(where.ram_bytes),
        f"{where.os_name} {where.os_version}",
        where.machine,
    ]
    yield f"- {escape_markdown(', '.join(filter(None, parts)))}"
    software = [f"{name} {version}" for name, version in summary.question.software.items()]
    yield f"- {escape_markdown(', '.join(software))}"
    yield f"- {escape_markdown(f'sdperf {summary.version}, begun {summary.started}')}"
    yield ""
