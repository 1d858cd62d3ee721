"""What the tests of ours left so far: pytest's word on each, and what it measured."""

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
    """What each test of ours left, by its id.

    Attributes:
        results: What it measured.
        reports: Its outcome: ``passed``, ``failed`` or ``skipped``.
        complaints: What went wrong in each failed test.
        first_with_fault: The test that met an error first, by the error's text.
        unfit: Tests that failed because the machine was not fit.
        skipped: Why each skipped test was.
        short_of_memory: Skipped tests that the memory does not hold.
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
        """Keep what pytest says of one phase of one of our tests."""
        node_id = report.nodeid
        if report.skipped:
            self.reports[node_id] = "skipped"
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self.skipped[node_id] = reason.removeprefix("Skipped: ")
        elif report.failed and report.when == "teardown" and self.reports.get(node_id) == "skipped":
            return  # pytest counts that error itself; a case that did not run is none
        elif report.failed:
            self.reports[node_id] = "failed"
            crash = getattr(report.longrepr, "reprcrash", None)
            message = str(report.longrepr) if crash is None else str(crash.message)
            self.complaints.setdefault(node_id, message.splitlines()[0] if message else "failed")
        elif report.when == "call":
            self.reports.setdefault(node_id, "passed")

    def forget(self, node_id: str) -> None:
        """Drop what an earlier run of a test left: another plugin runs it again."""
        self.repeated[node_id] += 1
        for kept in (self.reports, self.complaints, self.skipped, self.results):
            kept.pop(node_id, None)
        self.unfit.discard(node_id)
        self.short_of_memory.discard(node_id)

    def explain_nothing(self, *, is_strict: bool) -> str | None:
        """Say that no case ran where this must not pass; ``None`` where one did, or it may.

        What the memory does not hold was asked for and never tried; a strict session takes no
        other reason to skip all of its cases for an answer either.

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
