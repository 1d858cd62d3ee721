"""The workers of a session, seen from the test process: started, reused, killed, replaced.

Each worker is a `concurrent.futures.ProcessPoolExecutor` of one spawned process, so that a crash
ends one worker and not the session. A factory that is passed in makes the executors; the in-process
executor serves debuggers and tests.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    Future,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sdperf.device import DeviceInfo
from sdperf.errors import SdperfError, WorkerError
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.measure.environment import collect_environment
from sdperf.measure.ledger import Ledger
from sdperf.record.environment import Environment
from sdperf.record.stages import StageCost, StageTimes
from sdperf.record.workload import TORCH, ImageRequest, is_external, name_engine
from sdperf.run import worker
from sdperf.run.hosts import local
from sdperf.run.hosts.local import InProcessHost, SpawnedHost, WorkerHost
from sdperf.run.messages import (
    DeliveredImage,
    DeviceSpeed,
    RoundRequest,
    RoundResult,
    WorkerReport,
    WorkerSpec,
)
from sdperf.run.quality.questions import Question
from sdperf.run.stock import Stock
from sdperf.run.worker.renewal import can_load_in_place, load_in_place
from sdperf.settings import TIMEOUT
from sdperf.waiting import multiply_limit

T = TypeVar("T")

START_LEAD_S = 0.005
"""Seconds until the shared start of several workers; longer than a message takes."""


UNLOAD_LIMIT_S = 30.0
"""Seconds that external programs have to end before they are killed."""


@dataclass
class Worker:
    """A loaded worker: its host, its report, and the seconds of its first call.

    Attributes:
        host: The place where it lives.
        report: Its report after loading.
        first_call_s: Seconds of its first generation; ``None`` before it.
        is_fresh: Whether its process had loaded nothing before.
    """

    host: WorkerHost
    report: WorkerReport
    first_call_s: float | None = None
    is_fresh: bool = False


@dataclass(frozen=True)
class PoolRound:
    """One round of all workers together.

    Attributes:
        duration_s: From the first worker's start to the last worker's end, seconds.
        results: One result per worker, in the order of the requests.
    """

    duration_s: float
    results: tuple[RoundResult, ...]

    def without_pictures(self) -> PoolRound:
        """Return the round without its PNG bytes: only the last round's images are examined."""
        results = tuple(
            replace(one, images=tuple(replace(image, png=b"") for image in one.images))
            for one in self.results
        )
        return replace(self, results=results)

    def pair_with(
        self, shares: Sequence[tuple[ImageRequest, ...]]
    ) -> list[tuple[ImageRequest, DeliveredImage]]:
        """Pair each request with its image, in batch order, each request once.

        Args:
            shares: The requests of each worker.
        """
        pairs = {
            request: delivered
            for share, result in zip(shares, self.results, strict=True)
            for request, delivered in zip(share, result.images, strict=True)
        }
        return sorted(pairs.items(), key=lambda pair: pair[0].seed)

    @property
    def own_s(self) -> float | None:
        """Seconds of the slowest worker by the program's own figure; ``None`` is unknown."""
        known = [one.own_s for one in self.results if one.own_s is not None]
        return max(known) if known and len(known) == len(self.results) else None

    @property
    def mean_latency_s(self) -> float:
        """Mean seconds of an image, from the start of its generation to its delivery."""
        return statistics.fmean(image.latency_s for one in self.results for image in one.images)

    @property
    def cpu_s(self) -> float | None:
        """Processor seconds of all workers within their borders; ``None`` where one is unknown."""
        known = [one.cpu_s for one in self.results if one.cpu_s is not None]
        return sum(known) if len(known) == len(self.results) else None


