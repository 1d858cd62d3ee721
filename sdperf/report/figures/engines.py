"""Figure: the time of one image on each engine, beside torch's."""

from __future__ import annotations

from sdperf.judging.machine import JudgedMachine
from sdperf.record.workload import TORCH
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import figure_style, new_figure
from sdperf.report.table import Table
from sdperf.report.text.session.engines import HEADER, EngineResult, group_engines, tabulate_engine
from sdperf.units import format_score, format_seconds

_ROW_IN = 0.36


def draw_engines(machine: JudgedMachine) -> Drawn | None:
    """Draw each case that ran on several engines; ``None`` without one."""
    measured = [case.measurement for case in machine.cases if case.measurement is not None]
    groups = group_engines(measured)
    if not groups:
        return None
    hints: dict[str, str] = {}
    counts = [len(group.results) for group in groups]
    with figure_style():
        figure, axes = new_figure(
            len(groups),
            1,
            0.75 * len(groups) + _ROW_IN * sum(counts),
            height_ratios=[count + 1.5 for count in counts],
        )
        for ax, group in zip(axes, groups, strict=True):
            ax.set_title(group.title, pad=8)
            for row, one in enumerate(group.results):
                gid = f"engine-{group.title}-{row}".replace(" ", "-")
                colour = light("grey" if one.engine == TORCH else "blue")
                (bar,) = ax.barh(row, one.per_image_s, height=0.62, color=colour)
                bar.set_gid(gid)
                words = _describe(one)
                hints[gid] = f"{one.engine} {one.provider}: {words}"
                ax.annotate(
                    words,
                    (one.per_image_s, row),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    color=light("dim"),
                )
            ax.set_yticks(range(len(group.results)), [one.engine for one in group.results])
            ax.set_ylim(len(group.results) - 0.4, -0.6)
            ax.set_xlim(left=0)
            ax.margins(x=0.5)
            ax.spines["left"].set_visible(False)
        axes[-1].set_xlabel("seconds per image (shorter is better)")
    rows = [(group.title, *tabulate_engine(one)) for group in groups for one in group.results]
    return Drawn(
        name="engines",
        title="Engine against engine",
        caption=(
            "The same prompts, noise and scheduler; only what runs the networks differs. SSIM is "
            "the worst image against torch's. An engine is compared with the torch that it took "
            "turns with, whose seconds stand beside. A star: the two ran one after the other and "
            "not in turns, so drift is not excluded. Files: weights and programs as the engine "
            "keeps them."
        ),
        figure=figure,
        table=Table.of(("case", *HEADER), tuple(rows)),
        hints=hints,
    )


def _describe(one: EngineResult) -> str:
    words = format_seconds(one.per_image_s)
    if one.times is not None:
        words += f"  {one.times:.2f} x{'' if one.is_paired else ' *'}"
        words += f" (torch {format_seconds(one.torch_s)})" if one.is_paired else ""
    return words if one.ssim is None else f"{words}  SSIM {format_score(one.ssim)}"
