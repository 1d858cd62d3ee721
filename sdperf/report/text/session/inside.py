"""What happened inside a run: stages, resources, and whether the machine was steady. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.doubts.contradictions import SUM_RANGE
from sdperf.record.guard import Guard
from sdperf.record.measurement import Measurement
from sdperf.record.stages import DeviceLimits, StageCost, StageTimes
from sdperf.record.usage import Curve
from sdperf.record.verdict import Outcome
from sdperf.report.table import Column, Table
from sdperf.report.text.lines import Line, wrap_line
from sdperf.report.text.session.cases import Row
from sdperf.report.text.table import format_text_table
from sdperf.report.text.wrapping import wrap_text
from sdperf.shell import join_step
from sdperf.units import UNKNOWN, format_bytes, format_names, format_quantity, format_seconds

_STAGE_COLUMNS: Final = (
    Column("stage", is_text=True, least=15),
    Column("seconds", least=11),
    Column("share", least=9),
    Column("GFLOP", least=11),
    Column("of peak", least=9),
    Column("reading", is_text=True, gap=2),
)
SMALLEST_OVERLAP: Final = 0.001
"""Share of an image by which its stages may exceed it in what is but rounding."""

_COLOURS: Final = {"fail": "red", "warn": "yellow"}


_TELLING: Final = frozenset({Outcome.SLOWER, Outcome.HEAVIER, Outcome.FASTER})


def format_telling(rows: Sequence[Row], *, is_verbose: bool) -> list[Line]:
    """Lay out stages and resources of the cases whose speed or memory changed; of all if verbose.

    A case whose profiled image was disturbed has its stages shown too.

    Args:
        rows: The cases.
        is_verbose: Whether the user asked for everything.
    """
    if is_verbose:
        return [*format_stages(rows), *format_resources(rows)]
    changed = [row for row in rows if row.verdict.outcome in _TELLING]
    pipelines = {_name_pipeline(row.measurement) for row in changed if row.measurement is not None}
    seen = [
        row
        for row in rows
        if row.measurement is not None
        and (
            _name_pipeline(row.measurement) in pipelines
            or (row.measurement.stages and _doubt_image(row.measurement, row.measurement.stages))
        )
    ]
    stages, resources = format_stages(seen), format_resources(changed)
    watched = (row.measurement for row in rows if row.measurement is not None)
    hidden = sum(one.stages is not None or one.resources is not None for one in watched)
    if stages or resources or not hidden:
        return [*stages, *resources]
    cases = format_quantity(hidden, "case")
    return [Line(f"stages and resources of {cases}: -v shows them")]


def _name_pipeline(measured: Measurement) -> tuple[str, str]:
    return measured.variant.precision, measured.variant.engine


def format_stages(rows: Iterable[Row]) -> list[Line]:
    """Lay out each precision's stages: seconds, share of the time, work, share of the peak.

    Equal stages are shown once: for the fewest workers, which share the processor least.
    """
    lines: list[Line] = []
    shown: set[tuple[str, str]] = set()
    measured = [(row.case, row.measurement) for row in rows if row.measurement is not None]
    for case, one in sorted(measured, key=lambda each: each[1].variant.workers):
        key = _name_pipeline(one)
        if one.stages is None or key in shown:
            continue
        shown.add(key)
        lines += [Line(""), *_format_stage_table(case, one, one.stages, one.limits)]
    return lines


def _format_stage_table(
    case: str, measured: Measurement, stages: StageTimes, limits: DeviceLimits | None
) -> list[Line]:
    peak = None if limits is None else limits.peak
    title = f"stages of one image of {case}"
    if measured.environment.device_kind == "cpu" and measured.worker_threads is not None:
        title += f", {measured.worker_threads} thread{'s' * (measured.worker_threads != 1)}"
    if peak is not None:
        title += (
            f"; peak {_three_digits(peak.flop_per_s / 1e9)} GFLOP/s "
            f"({peak.format} matrix product, side {peak.size})"
        )
    lines = [Line(piece, bold=True) for piece in wrap_text(title, subsequent_indent="  ")]
    rows: list[tuple[str | None, ...]] = []
    costs = {} if limits is None else {cost.stage: cost for cost in limits.stages}
    for name, seconds in stages.by_name().items():
        cost = costs.get(name)
        flop = None if cost is None or not cost.flop else _three_digits(cost.flop / 1e9)
        share = None if cost is None else cost.share_of_peak
        reading = None if cost is None else cost.reading
        of_all = _percent(seconds / stages.total_s)
        rows.append((name, format_seconds(seconds), of_all, flop, _percent(share), reading))
    if not _is_overlapping(stages):
        of_all = _percent(stages.rest_s / stages.total_s)
        rows.append(("rest", format_seconds(stages.rest_s), of_all, None, None, None))
    known = (tuple(cell or UNKNOWN for cell in row) for row in rows)
    lines += format_text_table(Table(_STAGE_COLUMNS, tuple(known)), "  ")
    lines += [*_explain_shares(stages, costs.values()), *_doubt_image(measured, stages)]
    if stages.steps_s:
        ordered = sorted(stages.steps_s)
        lines.append(
            Line(
                f"  {format_quantity(len(ordered), 'step')} of denoise: fastest "
                f"{format_seconds(ordered[0])}, slowest {format_seconds(ordered[-1])}"
            )
        )
    return lines


def _explain_shares(stages: StageTimes, costs: Iterable[StageCost]) -> list[Line]:
    """Say why shares exceed the whole, where some do."""
    lines = []
    if _is_overlapping(stages):
        share = _percent(1 - stages.rest_s / stages.total_s)
        lines += wrap_line(
            f"  the stages add up to {share} of the image by the word of its program, so "
            "they overlap or it counts something twice"
        )
    if any(cost.share_of_peak is not None and cost.share_of_peak > 1 for cost in costs):
        lines += wrap_line(
            "  above 100 % of the peak: fast convolutions multiply less often than is counted, or "
            "the matrix product of the peak was disturbed"
        )
    return lines


def _is_overlapping(stages: StageTimes) -> bool:
    """Tell whether the stages, by what a program says of them, take longer than the image."""
    return stages.rest_s < -SMALLEST_OVERLAP * stages.total_s


def _doubt_image(measured: Measurement, stages: StageTimes) -> list[Line]:
    """Name the cases whose profiled image took another time than the timed images.

    The profiled image is drawn in sync mode: it does not show the cost of the event loop in async.
    """
    variant = measured.variant
    is_alike = measured.kind == "latency" and (variant.workers, variant.mode) == (1, "sync")
    low, high = SUM_RANGE
    share = stages.total_s / measured.seconds_per_image
    if not is_alike or low <= share <= high:
        return []
    meaning = (
        "its shares are those of a disturbed image"
        if share > high
        else "the timed ones were the disturbed ones, and their shares may be others"
    )
    return wrap_line(
        f"  this image took {format_seconds(stages.total_s)}, the timed ones "
        f"{format_seconds(measured.seconds_per_image)}: {meaning}",
        colour="yellow",
    )


@dataclass(frozen=True)
class _Figure:
    column: Column
    cell: Callable[[Measurement], str | None]


def format_resources(rows: Iterable[Row]) -> list[Line]:
    """Lay out the resources that each case took; columns without a known value are left out."""
    watched = [
        (row.case, row.measurement)
        for row in rows
        if row.measurement is not None and row.measurement.resources is not None
    ]
    columns = [
        column for column in _RESOURCE_COLUMNS if any(column.cell(each) for _, each in watched)
    ]
    if not columns:
        return []
    cells = (
        (case, *(column.cell(measured) or UNKNOWN for column in columns))
        for case, measured in watched
    )
    name = Column("case", is_text=True, least=32, most=32)
    table = Table((name, *(column.column for column in columns)), tuple(cells))
    return [
        Line(""),
        Line(
            "resources, from watched rounds (CPU: 100 % is one core; cores: busy in timed rounds)",
            bold=True,
        ),
        Line("  RSS: of the workers and pytest; a case's peak memory elsewhere is of its workers"),
        *format_text_table(table, "  "),
    ]


def format_guards(rows: Iterable[Row]) -> list[Line]:
    """Say which guards were not ok, and which rounds do not count."""
    lines: list[Line] = []
    logs = [
        (row.case, row.measurement.guards)
        for row in rows
        if row.measurement is not None and row.measurement.guards is not None
    ]
    if logs and all(log.policy == "off" for _, log in logs):
        return wrap_line("guards: off, nobody looked at whether the machine was fit", "yellow")
    seen: dict[str, Guard] = {}
    cases: dict[str, list[str]] = {}
    for case, log in logs:
        for guard in (*log.before, *log.during, *log.after):
            if guard.state in _COLOURS:
                key = f"{guard.name} {guard.state} {guard.sentence}"
                seen.setdefault(key, guard)
                if case not in cases.setdefault(key, []):
                    cases[key].append(case)
    told: set[str] = set()
    for key, guard in seen.items():
        text = f"{guard.describe()} ({_name_cases(cases[key], len(logs))})"
        lines += wrap_line(text, _COLOURS[guard.state])
        if guard.hint is not None and guard.hint not in told:
            told.add(guard.hint)
            lines += wrap_line(join_step("    next: ", guard.hint), "")
    unknown = {
        guard.name: None for _, log in logs for guard in log.before if guard.state == "unknown"
    }
    if unknown:
        lines += wrap_line(f"guards unknown here: {', '.join(unknown)} (see sdperf doctor)", "")
    for case, log in logs:
        for reason in dict.fromkeys(each.reason for each in log.excluded):
            count = sum(each.reason == reason for each in log.excluded)
            rounds = format_quantity(count, "round")
            lines += wrap_line(
                f"excluded and measured again: {rounds} of {case}: {reason}", "yellow"
            )
    return [Line(""), *lines] if lines else []


def _name_cases(names: Sequence[str], of: int) -> str:
    """Say in which cases a guard was not ok."""
    return "every case" if len(names) == of > 1 else format_names(names)


def _energy(measured: Measurement) -> str | None:
    usage = measured.resources
    if usage is None:
        return None
    for energy_j in (usage.gpu_board_energy_per_image_j, usage.gpu_soc_energy_per_image_j):
        if energy_j is not None:
            return f"{_three_digits(energy_j)} J"
    return None


def _curve(
    names: Sequence[str], figure: Callable[[Curve], float], form: Callable[[float], str]
) -> Callable[[Measurement], str | None]:
    """Return a formatter of a figure of the first of these curves that is known."""

    def cell(measured: Measurement) -> str | None:
        curves = (getattr(measured.resources, name, None) for name in names)
        known = next((curve for curve in curves if curve is not None), None)
        return None if known is None else form(figure(known))

    return cell


def _device_peak(measured: Measurement) -> str | None:
    peak = measured.memory.peak_device_bytes
    return None if peak is None else format_bytes(peak)


_RESOURCE_COLUMNS: Final = (
    _Figure(
        Column("CPU", least=7),
        _curve(["tree_cpu_percent"], lambda curve: curve.mean, lambda x: f"{x:.0f} %"),
    ),
    _Figure(
        Column("cores", least=6),
        lambda one: None if one.cores_busy is None else f"{one.cores_busy:.2f}",
    ),
    _Figure(
        Column("RSS", least=9), _curve(["tree_rss_bytes"], lambda curve: curve.peak, format_bytes)
    ),
    _Figure(
        Column("free", least=9),
        _curve(["system_available_bytes"], lambda curve: curve.low, format_bytes),
    ),
    _Figure(
        Column("GPU", least=6),
        _curve(
            ["gpu_board_utilisation_percent", "gpu_soc_utilisation_percent"],
            lambda curve: curve.mean,
            lambda x: f"{x:.0f} %",
        ),
    ),
    _Figure(Column("tensors", least=9), _device_peak),
    _Figure(
        Column("power", least=7),
        _curve(
            ["gpu_board_power_w", "gpu_soc_power_w"],
            lambda curve: curve.mean,
            lambda x: f"{x:.0f} W",
        ),
    ),
    _Figure(Column("per image", least=9), _energy),
)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share * 100:.1f} %"


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
