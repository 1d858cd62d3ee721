"""The faults that a generation would meet on MPS, as text of 100 columns and Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sdperf.mps_check.judging import Judgement, MpsFinding, Place
from sdperf.mps_check.limits import EFFECTS
from sdperf.report.markdown.words import escape_markdown, format_code
from sdperf.report.text.lines import Line, wrap_line
from sdperf.units import format_quantity

_MOST_PLACES: Final = 3
_CANNOT_KNOW: Final = (
    "cannot know: numerics, speed, memory, bugs that nobody reported; what a finding hides that "
    "comes before it; which kernel Metal picks. The JSON lists the known traps that it is blind to."
)
_NO_TRIAL: Final = "Nothing here was tried on a Mac: it is torch's own list and other people's "


def format_judgement(judgement: Judgement) -> list[Line]:
    """Lay out a judgement for a terminal."""
    lines = [*wrap_line(_headline(judgement)), *wrap_line(_what_was_seen(judgement))]
    lines += wrap_line(judgement.note, "yellow") if judgement.note else []
    for title, found in _sections(judgement):
        lines += [Line(""), Line(title, bold=True)]
        for finding in found:
            lines += _format_finding(finding)
    for operator, calls in judgement.unjudged.items():
        lines += wrap_line(f"not judged: {operator} ({format_quantity(calls, 'call')})", "yellow")
    lines += [Line(""), *wrap_line(_verdict(judgement), _verdict_colour(judgement))]
    lines += wrap_line(_CANNOT_KNOW)
    lines += wrap_line(_say_sources(judgement))
    return lines


def format_judgement_markdown(judgement: Judgement) -> str:
    """Lay out a judgement for an issue or a pull request."""
    parts = [f"**{escape_markdown(_headline(judgement))}**", _what_was_seen(judgement)]
    parts += [escape_markdown(judgement.note)] if judgement.note else []
    for title, found in _sections(judgement):
        rows = [
            "| operator | what happens | where | calls | what to do |",
            "| --- | --- | --- | --- | --- |",
            *(_format_row(finding) for finding in found),
        ]
        parts += [f"### {title}", "\n".join(rows)]
    if judgement.unjudged:
        names = ", ".join(format_code(operator) for operator in judgement.unjudged)
        parts.append(f"Not judged: {names}")
    parts += [_verdict(judgement), escape_markdown(_CANNOT_KNOW), _say_sources(judgement)]
    return "\n\n".join(parts) + "\n"


def _say_sources(judgement: Judgement) -> str:
    return f"{_NO_TRIAL}{judgement.limits or 'reports'}."


def _headline(judgement: Judgement) -> str:
    size = ""
    if judgement.width is not None and judgement.height is not None:
        size = f", {judgement.width} x {judgement.height} px"
    if judgement.frames is not None:
        size += f", {format_quantity(judgement.frames, 'frame')}"
    system = "macOS not given" if judgement.macos is None else f"macOS {judgement.macos}"
    on = "MPS" if judgement.chip is None else judgement.chip
    return (
        f"{judgement.model} on {on}, {judgement.precision}{size}: torch {judgement.torch}, {system}"
    )


def _what_was_seen(judgement: Judgement) -> str:
    values = "all values computed" if judgement.has_values else "small values computed, else shapes"
    return (
        f"{format_quantity(judgement.operators, 'operator')} recorded, {judgement.distinct} "
        f"different ones, {format_quantity(judgement.steps, 'step')}, {values}; judged by "
        f"{judgement.source}"
    )


def _sections(judgement: Judgement) -> Iterator[tuple[str, list[MpsFinding]]]:
    groups = (
        ("goes wrong", [one for one in judgement.findings if one.is_harmful and one.is_certain]),
        (
            "may go wrong",
            [one for one in judgement.findings if one.is_harmful and not one.is_certain],
        ),
        ("good to know", [one for one in judgement.findings if not one.is_harmful]),
    )
    for title, found in groups:
        if found:
            yield title, found


def _format_finding(finding: MpsFinding) -> Iterator[Line]:
    colour = ("red" if finding.is_certain else "yellow") if finding.is_harmful else ""
    yield from wrap_line(f"{finding.operator} {EFFECTS[finding.effect]}: {finding.title}", colour)
    if not finding.is_certain:
        doubts = [finding.condition] if finding.condition else []
        doubts += ["suspected, not reported"] if finding.certainty == "suspected" else []
        yield from _indented(f"if: {'; '.join(doubts)}")
    yield from _indented(f"in: {finding.example}")
    for place in finding.places[:_MOST_PLACES]:
        yield from _indented(f"at: {_format_place(place)}")
    rest = finding.places[_MOST_PLACES:]
    if rest:
        calls = sum(place.calls for place in rest)
        yield from _indented(f"at: {len(rest)} more places, {format_quantity(calls, 'call')}")
    yield from _indented(f"do: {finding.remedy}")
    if finding.note:
        yield from _indented(f"note: {finding.note}")
    yield from _indented(f"see: {', '.join(finding.sources)}")


def _indented(text: str) -> list[Line]:
    return wrap_line(f"  {text}")


def _format_place(place: Place) -> str:
    module = f" in {place.module}" if place.module else ""
    return f"{place.line}{module}, {place.stage}, {format_quantity(place.calls, 'call')}"


def _format_row(finding: MpsFinding) -> str:
    where = "<br>".join(escape_markdown(_format_place(each)) for each in finding.places[:1])
    rest = len(finding.places) - 1
    doubt = f" ({finding.condition or 'suspected'})" if not finding.is_certain else ""
    cells = (
        format_code(finding.operator),
        escape_markdown(f"{EFFECTS[finding.effect]}: {finding.title}{doubt}"),
        where + (f"<br>and {rest} more places" if rest else ""),
        str(finding.calls),
        escape_markdown(f"{finding.remedy} [{', '.join(finding.sources)}]"),
    )
    return f"| {' | '.join(cells)} |"


def _verdict(judgement: Judgement) -> str:
    sure = sum(finding.is_harmful and finding.is_certain for finding in judgement.findings)
    unsure = sum(finding.is_harmful and not finding.is_certain for finding in judgement.findings)
    if sure:
        also = f", {unsure} more may" if unsure else ""
        return f"{format_quantity(sure, 'operator')} would go wrong on MPS{also}"
    if unsure:
        return f"nothing is known to go wrong on MPS; {unsure} may, see the conditions"
    return "nothing is known to go wrong on MPS"


def _verdict_colour(judgement: Judgement) -> str:
    if judgement.fails(strict=False):
        return "red"
    return "yellow" if judgement.fails(strict=True) else "green"
