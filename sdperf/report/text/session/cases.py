"""The table at the end of a run: a line per case, then what failed and what to type next. Pure."""

from __future__ import annotations

import dataclasses
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.record.measurement import Measurement
from sdperf.record.verdict import Finding, Outcome, Verdict
from sdperf.record.workload import SYNC_REFERENCES, TORCH, Variant, name_engine, name_sync
from sdperf.report.table import Column, RowStyle, Table
from sdperf.report.text.lines import Line, colour_of, wrap_line
from sdperf.report.text.table import format_text_table
from sdperf.shell import join_step
from sdperf.stats.summaries import compute_median_interval
from sdperf.units import (
    UNKNOWN,
    format_change,
    format_names,
    format_quantity,
    format_score,
    format_seconds,
)


@dataclass(frozen=True)
class Row:
    """One case of a run.

    Attributes:
        case: Short name of the case.
        verdict: The verdict on it.
        measurement: What was measured; ``None`` where the case ended before that.
        change: Current over baseline median; ``None`` without a baseline.
        seen: What a case of the quality suite found, shown in place of the columns.
    """

    case: str
    verdict: Verdict
    measurement: Measurement | None
    change: float | None
    seen: str | None = None


_COLUMNS: Final = (
    Column("case", is_text=True, most=34, takes_rest=True),
    Column("s/image", least=9),
    Column("images/s", least=9),
    Column("change", least=8),
    Column("SSIM", least=7),
    Column("tile", least=7),
    Column("entropy", least=8),
    Column("verdict", is_text=True, gap=2),
)


def format_table(rows: Sequence[Row]) -> list[Line]:
    """Lay out the table: a header, then one line per case.

    SSIM and tile are the worst over the case's images against the strictest reference it has:
    a compared run, else the shipped reference, else the other side of its gain, else this run's
    plain sync image in fp32 or the widest precision that fitted. The plain case itself draws that
    image and is not compared with it.
    """
    cells = ((row.case, *_cells(row), row.verdict.outcome.value) for row in rows)
    styles = {
        number: RowStyle(colour_of(row.verdict.outcome), across=row.seen)
        for number, row in enumerate(rows)
    }
    return list(format_text_table(Table(_COLUMNS, tuple(cells), styles)))


def put_changed_first(rows: Sequence[Row]) -> list[Row]:
    """Return rows with failures first, then open answers, then gains; groups keep their order."""
    return sorted(rows, key=lambda row: _rank_change(row.verdict.outcome))


def _rank_change(outcome: Outcome) -> int:
    if outcome.is_failure:
        return 0
    if outcome.is_open and outcome is not Outcome.NO_BASELINE:
        return 1
    return 2 if outcome is Outcome.FASTER else 3


def find_worst_scores(measured: Measurement) -> tuple[float | None, float | None]:
    """Return the worst SSIM and worst tile of a case's images against its strictest reference."""
    scores = [
        score
        for image in measured.images
        for against in ("baseline", "reference", "plain", *SYNC_REFERENCES)
        if (score := image.score(against)) is not None
        and not (against == name_sync(measured.variant.precision) and measured.variant.is_plain)
    ]
    against = scores[0].against if scores else ""
    strictest = [score for score in scores if score.against == against]
    return (
        min((score.ssim for score in strictest), default=None),
        min((score.worst_tile_ssim for score in strictest), default=None),
    )


def _cells(row: Row) -> tuple[str, ...]:
    measured = row.measurement
    if measured is None:
        return (UNKNOWN,) * (len(_COLUMNS) - 2)
    ssim, tile = find_worst_scores(measured)
    return (
        format_seconds(measured.seconds_per_image),
        f"{measured.images_per_second:.3g}",
        format_change(row.change),
        format_score(ssim),
        format_score(tile),
        UNKNOWN if measured.entropy_bits is None else f"{measured.entropy_bits:.2f} bit",
    )


def format_findings(rows: Iterable[Row], *, is_above: bool = False) -> list[Line]:
    """Say for each case but the plain passes what was found, against what, and what to do.

    A reason that several cases share, such as a model that cannot be loaded, is printed once.
    Advice that several findings of the same cases share is printed below the last of them.

    Args:
        rows: The cases.
        is_above: Whether pytest has already shown the whole message of each failed test.
    """
    cases: dict[Finding, list[str]] = {}
    for row in rows:
        for finding in dict.fromkeys(row.verdict.told):
            if finding.outcome not in (Outcome.PASS, Outcome.FASTER):
                cases.setdefault(finding, []).append(row.case)
    lines = []
    last = {(finding.next_step, *names): finding for finding, names in cases.items()}
    for finding, names in cases.items():
        head = f"{finding.outcome.value}  {format_names(names)}"
        reason = finding.reason
        if is_above and finding.gate == "worker":
            what, cut, _ = reason.partition("; ")
            reason = f"{what}; the whole message is above" if cut else what
        lines += wrap_line(f"{head}: {reason}", colour_of(finding.outcome))
        if finding.next_step is not None and last[finding.next_step, *names] is finding:
            lines += wrap_line(join_step("    next: ", finding.next_step), "")
    return lines


def format_counts(rows: Sequence[Row], skipped: int) -> str:
    """Count the outcomes; every collected case is in exactly one of them."""
    counts = Counter(row.verdict.outcome for row in rows)
    parts = [f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome]]
    if skipped:
        parts.append(f"{skipped} skipped")
    cases = format_quantity(len(rows) + skipped, "case")
    return f"{cases}: {', '.join(parts) or 'none judged'}"


