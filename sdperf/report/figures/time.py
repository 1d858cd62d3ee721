"""Figure 1: seconds per image of every variant beside the plain one and beside its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sdperf.judging.machine import JudgedMachine, ReportedCase
from sdperf.record.workload import Variant
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light, role_of
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.units import UNKNOWN, format_change, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_IN: Final = 0.27
_KINDS: Final = (("latency", "one image per worker"), ("throughput", "a batch of prompts"))
_CAPTION: Final = (
    "Filled: median of this run's rounds, with its 95 % interval (the extremes where rounds are "
    "few). Hollow: what the case is compared with, with the range that goes with it. Dotted line: "
    "the plain fp32 sync pipeline of this run. Rounds of one process are not independent, so the "
    "true uncertainty between sessions is larger than a bar."
)


def draw_time(machine: JudgedMachine) -> Drawn | None:
    """Draw baseline against optimised time; ``None`` where no case was timed by sdperf."""
    groups = [(name, words, _select(machine.cases, name)) for name, words in _KINDS]
    groups = [group for group in groups if group[2]]
    if not groups:
        return None
    counts = [len(cases) for _, _, cases in groups]
    hints: dict[str, str] = {}
    with figure_style():
        figure, axes = new_figure(
            len(groups),
            1,
            0.75 * len(groups) + _ROW_IN * sum(counts),
            height_ratios=[count + 1.5 for count in counts],
        )
        for ax, (name, words, cases) in zip(axes, groups, strict=True):
            ax.set_title(f"{name}: {words}", pad=8)
            _draw_group(ax, cases, hints)
        axes[-1].set_xlabel("seconds per image (shorter is better)")
    rows = [_tabulate(case, cases) for _, _, cases in groups for case in cases]
    return Drawn(
        name="time",
        title="Time of one image, baseline and variants",
        caption=_CAPTION,
        figure=figure,
        table=Table.of(
            ("case", "s/image", "95 % interval or extremes", "baseline", "change", "against plain"),
            tuple(rows),
        ),
        hints=hints,
    )


def find_plain(cases: Sequence[ReportedCase]) -> ReportedCase | None:
    """Return the fp32, sync, one-worker case among cases of one kind."""
    return next(
        (one for one in cases if one.measurement and one.measurement.variant == Variant()), None
    )


def _select(cases: Sequence[ReportedCase], kind: str) -> list[ReportedCase]:
    return [one for one in cases if one.measurement is not None and one.measurement.kind == kind]


def _draw_group(ax: Axes, cases: Sequence[ReportedCase], hints: dict[str, str]) -> None:
    plain = find_plain(cases)
    plain_s = None if plain is None else _per_image(plain, plain.current_s)
    if plain_s is not None:
        ax.axvline(plain_s, color=light("grey"), linestyle=(0, (1, 2)), linewidth=1.2)
    for row, case in enumerate(cases):
        _draw_case(ax, row, case, plain_s, hints)
    ax.set_yticks(range(len(cases)), [_label(case) for case in cases])
    for tick, case in zip(ax.get_yticklabels(), cases, strict=True):
        tick.set_color(light("fail" if case.verdict.outcome.is_failure else "ink"))
    ax.set_ylim(len(cases) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.margins(x=0.18)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)


def _draw_case(
    ax: Axes, row: int, case: ReportedCase, plain_s: float | None, hints: dict[str, str]
) -> None:
    current = _per_image(case, case.current_s)
    baseline = _per_image(case, case.baseline_s)
    if current is None:
        return
    role = role_of(case.verdict.outcome)
    colour = light("fail" if role == "fail" else "blue")
    right = current
    if baseline is not None:
        low, high = _range(case, case.baseline_range_s, baseline)
        ax.plot([low, high], [row + 0.2] * 2, color=light("grey"), linewidth=1.2)
        ax.plot(baseline, row + 0.2, "o", mfc=light("paper"), mec=light("grey"), ms=4.5)
        right = max(right, high)
    low, high = _range(case, case.current_range_s, current)
    up = row if baseline is None else row - 0.12
    ax.plot([low, high], [up, up], color=colour, linewidth=2.2, solid_capstyle="butt")
    gid = f"case-{case.short}"
    ax.plot(current, up, "o", color=colour, ms=5.5, gid=gid)
    words = format_seconds(current)
    if case.change is not None:
        words += f"  {format_change(case.change)}"
    elif plain_s is not None and current != plain_s:
        words += f"  {plain_s / current:.2f} x"
    hints[gid] = f"{case.short}: {words}, {case.verdict.outcome.value}"
    ax.annotate(
        words,
        (max(right, high), row),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        color=light("fail" if role == "fail" else "dim"),
        bbox={"facecolor": light("paper"), "edgecolor": "none", "pad": 0.6},
    )


def _tabulate(case: ReportedCase, group: Sequence[ReportedCase]) -> tuple[str, ...]:
    current, plain = _per_image(case, case.current_s), find_plain(group)
    plain_s = None if plain is None else _per_image(plain, plain.current_s)
    interval = UNKNOWN
    if case.current_range_s is not None and current is not None:
        low, high = _range(case, case.current_range_s, current)
        interval = f"{format_seconds(low)} to {format_seconds(high)}"
    ratio = None if plain_s is None or current is None else plain_s / current
    return (
        case.short,
        format_seconds(current),
        interval,
        format_seconds(_per_image(case, case.baseline_s)),
        format_change(case.change),
        UNKNOWN if ratio is None else f"{ratio:.2f} x",
    )


def _label(case: ReportedCase) -> str:
    measured = case.measurement
    return case.short if measured is None else measured.variant.id


def _per_image(case: ReportedCase, seconds: float | None) -> float | None:
    return None if seconds is None else seconds / case.images_per_round


def _range(
    case: ReportedCase, seconds: tuple[float, float] | None, centre: float
) -> tuple[float, float]:
    images = case.images_per_round
    return (centre, centre) if seconds is None else (seconds[0] / images, seconds[1] / images)
