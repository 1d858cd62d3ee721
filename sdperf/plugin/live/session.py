"""One pytest session's state: settings, workers, results; made when the first case needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sdperf.errors import ConfigurationError
from sdperf.judging.session.comparison import Comparison
from sdperf.judging.session.speed import SpeedVerdict
from sdperf.judging.settling import Typed
from sdperf.measure.clock import VirtualClock
from sdperf.measure.ledger import Durations, Ledger
from sdperf.pipeline.optimisations.catalogue import DEFAULT, default_for
from sdperf.plugin.command_line import read_typed
from sdperf.plugin.keys import KEY
from sdperf.plugin.live.ahead import Plan
from sdperf.plugin.live.order import OrderWatch
from sdperf.plugin.live.quality_results import QualityShelf
from sdperf.plugin.live.skipping import find_skip_reason
from sdperf.plugin.options import Settings, read_settings
from sdperf.plugin.progress import LiveLine
from sdperf.record.workload import Variant
from sdperf.report.text.session.cases import Row

if TYPE_CHECKING:
    from sdperf.judging.session.limits import Limits
    from sdperf.models.loader import ResolvedModel
    from sdperf.plugin.journalling import SessionJournal
    from sdperf.record.guard import Guard
    from sdperf.record.verdict import SettledCase
    from sdperf.run.case import CaseResult
    from sdperf.run.hosts.cluster import Cluster
    from sdperf.run.pool import WorkerPool
    from sdperf.run.suite import Suite
    from sdperf.store.calibration import Calibration
    from sdperf.store.session_lock import FolderLock


@dataclass
class SdSession:
    """What the plugin keeps for a session.

    Attributes:
        settings: The options.
        live_line: Where progress is shown.
        clock: The virtual clock that pytest-benchmark reads.
        results: Results by test id.
        reports: Outcome of each of our tests by id: ``passed``, ``failed`` or ``skipped``.
        complaints: What went wrong in each failed test, by id.
        first_with_fault: The test that met an error first, by its text.
        unfit: Tests that failed because the machine was not fit, by id.
        traced: Whether the trace that was asked for has been written.
        skipped: Why each skipped test was, by id.
        rows: The judged cases, once the session has ended.
        evidence: Where the run's images lie, once stored.
        refused_save: Why a save that was asked for was refused; ``None`` where it was not.
        compares_with_accepted: Whether a bare ``--benchmark-compare`` is ours to answer, because
            there are accepted sessions.
        compare_fail: The checks of ``--benchmark-compare-fail``, taken over from pytest-benchmark.
        limits: Tolerated slowdown of each test that has a limit of its own, by id.
        comparison: What the session is compared with; nothing before it has ended.
        speed: What is said of its speed; nothing before it has ended.
        settled: What was said of a case's speed that its saved numbers alone do not tell, by id.
        no_overlap: Why nothing was compared although something was asked for.
        tails_left_out: Why the tails of some cases were not judged; ``None`` where all were.
        interrupted: Whether the user ended it.
        exhibits: Failing images laid beside what they were held against.
        report: What became of the report that was asked for, one line.
        aftermath: What went wrong once the run was over, each with its colour.
        instant: When the run was first written down; all its files say the same.
        calibrations: What ``sdperf calibrate`` found out of each kind of machine, where the session
            compares.
        quality: What the quality suite left.
        ledger: Where the session's wall time goes.
        durations: Where it went until the run was saved first; ``None`` before.
        root: pytest's root folder.
        plan: What our tests will ask of the workers, in order.
        journal: What keeps each finished case on the disk; ``None`` before it is opened.
        lock: Keeps other sessions out of the folder; ``None`` before it is taken.
        unsaved: What was asked for and could not be written, and what became of the run instead.
        undrawn: What was asked for and could not be drawn of a run that is stored.
        order: Whether the order of cases makes a difference.
        typed: How the session was asked for, for the commands that it suggests.
        repeated: How many runs of a test came before the one that counts, by id.
    """

    settings: Settings
    live_line: LiveLine
    clock: VirtualClock = field(default_factory=VirtualClock)
    results: dict[str, CaseResult] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    complaints: dict[str, str] = field(default_factory=dict)
    first_with_fault: dict[str, str] = field(default_factory=dict)
    unfit: set[str] = field(default_factory=set)
    traced: bool = False
    skipped: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    evidence: Path | None = None
    refused_save: str | None = None
    compares_with_accepted: bool = False
    compare_fail: tuple[Any, ...] = ()
    limits: dict[str, float] = field(default_factory=dict)
    no_overlap: str | None = None
    tails_left_out: str | None = None
    interrupted: bool = False
    comparison: Comparison = field(default_factory=Comparison)
    speed: SpeedVerdict = field(default_factory=SpeedVerdict)
    settled: dict[str, SettledCase] = field(default_factory=dict)
    exhibits: int = 0
    report: str | None = None
    aftermath: list[tuple[str, str]] = field(default_factory=list)
    instant: datetime | None = None
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    quality: QualityShelf = field(default_factory=QualityShelf)
    ledger: Ledger = field(default_factory=Ledger)
    durations: Durations | None = None
    root: Path = field(default_factory=Path.cwd)
    plan: Plan = field(default_factory=Plan)
    journal: SessionJournal | None = None
    lock: FolderLock | None = None
    unsaved: list[str] = field(default_factory=list)
    undrawn: list[str] = field(default_factory=list)
    order: OrderWatch = field(default_factory=OrderWatch)
    typed: Typed = field(default_factory=Typed)
    repeated: Counter[str] = field(default_factory=Counter)
    _model: ResolvedModel | None = None
    _pool: WorkerPool | None = None
    _suite: Suite | None = None
    _plain_suite: Suite | None = None
    _cluster: Cluster | None = None
    _has_stocked: bool = False

    def resolve_model(self) -> ResolvedModel:
        """Find the model's files, once, before anything is timed.

        Raises:
            ModelError: There is no such model, or it cannot be used.
        """
        if self._model is None:
            from sdperf.models.loader import resolve_model

            self.live_line.say("finding the model")
            self._model = resolve_model(self.settings.workload.model)
        return self._model

    def suite(self) -> Suite:
        """Return what all cases share, made at the first call."""
        if self._suite is None:
            from sdperf.models.references import load_references
            from sdperf.run.suite import Suite, count_cpu_threads

            model = self.resolve_model()
            settings = self.settings
            self._pool = self._make_pool()
            references = load_references(model.folder / "references")
            self._suite = Suite(
                workload=settings.workload,
                model=model,
                pool=self._pool,
                device=settings.device,
                subject=settings.subject,
                sampling_source=settings.sampling_source,
                cpu_threads=count_cpu_threads() if self._cluster is None else self._cluster.threads,
                shipped=references,
                guards=settings.guards,
                allowed_unknown=settings.allowed_unknown,
            )
            self._prefer_calibrated(self._suite, model.model_hash)
        return self._suite

    def _make_pool(self) -> WorkerPool:
        """Make the pool of the session: of a cluster's workers, of our own, or of this process."""
        from sdperf.run.hosts.local import InProcessHost, SpawnedHost
        from sdperf.run.pool import WorkerPool

        timeout_s = self.settings.timeout_s
        if self.settings.cluster is None:
            host = InProcessHost if self.settings.in_process else SpawnedHost
            return WorkerPool(host, timeout_s, ledger=self.ledger)
        from sdperf.run.hosts.cluster import START_LEAD_S, Cluster

        self.live_line.say("looking for the cluster")
        self._cluster = cluster = Cluster(self.settings.cluster)
        return WorkerPool(
            cluster.make_host,
            timeout_s,
            ledger=self.ledger,
            start_lead_s=START_LEAD_S,
            is_elsewhere=True,
        )

    def plain_suite(self) -> Suite:
        """Return the suite of the plain side of gains, whose workers live beside the others."""
        if self._plain_suite is None:
            suite = self.suite()
            self._plain_suite = suite.with_changes(
                pool=suite.pool.make_beside("plain side", self.ledger),
                guards="off",
                compares_with_fp32=False,
            )
        return self._plain_suite

    def _prefer_calibrated(self, suite: Suite, model_hash: str) -> None:
        """Take the references that ``sdperf quality calibrate`` left for this kind of device."""
        from sdperf.models.references import load_references
        from sdperf.store.references import locate_references

        if locate_references(self.root, model_hash, "").is_dir():
            kind = suite.describe_device().kind
            calibrated = load_references(locate_references(self.root, model_hash, kind))
            suite.shipped = calibrated or suite.shipped

    def start_ahead(self, node_id: str) -> None:
        """Have processes ready for a test's pipeline, all of the session's before its first one."""
        from sdperf.run.stock import count_that_fit

        suite = self.suite()
        stock = suite.pool.stock
        if not stock.is_open:
            if not self._has_stocked:
                self._has_stocked = True
                self._plan_references()
            return
        if suite.guards != "off":
            suite.machine.look_at_rest()
        if self.plan.is_first_of_its_pipeline(node_id, self._is_skipped):
            stock.fill(self.plan.count_now(node_id, self._is_skipped), suite.model)
        if not self._has_stocked:
            self._has_stocked = True
            wanted = self.plan.count_all(self._is_skipped) + self._plan_references()
            stock.fill(min(wanted, count_that_fit()), suite.model)
        suite.pool.settle()

    def _plan_references(self) -> int:
        """Tell the suite what its tests are held against; count the processes that it takes."""
        from sdperf.run.quality.bench import FEWEST_IMAGES
        from sdperf.run.references import PlannedReferences, list_reference_specs

        suite, images = self.suite(), self.settings.images
        quality_images = max(FEWEST_IMAGES, images)
        suite.planned = PlannedReferences(
            self.plan.count_pictures(images, quality_images, self._is_skipped),
            self.plan.list_inspected(self._is_skipped),
        )
        tested = {
            suite.make_spec(one.precision, one.optimisations, one.engine)
            for one in self.plan.list_variants(self._is_skipped)
        }
        return len(list_reference_specs(suite) - tested)

    def _is_skipped(self, variant: Variant) -> bool:
        names = variant.optimisations
        is_empty = names == (DEFAULT,) and not self.find_default_optimisations()
        return is_empty or self.reason_to_skip(variant) is not None

    def find_default_optimisations(self) -> tuple[str, ...]:
        """Return what is on by default on the session's device."""
        return default_for(self.suite().describe_device().kind)

    def reason_to_skip(self, variant: Variant) -> str | None:
        """Say why an automatic case does not suit this machine, naming the flag to force it."""
        return find_skip_reason(self.settings, self.suite(), self._cluster, variant)

    def keep(self, node_id: str, result: CaseResult) -> None:
        """Keep a case's result for the gates and for the image folder, and put it on the disk.

        Where the disk refuses, the session ends after this case and judges what it has.
        """
        self.results[node_id] = result
        if self.journal is not None and node_id not in self.journal.kept:
            self.journal.add_timed(self, node_id, result)

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

    def forget(self, node_id: str, host: Any) -> None:
        """Drop what an earlier run of a test left: another plugin runs it again, and that counts.

        Args:
            node_id: The test.
            host: pytest-benchmark's session, which would keep a benchmark of each run.
        """
        self.repeated[node_id] += 1
        for kept in (self.reports, self.complaints, self.skipped, self.results):
            kept.pop(node_id, None)
        self.unfit.discard(node_id)
        self.quality.results.pop(node_id, None)
        self.order.forget(node_id)
        if self.journal is not None:
            self.journal.kept.pop(node_id, None)
        if host is not None:
            host.benchmarks[:] = [one for one in host.benchmarks if one.fullname != node_id]

    def read_limits(self) -> Limits:
        """Return what its judges tolerate."""
        return self.settings.limits(self.limits)

    def find_guards(self) -> tuple[Guard, ...] | None:
        """Return what was said of the machine's fitness; ``None`` where nobody asked."""
        logs = (row.measurement.guards for row in self.rows if row.measurement is not None)
        log = next((each for each in logs if each is not None), None)
        return None if log is None or log.policy == "off" else log.before

    def judged_ids(self) -> list[str]:
        """Return the ids of the cases that ran, in order; each gets exactly one verdict."""
        return [node_id for node_id, outcome in self.reports.items() if outcome != "skipped"]

    def list_left_out(self) -> list[str]:
        """Return the ids of the selected tests that did not run, in order."""
        return [one.node_id for one in self.plan.tests if one.node_id not in self.reports]

    def close(self) -> None:
        """End all workers and let go of the machine's probes."""
        if self._plain_suite is not None:
            self._plain_suite.pool.close()
        if self._suite is not None:
            self._suite.close()
        if self._cluster is not None:
            self._cluster.close()

    def release(self) -> None:
        """Let the next session into the folder."""
        if self.lock is not None:
            self.lock.release()
            self.lock = None


