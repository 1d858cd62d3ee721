"""One side of a paired comparison: a case on its own workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sdperf.record.measurement import CaseKind, Measurement
from sdperf.record.stages import SeparateStage
from sdperf.record.workload import Variant
from sdperf.run.case import Case
from sdperf.run.pictures.references import PlannedReferences
from sdperf.run.pool import WorkerPool
from sdperf.run.suite import Suite


@dataclass(kw_only=True)
class CaseArm:
    """A case that is measured one round at a time, in processes that can be renewed.

    Attributes:
        suite: A suite with its own pool.
        kind: ``latency``, ``throughput`` or ``stage``.
        variant: The variant to run.
        batch: Number of images of a throughput round.
        stage: The stage of a ``stage`` case.
        warmup: Number of untimed rounds after the first call of each fresh process.
    """

    suite: Suite
    kind: CaseKind
    variant: Variant
    batch: int
    stage: SeparateStage | None
    warmup: int
    _make_room: Callable[[], None] = lambda: None
    _case: Case | None = None
    _has_timed: bool = False

    def before_load(self, make_room: Callable[[], None]) -> None:
        """Set a function that is called before workers are started, to make room for them."""
        self._make_room = make_room

    def load(self) -> None:
        """Start the workers, make the first call and warm up, where this is not done yet."""
        self._loaded()

    def renew(self) -> None:
        """End the workers if they ran a timed round, so that the next round starts fresh ones."""
        if self._has_timed:
            self.close()

    def measure_s(self) -> float:
        """Run one timed round on warm workers and return its seconds."""
        seconds = self._loaded().measure_round()
        self._has_timed = True
        return seconds

    def start(self) -> Case:
        """Start fresh workers and make their first call; return the case that they run."""
        self.close()
        self._make_room()
        self._case = case = self._make_case()
        case.prepare()
        return case

    def close(self) -> None:
        """End the workers."""
        self._case, self._has_timed = None, False
        self.suite.pool.close()

    def _loaded(self) -> Case:
        if self._case is None:
            self._make_room()
            self._case = self._begin()
        return self._case

    def _begin(self) -> Case:
        case = self._make_case()
        case.prepare()
        for _ in range(max(1, self.warmup)):
            case.warm_up()
        return case

    def _make_case(self) -> Case:
        return Case(self.suite, self.kind, self.variant, self.batch, self.stage, watched=False)


def make_arm(
    suite: Suite,
    measurement: Measurement,
    *,
    pool: WorkerPool,
    warmup: int,
    subject: str | None,
    code: tuple[str, ...] = (),
) -> CaseArm:
    """Make an arm that measures a case again.

    Args:
        suite: The session's suite; its images are used again, its workers are not.
        measurement: The measurement of the case.
        pool: The arm's own workers.
        warmup: Untimed rounds of each fresh process.
        subject: The code under test.
        code: Folders to search first for its module.
    """
    own = suite.with_changes(
        pool=pool, subject=subject, code=code, guards="off", planned=PlannedReferences()
    )
    return CaseArm(
        suite=own,
        kind=measurement.kind,
        variant=measurement.variant,
        batch=measurement.images_per_round if measurement.kind == "throughput" else 1,
        stage=measurement.stage,
        warmup=warmup,
    )
