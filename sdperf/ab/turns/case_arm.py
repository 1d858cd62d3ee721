"""One side of a paired comparison: a case on workers of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sdperf.record.measurement import CaseKind, Measurement, SeparateStage
from sdperf.record.workload import Variant
from sdperf.run.case import Case
from sdperf.run.pictures.references import PlannedReferences
from sdperf.run.pool import WorkerPool
from sdperf.run.suite import Suite


@dataclass
class CaseArm:
    """A case that is measured one round at a time, in processes that can be renewed.

    Attributes:
        suite: A suite with a pool of its own.
        kind: As in `Case`.
        variant: As in `Case`.
        batch: As in `Case`.
        stage: As in `Case`.
        warmup: Untimed rounds after the first call of each fresh process.
        before_load: Called before workers are started, to make room for them.
    """

    suite: Suite
    kind: CaseKind
    variant: Variant
    batch: int
    stage: SeparateStage | None
    warmup: int
    before_load: Callable[[], None] = lambda: None
    _case: Case | None = None

    def renew(self) -> None:
        """End the workers; the next measurement starts fresh ones."""
        self.close()

    def measure_s(self) -> float:
        """Run one round on warm workers and return its seconds."""
        if self._case is None:
            self.before_load()
            self._case = Case(
                self.suite, self.kind, self.variant, self.batch, self.stage, watched=False
            )
            self._case.prepare()
            for _ in range(max(1, self.warmup)):
                self._case.warm_up()
        return self._case.measure_round()

    def start(self) -> Case:
        """Start fresh workers and make their first call; return what they run."""
        self.close()
        self.before_load()
        self._case = Case(
            self.suite, self.kind, self.variant, self.batch, self.stage, watched=False
        )
        self._case.prepare()
        return self._case

    def close(self) -> None:
        """End the workers."""
        self._case = None
        self.suite.pool.close()


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
        suite: The session's suite; images that it made are used again, its workers are not.
        measurement: The case.
        pool: The arm's own workers.
        warmup: Untimed rounds of each fresh process.
        subject: The code under test.
        code: Folders to search for it before all others.
    """
    own = suite.with_changes(
        pool=pool, subject=subject, code=code, guards="off", planned=PlannedReferences()
    )
    return CaseArm(
        own,
        measurement.kind,
        measurement.variant,
        measurement.images_per_round if measurement.kind == "throughput" else 1,
        measurement.stage,
        warmup,
    )
