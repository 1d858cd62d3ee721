"""The results of sdperf's tests so far: pytest's outcome of each, and its measurement."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.run.case import CaseResult


@dataclass
class TestLog:
    """The results of sdperf's tests, each by the test's id.

    Attributes:
        results: The result of each test.
        reports: The outcome of each test: ``passed``, ``failed`` or ``skipped``.
        complaints: The errors of each failed test.
        first_with_fault: The test that met an error first, by the error's text.
        unfit: Tests that failed because the machine was not fit.
        skipped: The reason of each skipped test.
        short_of_memory: Skipped tests that do not fit into the memory.
        repeated: How many runs of a test came before the one that counts.
    """

    __test__ = False

    results: dict[str, CaseResult] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    complaints: dict[str, str] = field(default_factory=dict)
    first_with_fault: dict[str, str] = field(default_factory=dict)
    unfit: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)
    short_of_memory: set[str] = field(default_factory=set)
    repeated: Counter[str] = field(default_factory=Counter)

    def note_report(self, report: pytest.TestReport) -> None:
        """Keep pytest's report of one phase of an sdperf test."""
        node_id = report.nodeid
        if report.skipped:
            self.reports[node_id] = "skipped"
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.skipped[node_id] = reason.removeprefix("Skipped: ")
        elif report.failed and report.when == "teardown" and self.reports.get(node_id) == "skipped":
            return  # pytest counts that error itself; a case that did not run is not counted
        elif report.failed:
            self.reports[node_id] = "failed"
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(report.longrepr) if crash is None else str(crash.message)
            self.complaints.setdefault(node_id, message.splitlines()[0] if message else "failed")
        elif report.when == "call":
            self.reports.setdefault(node_id, "passed")

    def forget(self, node_id: str) -> None:
        """Drop the result of an earlier run of a test, since another plugin runs it again."""
        self.repeated[node_id] += 1
        for kept in (self.reports, self.complaints, self.skipped, self.results):
            kept.pop(node_id, None)
        self.unfit.discard(node_id)
        self.short_of_memory.discard(node_id)

    def explain_nothing(self, *, is_strict: bool) -> str | None:
        """Say that no case ran where this must fail; ``None`` where a case ran or it may pass.

        Cases that do not fit into the memory were asked for and never tried, which fails. A strict
        session fails for any other reason to skip all of its cases too.

        Args:
            is_strict: Whether an open answer fails the run.
        """
        if self.judged_ids() or not self.skipped or not (is_strict or self.short_of_memory):
            return None
        return (
            f"nothing was measured, exit status 1: {format_quantity(len(self.skipped), 'case')} "
            "skipped and none run; the line above says why, and what forces them"
        )

    def judged_ids(self) -> list[str]:
        """Return the ids of the cases that ran, in order; each gets exactly one verdict."""
        return [node_id for node_id, outcome in self.reports.items() if outcome != "skipped"]
