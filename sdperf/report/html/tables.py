"""The table of all cases, and the small strip of rounds in each of its rows. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.machine import JudgedMachine, ReportedCase
from sdperf.record.usage import ResourceUsage
from sdperf.record.verdict import Outcome
from sdperf.report.figures.palette import SIGNS, role_of
from sdperf.report.text.session.cases import find_worst_scores
from sdperf.report.text.session.quality_seen import describe_seen
from sdperf.units import (
    UNKNOWN,
    format_bytes,
    format_change,
    format_quantity,
    format_score,
    format_seconds,
)

_WIDTH: Final = 84.0
_HEIGHT: Final = 18.0
_SMALLEST_SPREAD: Final = 0.02


_COLUMNS: Final = (
    ("per_image", "s/image"),
    ("baseline", "baseline"),
    ("change", "change"),
    ("rate", "images/s"),
    ("ssim", "SSIM"),
    ("tile", "worst tile"),
    ("memory", "workers' memory"),
    ("energy", "energy/image"),
)


@dataclass(frozen=True)
class Mark:
    """A round in the small strip: its position, and the words to show over it."""

    x: float
    y: float
    words: str
    is_excluded: bool


@dataclass(frozen=True)
class CaseRow:
    """One case as the table shows it."""

    name: str
    short: str
    outcome: str
    group: str
    sign: str
    role: str
    kind: str
    precision: str
    mode: str
    workers: str
    per_image: str
    rate: str
    baseline: str
    change: str
    ssim: str
    tile: str
    memory: str
    energy: str
    marks: tuple[Mark, ...]
    rounds: str
    seen: str
    findings: tuple[tuple[str, str, str], ...]


def list_rows(machine: JudgedMachine) -> list[CaseRow]:
    """Make the rows, the worst outcome first, otherwise in the order in which the cases ran."""
    order = {outcome: rank for rank, outcome in enumerate(Outcome)}
    rows = sorted(machine.cases, key=lambda case: order[case.verdict.outcome])
    return [_make_row(case) for case in rows]


def _make_row(case: ReportedCase) -> CaseRow:
    outcome, measured = case.verdict.outcome, case.measurement
    shape, images = case.shape, case.images_per_round
    current = None if case.current_s is None else case.current_s / images
    baseline = None if case.baseline_s is None else case.baseline_s / images
    ssim, tile = (None, None) if measured is None else find_worst_scores(measured)
    return CaseRow(
        name=case.name,
        short=case.short,
        outcome=outcome.value,
        group="worse" if outcome.is_failure else "open" if outcome.is_open else "fine",
        sign=SIGNS[outcome],
        role=role_of(outcome),
        kind="quality" if shape is None else shape.kind,
        precision=_find_precision(case),
        mode="" if shape is None else shape.variant.mode,
        workers="" if shape is None else str(shape.variant.workers),
        per_image=format_seconds(current),
        rate=UNKNOWN if not current else f"{1 / current:.3g}",
        baseline=format_seconds(baseline),
        change=format_change(case.change),
        ssim=format_score(ssim),
        tile=format_score(tile),
        memory=_format_memory(case),
        energy=format_energy(None if measured is None else measured.resources),
        marks=tuple(_list_marks(case)),
        rounds=_describe_rounds(case),
        seen="" if case.seen is None else describe_seen(case.seen.seen),
        findings=tuple((SIGNS[one.outcome], one.gate, one.reason) for one in case.verdict.findings),
    )


def _find_precision(case: ReportedCase) -> str:
    if case.shape is not None:
        return case.shape.variant.precision
    if case.seen is not None:
        return case.seen.precision
    named = case.short.rpartition("[")[2].rstrip("]").partition("-")[0]
    return named if named in ("fp32", "fp16", "bf16") else ""


def _format_memory(case: ReportedCase) -> str:
    if case.measurement is None:
        return UNKNOWN
    memory = case.measurement.memory
    device = memory.peak_device_bytes
    return format_bytes(memory.peak_rss_bytes if device is None else device)


def format_energy(usage: ResourceUsage | None) -> str:
    """Format the energy of an image with the scope it was measured in."""
    if usage is None:
        return UNKNOWN
    for energy_j, scope in (
        (usage.gpu_board_energy_per_image_j, "board"),
        (usage.gpu_soc_energy_per_image_j, "GPU part"),
    ):
        if energy_j is not None:
            return f"{energy_j:.3g} J ({scope})"
    return UNKNOWN


def _list_marks(case: ReportedCase) -> list[Mark]:
    """Place each round: left to right in order, up where it took longer than the median."""
    if not case.rounds_s:
        return []
    log = None if case.measurement is None else case.measurement.guards
    excluded = () if log is None else log.excluded
    median = statistics.median(case.rounds_s)
    durations = [*case.rounds_s, *(one.duration_s for one in excluded)]
    distances = [min(max(seconds / median - 1, -1.0), 1.0) for seconds in durations]
    spread = max(_SMALLEST_SPREAD, *(abs(each) for each in distances[: len(case.rounds_s)]))
    words = [format_seconds(seconds) for seconds in case.rounds_s]
    words += [f"excluded, {format_seconds(one.duration_s)}: {one.reason}" for one in excluded]
    step = _WIDTH / (len(durations) + 1)
    return [
        Mark(
            x=round(step * (index + 1), 1),
            y=round(_HEIGHT / 2 * (1 - 0.75 * min(max(distance / spread, -1), 1)), 1),
            words=text,
            is_excluded=index >= len(case.rounds_s),
        )
        for index, (distance, text) in enumerate(zip(distances, words, strict=True))
    ]


def _describe_rounds(case: ReportedCase) -> str:
    log = None if case.measurement is None else case.measurement.guards
    excluded = 0 if log is None else len(log.excluded)
    count = len(case.rounds_s)
    if not count:
        return UNKNOWN
    words = format_quantity(count, "round")
    return f"{words}, {excluded} excluded" if excluded else words


def list_columns(rows: Sequence[CaseRow]) -> list[tuple[str, str]]:
    """Return field and heading of each column of numbers in which at least one value is known."""
    return [
        (name, heading)
        for name, heading in _COLUMNS
        if any(getattr(row, name) != UNKNOWN for row in rows)
    ]


def list_choices(rows: Sequence[CaseRow]) -> dict[str, list[str]]:
    """Return the choices of each filter; filters with one choice are left out."""
    choices = {
        name: sorted({str(getattr(row, name)) for row in rows} - {""})
        for name in ("kind", "precision", "mode", "workers")
    }
    return {name: values for name, values in choices.items() if len(values) > 1}
