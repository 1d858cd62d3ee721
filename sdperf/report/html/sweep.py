"""A sweep's part of a report's page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdperf.report.figures.drawn import Drawn
from sdperf.report.figures.sweep import draw_sweep
from sdperf.report.sweep import (
    describe_error,
    describe_run,
    describe_sweep,
    list_failures,
    list_words,
    tabulate_points,
    tabulate_steps,
)
from sdperf.report.table import Table
from sdperf.sweep.summary import SweepSummary

if TYPE_CHECKING:
    from sdperf.report.html.plot import Plot


@dataclass(frozen=True)
class CurveView:
    """A case of a sweep as the page shows it; the plot is ``None`` where data are too few."""

    case: str
    words: tuple[str, ...]
    plot: Plot | None
    points: Table
    steps: Table


@dataclass(frozen=True)
class SweepView:
    """A sweep as the page shows it."""

    ident: str
    headline: str
    about: str
    is_done: bool
    curves: tuple[CurveView, ...]
    failures: tuple[str, ...]
    error: str
    command: str


def view_sweep(summary: SweepSummary, ident: str, plot: Callable[[Drawn, str], Plot]) -> SweepView:
    """Lay a sweep out.

    Args:
        summary: The sweep.
        ident: Prefix of the ids in the page.
        plot: Renders a figure for the page.
    """
    curves = []
    for number, curve in enumerate(summary.curves):
        drawn = draw_sweep(summary, number)
        curves.append(
            CurveView(
                case=curve.case,
                words=tuple(list_words(curve)),
                plot=None if drawn is None else plot(drawn, ident),
                points=tabulate_points(summary, curve),
                steps=tabulate_steps(curve, with_stages=True),
            )
        )
    return SweepView(
        ident=ident,
        headline=describe_sweep(summary),
        about=describe_run(summary),
        is_done=summary.ending == "done" and not summary.lost,
        curves=tuple(curves),
        failures=tuple(list_failures(summary)),
        error=describe_error(summary),
        command=summary.command,
    )
