"""Several machines beside each other: seconds, and figures that hardware speed does not change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sdperf.judging.machine import JudgedMachine
from sdperf.record.measurement import Measurement
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.units import UNKNOWN, format_bytes, format_seconds

_HEADER: Final = (
    "case",
    "machine",
    "s/image",
    "images/s",
    "share of peak",
    "images/J",
    "energy of",
    "peak memory",
)
_KINDS: Final = ("latency", "throughput")
MOST_CASES: Final = 24


@dataclass(frozen=True)
class PlatformRow:
    """One case on one machine.

    Attributes:
        case: Kind and variant.
        platform: The device in words.
        seconds_per_image: Median seconds of an image.
        share_of_peak: Operations of one whole image over its seconds, over the measured peak.
        images_per_j: Images per joule.
        energy_scope: The part whose joules were measured: a board takes more than the GPU alone.
        memory_bytes: Peak memory in bytes; of the device where it has its own memory.
    """

    case: str
    platform: str
    seconds_per_image: float
    share_of_peak: float | None
    images_per_j: float | None
    energy_scope: str
    memory_bytes: float | None


def describe_platform(machine: JudgedMachine) -> str:
    """Name a machine's device in a few words."""
    where = machine.head.environment
    if where is None:
        return machine.machine
    return f"{where.device_kind.upper()}: {where.device_name or where.chip}"


def list_platforms(machines: Sequence[JudgedMachine]) -> list[PlatformRow]:
    """Return each case that was measured, machine by machine, equal cases together."""
    rows = []
    for machine in machines:
        for case in machine.cases:
            one = case.measurement
            if one is not None and one.kind in _KINDS:
                rows.append(_make_row(one, describe_platform(machine)))
    order = {name: rank for rank, name in enumerate(dict.fromkeys(row.case for row in rows))}
    return sorted(rows, key=lambda row: order[row.case])


def _make_row(one: Measurement, platform: str) -> PlatformRow:
    usage = one.resources
    energy_j, scope = None, UNKNOWN
    if usage is not None:
        for value, words in (
            (usage.gpu_board_energy_per_image_j, "whole board"),
            (usage.gpu_soc_energy_per_image_j, "GPU part of the chip"),
        ):
            if value and energy_j is None:
                energy_j, scope = value, words
    memory = one.memory
    device = memory.peak_device_bytes
    return PlatformRow(
        case=f"{one.kind} {one.variant.id}",
        platform=platform,
        seconds_per_image=one.seconds_per_image,
        share_of_peak=compute_share_of_peak(one),
        images_per_j=None if not energy_j else 1 / energy_j,
        energy_scope=scope,
        memory_bytes=memory.peak_rss_bytes if device is None else device,
    )


def compute_share_of_peak(one: Measurement) -> float | None:
    """Compute the share of the device's peak that one whole profiled image reaches.

    Source: FLOPs of all counted stages over the profiled round's seconds over the peak.
    """
    limits, stages = one.limits, one.stages
    if limits is None or limits.peak is None or stages is None or stages.total_s <= 0:
        return None
    flop = sum(cost.flop for cost in limits.stages)
    return flop / stages.total_s / limits.peak.flop_per_s if flop else None


def find_unlike(machines: Sequence[JudgedMachine]) -> list[str]:
    """Name the fields in which the machines' workloads differ, so that times do not compare."""
    firsts = [next(iter(machine.head.measurements.values()), None) for machine in machines]
    known = [one for one in firsts if one is not None]
    unlike = []
    for name, values in (
        ("model", {one.subject or one.model_hash for one in known}),
        ("steps", {one.workload.num_inference_steps for one in known}),
        ("guidance", {one.workload.guidance_scale for one in known}),
        ("size", {(one.images[0].width, one.images[0].height) for one in known if one.images}),
    ):
        if len(values) > 1:
            unlike.append(name)
    return unlike


def draw_machines(machines: Sequence[JudgedMachine]) -> Drawn | None:
    """Draw seconds per image of each case on each machine; ``None`` for a single machine."""
    rows = list_platforms(machines)
    if len(machines) < 2 or not rows:
        return None
    platforms = list(dict.fromkeys(row.platform for row in rows))
    cases = list(dict.fromkeys(row.case for row in rows))
    shared = [case for case in cases if len({r.platform for r in rows if r.case == case}) > 1]
    shown = (shared or cases)[:MOST_CASES]
    roles = ("blue", "amber", "teal", "violet", "grey")
    hints = {}
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 0.9 + 0.3 * len(shown))
        for place, case in enumerate(shown):
            here = [row for row in rows if row.case == case]
            times = [row.seconds_per_image for row in here]
            ax.plot([min(times), max(times)], [place] * 2, color=light("rule"), linewidth=1.2)
            for row in here:
                number = platforms.index(row.platform)
                gid = f"machine-{place}-{number}"
                hints[gid] = f"{case} on {row.platform}: {format_seconds(row.seconds_per_image)}"
                ax.plot(
                    row.seconds_per_image,
                    place,
                    "osDv^"[number % 5],
                    color=light(roles[number % 5]),
                    ms=6,
                    gid=gid,
                )
                if place == 0:
                    ax.annotate(
                        row.platform[:40],
                        (row.seconds_per_image, place),
                        xytext=(0, 8),
                        textcoords="offset points",
                        ha="center",
                        fontsize=7.5,
                        color=light(roles[number % 5]),
                        annotation_clip=False,
                    )
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(lambda value, _: format_seconds(value))
        ax.xaxis.set_minor_formatter(lambda *_: "")
        ax.set_yticks(range(len(shown)), shown)
        ax.tick_params(axis="y", labelcolor=light("ink"))
        ax.set_ylim(len(shown) - 0.5, -1.1)
        ax.margins(x=0.15)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("seconds per image (logarithmic)")
    unlike = find_unlike(machines)
    warning = (
        f" The workloads differ in {', '.join(unlike)}: their seconds do not compare, their share "
        "of peak does." if unlike else ""
    )  # fmt: skip
    return Drawn(
        name="machines",
        title="Across machines",
        caption=(
            "Share of peak: operations of a whole image over its seconds over the fastest matrix "
            "product that the same device made in the same session; it compares across hardware. "
            "Images a joule compare only where the joules feed the same thing: a board's include "
            f"its memory, those of a chip's GPU part do not.{warning}"
        ),
        figure=figure,
        table=Table.of(
            _HEADER,
            tuple(
                (
                    row.case,
                    row.platform,
                    format_seconds(row.seconds_per_image),
                    f"{1 / row.seconds_per_image:.3g}",
                    UNKNOWN if row.share_of_peak is None else f"{row.share_of_peak:.1%}",
                    UNKNOWN if row.images_per_j is None else f"{row.images_per_j:.3g}",
                    row.energy_scope,
                    format_bytes(row.memory_bytes),
                )
                for row in rows
            ),
        ),
        hints=hints,
    )
