"""Figure 2: what one case took from the machine, moment by moment, in its watched rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sdperf.record.usage import Curve, ResourceUsage
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, label_ends, new_figure
from sdperf.report.table import Table
from sdperf.units import UNKNOWN, format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_IN: Final = 0.85
_SCOPES: Final = {
    "tree": "workers and pytest",
    "system": "whole machine",
    "gpu_board": "whole board",
    "gpu_soc": "GPU part",
    "cpu_soc": "CPU part",
    "machine": "whole machine",
}


@dataclass(frozen=True)
class _Line:
    """One curve in a panel: field, colour role, divisor of its values, and its name."""

    field: str
    role: str
    scale: float = 1.0
    words: str | None = None

    @property
    def name(self) -> str:
        return self.words or self.scope

    @property
    def scope(self) -> str:
        return next(words for name, words in _SCOPES.items() if self.field.startswith(name))


@dataclass(frozen=True)
class _Panel:
    title: str
    lines: tuple[_Line, ...]
    form: Callable[[float], str]


_GIB: Final = 2.0**30
_MIB: Final = 2.0**20
_PANELS: Final = (
    _Panel(
        "CPU, cores busy",
        (_Line("tree_cpu_percent", "blue", 100.0),),
        lambda value: f"{value:.2f} cores",
    ),
    _Panel(
        "GPU busy, %",
        (
            _Line("gpu_board_utilisation_percent", "teal"),
            _Line("gpu_soc_utilisation_percent", "teal"),
        ),
        lambda value: f"{value:.0f} %",
    ),
    _Panel(
        "memory, GiB",
        (
            _Line("tree_rss_bytes", "blue", _GIB),
            _Line("gpu_board_memory_used_bytes", "teal", _GIB),
            _Line("gpu_soc_memory_used_bytes", "teal", _GIB),
        ),
        lambda value: format_bytes(value * _GIB),
    ),
    _Panel(
        "disk, MiB/s",
        (
            _Line("tree_disk_read_bytes_per_s", "blue", _MIB, "read"),
            _Line("tree_disk_written_bytes_per_s", "amber", _MIB, "written"),
        ),
        lambda value: f"{value:.2f} MiB/s",
    ),
    _Panel(
        "power, W",
        (
            _Line("gpu_board_power_w", "amber"),
            _Line("gpu_soc_power_w", "amber"),
            _Line("machine_power_w", "grey"),
        ),
        lambda value: f"{value:.0f} W",
    ),
)
_CAPTION: Final = (
    "From watched rounds of the same shape, which are never the timed ones. A point is a sample; "
    "a spike shorter than the distance between two samples can be missed. {unknown}{disk}"
)


def draw_resources(name: str, case: str, usage: ResourceUsage) -> Drawn | None:
    """Draw CPU, GPU, memory, disk and power over time; ``None`` where no curve is known.

    Args:
        name: Name of the figure.
        case: Name of the case.
        usage: The resources that its watched rounds took.
    """
    panels = [(panel, known) for panel in _PANELS if (known := _known(panel, usage))]
    if not panels:
        return None
    hints: dict[str, str] = {}
    with figure_style():
        figure, axes = new_figure(len(panels), 1, 0.5 + _PANEL_IN * len(panels), sharex=True)
        for ax, (panel, lines) in zip(axes, panels, strict=True):
            _draw_panel(ax, panel, lines, max(usage.window_s, 1e-9), hints)
        axes[-1].set_xlabel("seconds since the watched rounds began")
    missing = [panel.title.partition(",")[0] for panel in _PANELS if not _known(panel, usage)]
    unknown = f"Not known on this machine: {', '.join(missing)}. " if missing else ""
    rows = [
        (
            " ".join(filter(None, (panel.title.partition(",")[0], line.words))),
            line.scope,
            *(panel.form(value / line.scale) for value in (curve.mean, curve.p95, curve.peak)),
            str(curve.samples),
        )
        for panel, lines in panels
        for line, curve in lines
    ]
    return Drawn(
        name=name,
        title=f"Resources over {format_seconds(usage.window_s)} of {case}",
        caption=_CAPTION.format(unknown=unknown, disk=_describe_disk(usage)),
        figure=figure,
        table=Table.of(("what", "scope", "mean", "95 % quantile", "peak", "samples"), tuple(rows)),
        hints=hints,
    )


def _known(panel: _Panel, usage: ResourceUsage) -> list[tuple[_Line, Curve]]:
    curves = ((line, getattr(usage, line.field, None)) for line in panel.lines)
    return [(line, curve) for line, curve in curves if curve is not None and curve.times_s]


def _draw_panel(
    ax: Axes,
    panel: _Panel,
    lines: list[tuple[_Line, Curve]],
    window_s: float,
    hints: dict[str, str],
) -> None:
    ax.set_title(panel.title, fontsize=8.5, pad=4)
    ax.set_xlim(0, window_s)
    ends = []
    for line, curve in lines:
        values = [value / line.scale for value in curve.values]
        colour = light(line.role)
        gid = f"curve-{line.field}"
        hints[gid] = f"{panel.title}, {line.scope}: mean {panel.form(curve.mean / line.scale)}"
        ax.plot(curve.times_s, values, color=colour, gid=gid, marker="o", ms=2.2, linewidth=1.3)
        ax.fill_between(curve.times_s, values, color=colour, alpha=0.08, linewidth=0)
        ends.append(
            (values[-1], f"{line.name}\n{panel.form(curve.mean / line.scale)} mean", colour)
        )
    highest = max(curve.peak / line.scale for line, curve in lines)
    ax.set_ylim(0, highest * 1.12 or 1)
    ax.locator_params(axis="y", nbins=3)
    ax.grid(axis="y")
    label_ends(ax, ends, window_s, share=0.45)


def _describe_disk(usage: ResourceUsage) -> str:
    read, written = usage.tree_disk_read_bytes, usage.tree_disk_written_bytes
    if read is None and written is None:
        return ""
    shown = [UNKNOWN if each is None else format_bytes(each) for each in (read, written)]
    return f"Disk in the whole window: {shown[0]} read, {shown[1]} written."
