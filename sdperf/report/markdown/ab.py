"""A comparison as files: JSON with all data, Markdown to paste, pictures to look at. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from sdperf.ab.sides.interpreters import compare_packages
from sdperf.ab.sides.sides import describe_case
from sdperf.ab.verdict.comparison import AB_FORMAT_VERSION, AbComparison
from sdperf.ab.verdict.images import AGAINST
from sdperf.ab.verdict.judging import (
    AbVerdict,
    CaseVerdict,
    is_control_sound,
    judge_comparison,
    list_control_contrasts,
)
from sdperf.errors import RecordError
from sdperf.images.png import decode_png, encode_png
from sdperf.record.json import (
    check_format_version,
    decode_object,
    format_record,
    parse_record,
)
from sdperf.report.markdown.table import format_markdown_table
from sdperf.report.markdown.words import escape_markdown
from sdperf.report.pictures.side_by_side import compose_side_by_side
from sdperf.report.table import Column, Table
from sdperf.report.text.ab import (
    describe_drawings,
    describe_place,
    describe_side,
    describe_statistics,
    list_own_figures,
    list_worrying_guards,
    tabulate_stages,
)
from sdperf.report.text.session.controls import format_self_difference
from sdperf.stats.paired import YuenBounds
from sdperf.units import UNKNOWN, format_quantity, format_score

if TYPE_CHECKING:
    from sdperf.record.measurement import ImageRecord

KIND: Final = "sdperf ab"
"""The name of the format of a stored comparison."""


def format_comparison_json(comparison: AbComparison) -> str:
    """Return the whole record with its verdict, for programs and `parse_comparison`.

    Raises:
        RecordError: A number is NaN or infinite.
    """
    document = {"kind": KIND} | format_record(comparison)
    document["verdict"] = _plain_verdict(judge_comparison(comparison))
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def parse_comparison(text: str) -> AbComparison:
    """Read what `format_comparison_json` wrote, checking every field.

    Raises:
        RecordError: The text is no comparison, is damaged, or comes from a newer sdperf.
    """
    document = decode_object(text, "the comparison")
    if document.get("kind") != KIND:
        raise RecordError("this is no comparison", expected="what sdperf ab --json wrote")
    check_format_version("the comparison", document.get("format_version"), AB_FORMAT_VERSION)
    return parse_record(AbComparison, document)


def _plain_verdict(verdict: AbVerdict) -> dict[str, Any]:
    return {
        "outcome": verdict.outcome.value,
        "void": verdict.void,
        "control_ratio": None if verdict.control is None else math.exp(verdict.control),
        "cases": [_plain_case(case) for case in verdict.cases],
    }


def _plain_case(verdict: CaseVerdict) -> dict[str, Any]:
    case = verdict.case
    return {
        "case": describe_case(case.case, case.variant_a, case.variant_b),
        "outcome": verdict.outcome.value,
        "line": verdict.line,
        "decision": verdict.speed.decision.value,
        "blocks": len(case.contrasts),
        "ratio": _plain_bounds(verdict.bounds),
        "findings": [
            {"outcome": one.outcome.value, "gate": one.gate, "reason": one.reason}
            for one in verdict.findings
        ],
        "stages": [
            {
                "stage": stage.name,
                "a_s": stage.a_s,
                "b_s": stage.b_s,
                "saved_s": stage.saved_s,
                "ratio": _plain_bounds(stage.bounds),
            }
            for stage in verdict.stages
        ],
    }


def _plain_bounds(bounds: YuenBounds | None) -> dict[str, float] | None:
    """Return ratios of B over A: above 1 is slower."""
    if bounds is None:
        return None
    return {name: math.exp(getattr(bounds, name)) for name in ("mean", "lower", "upper")}


def format_comparison_markdown(comparison: AbComparison, verdict: AbVerdict) -> str:
    """Return the comparison for a pull request or an issue."""
    return "\n".join(_format_markdown(comparison, verdict)) + "\n"


def _format_markdown(comparison: AbComparison, verdict: AbVerdict) -> Iterator[str]:
    sides = escape_markdown(f"{comparison.a.label} against {comparison.b.label}")
    yield f"# {sides}: {verdict.outcome.value}"
    yield ""
    yield f"- A: {escape_markdown(describe_side(comparison.a))}"
    yield f"- B: {escape_markdown(describe_side(comparison.b))}"
    for side, drawing in describe_drawings(comparison):
        yield f"- {escape_markdown(f'{side} draws {drawing}' if side else drawing)}"
    for guard in list_worrying_guards(comparison):
        yield f"- {escape_markdown(guard.describe())}"
    if verdict.void is not None:
        yield f"- **void**: {escape_markdown(verdict.void)}"
    elif verdict.control is not None:
        seen = format_self_difference(
            list_control_contrasts(comparison), is_sound=is_control_sound(comparison)
        )
        yield f"- null control: A differs from itself by {seen}"
    for note in comparison.notes:
        yield f"- {escape_markdown(note)}"
    for case in verdict.cases:
        yield ""
        yield from _format_case(case)
    yield from _format_package_table(comparison)


def format_stages(verdict: CaseVerdict, titles: Sequence[str]) -> Iterator[str]:
    """Lay the stages out, and say in which of them the difference lies.

    Args:
        verdict: What was compared.
        titles: Headings: the stage, both sides, what is saved, and how its time changed.
    """
    last = len(titles) - 1
    columns = (Column(one, is_text=number in (0, last)) for number, one in enumerate(titles))
    yield from format_markdown_table(tabulate_stages(verdict, tuple(columns), UNKNOWN))
    for told in (describe_statistics(verdict), describe_place(verdict)):
        if told is not None:
            yield ""
            yield f"{told[0].upper()}{told[1:]}."


def _format_case(verdict: CaseVerdict) -> Iterator[str]:
    case = verdict.case
    yield f"## {escape_markdown(describe_case(case.case, case.variant_a, case.variant_b))}"
    yield ""
    yield f"**{escape_markdown(verdict.line)}** ({format_quantity(len(case.contrasts), 'block')})"
    yield ""
    for finding in verdict.findings:
        yield f"- {finding.gate}: {finding.outcome.value}: {escape_markdown(finding.reason)}"
    for note in case.notes:
        yield f"- {escape_markdown(note)}"
    if verdict.stages:
        yield ""
        yield from format_stages(verdict, ("stage", "A", "B", "B saves", "time (95 %)"))
    for told in list_own_figures(case):
        yield ""
        yield f"{told[0].upper()}{told[1:]}."
    if case.images:
        yield ""
        header = ("image", "SSIM", "worst tile", "PSNR", "entropy A", "entropy B")
        rows = (_list_scores(pair.a, pair.b) for pair in case.images)
        yield from format_markdown_table(Table.of(header, rows))


def _list_scores(a: ImageRecord, b: ImageRecord) -> tuple[str, ...]:
    score = b.score(AGAINST)
    if score is None:
        cells = [UNKNOWN, UNKNOWN, UNKNOWN]
    else:
        psnr = "identical" if score.psnr_db is None else f"{score.psnr_db:.1f} dB"
        cells = [format_score(score.ssim), format_score(score.worst_tile_ssim), psnr]
    entropies = (f"{one.entropy_bits:.2f} bit" for one in (a, b))
    return (f"{a.prompt}, seed {a.seed}", *cells, *entropies)


def _format_package_table(comparison: AbComparison) -> Iterator[str]:
    found = compare_packages(comparison.a.packages, comparison.b.packages)
    if not found:
        return
    yield ""
    yield "## Packages that differ"
    yield ""
    rows = ((one.name, one.a or UNKNOWN, one.b or UNKNOWN) for one in found)
    columns = tuple(Column(title, is_text=True) for title in ("package", "A", "B"))
    yield from format_markdown_table(Table(columns, tuple(rows)))


def compose_pictures(
    comparison: AbComparison, pngs: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """Draw A | B | difference of every prompt.

    Args:
        comparison: What was compared.
        pngs: Its images by content hash.

    Yields:
        A file name and PNG bytes.
    """
    labels = f"A: {comparison.a.label}", f"B: {comparison.b.label}"
    for number, case in enumerate(comparison.cases):
        for index, pair in enumerate(case.images):
            score = pair.b.score(AGAINST)
            if score is None:
                continue
            caption = (
                "identical"
                if score.identical
                else f"SSIM {format_score(score.ssim)}, worst tile "
                f"{format_score(score.worst_tile_ssim)} (outlined)"
            )
            drawn = compose_side_by_side(
                decode_png(pngs[pair.a.sha256]),
                decode_png(pngs[pair.b.sha256]),
                tile_box=score.worst_tile_box,
                title=f"{pair.a.prompt}, seed {pair.a.seed}",
                caption=caption,
                against=labels[0],
                current_name=labels[1],
            )
            yield f"case{number + 1}-image{index + 1}.png", encode_png(drawn)