SMALLEST_NOISE: Final = 0.02
"""Share of their time by which two equal cases of a session differ on a quiet machine. They differ
so even where the rounds of each agree well: those come from one process."""


@dataclass(frozen=True)
class Overlap:
    """What a case gained by overlapping, beside the most that it could gain.

    Attributes:
        measured: The async case.
        gain: Share of its sync twin's time that it saved; negative where it took longer.
        ceiling: Share that is not the device's work and has a next image to hide behind; where the
            device is the processor, as much of it as there are cores for.
        noise: Share of the time by which two cases that ran one after the other differ by chance,
            at least: what their rounds show, and `SMALLEST_NOISE`.
        obstacle: Why the ceiling is low, in words.
    """

    measured: Measurement
    gain: float
    ceiling: float
    noise: float
    obstacle: str


def find_overlaps(measured: Sequence[Measurement]) -> list[Overlap]:
    """Compare each async case with its sync twin; cases without a profiled twin stay out."""
    twins = {
        (one.kind, dataclasses.replace(one.variant, mode="sync")): one
        for one in measured
        if one.variant.mode == "sync"
    }
    overlaps = []
    for one in measured:
        twin = twins.get((one.kind, dataclasses.replace(one.variant, mode="sync")))
        if one.variant.mode != "async" or twin is None or twin.stages is None:
            continue
        share = twin.stages.overlappable_share()
        per_worker = one.images_per_round // one.variant.workers
        if share is not None and per_worker > 0:
            gain = 1 - one.seconds_per_image / twin.seconds_per_image
            hidden = share * (per_worker - 1) / per_worker
            ceiling = _limit_by_cores(hidden, one)
            obstacle = (
                "no round has a next image to hide behind"
                if per_worker == 1
                else "no core is idle"
                if ceiling < hidden
                else f"{100 * (1 - share):.1f} % of an image is the device's work"
            )
            noise = max(SMALLEST_NOISE, _spread(one), _spread(twin))
            overlaps.append(Overlap(one, gain, ceiling, noise, obstacle))
    return overlaps


def _spread(measured: Measurement) -> float:
    """Return the uncertainty of the median of the rounds, as a share of the median."""
    interval = compute_median_interval(measured.rounds_s)
    return (interval.upper - interval.lower) / 2 / statistics.median(measured.rounds_s)


def _limit_by_cores(share: float, measured: Measurement) -> float:
    """Return the part of an overlappable share for which the processor has free cores.

    This matters where the device is the processor. A sync image takes its workers' threads for
    ``1 - share`` of its time, and one core of each for the rest. Overlapping does not reduce the
    work that all cores together have to do.
    """
    environment, threads = measured.environment, measured.worker_threads
    if environment.device_kind != "cpu" or not environment.cpu_cores or threads is None:
        return share
    busy = (threads * (1 - share) + share) * measured.variant.workers / environment.cpu_cores
    return max(0.0, 1 - max(1 - share, busy))


def format_ceilings(rows: Iterable[Row]) -> list[Line]:
    """Say how much of its sync twin's time each async case saved, beside the most it can save."""
    measured = [row.measurement for row in rows if row.measurement is not None]
    return [
        line
        for one in find_overlaps(measured)
        for line in wrap_line(
            f"async {one.measured.kind} {_name_variant(one.measured.variant)}: "
            f"{describe_overlap(one)}"
        )
    ]


def _name_variant(variant: Variant) -> str:
    """Name all but the mode, in words: engine and optimisations where they are not the plain ones.

    >>> _name_variant(Variant("fp32", "async", 1, ("compile", "fused_qkv"), "openvino", 2))
    'fp32 1w 2t openvino with compile, fused_qkv'
    """
    engine = name_engine(variant.engine)
    words = [variant.precision, *variant.team, *([] if engine == TORCH else [engine])]
    words += ["with", format_names(variant.optimisations)] if variant.optimisations else []
    return " ".join(words)


def describe_overlap(overlap: Overlap) -> str:
    """Say in words what async gained or lost; a ceiling below the noise is not shown as a number.

    A gain of -1.238 below a ceiling of 0, where no core is idle, reads:
    'nothing to overlap on this machine (no core is idle); async took 2.24 times as long as sync'
    """
    gain, ceiling = overlap.gain, f"{100 * overlap.ceiling:.1f} %"
    longer = f"{-100 * gain:.1f} % longer than" if gain > -1 else f"{1 - gain:.2f} times as long as"
    saved = f"saved {100 * gain:.1f} % of sync's time"
    if overlap.ceiling < overlap.noise:
        came_to = (
            f"async took {longer} sync"
            if gain < -overlap.noise
            else f"async and sync differ by {100 * abs(gain):.1f} %, no more than rounds do"
            if gain <= overlap.noise
            else f"that it {saved} is chance, or other work"
        )
        return f"nothing to overlap on this machine ({overlap.obstacle}); {came_to}"
    if gain < -overlap.noise:
        return f"took {longer} sync, where {ceiling} can overlap at most"
    if gain > overlap.ceiling + overlap.noise:
        return f"{saved}, where {ceiling} can overlap at most: the rest is chance, or other work"
    return f"{saved}; {ceiling} can overlap at most"
