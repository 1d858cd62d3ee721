"""The result of a search, as Markdown that can be filed as an issue. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sdperf.ab.sides.interpreters import TELLING, compare_packages
from sdperf.ab.verdict.comparison import AbComparison
from sdperf.ab.verdict.judging import CaseVerdict
from sdperf.bisect.judging import Aspect, describe_verdict
from sdperf.bisect.state import StepRecord
from sdperf.record.environment import Environment
from sdperf.record.execution import name_drawn_model
from sdperf.report.markdown.ab import format_stages
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import escape_markdown, format_block, format_code
from sdperf.report.table import Column, Marked, Table
from sdperf.report.text.bisect import (
    BisectReport,
    StepInfo,
    count_planned,
    describe_effort,
    format_case_change,
    format_headline,
    list_doubts,
)
from sdperf.units import UNKNOWN, format_bytes, format_quantity, format_seconds

_MOST_FILES: Final = 40
_WORSE: Final[dict[Aspect, str]] = {
    "speed": "slower",
    "image": "another image",
    "memory": "more memory",
}


def format_bisect_markdown(report: BisectReport) -> str:
    """Lay out a whole search; no word of a commit becomes markup, a link or a mention."""
    lines = [f"# {escape_markdown(_capital(format_headline(report)))}", ""]
    lines += _format_what(report)
    lines += _format_step(report)
    lines += _format_where(report)
    lines += _format_pictures(report)
    lines += _format_path(report)
    lines += _format_environment(report)
    lines += _format_commands(report)
    return "\n".join(lines).rstrip() + "\n"


def _format_what(report: BisectReport) -> Iterator[str]:
    question = report.state.question
    worse = sorted({target.aspect for target in report.state.targets})
    if worse:
        words = " and ".join(_WORSE[aspect] for aspect in worse)
        yield (
            f"From {_name(report.info(question.good))} to {_name(report.info(question.bad))}: "
            f"{words}."
        )
    else:
        yield (
            f"{_name(report.info(question.good))} against {_name(report.info(question.bad))}, "
            f"asked for: {', '.join(question.aspects)}."
        )
    for verdict in report.end:
        yield f"- {format_code(verdict.case.case.id)} {escape_markdown(describe_verdict(verdict))}"
    doubts = [*list_doubts(report), *report.notes]
    for text in doubts:
        yield f"- {escape_markdown(text)}"
    yield ""
    if report.conclusion.ending == "range":
        yield f"The first bad {report.noun} is one of these:"
        yield ""
        for step in report.conclusion.standing.suspects:
            yield f"- {_full(report.info(step))}"
        yield ""


def _format_step(report: BisectReport) -> Iterator[str]:
    found = report.first_bad
    if found is None or not (found.facts or found.files):
        return
    yield f"## The {report.noun}"
    yield ""
    yield f"- {_full(found)}"
    for word, value in found.facts:
        yield f"- {word}: {escape_markdown(value)}"
    if found.files:
        yield (
            f"- {len(found.files)} files changed:" if len(found.files) > 1 else "- 1 file changed:"
        )
    for letter, path in found.files[:_MOST_FILES]:
        yield f"    - {letter} {format_code(path)}"
    if len(found.files) > _MOST_FILES:
        yield f"    - and {len(found.files) - _MOST_FILES} more"
    yield ""


def _format_where(report: BisectReport) -> Iterator[str]:
    if not report.closing:
        return
    base = report.info(report.state.closing_base or report.state.question.good)
    yield f"## By itself, against {escape_markdown(base.name)}"
    yield ""
    for verdict in report.closing:
        yield f"{format_code(verdict.case.case.id)} {escape_markdown(describe_verdict(verdict))}"
        yield ""
        yield from _format_stages(verdict)


def _format_stages(verdict: CaseVerdict) -> Iterator[str]:
    if not verdict.stages:
        return
    titles = ("stage", "before", "after", "saved an image", "change (95 %)")
    yield from format_stages(verdict, titles)
    yield ""


def _format_pictures(report: BisectReport) -> Iterator[str]:
    if not report.pictures:
        return
    yield "## The images"
    yield ""
    for picture in report.pictures:
        yield f"{escape_markdown(picture.caption)}"
        yield ""
        yield f"![before, after, difference](<{picture.path}>)"
        yield ""


def _format_path(report: BisectReport) -> Iterator[str]:
    state = report.state
    records = [*([("ends", state.end)] if state.end is not None else [])]
    records += [(str(number), one) for number, one in enumerate(state.steps, 1)]
    if state.closing is not None:
        records.append(("by itself", state.closing))
    if not records:
        return
    yield "## How it was found"
    yield ""
    yield f"{_capital(escape_markdown(describe_effort(report)))}."
    good = report.info(state.question.good).name
    yield f"Each {report.noun} was compared with {escape_markdown(good)}."
    if any(target.aspect == "speed" for target in state.targets):
        planned = format_quantity(count_planned(report), "test")
        yield (
            f"The error was divided by {planned} and the looks of each; the bounds are one-sided, "
            "at that level."
        )
    yield ""
    columns = (
        *(Column(title, is_text=True) for title in ("test", report.noun, "answer")),
        *map(Column, ("change (bounds)", "blocks", "took")),
        Column("seen", is_text=True),
    )
    rows = (_list_record(report, name, record) for name, record in records)
    yield from format_markdown_table(Table(columns, tuple(rows)))
    yield ""


def _list_record(report: BisectReport, name: str, record: StepRecord) -> tuple[str, ...]:
    info = report.info(record.step)
    blocks = sum(case.blocks for case in record.cases)
    seen = record.reason or "; ".join(case.seen for case in record.cases)
    step = f"{format_code(info.name)} {escape_markdown(info.title)}"
    return (
        name,
        Marked(f"{info.name} {info.title}", step),
        record.answer,
        format_case_change(record) or UNKNOWN,
        str(blocks or UNKNOWN),
        format_seconds(record.took_s),
        seen,
    )


def _format_environment(report: BisectReport) -> Iterator[str]:
    comparison = report.comparison
    if comparison is None:
        return
    yield "## Where"
    yield ""
    yield f"- {escape_markdown(_describe_machine(comparison.environment))}"
    where = f"Python {comparison.a.python}; {_list_packages(comparison)}"
    yield f"- {escape_markdown(where)}"
    workload, program = comparison.a.workload, comparison.a.program
    size = "" if workload.width is None else f", {workload.width} x {workload.height} px"
    yield (
        f"- {escape_markdown(name_drawn_model(workload.model, program))} "
        f"({format_code(comparison.a.model_hash[:12])}), "
        f"{workload.describe_sampling(program=program)}{size}, "
        f"{format_quantity(len(workload.prompts), 'prompt')}, seed {workload.seed}"
    )
    changed = compare_packages(comparison.a.packages, comparison.b.packages)
    if changed:
        yield "- packages that differ between the ends:"
        for one in changed:
            yield f"    - {escape_markdown(f'{one.name} {one.a or UNKNOWN} to {one.b or UNKNOWN}')}"
    variables = comparison.environment.variables
    for name, value in variables.items():
        yield f"- {format_code(f'{name}={value}')}"
    yield f"- {escape_markdown(f'sdperf {report.version}, {report.state.started}')}"
    yield ""


def _format_commands(report: BisectReport) -> Iterator[str]:
    if report.command:
        yield "## To see it again"
        yield ""
        yield from format_block(report.command)


def _describe_machine(where: Environment) -> str:
    device = where.device_name if where.device_kind != "cpu" else ""
    parts = [
        where.chip,
        f"{where.device_kind} {device}".strip(),
        "" if where.ram_bytes is None else format_bytes(where.ram_bytes),
        "" if where.cpu_cores is None else format_quantity(where.cpu_cores, "core"),
        f"{where.os_name} {where.os_version}",
        where.machine,
    ]
    return ", ".join(filter(None, parts))


def _list_packages(comparison: AbComparison) -> str:
    packages = comparison.a.packages
    return ", ".join(f"{name} {packages[name]}" for name in TELLING if name in packages)


def _name(info: StepInfo) -> str:
    return format_code(info.name)


def _full(info: StepInfo) -> str:
    return f"{format_code(info.name)} {escape_markdown(info.title)}".rstrip()


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
