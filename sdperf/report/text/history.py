"""The history as text and JSON: lists of runs, and one run with its cases. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdperf.record.verdict import Outcome, shorten_cases
from sdperf.report.table import Column, RowStyle, Table
from sdperf.report.text.table import format_text_table
from sdperf.report.text.wrapping import WIDTH, wrap_text
from sdperf.store.history.figures import Figures
from sdperf.store.history.reading import RunHead
from sdperf.units import (
    UNKNOWN,
    format_bytes,
    format_quantity,
    format_score,
    format_seconds,
    shorten,
)

FORMAT_VERSION = 1
SHORT_COMMIT = 10


def format_runs(heads: Sequence[RunHead], total: int) -> list[str]:
    """Lay runs out, one line per run."""
    table = Table(
        (
            Column("run", least=7),
            Column("measured (UTC)", is_text=True, least=16, gap=2),
            Column("commit", is_text=True, least=12, gap=2),
            Column("branch", is_text=True, least=16, most=16),
            Column("outcomes", is_text=True, most=WIDTH - 59, gap=2),
        ),
        tuple(
            (
                str(head.id),
                f"{head.measured_at:%Y-%m-%d %H:%M}",
                _commit(head),
                head.branch or UNKNOWN,
                _describe(head),
            )
            for head in heads
        ),
    )
    shown = format_quantity(total, "run")
    shown = f"{len(heads)} of {shown}" if len(heads) < total else shown
    return [*(line.text for line in format_text_table(table)), shown]


def format_run(head: RunHead, results: Mapping[str, Figures]) -> list[str]:
    """Lay one run out: where it comes from, and one line per case."""
    lines = [
        f"run {head.id}, measured {head.measured_at:%Y-%m-%d %H:%M:%S} UTC",
        f"  commit   {head.commit_id or UNKNOWN}{' with changes' if head.is_dirty else ''}",
        f"  branch   {head.branch or UNKNOWN}",
        *(line for machine in head.machines for line in _wrap("machine", machine)),
        f"  content  {head.content_sha256}",
        *_wrap("source", head.source),
        *_wrap("came to", _describe(head)),
    ]
    rows: list[tuple[str, ...]] = []
    styles: dict[int, RowStyle] = {}
    short = shorten_cases(results, lambda name: name.rpartition("::")[2])
    for name, figures in results.items():
        reasons = (figures.unusable, figures.disturbance)
        known = (shorten(reason, WIDTH - 6) for reason in reasons if reason is not None)
        styles[len(rows)] = RowStyle(below=tuple(f"      {reason}" for reason in known))
        bits = UNKNOWN if figures.entropy_bits is None else f"{figures.entropy_bits:.2f} bit"
        rows.append(
            (
                short[name],
                format_seconds(figures.seconds_per_image),
                format_bytes(figures.peak_device_bytes or figures.peak_rss_bytes),
                format_score(figures.ssim),
                bits,
                figures.outcome or UNKNOWN,
            )
        )
    table = Table(
        (
            Column("case", is_text=True, most=40, takes_rest=True),
            Column("s/image", least=9),
            Column("memory", least=9),
            Column("SSIM", least=7),
            Column("entropy", least=9),
            Column("outcome", is_text=True, gap=2),
        ),
        tuple(rows),
        styles,
    )
    return [*lines, "", *(line.text for line in format_text_table(table, "  "))]


def format_runs_json(heads: Sequence[RunHead]) -> str:
    """Lay runs out as JSON; unknown is null."""
    return json.dumps(
        {"format_version": FORMAT_VERSION, "runs": [_plain(head) for head in heads]}, indent=2
    )


def format_run_json(head: RunHead, results: Mapping[str, Figures]) -> str:
    """Lay one run out as JSON; unknown is null."""
    cases = [{"case": name} | vars(figures) for name, figures in results.items()]
    return json.dumps(
        {"format_version": FORMAT_VERSION} | _plain(head) | {"cases": cases},
        indent=2,
        allow_nan=False,
    )


def _plain(head: RunHead) -> dict[str, Any]:
    outcomes = {outcome or "unknown": count for outcome, count in head.outcomes.items()}
    return vars(head) | {"measured_at": head.measured_at.isoformat(), "outcomes": outcomes}


def _describe(head: RunHead) -> str:
    known = [outcome.value for outcome in Outcome]
    parts = [f"{head.outcomes[one]} {one}" for one in known if one in head.outcomes]
    if None in head.outcomes:
        parts.append(f"{head.outcomes[None]} without an answer")
    if head.suite_outcome not in (None, Outcome.PASS.value):
        parts.append(f"suite {head.suite_outcome}")
    for flag, word in (
        (head.void is not None, "void"),
        (head.is_interrupted, "interrupted"),
        (head.is_accepted, "accepted"),
    ):
        parts += [word] if flag else []
    return ", ".join(parts) or "no case"


def _commit(head: RunHead) -> str:
    if head.commit_id is None:
        return UNKNOWN
    return head.commit_id[:SHORT_COMMIT] + ("+" if head.is_dirty else "")


def _wrap(word: str, text: str) -> list[str]:
    return wrap_text(text, initial_indent=f"  {word:<8} ", subsequent_indent=" " * 11)
