"""Shows the progress of ``sdperf ab``: one line that is rewritten, or plain lines at looks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, TextIO

from sdperf.ab.turns.view import Progress
from sdperf.ab.verdict.words import describe_change
from sdperf.report.text.wrapping import wrap_text
from sdperf.stats.paired import YuenBounds
from sdperf.streams import CLEAR_LINE
from sdperf.units import format_seconds, shorten

LINE_WIDTH: Final = 100
RULER_WIDTH: Final = 21
_SCALES: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Half widths of the ruler, log ratios."""


@dataclass
class TerminalView:
    """Shows progress on a stream; rewrites one line where the stream is a terminal.

    Attributes:
        stream: Usually standard error, so that results can be piped.
        limit_log: Tolerated slowdown, marked on the ruler.
        command: The command's name, for lines that stay.
    """

    stream: TextIO
    limit_log: float
    command: str = "sdperf ab"
    _is_shown: bool = False

    @property
    def is_live(self) -> bool:
        """Whether the stream is a terminal that can rewrite a line."""
        return self.stream.isatty() and os.environ.get("TERM", "") != "dumb"

    def announce(self, what: str) -> None:
        """Show what begins now."""
        if self.is_live:
            self._rewrite(what)
        else:
            self._print(what)

    def show(self, progress: Progress) -> None:
        """Show the interval after each block.

        Where lines stay, there is one after the first block, which tells how long it may take, and
        one at each look and discard.
        """
        if self.is_live:
            self._rewrite(format_progress(progress, self.limit_log))
        elif progress.is_look or progress.blocks == 1 or progress.discarded is not None:
            self._print(format_progress(progress, self.limit_log, ruler=False))

    def finish(self) -> None:
        """Clear the line."""
        if self._is_shown:
            self.stream.write(CLEAR_LINE)
            self.stream.flush()
            self._is_shown = False

    def _rewrite(self, text: str) -> None:
        self.stream.write(f"{CLEAR_LINE}{text[: LINE_WIDTH - 1]}")
        self.stream.flush()
        self._is_shown = True

    def _print(self, text: str) -> None:
        for line in wrap_text(f"{self.command}: {text}", subsequent_indent="    "):
            self.stream.write(f"{line}\n")
        self.stream.flush()


def format_progress(progress: Progress, limit_log: float, *, ruler: bool = True) -> str:
    """Describe the state of a series in a line. Pure.

    Args:
        progress: The state of the series.
        limit_log: Tolerated slowdown, log ratio.
        ruler: Whether to draw the interval, and to keep to the width of a terminal.
    """
    parts = []
    if progress.discarded is not None:
        parts.append(f"the last one discarded: {progress.discarded}")
    elif progress.bounds is not None:
        if ruler:
            parts.append(draw_interval(progress.bounds, limit_log))
        level = "" if progress.level is None else f" at {100 * progress.level:.4g} %"
        parts.append(describe_change(progress.bounds).removesuffix(")") + f"{level})")
    if progress.left_s > 0 and progress.discarded is None:
        parts.append(f"{format_seconds(progress.left_s)}{'' if ruler else ' at most'}")
    if not ruler:
        done = f"{progress.blocks} of at most {progress.most} blocks"
        return f"{progress.what}: {', '.join([done, *parts])}"
    told = "  ".join([f"{progress.blocks}/{progress.most} blocks", *parts])
    room = max(10, LINE_WIDTH - 3 - len(told))
    what = shorten(progress.what, room)
    return f"{what}: {told}"


def draw_interval(bounds: YuenBounds, limit_log: float) -> str:
    """Draw an interval on a ruler around 0: ``-5% ....[==*==]..|....!.... +5%``. Pure.

    ``|`` is no difference, ``!`` the limit, ``*`` the mean; faster is left. The ruler is the
    smallest that holds the interval and the limit.
    """
    reach = max(abs(bounds.lower), abs(bounds.upper), limit_log)
    scale = next((one for one in _SCALES if reach <= one), _SCALES[-1])

    def place(log_ratio: float) -> int:
        share = (min(max(log_ratio, -scale), scale) + scale) / (2 * scale)
        return round(share * (RULER_WIDTH - 1))

    marks = ["."] * RULER_WIDTH
    start, end = place(bounds.lower), place(bounds.upper)
    for at in range(start, end + 1):
        marks[at] = "="
    marks[start], marks[end] = "[", "]"
    for log_ratio, mark in ((0.0, "|"), (limit_log, "!"), (bounds.mean, "*")):
        marks[place(log_ratio)] = mark
    return f"-{scale:.0%} {''.join(marks)} +{scale:.0%}"
