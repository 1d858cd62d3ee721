"""The state of a running pytest session; its outcome is `SessionOutcome`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from sdperf.errors import ConfigurationError
from sdperf.judging.settling import Typed
from sdperf.measure.clock import VirtualClock
from sdperf.measure.ledger import Ledger
from sdperf.plugin.command_line import read_typed
from sdperf.plugin.keys import KEY
from sdperf.plugin.live.budget import SessionBudget
from sdperf.plugin.live.log import TestLog
from sdperf.plugin.live.order import OrderWatch
from sdperf.plugin.live.quality_results import QualityShelf
from sdperf.plugin.live.stored import StoredRun
from sdperf.plugin.live.suites import SessionSuites
from sdperf.plugin.options import Settings, read_settings
from sdperf.plugin.progress import LiveLine
from sdperf.plugin.rooting import check_root
from sdperf.shell import join_command

if TYPE_CHECKING:
    from sdperf.judging.session.limits import Limits
    from sdperf.plugin.ending.outcome import SessionOutcome
    from sdperf.plugin.journalling import SessionJournal
    from sdperf.run.case import CaseResult
    from sdperf.store.calibration import Calibration
    from sdperf.store.session_lock import FolderLock


@dataclass
class AskedComparison:
    """The comparison that the user asked for, and its limits.

    Attributes:
        compares_with_accepted: Whether sdperf answers a bare ``--benchmark-compare``, since there
            are accepted sessions.
        compare_fail: The checks of ``--benchmark-compare-fail``, taken over from pytest-benchmark.
        limits: Tolerated slowdown of each test that has its own limit, as a fraction by id.
        calibrations: The calibration of each kind of machine, where the session compares.
    """

    compares_with_accepted: bool = False
    compare_fail: tuple[Any, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)


@dataclass
class LiveSession:
    """The plugin's state of a session, from the first sdperf option or test on.

    Attributes:
        settings: The options.
        live_line: The line that shows progress.
        root: pytest's root folder.
        typed: How the session was started, for the commands that it suggests.
        suites: Its model and workers.
        clock: The virtual clock that pytest-benchmark reads.
        log: The results of its tests.
        quality: The results of the quality suite.
        order: Checks whether the order of cases makes a difference.
        budget: Its cost, and the cases that it has time for.
        asked: The comparison that was asked for.
        journal: Keeps each finished case on the disk; ``None`` before it is opened.
        lock: Keeps other sessions out of the folder; ``None`` before it is taken.
        interrupted: Whether the user ended it.
        outcome: Its outcome; ``None`` before its end.
        stored: The state of its files.
    """

    settings: Settings
    live_line: LiveLine
    root: Path
    typed: Typed
    suites: SessionSuites
    clock: VirtualClock = field(default_factory=VirtualClock)
    log: TestLog = field(default_factory=TestLog)
    quality: QualityShelf = field(default_factory=QualityShelf)
    order: OrderWatch = field(default_factory=OrderWatch)
    asked: AskedComparison = field(default_factory=AskedComparison)
    journal: SessionJournal | None = None
    lock: FolderLock | None = None
    interrupted: bool = False
    outcome: SessionOutcome | None = None
    stored: StoredRun = field(default_factory=StoredRun)
    budget: SessionBudget = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count its time."""
        self.budget = SessionBudget(self.suites)

    @property
    def ledger(self) -> Ledger:
        """Where its wall time goes."""
        return self.suites.ledger

    @property
    def kept(self) -> Mapping[str, str]:
        """Cases that an earlier process measured: when that process began, by test id."""
        return {} if self.journal is None else self.journal.kept

    def read_limits(self) -> Limits:
        """Return the limits of its judges."""
        return self.settings.limits(self.asked.limits)

    def keep(self, node_id: str, result: CaseResult) -> None:
        """Keep a case's result for the gates and for the image folder, and put it on the disk.

        Where the disk cannot be written, the session ends after this case and judges what it has.
        """
        self.log.results[node_id] = result
        if self.journal is not None and node_id not in self.journal.kept:
            self.journal.add_timed(self.suites.own(), node_id, result)

    def forget(self, node_id: str, host: Any) -> None:
        """Drop the result of an earlier run of a test, since the repeat by another plugin counts.

        Args:
            node_id: The test.
            host: pytest-benchmark's session, which would keep a benchmark of each run.
        """
        self.log.forget(node_id)
        self.quality.results.pop(node_id, None)
        self.order.forget(node_id)
        if self.journal is not None:
            self.journal.kept.pop(node_id, None)
        if host is not None:
            host.benchmarks[:] = [one for one in host.benchmarks if one.fullname != node_id]

    def list_left_out(self) -> list[str]:
        """Return the ids of the selected tests that did not run, in order."""
        return [
            one.node_id for one in self.suites.plan.tests if one.node_id not in self.log.reports
        ]

    def release(self) -> None:
        """Let the next session into the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def session_of(config: pytest.Config) -> LiveSession:
    """Return the sdperf session of a pytest configuration, made at the first call.

    Raises:
        ConfigurationError: A setting cannot be used, or an option's value moved pytest's root.
    """
    session = config.stash.get(KEY, None)
    if session is None:
        check_root(config)
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        settings, line, root = read_settings(config), LiveLine(reporter), config.rootpath
        suites = SessionSuites(settings, line, root, Ledger())
        session = LiveSession(settings, line, root, read_typed(config), suites)
        config.stash[KEY] = session
    return session


_SHOWN_RUNS: Final = 8
"""The most saved runs that a message lists, the newest ones."""

_NUMBERED: Final = "[0-9][0-9][0-9][0-9]_"
"""How pytest-benchmark names saved runs."""


def take_over_host(asked: AskedComparison, host: Any) -> None:
    """Do early what pytest-benchmark does late or silently: checks, and refusing damaged runs.

    Args:
        asked: What the session is to be compared with.
        host: pytest-benchmark's session, baselines loaded.

    Raises:
        ConfigurationError: A run was named that does not exist, or pytest-benchmark is too old.
        RecordError: A run that was asked for cannot be read.
    """
    import pytest_benchmark

    from sdperf.judging.session.comparison import find_damage
    from sdperf.plugin.command_line import check_host_version

    check_host_version(pytest_benchmark.__version__)
    asked.compare_fail, host.compare_fail = tuple(host.compare_fail or ()), []
    if not host.compare:
        return
    damage = find_damage(host.storage, host.compare, host.compared_mapping)
    if damage is not None:
        raise damage
    if not host.compared_mapping and (host.compare is not True or asked.compare_fail):
        named = "" if host.compare is True else f" {host.compare!r}"
        # A storage in Elasticsearch lists nothing.
        saved = host.storage.query(_NUMBERED) if hasattr(host.storage, "query") else ()
        numbers = [Path(file).stem.partition("_")[0] for file in saved]
        raise ConfigurationError(
            f"there is no saved run{named} to compare with",
            got=f"{', '.join(numbers[-_SHOWN_RUNS:]) or 'none'} in {host.storage}",
            hint=join_command(["pytest", "benchmarks", f"--benchmark-compare={numbers[-1]}"])
            if numbers
            else "save one first: pytest benchmarks --benchmark-autosave",
        )
