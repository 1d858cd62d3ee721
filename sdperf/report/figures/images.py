"""Figure 5: example images, and the denoising step at which the latents begin to differ."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from sdperf.judging.machine import JudgedMachine
from sdperf.record.observation import TrajectoryParity
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.palette import light
from sdperf.report.figures.style import WIDTH_IN, figure_style, new_figure
from sdperf.report.figures.workers import PRECISION_ROLES
from sdperf.report.pictures.pictures import PictureSource, Sample, list_samples
from sdperf.report.table import Table
from sdperf.units import UNKNOWN, format_score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_EXAMPLES: Final = 8
_SMALLEST_RMS: Final = 1e-9
"""The relative RMS at which a distance of 0 is drawn; rounding to fp32 alone makes 100 times it."""


def draw_divergence(machine: JudgedMachine) -> Drawn | None:
    """Draw the distance of each precision's latents per step; ``None`` where none was measured."""
    seen = [
        (one.precision, one.seen)
        for one in machine.head.run.quality
        if isinstance(one.seen, TrajectoryParity)
    ]
    curves = [
        (precision, parity, [each for each in parity.distance.relative_rms if each is not None])
        for precision, parity in seen
    ]
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return None
    hints = {}
    rows = []
    with figure_style():
        figure, (ax,) = new_figure(1, 1, 2.7)
        for precision, parity, values in curves:
            colour = light(PRECISION_ROLES.get(precision, "grey"))
            gid = f"divergence-{precision}"
            hints[gid] = f"{precision} against {parity.against}: at most {max(values):.2g}"
            shown = [max(value, _SMALLEST_RMS) for value in values]
            steps = range(1, len(values) + 1)
            ax.plot(steps, shown, color=colour, marker="o", ms=3, gid=gid)
            ax.annotate(
                f"{precision}\n{values[-1]:.2g}" if values[-1] else f"{precision}\nidentical",
                (len(values), shown[-1]),
                xytext=(7, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=colour,
            )
            broken = parity.distance.first_non_finite_step
            if broken is not None:
                ax.plot(broken + 1, shown[-1], "X", color=light("fail"), ms=8)
            rows.append(
                (
                    precision,
                    parity.against,
                    repr(parity.image.prompt),
                    f"{values[0]:.2g}",
                    f"{max(values):.2g}",
                    UNKNOWN if broken is None else str(broken + 1),
                )
            )
        ax.set_yscale("log")
        ax.margins(y=0.15)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
        ax.minorticks_off()
        ax.set_xlim(0.5, max(len(values) for _, _, values in curves) * 1.1)
        ax.locator_params(axis="x", integer=True)
        ax.set_title("distance of the latents, relative RMS (logarithmic)", pad=6)
        ax.set_xlabel("denoising step")
        ax.grid(axis="y")
    return Drawn(
        name="divergence",
        title="Where along the steps the latents part",
        caption=(
            "The latents of one image after each step, beside those of the reference with the same "
            "seed. Denoising amplifies rounding, so a curve that rises slowly is legal; a jump "
            "says at which step to look. Equal pipelines with other thread counts show the noise."
        ),
        figure=figure,
        table=Table.of(
            ("precision", "against", "image", "first step", "at most", "not finite from step"),
            tuple(rows),
        ),
        hints=hints,
    )


def draw_examples(machine: JudgedMachine, source: PictureSource) -> Drawn | None:
    """Draw prompts with their reference and each precision's image; ``None`` without images."""
    samples = [
        sample
        for sample in list_samples(machine)
        if any(source.find(image.sha256) is not None for _, image in sample.images)
    ][:MOST_EXAMPLES]
    if not samples:
        return None
    precisions = list(dict.fromkeys(name for sample in samples for name, _ in sample.images))
    columns = ["compared with", *precisions]
    with figure_style():
        figure, axes = new_figure(
            len(columns), len(samples), 0.5 + len(columns) * (WIDTH_IN - 0.4) / len(samples)
        )
        for row, column in enumerate(columns):
            for index, sample in enumerate(samples):
                ax = axes[row * len(samples) + index]
                _draw_cell(ax, sample, column, source)
                if row == 0:
                    ax.set_title(
                        textwrap.fill(sample.prompt[:60], 14, break_on_hyphens=False),
                        fontsize=7,
                        pad=4,
                    )
                if index == 0:
                    ax.set_ylabel(column, color=light("ink"))
    rows = [
        (
            repr(sample.prompt),
            str(sample.seed),
            precision,
            UNKNOWN if (score := image.score(sample.against or "")) is None else score.against,
            UNKNOWN if score is None else format_score(score.ssim),
            UNKNOWN if score is None else format_score(score.worst_tile_ssim),
        )
        for sample in samples
        for precision, image in sample.images
    ]
    return Drawn(
        name="images",
        title="Example images",
        caption="The same prompts and seeds in each precision, below what they are compared with.",
        figure=figure,
        table=Table.of(
            ("prompt", "seed", "precision", "against", "SSIM", "worst tile"), tuple(rows)
        ),
    )


def _draw_cell(ax: Axes, sample: Sample, column: str, source: PictureSource) -> None:
    images = dict(sample.images)
    sha256 = images[column].sha256 if column in images else None
    if column == "compared with":
        sha256 = sample.against_sha256
    pixels = None if sha256 is None else source.find(sha256)
    if pixels is None:
        ax.text(0.5, 0.5, "not kept", ha="center", va="center", color=light("dim"), fontsize=7)
        ax.set_aspect("equal")
    else:
        ax.imshow(pixels, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
