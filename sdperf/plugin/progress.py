"""The live line: case, round and time left on a terminal; plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from sdperf.report.text.wrapping import wrap_text
from sdperf.streams import CLEAR_LINE, strip_controls
from sdperf.units import format_seconds, shorten_middle

LINE_WIDTH = 100

_FREE_LINE: Final = f"{CLEAR_LINE}\x1b[A\n"
"""Control codes that clear the terminal's line. pytest's writer counts from the last line break, so
the cursor goes up a line and down again."""


@dataclass
class LiveLine:
    """One line that shows what happens now, rewritten in place on a terminal.

    Attributes:
        reporter: pytest's terminal reporter; ``None`` shows nothing.
        clock: Returns seconds.
        place: Number of the running case, such as ``3/12``; empty where cases are not counted.
        left_s: Returns the seconds that the session's cases still take; ``None`` is unknown.
        is_reported: Whether other code takes each case's end (`take_end`) and shows it.
    """

    reporter: pytest.TerminalReporter | None = None
    clock: Callable[[], float] = time.monotonic
    place: str = ""
    left_s: Callable[[], float | None] = lambda: None
    is_reported: bool = False
    _shown: bool = False
    _case: str = ""
    _planned: int = 0
    _warmup: int = 0
    _seen_s: list[float] = field(default_factory=list)
    _started_s: float = 0.0
    _end: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether the output is a terminal that can rewrite a line."""
        return (
            self.reporter is not None
            and _is_terminal(self.reporter)
            and os.environ.get("TERM", "") != "dumb"
        )

    def start(self, case: str, planned: int, warmup: int = 0) -> None:
        """Begin a case of ``planned`` timed rounds behind ``warmup`` untimed ones."""
        self._case, self._planned, self._warmup, self._seen_s = case, planned, warmup, []
        self._started_s = self.clock()
        self.say("starting")

    def round_done(self, seconds: float) -> None:
        """Note a finished round and show what is left of the case."""
        self._seen_s.append(seconds)
        done, of = len(self._seen_s), self._planned
        kind = "round"
        if done <= self._warmup:
            kind, of = "warm-up", self._warmup
        else:
            done -= self._warmup
        self.say(f"{kind} {done} of {of}, {format_seconds(seconds)}")

    def _describe_left(self) -> str:
        """Say what is left of the session; before a case is done, of the case."""
        left_s = self.left_s()
        if left_s is not None and left_s < 1:
            return ""  # the present work was not planned: its time is unknown
        if left_s is not None:
            return f"; about {format_seconds(left_s)} left"
        if not self._seen_s:
            return ""
        rounds = self._warmup + self._planned - len(self._seen_s)
        if rounds <= 0:
            return ""
        case_s = statistics.median(self._seen_s) * rounds
        return f"; about {format_seconds(case_s)} left in this case"

    def say(self, what: str) -> None:
        """Show what happens now, on a terminal only."""
        if not self.is_live or self.reporter is None:
            return
        if not self._shown:
            if _find_prefix(self.reporter) is None:
                self._start_line(self.reporter)
            self._shown = True
        place, left = f"{self.place} " if self.place else "", self._describe_left()
        width = _find_width(self.reporter) - 1
        room = width - len(place) - len(f": {what}{left}")
        text = f"{place}{shorten_middle(self._case, max(12, room))}: {what}{left}"[:width]
        with _uncaptured(self.reporter):
            self.reporter.write(f"{CLEAR_LINE}{text}", flush=True)

    def announce(self, what: str) -> None:
        """Show what begins now: on the live line, or as a plain line where there is none."""
        if self.is_live:
            self.say(what)
        elif self.reporter is not None:
            self._start_line(self.reporter)
            with _uncaptured(self.reporter):
                self.reporter.write_line(f"sdperf {self._case}: {what}", flush=True)

    def tell(self, what: str) -> None:
        """Show a text about the whole session, on a separate line that stays."""
        if self.reporter is not None:
            self.wipe()
            self._start_line(self.reporter)
            with _uncaptured(self.reporter):
                for text in wrap_text(f"sdperf: {what}", subsequent_indent="    "):
                    self.reporter.write_line(text, flush=True)

    def end_case(self, summary: str, *, took: bool = True) -> None:
        """End a case: its result is shown when pytest reports the test, on one line.

        Args:
            summary: Its result.
            took: Whether to tell how long it took; an earlier process's result took nothing.
        """
        if not self.is_reported:
            self.finish(summary)
            return
        self.wipe()
        took_s = format_seconds(self.clock() - self._started_s)
        self._end = f"{summary} ({took_s})" if took else summary
        self._case = ""

    def take_end(self) -> str | None:
        """Return the result of the last case, once; ``None`` where no case began."""
        end, self._end = self._end, None
        return end

    def show_case(self, case: str, text: str, colour: str, *, is_last: bool = False) -> None:
        """Show the result of a case on a separate line.

        Args:
            case: Its short name.
            text: Its result.
            colour: ``red``, ``yellow``, ``green`` or ``""``.
            is_last: Whether pytest ends the line by writing behind it that all is done.
        """
        if self.reporter is None:
            return
        self.wipe()
        self._start_line(self.reporter)
        markup = {colour: True} if colour else {}
        line = strip_controls(f"sdperf {case}: {text}")
        with _uncaptured(self.reporter):
            self.reporter.write(line if is_last else f"{line}\n", flush=True, **markup)

    def add_to_line(self, text: str) -> None:
        """Add to the line that pytest has just written of a test."""
        if self.reporter is not None:
            with _uncaptured(self.reporter):
                self.reporter.write(f"  {strip_controls(text)}", flush=True)

    def finish(self, summary: str) -> None:
        """End work that is not a test: clear the live line, or print one plain line."""
        if self.reporter is None:
            return
        if self.is_live:
            self.wipe()
        elif self._case:
            took = format_seconds(self.clock() - self._started_s)
            self._start_line(self.reporter)
            with _uncaptured(self.reporter):
                self.reporter.write_line(f"sdperf {self._case}: {summary} ({took})", flush=True)
        self._case = ""

    @staticmethod
    def _start_line(reporter: pytest.TerminalReporter) -> None:
        """Leave the line of pytest's own progress, also after its last dot."""
        with _uncaptured(reporter):
            reporter.ensure_newline()
            terminal = reporter.config.get_terminal_writer()
            if terminal.width_of_current_line:
                terminal.line()

    def wipe(self) -> None:
        """Remove the live line, so that pytest's own output starts on a clean one."""
        if self._shown and self.reporter is not None:
            with _uncaptured(self.reporter):
                self.reporter.write(f"{_FREE_LINE}{_find_prefix(self.reporter) or ''}", flush=True)
        self._shown = False


def _find_width(reporter: pytest.TerminalReporter) -> int:
    """Return how many columns a line may fill: a wrapped line could not be rewritten."""
    return min(LINE_WIDTH, reporter.config.get_terminal_writer().fullwidth)


def _find_prefix(reporter: pytest.TerminalReporter) -> str | None:
    """Return what pytest has written of the test that runs (``-v``), to be written again."""
    prefix: object = getattr(reporter, "currentfspath", None)
    return prefix if isinstance(prefix, str) else None


@contextlib.contextmanager
def _uncaptured(reporter: pytest.TerminalReporter) -> Iterator[None]:
    """Write past pytest's capture, which would keep a running test's output to itself."""
    capture = reporter.config.pluginmanager.get_plugin("capturemanager")
    if capture is None:
        yield
    else:
        with capture.global_and_fixture_disabled():
            yield


def _is_terminal(reporter: pytest.TerminalReporter) -> bool:
    isatty: object = reporter.isatty
    return bool(isatty() if callable(isatty) else isatty)  # pytest 8.4.0 made it a property
