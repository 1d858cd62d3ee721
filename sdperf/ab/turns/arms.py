"""One side at work on one case: it has its own workers, and is measured one round at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from sdperf.ab.sides.sides import MatrixCase, Side
from sdperf.ab.turns.case_arm import CaseArm
from sdperf.ab.verdict.comparison import LifeStart
from sdperf.device import DeviceInfo
from sdperf.errors import GenerationError
from sdperf.record.measurement import FreshRounds, MemoryUsage
from sdperf.record.stages import StageTimes
from sdperf.record.usage import ResourceUsage
from sdperf.record.workload import ImageRequest, ProgramFacts
from sdperf.run.case import SHORTEST_WATCH_S, Case
from sdperf.run.hosts import remote
from sdperf.run.messages import DeliveredImage, RoundRequest
from sdperf.run.pool import PoolRound, WorkerPool
from sdperf.run.suite import Suite


@dataclass
class LifePool(WorkerPool):
    """A pool that keeps the memory peaks of every set of workers it started.

    Attributes:
        ended: Peaks of the sets that ended, each summed over its workers.
        last_own_s: Seconds of the last round by a program's own figure; ``None`` unknown.
    """

    ended: list[MemoryUsage] = field(default_factory=list)
    last_own_s: float | None = None
    _peaks: dict[int, MemoryUsage] = field(default_factory=dict)

    @property
    def lives(self) -> tuple[MemoryUsage, ...]:
        """Peaks of each life, the present one last."""
        return (*self.ended, *([sum_peaks(list(self._peaks.values()))] if self._peaks else []))

    def run_round(self, requests: Sequence[RoundRequest], first: int = 0) -> PoolRound:
        """Run a round and keep the peaks of its workers."""
        done = super().run_round(requests, first)
        for worker, result in enumerate(done.results, start=first):
            before = self._peaks.get(worker, result.memory)
            self._peaks[worker] = merge_peaks(before, result.memory)
        self.last_own_s = done.own_s
        return done

    def list_modules(self, folders: tuple[str, ...]) -> dict[str, str]:
        """Ask the first worker which of its modules came from the folders."""
        return self._ask_first("listing modules", remote.list_modules_in, folders)

    def locate_module(self, name: str) -> str | None:
        """Ask the first worker where a module came from."""
        return self._ask_first("locating a module", remote.locate_module, name)

    def close(self) -> None:
        """End all workers, and with them the present set."""
        self.ended, self._peaks = [*self.lives], {}
        super().close()


_COUNTS = ("peak_rss_bytes", "peak_device_bytes", "live_device_bytes", "driver_device_bytes")


def merge_peaks(one: MemoryUsage, other: MemoryUsage) -> MemoryUsage:
    """Return the larger of each peak of one worker; a peak that one lacks stays unknown. Pure."""
    return _combine([one, other], max)


def sum_peaks(workers: Sequence[MemoryUsage]) -> MemoryUsage:
    """Sum each peak over workers; a peak is unknown where one worker's is. Pure."""
    return _combine(workers, sum)


def _combine(peaks: Sequence[MemoryUsage], fold: Callable[[list[int]], int]) -> MemoryUsage:
    values: dict[str, Any] = {}
    for name in _COUNTS:
        known = [value for peak in peaks if (value := getattr(peak, name)) is not None]
        values[name] = fold(known) if known and len(known) == len(peaks) else None
    return MemoryUsage(**values, peak_device_sampled=any(one.peak_device_sampled for one in peaks))


