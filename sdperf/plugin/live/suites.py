"""The suites of a session: its model, its workers and what they share; made when a case asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sdperf.measure.ledger import Ledger
from sdperf.pipeline.optimisations.catalogue import DEFAULT, default_for
from sdperf.plugin.live.ahead import ExpectedWork, Plan
from sdperf.plugin.live.skipping import find_memory_reason, find_skip_reason
from sdperf.plugin.options import Settings
from sdperf.plugin.progress import LiveLine
from sdperf.record.workload import Precision, Variant

if TYPE_CHECKING:
    from sdperf.models.loader import ResolvedModel
    from sdperf.run.hosts.cluster import Cluster
    from sdperf.run.pool import WorkerPool
    from sdperf.run.suite import Suite


@dataclass
class SessionSuites:
    """Makes the suite that all cases share, and the one of the plain side of gains.

    Attributes:
        settings: The options.
        live_line: The line that shows progress.
        root: pytest's root folder.
        ledger: Counts the session's wall time.
        plan: The needs of sdperf's tests, in order.
        traced: Whether the requested trace has been written.
    """

    settings: Settings
    live_line: LiveLine
    root: Path
    ledger: Ledger
    plan: Plan = field(default_factory=Plan)
    traced: bool = False
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
            self._model = resolve_model(
                self.settings.workload.model,
                lora=self.settings.workload.lora,
                pipeline_class=self.settings.pipeline_class,
            )
        return self._model

    def own(self) -> Suite:
        """Return what all cases share, made at the first call."""
        if self._suite is None:
            from sdperf.models.references import load_references
            from sdperf.models.tasks.choosing import settle_workload
            from sdperf.run.suite import Suite, count_cpu_threads

            model = self.resolve_model()
            settings = self.settings
            workload = settings.workload
            if settings.subject is None:
                workload = settle_workload(workload, model.pipeline_class)
            self._pool = self._make_pool()
            shipped = load_references(model.folder / "references")
            references = shipped if model.is_as_stored else None
            self._suite = Suite(
                workload=workload,
                pictures=settings.pictures,
                model=model,
                pool=self._pool,
                device=settings.device,
                subject=settings.subject,
                sampling_source=settings.sampling_source,
                left_open=settings.left_open,
                cpu_threads=count_cpu_threads() if self._cluster is None else self._cluster.threads,
                shipped=references,
                guards=settings.guards,
                allowed_unknown=settings.allowed_unknown,
                asked_precisions=() if settings.precision_is_auto else settings.precisions,
            )
            self._prefer_calibrated(self._suite, model.model_hash)
        return self._suite

    def _make_pool(self) -> WorkerPool:
        """Make the pool of the session: on a cluster, on this machine, or in this process."""
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

    def look_at_device(self) -> None:
        """Ask a process what the device is; it stays idle, and the first case takes it.

        Raises:
            ConfigurationError: torch sees no such device.
            WorkerError: The process died or hung.
        """
        suite = self.own()
        if suite.guards != "off":
            suite.machine.look_at_rest()
        self.live_line.say("looking at the device")
        suite.pool.stock.fill(1, suite.model)
        suite.describe_device()

    def plain(self) -> Suite:
        """Return the suite of the plain side of gains, whose workers live beside the others."""
        if self._plain_suite is None:
            suite = self.own()
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
            task = suite.workload.task
            calibrated = load_references(locate_references(self.root, model_hash, kind, task))
            suite.shipped = calibrated or suite.shipped

    def start_ahead(self, node_id: str, tell_cost: Callable[[], None] | None = None) -> None:
        """Start processes for a test's pipeline, all of the session's before its first one.

        Args:
            node_id: The test.
            tell_cost: Says what the session will cost; called before all that takes time here.
        """
        from sdperf.run.stock import count_that_fit

        suite = self.own()
        stock = suite.pool.stock
        tell_cost = tell_cost or (lambda: None)
        if not stock.is_open:
            if not self._has_stocked:
                self._has_stocked = True
                self._plan_references()
            tell_cost()
            return
        if suite.guards != "off":
            suite.machine.look_at_rest()
        if self.plan.is_first_of_its_pipeline(node_id, self.is_skipped):
            stock.fill(self.plan.count_now(node_id, self.is_skipped), suite.model)
        tell_cost()  # not before a process is at hand, which may be asked what the device is
        if not self._has_stocked:
            self._has_stocked = True
            stock.fill(min(self.count_loads(), count_that_fit()), suite.model)
        suite.pool.settle()

    def count_loads(self) -> int:
        """Count the pipelines that the session loads, one per worker, including references."""
        return self.plan.count_all(self.is_skipped) + self._plan_references()

    def plan_references(self, tests: Sequence[ExpectedWork]) -> None:
        """Limit the references to those that these tests need.

        Args:
            tests: The tests of the session for which a budget has time.
        """
        self._plan_references(Plan(tests))

    def count_drawn(self) -> int:
        """Count the reference's pictures that were drawn so far."""
        return len(self.own().images.plain)

    def reference_precision(self) -> Precision:
        """Return the precision of the reference pipeline."""
        return self.own().reference_precision

    def _plan_references(self, plan: Plan | None = None) -> int:
        """Tell the suite the references of its tests; return the number of needed processes."""
        plan = plan or self.plan
        from sdperf.run.pictures.references import PlannedReferences, list_reference_specs
        from sdperf.run.quality.bench import FEWEST_IMAGES

        suite, images = self.own(), self.settings.images
        quality_images = max(FEWEST_IMAGES, images)
        suite.planned = PlannedReferences(
            plan.count_pictures(images, quality_images, self.is_skipped, suite.reference_precision),
            plan.list_inspected(self.is_skipped),
        )
        tested = {
            suite.make_spec(one.precision, one.optimisations, one.engine)
            for one in self.plan.list_variants(self.is_skipped)
        }
        return len(list_reference_specs(suite) - tested)

    def is_skipped(self, variant: Variant) -> bool:
        """Tell whether a variant will be skipped because it does not suit this machine."""
        names = variant.optimisations
        is_empty = names == (DEFAULT,) and not self.find_default_optimisations()
        return is_empty or self.reason_to_skip(variant) is not None

    def find_default_optimisations(self) -> tuple[str, ...]:
        """Return the default optimisations of the session's device for its model's pipeline."""
        suite = self.own()
        return default_for(suite.describe_device().kind, suite.model.pipeline_class)

    def reason_to_skip(self, variant: Variant, beside: Sequence[Variant] = ()) -> str | None:
        """Say why an automatic case does not suit this machine, naming the flag to force it.

        Args:
            variant: The case.
            beside: What is loaded beside it, one worker each.
        """
        return find_skip_reason(self.settings, self.own(), self._cluster, variant, beside)

    def is_short_of_memory(self, variant: Variant, beside: Sequence[Variant] = ()) -> bool:
        """Tell whether a left-out case does not fit into the memory.

        Args:
            variant: The case.
            beside: What is loaded beside it, one worker each.
        """
        return find_memory_reason(self.settings, self.own(), variant, beside) is not None

    def close(self) -> None:
        """End all workers and close the machine's probes."""
        if self._plain_suite is not None:
            self._plain_suite.pool.close()
        if self._suite is not None:
            self._suite.close()
        if self._cluster is not None:
            self._cluster.close()
