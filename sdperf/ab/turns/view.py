"""The progress that a comparison shows while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from sdperf.ab.turns.blocks import BlockSeries
from sdperf.stats.paired import YuenBounds, compute_yuen_bounds

NULL_CONTROL: Final = "null control"
"""The name of the series that compares A with itself."""


@dataclass(frozen=True)
class Progress:
    """The state of a series of blocks.

    Attributes:
        what: ``null control``, or the case's name.
        blocks: Number of blocks that count so far.
        most: Number of blocks after which it ends at the latest.
        is_look: Whether a decision was tried after this block.
        bounds: The bounds so far, which between looks are for show only; ``None`` with fewer than
            two blocks.
        level: Chance that the interval of the bounds covers the truth, 0 to 1, of a null
            control, whose summary shows a range of another kind; ``None`` elsewhere.
        discarded: Why the block just measured does not count.
        elapsed_s: Seconds since the comparison began.
        left_s: Seconds until this series ends at the latest.
    """

    what: str
    blocks: int
    most: int
    is_look: bool
    bounds: YuenBounds | None
    discarded: str | None
    elapsed_s: float
    left_s: float
    level: float | None = None


def make_progress(what: str, series: BlockSeries, *, elapsed_s: float, series_s: float) -> Progress:
    """Return the state of a series after a block. Pure.

    Args:
        what: The series' name.
        series: The series, with at least one block.
        elapsed_s: Seconds since the comparison began.
        series_s: Seconds since the series began.
    """
    contrasts, last = series.contrasts, series.blocks[-1]
    blocks, most = len(contrasts), series.looks[-1]
    bounds = level = None
    if blocks >= 2:
        alpha = series.alpha / len(series.looks)
        bounds = compute_yuen_bounds(contrasts, alpha)
        level = 1 - 2 * alpha if what == NULL_CONTROL else None
    return Progress(
        what=what,
        blocks=blocks,
        most=most,
        is_look=last.discarded is None and blocks in series.looks,
        bounds=bounds,
        discarded=last.discarded,
        elapsed_s=elapsed_s,
        left_s=0.0 if series.is_decided else (most - blocks) * series_s / len(series.blocks),
        level=level,
    )


class View(Protocol):
    """A view that shows the progress."""

    def announce(self, what: str) -> None:
        """Show what begins now: loading, drawing, a series."""

    def show(self, progress: Progress) -> None:
        """Show the state of a series, after each block."""

    def finish(self) -> None:
        """End the view, so that the next output begins on a clean line."""


class SilentView:
    """A view that shows nothing."""

    def announce(self, what: str) -> None:
        """Say nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""

    def finish(self) -> None:
        """Do nothing."""