@dataclass(kw_only=True)
class LiveArm(CaseArm):
    """A side at work on a case, in interpreters started for it.

    Attributes:
        pool: The suite's pool.
        side: The side.
        starts: Start of each set of its workers, the present one last.
        own_s: Seconds of the timed rounds by a program's own figure, as far as it tells.
    """

    pool: LifePool
    side: Side
    starts: list[LifeStart] = field(default_factory=list)
    own_s: list[float] = field(default_factory=list)
    _drawn: dict[ImageRequest, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of_side(
        cls, suite: Suite, pool: LifePool, side: Side, case: MatrixCase, warmup: int
    ) -> Self:
        """Make the arm of a side; nothing is loaded yet.

        Args:
            suite: The side's workload and model.
            pool: The suite's pool.
            side: The side.
            case: The case.
            warmup: Number of untimed rounds of each fresh process after its first call.
        """
        return cls(
            suite=suite,
            kind=case.kind,
            variant=side.variant_for(case),
            batch=case.batch,
            stage=case.stage,
            warmup=warmup,
            pool=pool,
            side=side,
        )

    @property
    def lives(self) -> tuple[MemoryUsage, ...]:
        """Peaks of each life, the present one last."""
        return self.pool.lives

    @property
    def drawn(self) -> Mapping[ImageRequest, frozenset[str]]:
        """Content hashes of all images of each request that timed rounds drew."""
        return self._drawn

    def describe_device(self) -> DeviceInfo:
        """Return the device's facts."""
        return self.suite.describe_device()

    def describe_program(self) -> ProgramFacts | None:
        """Return an external program's facts about itself; ``None`` where diffusers draws."""
        self._loaded()
        variant = self.variant
        spec = self.suite.make_spec(variant.precision, variant.optimisations, variant.engine)
        return self.pool.find_loaded(spec, 1)[0].report.program

    def measure_s(self) -> float:
        """Run one timed round and return its seconds."""
        seconds = super().measure_s()
        told_s = self.pool.last_own_s
        if told_s is not None:
            self.own_s.append(told_s)
        for request, hashes in self._loaded().drawn.items():
            self._drawn[request] = self._drawn.get(request, frozenset()) | hashes
        return seconds

    def draw(self) -> list[tuple[ImageRequest, DeliveredImage]]:
        """Draw every prompt's image once, untimed, on the first worker."""
        self._loaded()
        workload = self.suite.workload
        images = tuple(workload.image(index) for index in range(len(workload.prompts)))
        done = self.pool.run_round([self._request(images)])
        return list(zip(images, done.results[0].images, strict=True))

    def draw_fresh(self, known_s: float) -> FreshRounds | None:
        """Run rounds of fresh requests; ``None`` for a stage that is timed alone."""
        return None if self.stage is not None else self._loaded().draw_fresh(known_s)

    def profile(self) -> StageTimes | None:
        """Profile the first image on the first worker."""
        self._loaded()
        try:
            return self.pool.profile(self._request((self.suite.workload.image(0),)))
        except GenerationError:
            return None

    def watch(self) -> ResourceUsage:
        """Watch rounds for at least a second, over the whole process tree."""
        running = self._loaded()
        images = self.batch if self.kind == "throughput" else self.variant.workers
        passed_s, rounds = 0.0, 0
        with self.suite.machine.watch() as sampler:
            while passed_s < SHORTEST_WATCH_S:
                passed_s += running.measure_round()
                rounds += 1
        return sampler.stop(images * rounds)

    def list_modules(self) -> dict[str, str]:
        """Ask the first worker which of its modules came from the side's folders."""
        self._loaded()
        return self.pool.list_modules(self.side.code)

    def locate_subject(self) -> str | None:
        """Ask the first worker where the subject's module came from."""
        self._loaded()
        subject = self.side.subject
        return None if subject is None else self.pool.locate_module(subject.partition(":")[0])

    def _begin(self) -> Case:
        """Start fresh workers, without references, since one side alone has none."""
        case = self._make_case()
        case.renew(self.warmup)
        reason = case.reason_to_skip
        if reason is not None:
            raise GenerationError(reason, hint="compare another case")
        self.starts.append(LifeStart(case.load_s, case.first_call_s))
        return case

    def _request(self, images: tuple[ImageRequest, ...]) -> RoundRequest:
        threads = self.suite.threads_for(self.variant)
        return self.suite.request(images, self.variant.mode, threads)
