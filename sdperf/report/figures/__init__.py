"""All figures of a machine in the order in which papers and reports show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sdperf.judging.machine import JudgedMachine, ReportedCase
from sdperf.judging.trend.changes import Trend
from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.engines import draw_engines
from sdperf.report.figures.images import draw_divergence, draw_examples
from sdperf.report.figures.resources import draw_resources
from sdperf.report.figures.stages import draw_components, draw_share_of_peak
from sdperf.report.figures.strip import draw_strip
from sdperf.report.figures.time import draw_time
from sdperf.report.figures.trend import draw_trend
from sdperf.report.figures.workers import draw_workers
from sdperf.report.pictures.pictures import PictureSource

MOST_WATCHED: Final = 6
"""How many cases have their resources drawn; those of the others are in the table."""


def draw_all(
    machine: JudgedMachine, source: PictureSource, trends: Sequence[Trend] = ()
) -> list[Drawn]:
    """Draw everything that the data allow: the five main figures, then those that explain them."""
    drawn: Iterable[Drawn | None] = (
        draw_time(machine),
        *draw_watched(machine),
        draw_components(machine),
        draw_workers(machine),
        draw_engines(machine),
        draw_examples(machine, source),
        draw_share_of_peak(machine),
        draw_divergence(machine),
        draw_strip(machine),
        draw_trend(trends),
    )
    return [one for one in drawn if one is not None]


def draw_watched(machine: JudgedMachine) -> list[Drawn]:
    """Draw the resources of the cases that tell most: each precision alone and with all workers."""
    drawn: list[Drawn] = []
    for case in select_watched(machine):
        usage = None if case.measurement is None else case.measurement.resources
        if usage is not None:
            name = f"resources-{len(drawn) + 1}"
            one = draw_resources(name, case.short, usage)
            drawn += [] if one is None else [one]
    return drawn


def select_watched(machine: JudgedMachine) -> list[ReportedCase]:
    """Pick for each precision a single image on one worker and a batch on the most workers."""
    chosen: dict[tuple[str, str], ReportedCase] = {}
    for case in machine.cases:
        one = case.measurement
        if one is None or one.resources is None or one.kind == "stage":
            continue
        key = (one.variant.precision, one.kind)
        earlier = chosen.get(key)
        known = None if earlier is None else earlier.measurement
        if known is None or (
            one.kind == "throughput" and one.variant.workers > known.variant.workers
        ):
            chosen[key] = case
    return list(chosen.values())[:MOST_WATCHED]