@dataclass
class WorkerPool:
    """All workers of a session. At most one `WorkerSpec` is loaded at a time.

    Attributes:
        host_factory: Makes the host of a worker.
        timeout_s: Time limit of one generation; a load gets ten times as much.
        clock: The clock that workers share.
        ledger: Counts the time of starting and loading.
        name: Identifies the pool in the session's ledger.
        start_lead_s: Seconds until the shared start of several workers.
        is_elsewhere: Whether the workers run on other machines, whose environment has to be asked.
        shared_stock: Idle processes, where another pool of the session owns them.
        keeps_processes: Whether another spec is loaded into running processes. Their resident
            memory then includes that of earlier pipelines; see `sdperf.run.worker.renewal`.
        cases: How many cases have begun; requests bear the number, so that programs see a new one.
    """

    host_factory: Callable[[], WorkerHost] = SpawnedHost
    timeout_s: float = 600.0
    clock: Clock = monotonic_clock
    ledger: Ledger = field(default_factory=Ledger)
    name: str = ""
    start_lead_s: float = START_LEAD_S
    is_elsewhere: bool = False
    shared_stock: Stock | None = None
    keeps_processes: bool = False
    cases: int = 0
    _spec: WorkerSpec | None = None
    _workers: list[Worker] = field(default_factory=list)
    _wants_fresh: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _own_stock: Stock = field(init=False)

    def __post_init__(self) -> None:
        is_open = not (self.is_elsewhere or self.is_in_process)
        self._own_stock = Stock(self.host_factory, is_open=is_open)

    @property
    def stock(self) -> Stock:
        """The idle processes for new workers."""
        return self._own_stock if self.shared_stock is None else self.shared_stock

    def make_beside(self, name: str = "", ledger: Ledger | None = None) -> WorkerPool:
        """Return an empty pool with hosts of the same kind; both share the idle processes."""
        return WorkerPool(
            host_factory=self.host_factory,
            timeout_s=self.timeout_s,
            clock=self.clock,
            ledger=Ledger() if ledger is None else ledger,
            name=name,
            start_lead_s=self.start_lead_s,
            is_elsewhere=self.is_elsewhere,
            shared_stock=self.stock,
        )

    @property
    def loaded(self) -> WorkerSpec | None:
        """The spec that the running workers have loaded; ``None`` without a running worker."""
        return self._spec if self._workers else None

    def acquire(self, spec: WorkerSpec, count: int, role: str = "") -> Sequence[Worker]:
        """Return ``count`` loaded workers of ``spec``, reusing running workers.

        Workers of another spec are ended or emptied first, so that two models never share the
        memory.

        Args:
            spec: The specification that they load.
            count: How many workers.
            role: Distinguishes a load in the ledger from others of the same precision.

        Raises:
            ModelError: The pipeline cannot be loaded.
            WorkerError: A worker died or took too long while loading.
        """
        kept: list[WorkerHost] = []
        if spec != self._spec:
            if self.keeps_processes and can_load_in_place(spec, self._spec):
                kept = [one.host for one in self._workers[:count]]
                self._workers = self._workers[count:]
            self._end_workers()
            self._spec = spec
        missing = count - len(self._workers)
        if missing > 0:
            # An idle process has imported torch, which a program's worker does not need.
            take = self.host_factory if is_external(spec.engine) else self.stock.take
            hosts = [*kept, *(take() for _ in range(missing - len(kept)))]
            loads = [
                host.executor.submit(
                    load_in_place if host in kept else worker.load,
                    replace(spec, slot=slot, limit_s=self.timeout_s),
                )
                for slot, host in enumerate(hosts, start=len(self._workers))
            ]
            with self.ledger.spend("process starts"), self._ended_on_error(hosts, loading=True):
                limit_s = multiply_limit(self.timeout_s, 10)
                wait(loads, timeout=limit_s)
                reports = [
                    _outcome(host, load, limit_s, "loading the model")
                    for host, load in zip(hosts, loads, strict=True)
                ]
            self._note_loads(spec, reports, role)
            own = not (self.is_in_process or self.is_elsewhere)
            self._workers += [
                Worker(host, report, is_fresh=own and host not in kept)
                for host, report in zip(hosts, reports, strict=True)
            ]
        return self._workers[:count]

    def find_loaded(self, spec: WorkerSpec, count: int) -> Sequence[Worker]:
        """Return up to ``count`` loaded workers of ``spec``; no worker where another is loaded."""
        return self._workers[:count] if spec == self._spec else []

    def settle(self) -> None:
        """Wait until no process imports any more, so that the next work has the machine alone."""
        if not self.stock.is_ready():
            with self.ledger.spend("process starts"):
                self.stock.wait(self.timeout_s)

    def _note_loads(self, spec: WorkerSpec, reports: Sequence[WorkerReport], role: str) -> None:
        load_s = max(report.load_s for report in reports)
        self.ledger.move(load_s, "process starts", "model loads")
        engine = "" if spec.engine == TORCH else name_engine(spec.engine)
        what = "+".join(
            filter(None, (self.name, role, spec.precision, *spec.optimisations, engine))
        )
        for number in range(len(self._workers) + 1, len(self._workers) + len(reports) + 1):
            self.ledger.note_load(f"{what}, worker {number}", is_fresh=self._wants_fresh)
        self._wants_fresh = False

    def start_afresh(self) -> None:
        """End all workers because fresh processes are wanted; loading again is then not waste."""
        self._end_workers()
        self._wants_fresh = True

    def run_round(self, requests: Sequence[RoundRequest], first: int = 0) -> PoolRound:
        """Run one round: request ``i`` goes to worker ``first + i``, and all start together.

        Raises:
            GenerationError: A generation failed; its worker lives on.
            WorkerError: A worker died or outlived the time limit. All workers of the round are
                ended; the next `acquire` starts fresh ones.
        """
        workers = self._workers[first : first + len(requests)]
        if len(requests) > 1:
            start_at_s = self.clock() + self.start_lead_s
            requests = [replace(request, start_at_s=start_at_s) for request in requests]
        with self._ended_on_error([one.host for one in workers]):
            futures = [
                one.host.executor.submit(worker.run_round, request)
                for one, request in zip(workers, requests, strict=True)
            ]
            limit_s = multiply_limit(self.timeout_s, max(len(one.images) for one in requests))
            wait(futures, timeout=limit_s)
            results = tuple(
                _outcome(one.host, future, limit_s, "a generation")
                for one, future in zip(workers, futures, strict=True)
            )
        duration_s = max(result.end_s for result in results) - min(
            result.start_s for result in results
        )
        return PoolRound(duration_s, results)

    def profile(self, request: RoundRequest) -> StageTimes:
        """Profile one image on the first worker, synchronised at every stage's border.

        Raises:
            GenerationError: The generation failed.
            WorkerError: The worker died or outlived the time limit.
        """
        return self._ask_first("a profiled generation", worker.profile_round, request)

    def count(self, request: RoundRequest) -> tuple[StageCost, ...]:
        """Count on the first worker the operations of the stages of one image.

        Raises:
            GenerationError: The generation failed, or cannot be counted.
            WorkerError: The worker died or outlived the time limit.
        """
        return self._ask_first("a counted generation", worker.count_round, request)

    def trace(self, request: RoundRequest, path: Path) -> None:
        """Write a Chrome trace of one image on the first worker.

        Raises:
            GenerationError: The generation failed, or the trace cannot be written.
            WorkerError: The worker died or outlived the time limit.
        """
        self._ask_first("a traced generation", worker.trace_round, request, str(path))

    def measure_speed(self, request: RoundRequest) -> DeviceSpeed:
        """Measure the limits of the device on the first worker.

        Raises:
            WorkerError: The worker died or outlived the time limit.
        """
        return self._ask_first("measuring the device", worker.measure_speed, request)

    def _ask_first(self, doing: str, work: Callable[..., T], *arguments: Any) -> T:
        first = self._workers[0]
        with self._ended_on_error([first.host]):
            future = first.host.executor.submit(work, *arguments)
            wait([future], timeout=self.timeout_s)
            return _outcome(first.host, future, self.timeout_s, doing)

    @property
    def is_in_process(self) -> bool:
        """Whether the pipeline lives in this process, so that no fresh process is possible."""
        return self.host_factory is InProcessHost

    def ask(self, question: Question[T]) -> T:
        """Ask the first worker a question of the quality suite.

        Raises:
            GenerationError: The pipeline failed, or cannot answer the question.
            WorkerError: The worker died or outlived the time limit.
        """
        first = self._workers[0]
        limit_s = multiply_limit(self.timeout_s, max(1, len(question.images)))
        with self._ended_on_error([first.host]):
            future: Future[T] = first.host.executor.submit(worker.ask, question)
            wait([future], timeout=limit_s)
            return _outcome(first.host, future, limit_s, "an inspected generation")

    def describe_device(self, choice: str) -> DeviceInfo:
        """Ask an idle or a new process what a choice of the setting ``device`` means.

        Raises:
            ConfigurationError: torch sees no such device.
            WorkerError: The process died or hung.
        """
        at_hand = self.stock.peek()
        host = self.host_factory() if at_hand is None else at_hand
        try:
            with self.ledger.spend("process starts"):
                future = host.executor.submit(worker.describe_device, choice)
                wait([future], timeout=self.timeout_s)
                return _outcome(host, future, self.timeout_s, "looking at the device")
        finally:
            if at_hand is None:
                host.kill()

    def collect_environment(self, device: DeviceInfo) -> Environment:
        """Collect the facts of the machine that measures: this one, or the first worker's.

        Raises:
            WorkerError: The worker died or outlived the time limit.
        """
        collect = functools.partial(
            collect_environment,
            device_kind=device.kind,
            device_name=device.name,
            gpu_cores=device.gpu_cores,
        )
        if not (self.is_elsewhere and self._workers):
            return collect()
        return self._ask_first("looking at the machine", collect)

    def close(self) -> None:
        """End all processes. It may be called twice, after a signal, or without processes.

        Idle processes that another pool owns stay.
        """
        self._end_workers()
        self._own_stock.close()

    def _end_workers(self) -> None:
        with self._lock:
            workers, self._workers = self._workers, []
            spec, self._spec = self._spec, None
        if spec is not None and is_external(spec.engine):
            self._unload(workers)
        for one in workers:
            one.host.kill()

    def _unload(self, workers: Sequence[Worker]) -> None:
        """Ask external programs to end by themselves, since a server has to clean up."""
        told = []
        for one in workers:
            with contextlib.suppress(RuntimeError):  # its process has ended
                told.append(one.host.executor.submit(worker.unload))
        wait(told, timeout=UNLOAD_LIMIT_S)

    @contextlib.contextmanager
    def _ended_on_error(
        self, hosts: Sequence[WorkerHost], *, loading: bool = False
    ) -> Iterator[None]:
        """End the given hosts when one died, hung or did not load, or the user interrupted.

        A loaded worker that reports an error is still fit for the next request.
        """
        try:
            yield
        except BaseException as error:
            reported = isinstance(error, SdperfError) and not isinstance(error, WorkerError)
            if loading or not reported:
                self._wants_fresh = True
                self._workers = [one for one in self._workers if one.host not in hosts]
                for host in hosts:
                    host.kill()
            raise


def _outcome(host: WorkerHost, future: Future[T], limit_s: float, doing: str) -> T:
    """Return a future's result, or raise one error that says why there is no result."""
    if not future.done():
        raise WorkerError(
            f"{doing} outlived its time limit",
            got=f"no answer after {limit_s:g} s",
            hint=f"raise {TIMEOUT}, or use fewer steps, a smaller size or another precision",
        )
    try:
        return future.result()
    except BrokenProcessPool as error:
        code, words = host.exit_code(), host.last_words()
        said = f"; it said: {words}" if words else ""
        raise WorkerError(
            f"a worker died during {doing}",
            got=f"exit code {code}: {local.explain_exit(code)}{said}",
            hint=local.suggest_after(code),
        ) from error
