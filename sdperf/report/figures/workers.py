"""Figure 4: one worker against many, and sync against async with its ceiling."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from sdperf.judging.machine import JudgedMachine
from sdperf.record.measurement import Measurement
from sdperf.record.workload import TORCH
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, label_ends, new_figure
from sdperf.report.table import Table
from sdperf.report.text.session.cases import Overlap, describe_overlap, find_overlaps
from sdperf.units import UNKNOWN, format_bytes, format_quantity, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRECISION_ROLES: Final = {"fp32": "blue", "fp16": "teal", "bf16": "amber"}
_Value = Callable[[Measurement], float | None]


def draw_workers(machine: JudgedMachine) -> Drawn | None:
    """Draw throughput, latency and memory per worker count; ``None`` without two cases to compare.

    Batches of prompts are drawn where there are any, else single images.
    """
    measured = [case.measurement for case in machine.cases if case.measurement is not None]
    chosen = [one for one in measured if one.kind == "throughput"]
    chosen = chosen or [one for one in measured if one.kind == "latency"]
    chosen = [
        one for one in chosen if not one.variant.optimisations and one.variant.engine == TORCH
    ]
    threads = chosen[0].variant.threads if chosen else None
    chosen = [one for one in chosen if one.variant.threads == threads]
    counts = sorted({one.variant.workers for one in chosen})
    if len(chosen) < 2:
        return None
    overlaps = find_overlaps(chosen)
    hints: dict[str, str] = {}
    panels: list[tuple[str, _Value]] = [
        ("throughput, images/s", lambda one: one.images_per_second),
        ("latency of an image, s", _latency_s),
        ("peak memory, GiB", _memory_gib),
    ]
    with figure_style():
        figure, axes = new_figure(2, 2, 5.2)
        for ax, (title, value) in zip(axes, panels, strict=False):
            ax.set_title(title, pad=6)
            _draw_lines(ax, chosen, counts, value, hints)
        axes[3].set_title("async: time saved against sync, %", pad=6)
        _draw_overlaps(axes[3], overlaps, counts, hints)
        for ax in axes[2:]:
            ax.set_xlabel("workers (processes with a pipeline each)")
    images = chosen[0].images_per_round
    each = "" if threads is None else f", {format_quantity(threads, 'CPU thread')} a worker"
    return Drawn(
        name="workers",
        title="One worker against many, sync against async",
        caption=(
            f"{'A batch of ' + str(images) + ' prompts' if images > 1 else 'Single images'}"
            f"{each}. Solid and "
            "filled: sync; dashed and hollow: async. Black dashes at the lower right: the most "
            "that overlap can save, the share of an image that is not the device's work; what lies "
            "beyond them is noise. Memory: resident sets and device memory of all workers together."
        ),
        figure=figure,
        table=_tabulate(chosen, overlaps),
        hints=hints,
    )


def _latency_s(one: Measurement) -> float | None:
    return statistics.median(one.image_latencies_s) if one.image_latencies_s else None


def _memory_gib(one: Measurement) -> float | None:
    known = (one.memory.peak_rss_bytes, one.memory.peak_device_bytes)
    sizes = [each for each in known if each is not None]
    return sum(sizes) / 2**30 if sizes else None


def _draw_lines(
    ax: Axes,
    chosen: Sequence[Measurement],
    counts: Sequence[int],
    value: _Value,
    hints: dict[str, str],
) -> None:
    ends: list[tuple[float, str, str]] = []
    for precision in dict.fromkeys(one.variant.precision for one in chosen):
        colour = light(PRECISION_ROLES[precision])
        for mode in ("sync", "async"):
            points = sorted(
                (one.variant.workers, number)
                for one in chosen
                if one.variant.precision == precision
                and one.variant.mode == mode
                and (number := value(one)) is not None
            )
            if not points:
                continue
            gid = f"line-{ax.get_title(loc='left').partition(',')[0]}-{precision}-{mode}"
            gid = gid.replace(" ", "-")
            hints[gid] = f"{precision} {mode}: " + ", ".join(f"{w}w {v:.3g}" for w, v in points)
            ax.plot(
                [counts.index(workers) for workers, _ in points],
                [number for _, number in points],
                color=colour,
                linestyle="-" if mode == "sync" else (0, (4, 2)),
                marker="o",
                ms=5,
                mfc=colour if mode == "sync" else light("paper"),
                mec=colour,
                gid=gid,
            )
            ends.append((points[-1][1], f"{precision} {mode}", colour))
    ax.set_xticks(range(len(counts)), [str(count) for count in counts])
    ax.set_xlim(-0.25, len(counts) - 1 + 0.75)
    ax.set_ylim(0, max((end for end, _, _ in ends), default=1) * 1.05)
    ax.autoscale(axis="y")
    ax.set_ylim(bottom=0)
    ax.margins(y=0.15)
    ax.grid(axis="y")
    label_ends(ax, ends, len(counts) - 1)


def _draw_overlaps(
    ax: Axes, overlaps: Sequence[Overlap], counts: Sequence[int], hints: dict[str, str]
) -> None:
    precisions = list(dict.fromkeys(one.measured.variant.precision for one in overlaps))
    width = 0.6 / max(len(precisions), 2)
    for one in overlaps:
        variant = one.measured.variant
        offset = (precisions.index(variant.precision) - (len(precisions) - 1) / 2) * width
        place = counts.index(variant.workers) + offset
        gid = f"overlap-{variant.id}"
        hints[gid] = f"{variant.id}: {describe_overlap(one)}"
        (bar,) = ax.bar(
            place,
            100 * one.gain,
            width=width * 0.8,
            color=light(PRECISION_ROLES[variant.precision]),
            linewidth=0,
        )
        bar.set_gid(gid)
        ax.plot(
            [place - width * 0.45, place + width * 0.45],
            [100 * one.ceiling] * 2,
            color=light("ink"),
            linewidth=1.4,
            linestyle=(0, (3, 1.5)),
        )
        ax.annotate(
            f"{variant.precision}\n{100 * one.gain:+.0f} %",
            (place, 100 * max(one.gain, 0)),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=light("dim"),
        )
    ax.axhline(0, color=light("rule"), linewidth=0.8)
    ax.set_xticks(range(len(counts)), [str(count) for count in counts])
    ax.set_xlim(-0.6, len(counts) - 0.4)
    ax.margins(y=0.3)
    ax.grid(axis="y")
    if not overlaps:
        ax.text(0.5, 0.5, "no pair of sync and async", transform=ax.transAxes, ha="center")


def _name_ceiling(overlap: Overlap) -> str:
    """Return the ceiling as a number where it is above the noise, else in words."""
    if overlap.ceiling < overlap.noise:
        return f"nothing to overlap: {overlap.obstacle}"
    return f"{overlap.ceiling:.1%}"


def _tabulate(chosen: Sequence[Measurement], overlaps: Sequence[Overlap]) -> Table:
    gains = {one.measured.variant.id: one for one in overlaps}
    rows = []
    for one in chosen:
        memory, gain = _memory_gib(one), gains.get(one.variant.id)
        rows.append(
            (
                one.variant.id,
                f"{one.images_per_second:.3g}",
                format_seconds(_latency_s(one)),
                UNKNOWN if memory is None else format_bytes(memory * 2**30),
                UNKNOWN if gain is None else f"{gain.gain:+.1%}",
                UNKNOWN if gain is None else _name_ceiling(gain),
            )
        )
    header = ("variant", "images/s", "latency of an image", "peak memory", "saved", "ceiling")
    return Table.of(header, tuple(rows))
