"""Runs the engine of ``sdperf ab`` from end to end, its workers in this process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evidence.damage_table.subjects import name_function
from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.ab.turns.arms import LifePool, LiveArm
from sdperf.ab.turns.bench import LiveBench
from sdperf.ab.turns.comparing import compare
from sdperf.ab.turns.view import Progress, SilentView
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.device import DeviceInfo
from sdperf.measure.clock import monotonic_clock
from sdperf.record.verdict import Finding
from sdperf.record.workload import Workload
from sdperf.run.hosts.local import InProcessHost
from sdperf.run.suite import Suite

_LONG_S: Final = 1e6
_OPTIONS: Final = CompareOptions(
    rounds=1,
    warmup=0,
    guards="off",
    null_control=False,
    stages=False,
    b_first=False,
    budget_s=_LONG_S,
)


@dataclass
class OneBlock(SilentView):
    """Lets the time that was given be over after one block.

    That is enough here: A's rounds tell that it is exact, and both sides draw what was never asked
    for. Speed stays open.
    """

    passed_s: float = 0.0

    def show(self, progress: Progress) -> None:
        """Note that a block is done."""
        del progress
        self.passed_s = 2 * _LONG_S

    def read_clock(self) -> float:
        """Return seconds."""
        return monotonic_clock() + self.passed_s


@dataclass
class InProcessBench(LiveBench):
    """A bench whose sides are loaded in turn into this process: no interpreter has to start."""

    def make_arm(self, side: Side, case: MatrixCase, *, warmup: int, timeout_s: float) -> LiveArm:
        """Make an arm whose worker is this process."""
        pool = LifePool(host_factory=InProcessHost, timeout_s=timeout_s)
        self._stack.callback(pool.close)
        suite = Suite(
            workload=side.workload,
            model=self.resolve_model(side),
            pool=pool,
            device=side.device,
            subject=side.subject,
            cpu_threads=1,
            guards="off",
            machine=self.machine,
        )
        return LiveArm.of_side(suite, pool, side, case, warmup)

    def fit(self, _workers: object, _device: DeviceInfo) -> bool:
        """Say no: one process holds one pipeline."""
        return False


def run_ab(workload: Workload, name: str) -> list[Finding]:
    """Compare the unchanged pipeline with a damaged one; return what was said of the damaged one.

    Args:
        workload: What both draw.
        name: The damage.
    """
    sides = [
        Side(label, workload, f"evidence.damage_table.subjects:{name_function(each)}", "cpu")
        for label, each in (("unchanged", "unchanged"), ("damaged", name))
    ]
    view = OneBlock()
    with InProcessBench(clock=view.read_clock) as bench:
        compared = compare(*sides, (MatrixCase(),), _OPTIONS, bench=bench, view=view)
    (case,) = judge_comparison(compared.record).cases
    return list(case.findings)
