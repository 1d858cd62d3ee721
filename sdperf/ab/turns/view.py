"""What a comparison shows while it runs: values for whoever watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sdperf.ab.turns.blocks import BlockSeries
from sdperf.stats.paired import YuenBounds, compute_yuen_bounds


@dataclass(frozen=True)
class Progress:
    """Where a series of blocks stands.

    Attributes:
        what: ``null control``, or the case's name.
        blocks: Blocks that count so far.
        most: Blocks after which it ends at the latest.
        is_look: Whether the evidence was weighed after this block.
        bounds: What the blocks say so far, between looks for show only; ``None`` with fewer than
            two.
        discarded: Why the block just measured does not count.
        elapsed_s: Since the comparison began, seconds.
        left_s: Until this series ends at the latest, seconds.
    """

    what: str
    blocks: int
    most: int
    is_look: bool
    bounds: YuenBounds | None
    discarded: str | None
    elapsed_s: float
    left_s: float


def make_progress(what: str, series: BlockSeries, *, elapsed_s: float, series_s: float) -> Progress:
    """Say where a series stands after a block. Pure.

    Args:
        what: The series' name.
        series: With at least one block.
        elapsed_s: Since the comparison began, seconds.
        series_s: Since the series began, seconds.
    """
    contrasts, last = series.contrasts, series.blocks[-1]
    blocks, most = len(contrasts), series.looks[-1]
    bounds = None
    if blocks >= 2:
        bounds = compute_yuen_bounds(contrasts, series.alpha / len(series.looks))
    return Progress(
        what=what,
        blocks=blocks,
        most=most,
        is_look=last.discarded is None and blocks in series.looks,
        bounds=bounds,
        discarded=last.discarded,
        elapsed_s=elapsed_s,
        left_s=0.0 if series.is_decided else (most - blocks) * series_s / len(series.blocks),
    )


class View(Protocol):
    """Somebody who watches."""

    def announce(self, what: str) -> None:
        """Say what begins now: loading, drawing, a series."""

    def show(self, progress: Progress) -> None:
        """Show where a series stands, after each block."""

    def finish(self) -> None:
        """End the show, so that what is printed next stands on a clean line."""


class SilentView:
    """Nobody watches."""

    def announce(self, what: str) -> None:
        """Say nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Do nothing."""
