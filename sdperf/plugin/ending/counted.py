"""Adds failing verdicts to pytest's own counts, and so to every view of them.

A case is judged when all cases are known, after its test has passed. Its report is then taken back,
and a failed report goes through the same hook as every other one. So the terminal, a JUnit report,
``--lf`` and other plugins count it like any failed test. Under xdist no case runs: there each case
is an error already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from sdperf.plugin.case_lines import VERDICT_MARK
from sdperf.plugin.terminal import make_failure
from sdperf.record.verdict import Verdict
from sdperf.shell import NextStep, list_commands
from sdperf.streams import strip_controls

if TYPE_CHECKING:
    from sdperf.plugin.ending.outcome import SessionOutcome


class Retraction:
    """Takes back a passed report before the failed report comes.

    Args:
        config: pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remove a passed report, which a verdict replaces."""
        if not hasattr(report, VERDICT_MARK) or report.when != "call":
            return
        reporter: Any = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            passed = reporter.stats.get("passed", [])
            passed[:] = [one for one in passed if one.nodeid != report.nodeid]
            if not passed:
                reporter.stats.pop("passed", None)
        _retract_from_junit(self._config, report.nodeid)


def list_failing(
    outcome: SessionOutcome, reports: Mapping[str, str], *, is_strict: bool
) -> list[Verdict]:
    """Return the verdicts that make the run exit 1 but that pytest counts as passed.

    Args:
        outcome: The outcome of the session.
        reports: pytest's outcome of each test, by id.
        is_strict: Whether open answers fail.
    """
    is_strict = is_strict and outcome.void is None
    return [
        row.verdict
        for row in outcome.rows
        if reports.get(row.verdict.case) == "passed"
        and (row.verdict.outcome.is_failure or (is_strict and row.verdict.outcome.is_open))
    ]


def count_failing(session: pytest.Session, failing: Sequence[Verdict]) -> None:
    """Report every case whose verdict fails the run as a failed test."""
    if failing:
        session.config.pluginmanager.register(Retraction(session.config))
    items = {item.nodeid: item for item in session.items}
    for verdict in failing:
        for report in _make_reports(items[verdict.case], verdict):
            session.config.hook.pytest_runtest_logreport(report=report)


def describe_verdict(verdict: Verdict) -> str:
    """Return the message of a failing verdict: its outcome, reasons and next step."""
    worst = [one for one in verdict.findings if one.outcome is verdict.outcome]
    lines = [f"{verdict.outcome.value}: {one.reason}" for one in worst] or [verdict.outcome.value]
    step = next((one.next_step for one in worst[:1]), None)
    lines += [] if step is None else [f"next: {step}"]
    told = "\n".join(strip_controls(line) for line in lines)
    return NextStep(told, () if step is None else list_commands(step))


def _make_reports(item: pytest.Item, verdict: Verdict) -> list[pytest.TestReport]:
    """Make the reports of a failed test: a failed call, and a teardown that ends it."""
    longrepr = make_failure(item, describe_verdict(verdict))
    common: dict[str, Any] = {
        "nodeid": item.nodeid,
        "location": item.location,
        "keywords": dict.fromkeys(item.keywords, 1),
        "sections": [],
        "duration": 0.0,
        "start": 0.0,
        "stop": 0.0,
        VERDICT_MARK: verdict.outcome.value,
    }
    return [
        pytest.TestReport(
            **common, outcome="failed", when="call", longrepr=longrepr, user_properties=[]
        ),
        pytest.TestReport(
            **common,
            outcome="passed",
            when="teardown",
            longrepr=None,
            user_properties=item.user_properties,
        ),
    ]


def _retract_from_junit(config: pytest.Config, node_id: str) -> None:
    from _pytest.junitxml import mangle_test_address, xml_key

    xml = config.stash.get(xml_key, None)
    if xml is None:
        return
    *folders, name = mangle_test_address(node_id)
    classname = ".".join(([xml.prefix] if xml.prefix else []) + folders)
    for reporter in xml.node_reporters_ordered:
        found = reporter.to_xml()
        if (found.get("classname"), found.get("name")) == (classname, name):
            xml.node_reporters_ordered.remove(reporter)
            xml.stats["passed"] -= 1
            return
