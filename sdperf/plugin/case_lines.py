"""One line per sdperf case, where pytest writes a letter, with the time left of the session."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

import pytest

from sdperf.plugin.live.time_left import TimeLeft
from sdperf.plugin.progress import LiveLine
from sdperf.record.verdict import shorten_cases

VERDICT_MARK: Final = "sdperf_verdict"
"""Attribute of a report that replaces an earlier one: the case's outcome."""

_COLOURS: Final = {"passed": "", "failed": "red", "skipped": "yellow", "rerun": "yellow"}


class CaseLines:
    """Shows the result of each case on a separate line.

    Where pytest itself writes one line per test (``-v``), the figure is added to that line.

    Args:
        line: The live line, which knows the result of a case.
        reporter: pytest's own terminal reporter.
        ids: Ids of sdperf's cases, in the order in which they run.
        last_id: Id of the session's last test; after it pytest writes that all is done.
    """

    def __init__(self, line: LiveLine, reporter: Any, ids: Sequence[str], last_id: str) -> None:
        self._line = line
        self._reporter = reporter
        self._numbers = {node_id: number for number, node_id in enumerate(ids, 1)}
        self._names = shorten_cases(ids)
        self._last_id = last_id
        self._left = TimeLeft(tuple(ids))
        self._now: tuple[str, float] = ("", 0.0)
        self._shown: dict[str, str] = {}
        line.is_reported = True
        line.left_s = self._estimate_left

    @property
    def _is_verbose(self) -> bool:
        return bool(self._reporter.showlongtestinfo)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Keep pytest from beginning a line of letters, and note the time of a case."""
        node_id = item.nodeid
        if node_id not in self._numbers:
            return (yield)
        shown = self._reporter.showfspath
        self._reporter.showfspath = False
        began_s = self._line.clock()
        self._now = node_id, began_s
        self._line.place = f"{self._numbers[node_id]}/{len(self._numbers)}"
        try:
            return (yield)
        finally:
            end = self._line.take_end()
            if end is not None and not self._is_verbose:  # interrupted: pytest reports nothing
                self._line.show_case(self._names[node_id], end, "")
            self._reporter.showfspath = shown
            self._line.place = ""
            self._left.note(node_id, self._line.clock() - began_s)
            self._now = "", 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> Generator[None, Any, tuple[str, str, Any]]:
        """Leave out the letter: the case's own line has the outcome."""
        status: tuple[str, str, Any] = yield
        category, letter, word = status
        if self._is_verbose or not letter or report.nodeid not in self._numbers:
            return status
        return category, "", word

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Show the outcome of a case, after pytest has counted it."""
        if report.nodeid not in self._numbers or (report.when != "call" and report.passed):
            return
        end, verdict = self._line.take_end(), getattr(report, VERDICT_MARK, None)
        text = end if verdict is None else str(verdict)
        if self._is_verbose:
            if text is not None:
                self._line.add_to_line(text)
            return
        if text is None and report.skipped:
            return  # the case was not begun; the summary counts it with its reason
        if verdict is not None and self._shown.get(report.nodeid, "").startswith(str(verdict)):
            return  # a case of the quality suite said so when it ended
        self._shown[report.nodeid] = text or ""
        where = "" if report.when == "call" else f" at {report.when}"
        self._line.show_case(
            self._names[report.nodeid],
            text or f"{report.outcome}{where}",
            _COLOURS.get(report.outcome, ""),
            is_last=report.nodeid == self._last_id and verdict is None and report.when == "call",
        )

    def _estimate_left(self) -> float | None:
        node_id, began_s = self._now
        return self._left.estimate_s(node_id, self._line.clock() - began_s)


def show_case_lines(config: pytest.Config, line: LiveLine, ours: Sequence[pytest.Item]) -> None:
    """Show a line for each case, unless another plugin has replaced pytest's reporter.

    Args:
        config: pytest's configuration.
        line: The live line.
        ours: sdperf's cases, in the order in which they run.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if type(reporter) is pytest.TerminalReporter and not config.option.collectonly:
        last_id = ours[0].session.items[-1].nodeid
        ids = [item.nodeid for item in ours]
        config.pluginmanager.register(CaseLines(line, reporter, ids, last_id))
