"""The live line: case, round and time left on a terminal; plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from sdperf.streams import CLEAR_LINE
from sdperf.units import format_seconds

LINE_WIDTH = 100


@dataclass
class LiveLine:
    """One line that says what happens now, rewritten in place on a terminal.

    Attributes:
        reporter: pytest's terminal reporter; ``None`` is silent.
        clock: Returns seconds.
    """

    reporter: pytest.TerminalReporter | None = None
    clock: Callable[[], float] = time.monotonic
    _shown: bool = False
    _case: str = ""
    _planned: int = 0
    _seen_s: list[float] = field(default_factory=list)
    _started_s: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether the output is a terminal that can rewrite a line."""
        return (
            self.reporter is not None
            and _is_terminal(self.reporter)
            and os.environ.get("TERM", "") != "dumb"
        )

    def start(self, case: str, planned: int) -> None:
        """Begin a case of ``planned`` rounds, warm-up included."""
        self._case, self._planned, self._seen_s = case, planned, []
        self._started_s = self.clock()
        self.say("starting")

    def round_done(self, seconds: float) -> None:
        """Note a finished round and show what is left of the case."""
        self._seen_s.append(seconds)
        done = len(self._seen_s)
        left_s = statistics.median(self._seen_s) * (self._planned - done)
        self.say(
            f"round {done} of {self._planned}, {format_seconds(seconds)}, "
            f"about {format_seconds(max(0.0, left_s))} left in this case"
        )

    def say(self, what: str) -> None:
        """Show what happens now, on a terminal only."""
        if not self.is_live or self.reporter is None:
            return
        if not self._shown:
            self._start_line(self.reporter)
            self._shown = True
        text = f"{self._case}: {what}"[: LINE_WIDTH - 1]
        with _uncaptured(self.reporter):
            self.reporter.write(f"{CLEAR_LINE}{text}", flush=True)

    def announce(self, what: str) -> None:
        """Say what begins now: on the live line, or as a plain line where there is none."""
        if self.is_live:
            self.say(what)
        elif self.reporter is not None:
            self._start_line(self.reporter)
            with _uncaptured(self.reporter):
                self.reporter.write_line(f"sdperf {self._case}: {what}", flush=True)

    def tell(self, what: str) -> None:
        """Say something about the session as a whole, on a line of its own that stays."""
        if self.reporter is not None:
            self.wipe()
            self._start_line(self.reporter)
            with _uncaptured(self.reporter):
                self.reporter.write_line(f"sdperf: {what}", flush=True)

    def finish(self, summary: str) -> None:
        """End a case: wipe the live line, or print one plain line where there is none."""
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
        """Leave the line that pytest's own progress stands on, also after its last dot."""
        with _uncaptured(reporter):
            reporter.ensure_newline()
            terminal = reporter.config.get_terminal_writer()
            if terminal.width_of_current_line:
                terminal.line()

    def wipe(self) -> None:
        """Remove the live line, so that pytest's own output starts on a clean one."""
        if self._shown and self.reporter is not None:
            with _uncaptured(self.reporter):
                self.reporter.write(CLEAR_LINE, flush=True)
        self._shown = False


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
