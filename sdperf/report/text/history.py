"""The history as text and JSON: lists of runs, and one run with its cases. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sdperf.record.verdict import Outcome
from sdperf.report.text.session.wrapping import WIDTH, wrap_text
from sdperf.store.history.figures import Figures
from sdperf.store.history.reading import RunHead
from sdperf.units import UNKNOWN, format_bytes, format_score, format_seconds

FORMAT_VERSION = 1
SHORT_COMMIT = 10


def format_runs(heads: Sequence[RunHead], total: int) -> list[str]:
    """Lay runs out, a line each."""
    lines = [f"{'run':>7}  {'measured (UTC)':<16}  {'commit':<12} {'branch':<16}  outcomes"]
    lines += [
        f"{head.id:>7}  {head.measured_at:%Y-%m-%d %H:%M}  {_commit(head):<12} "
        f"{_cut(head.branch or UNKNOWN, 16):<16}  {_cut(_describe(head), WIDTH - 59)}"
        for head in heads
    ]
    shown = f"{len(heads)} of {total} runs" if len(heads) < total else f"{total} runs"
    return [*lines, shown]


def format_run(head: RunHead, results: Mapping[str, Figures]) -> list[str]:
    """Lay one run out: where it comes from, and a line a case."""
    lines = [
        f"run {head.id}, measured {head.measured_at:%Y-%m-%d %H:%M:%S} UTC",
        f"  commit   {head.commit_id or UNKNOWN}{' with changes' if head.is_dirty else ''}",
        f"  branch   {head.branch or UNKNOWN}",
        *(line for machine in head.machines for line in _wrap("machine", machine)),
        f"  content  {head.content_sha256}",
        *_wrap("source", head.source),
        *_wrap("came to", _describe(head)),
    ]
    width = min(max([len(_short(name)) for name in results] + [4]), 40)
    lines += ["", f"  {'case':<{width}} {'s/image':>9} {'memory':>9} {'SSIM':>7} {'entropy':>9}  "]
    lines[-1] += "outcome"
    for name, figures in results.items():
        memory = figures.peak_device_bytes or figures.peak_rss_bytes
        bits = UNKNOWN if figures.entropy_bits is None else f"{figures.entropy_bits:.2f} bit"
        lines.append(
            f"  {_cut(_short(name), width):<{width}} "
            f"{format_seconds(figures.seconds_per_image):>9} {format_bytes(memory):>9} "
            f"{format_score(figures.ssim):>7} {bits:>9}  "
            f"{figures.outcome or UNKNOWN}"
        )
        lines += [
            f"      {_cut(reason, WIDTH - 6)}"
            for reason in (figures.unusable, figures.disturbance)
            if reason is not None
        ]
    return lines


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


def _short(name: str) -> str:
    return name.rpartition("::")[2]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
