"""Figure 3: seconds of each component of one image, and each stage's share of the device's peak."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sdperf.judging.machine import JudgedMachine
from sdperf.record.measurement import Measurement
from sdperf.record.workload import TORCH
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.run.share import COMPUTE_BOUND_SHARE
from sdperf.units import UNKNOWN, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROLES: Final = {
    "draw_noise": "grey",
    "tokenise": "violet",
    "encode_prompt": "teal",
    "encode_image": "violet",
    "denoise": "blue",
    "whole": "blue",
    "decode_latents": "amber",
    "deliver": "open",
    "rest": "rule",
}
_FEWEST_INSIDE: Final = 0.09
"""A part of at least this share of the widest bar has room for its own words."""


def select_profiled(machine: JudgedMachine) -> list[Measurement]:
    """Return one profiled measurement of each precision, with the fewest workers."""
    chosen: dict[str, Measurement] = {}
    measured = [case.measurement for case in machine.cases if case.measurement is not None]
    for one in sorted(
        measured, key=lambda each: (each.variant.engine != TORCH, each.variant.workers)
    ):
        if one.stages is not None:
            chosen.setdefault(one.variant.precision, one)
    return list(chosen.values())


def draw_components(machine: JudgedMachine) -> Drawn | None:
    """Draw the time of each component of one image; ``None`` where nothing was profiled."""
    profiled = select_profiled(machine)
    if not profiled:
        return None
    hints: dict[str, str] = {}
    widest = max(one.stages.total_s for one in profiled if one.stages is not None)
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 0.75 + 0.72 * len(profiled))
        for row, one in enumerate(profiled):
            _draw_bar(ax, row, one, widest, hints)
        ax.set_yticks(range(len(profiled)), [one.variant.precision for one in profiled])
        ax.tick_params(axis="y", labelcolor=light("ink"))
        ax.set_ylim(len(profiled) - 0.35, -0.6)
        ax.set_xlim(0, widest * 1.13)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("seconds of one profiled image, synchronised at each border")
    rows = [
        (one.variant.precision, name, format_seconds(seconds), f"{seconds / total:.1%}")
        for one in profiled
        for name, seconds, total in _list_parts(one)
    ]
    return Drawn(
        name="components",
        title="Time per component",
        caption=(
            "One profiled image of each precision, divided into its components. Synchronising "
            "between components takes away overlap, so the sum is not a round's time."
        ),
        figure=figure,
        table=Table.of(("precision", "component", "seconds", "share"), tuple(rows)),
        hints=hints,
    )


def _list_parts(one: Measurement) -> list[tuple[str, float, float]]:
    if one.stages is None:
        return []
    parts: dict[str, float] = {str(name): value for name, value in one.stages.by_name().items()}
    parts["rest"] = max(one.stages.rest_s, 0.0)
    return [(name, seconds, one.stages.total_s) for name, seconds in parts.items()]


def _draw_bar(ax: Axes, row: int, one: Measurement, widest: float, hints: dict[str, str]) -> None:
    left, small = 0.0, []
    for name, seconds, total in _list_parts(one):
        gid = f"part-{one.variant.precision}-{name}"
        hints[gid] = f"{name}: {format_seconds(seconds)}, {seconds / total:.1%} of the image"
        colour = light(_ROLES.get(name, "grey"))
        (bar,) = ax.barh(row, seconds, left=left, height=0.44, color=colour, linewidth=0)
        bar.set_gid(gid)
        if seconds / widest >= _FEWEST_INSIDE:
            words = f"{name}  {format_seconds(seconds)}"
            if seconds / widest < 0.25:
                words = f"{name}\n{format_seconds(seconds)}"
            ax.text(
                left + seconds / 2,
                row,
                words,
                ha="center",
                va="center",
                color=light("paper"),
                fontsize=7.5,
            )
        elif seconds / total >= 0.002:
            small.append(f"{name} {format_seconds(seconds)}")
        left += seconds
    ax.annotate(
        format_seconds(left),
        (left, row),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        weight="bold",
    )
    ax.text(0, row + 0.3, " · ".join(small), va="top", color=light("dim"), fontsize=7.5)


def draw_share_of_peak(machine: JudgedMachine) -> Drawn | None:
    """Draw how much of the device's measured peak each stage reaches; ``None`` where unknown."""
    counted = [
        one
        for one in select_profiled(machine)
        if one.limits is not None and any(cost.share_of_peak for cost in one.limits.stages)
    ]
    if not counted:
        return None
    hints: dict[str, str] = {}
    rows: list[tuple[str, ...]] = []
    bars: list[tuple[str, float, str]] = []
    for one in counted:
        for cost in one.limits.stages if one.limits is not None else ():
            if cost.share_of_peak is not None:
                name = f"{one.variant.precision} {cost.stage}"
                bars.append((name, cost.share_of_peak, cost.reading or UNKNOWN))
                rows.append(
                    (
                        name,
                        f"{cost.flop / 1e9:.3g}",
                        f"{cost.flop_per_s / 1e9:.3g}" if cost.flop_per_s else UNKNOWN,
                        f"{cost.share_of_peak:.1%}",
                        cost.reading or UNKNOWN,
                    )
                )
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 0.7 + 0.27 * len(bars))
        for row, (name, share, reading) in enumerate(bars):
            gid = f"share-{name.replace(' ', '-')}"
            hints[gid] = f"{name}: {share:.1%} of the peak, {reading}"
            ax.barh(row, 100, height=0.5, color=light("faint"), linewidth=0)
            (bar,) = ax.barh(row, 100 * share, height=0.5, color=light("blue"), linewidth=0)
            bar.set_gid(gid)
            ax.text(100 * share + 1, row, f"{share:.1%}  {reading}", va="center", fontsize=8)
        border = 100 * COMPUTE_BOUND_SHARE
        ax.axvline(border, color=light("grey"), linestyle=(0, (1, 2)), linewidth=1.2)
        ax.set_yticks(range(len(bars)), [name for name, _, _ in bars])
        ax.tick_params(axis="y", labelcolor=light("ink"))
        ax.set_ylim(len(bars) - 0.4, -0.6)
        ax.set_xlim(0, 100)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("% of the fastest matrix product of the same session")
    return Drawn(
        name="share-of-peak",
        title="Share of the device's measured peak",
        caption=(
            f"Peak: {'; '.join(_describe_peaks(counted))}. Right of the dotted line a stage "
            "is compute-bound; left of it, launch-bound or starved. The border is a rule of thumb."
        ),
        figure=figure,
        table=Table.of(("stage", "GFLOP", "GFLOP/s", "of peak", "reading"), tuple(rows)),
        hints=hints,
    )


def _describe_peaks(counted: Sequence[Measurement]) -> list[str]:
    return [
        f"{one.variant.precision} {one.limits.peak.flop_per_s / 1e9:,.0f} GFLOP/s "
        f"({one.limits.peak.format}, side {one.limits.peak.size})"
        for one in counted
        if one.limits is not None and one.limits.peak is not None
    ]