def session_of(config: pytest.Config) -> SdSession:
    """Return the sdperf session of a pytest configuration, made at the first call.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    session = config.stash.get(KEY, None)
    if session is None:
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        session = SdSession(read_settings(config), LiveLine(reporter), root=config.rootpath)
        session.typed = read_typed(config)
        config.stash[KEY] = session
    return session


def take_over_host(ours: SdSession, host: Any) -> None:
    """Take from pytest-benchmark what it does late or silently: checks, and damaged runs.

    Args:
        ours: The sdperf session.
        host: pytest-benchmark's session, baselines loaded.

    Raises:
        ConfigurationError: A run was named that does not exist, or pytest-benchmark is too old.
        RecordError: A run that was asked for cannot be read.
    """
    import pytest_benchmark

    from sdperf.judging.session.comparison import find_damage
    from sdperf.plugin.command_line import check_host_version

    check_host_version(pytest_benchmark.__version__)
    ours.compare_fail, host.compare_fail = tuple(host.compare_fail or ()), []
    if not host.compare:
        return
    damage = find_damage(host.storage, host.compare, host.compared_mapping)
    if damage is not None:
        raise damage
    if not host.compared_mapping and (host.compare is not True or ours.compare_fail):
        named = "" if host.compare is True else f" {host.compare!r}"
        raise ConfigurationError(
            f"there is no saved run{named} to compare with",
            got=f"none in {host.storage}",
            hint="save one first: pytest benchmarks --benchmark-autosave",
        )
