"""The life of one case: it is prepared, warmed up, run in rounds, and becomes a measurement."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sdperf.errors import ConfigurationError
from sdperf.images.png import compute_png_sha256
from sdperf.measure.ledger import Ledger
from sdperf.pipeline.optimisations.catalogue import count_images_per_call
from sdperf.record.execution import draws_own_model, find_program
from sdperf.record.guard import Guard
from sdperf.record.imprint import PictureImprint
from sdperf.record.measurement import CaseKind, FreshRounds, Measurement, Start
from sdperf.record.stages import SeparateStage
from sdperf.record.usage import ResourceUsage
from sdperf.record.workload import ImageRequest, Variant
from sdperf.run.fitness import GuardedRounds, check_fit, make_log
from sdperf.run.fresh import draw_fresh
from sdperf.run.memory import sum_memory
from sdperf.run.messages import DeliveredImage, WorkerSpec
from sdperf.run.pictures.comparing import record_images
from sdperf.run.pictures.references import fetch_plain
from sdperf.run.pool import PoolRound, Worker
from sdperf.run.program.asked import find_model_hash, find_no_overlap
from sdperf.run.suite import Suite
from sdperf.settings import IMAGES
from sdperf.stats.summaries import keep_complete, sum_known

FEWEST_OVERLAPPING: Final = 2
"""Images per worker of a watched async round: one is delivered while the next is made."""

SHORTEST_WATCH_S: Final = 1.0
LONGEST_WHOLE_S: Final = 5.0
"""Seconds: a timed round that was shorter is watched with all of its images, since the first two
images do not show how busy a stream keeps the device."""

MOST_WATCHED_ROUNDS: Final = 5
"""Watched rounds go on until a second has passed, or until there were this many. Most boards
publish power and energy a few times per second, and a shorter window could miss all of these
values."""


@dataclass(frozen=True)
class CaseResult:
    """The result of a case: its record, and the images that it names, by content hash."""

    measurement: Measurement
    pngs: dict[str, bytes]


@dataclass
class Case:
    """One cell of the matrix while it is measured.

    In a latency round all workers draw the same image at the same time: with several workers it
    shows what the other workers cost an image. A throughput round is a batch divided among the
    workers. A stage round is one stage of one image, on fixed inputs.

    Attributes:
        suite: The suite, which all cases of the session share.
        kind: ``latency``, ``throughput`` or ``stage``.
        variant: The variant to run.
        batch: Images of a throughput round.
        stage: The stage of a ``stage`` case.
        redo_budget: How many rounds may be measured again because the machine was not steady.
        watched: Whether to watch resources, profile and count in separate rounds.
        imprinted: Whether to draw the plain loop's images once more for their imprints.
    """

    suite: Suite
    kind: CaseKind
    variant: Variant
    batch: int = 1
    stage: SeparateStage | None = None
    redo_budget: int = 5
    watched: bool = True
    imprinted: bool = True
    _workers: list[Worker] = field(default_factory=list)
    _rounds: list[PoolRound] = field(default_factory=list)
    _warmups: list[PoolRound] = field(default_factory=list)
    _hashes: dict[ImageRequest, set[str]] = field(default_factory=dict)
    _before: tuple[Guard, ...] = ()
    _guarded: GuardedRounds | None = None
    _processes: int = 1
    _was_repeatable: bool = True
    _leftovers: dict[str, None] = field(default_factory=dict)

    def prepare(self) -> None:
        """Load missing workers and make the first call of each fresh worker, untimed.

        Raises:
            ModelError: The pipeline cannot be loaded.
            WorkerError: A worker died or hung.
            GenerationError: The first generation failed.
            UnfitError: A guard fails, and the policy of the guards is strict.
        """
        self.suite.pool.cases += 1
        if self.suite.guards != "off":
            with self._ledger.spend("waiting"):
                self.suite.machine.look_at_rest()
        if self.suite.compares_with_fp32 and not self.suite.is_reference(self.variant):
            self.suite.make_references(self.variant)
            for image in dict.fromkeys(image for share in self._shares() for image in share):
                fetch_plain(self.suite, image)
        self._load()
        if self.suite.guards != "off":
            kind = self.suite.describe_device().kind
            with self._ledger.spend("waiting"):
                self._before = self.suite.machine.judge_before(kind)
            check_fit(self._before, self.suite.guards, self.suite.allowed_unknown)
            self._guarded = GuardedRounds(lambda: self.suite.machine.read(kind), self.redo_budget)

    def _load(self) -> None:
        self._workers = self.suite.acquire(
            self.variant.precision,
            self.variant.workers,
            self.variant.optimisations,
            self.variant.engine,
        )
        self._call_second_alone()
        if any(worker.first_call_s is None for worker in self._workers):
            request = self.suite.request((self.suite.workload.image(0),), "sync", self._threads)
            with self._ledger.spend("first calls"):
                results = self.suite.pool.run_round([request] * len(self._workers)).results
            for worker, result in zip(self._workers, results, strict=True):
                if worker.first_call_s is None:
                    worker.first_call_s = result.duration_s

    def _call_second_alone(self) -> None:
        """Let the second worker draw its first image alone: the suite compares two processes."""
        pool, variant = self.suite.pool, self.variant
        made = [worker.first_call_s is not None for worker in self._workers[:2]]
        if made != [True, False] or variant.optimisations or pool.is_elsewhere:
            return
        image = self.suite.workload.image(0)
        request = self.suite.request((image,), "sync", self.suite.threads_per_worker(1))
        with self._ledger.spend("first calls"):
            (result,) = pool.run_round([request], first=1).results
        self._workers[1].first_call_s = result.duration_s
        self.suite.images.keep_first(variant.precision, variant.engine, image, result.images[0])

    @property
    def reason_to_skip(self) -> str | None:
        """Say why a prepared case cannot be measured on this pipeline; ``None`` where it can."""
        report = self._workers[0].report
        reason = find_no_overlap(report.program, self.variant.mode)
        if reason is not None or self.stage is None or report.is_separable:
            return reason
        return f"{report.pipeline} is called whole: its stages cannot be measured alone"

    def renew(self, warmup: int) -> None:
        """Continue in fresh processes: load, first call and warm-up, untimed.

        Images have to be equal within a process only, since each process may choose its own
        kernels.
        """
        self._was_repeatable = self._was_repeatable and self._is_repeatable() is not False
        self._hashes.clear()
        self.suite.pool.start_afresh()
        self._load()
        self._processes += 1
        for _ in range(warmup):
            self.warm_up()

    def warm_up(self) -> float:
        """Run one untimed image per worker, of the timed shape; return its seconds."""
        with self._ledger.spend("warm-up rounds"):
            self._warmups.append(self._run([share[:1] for share in self._shares()]))
        return self._warmups[-1].duration_s

    def measure_round(self) -> float:
        """Run one timed round and return its seconds, the worker's own figure.

        A round in which the machine was not steady is measured again.

        Raises:
            UnfitError: The machine was unsteady more often than the budget allows.
        """
        if self._rounds:
            self._rounds[-1] = self._rounds[-1].without_pictures()
        guarded = self._guarded
        if guarded is None:
            self._rounds.append(self._run_counted())
        else:
            excluded = len(guarded.excluded)
            with self._ledger.spend("waiting"):
                self._rounds.append(guarded.measure(self._run_counted))
            redone_s = sum(one.duration_s for one in guarded.excluded[excluded:])
            self._ledger.move(redone_s, "measured rounds", "waiting")
        return self._rounds[-1].duration_s

    def _run_counted(self) -> PoolRound:
        with self._ledger.spend("measured rounds"):
            return self._run()

    def measure_again(self, rounds: int) -> list[PoolRound] | None:
        """Run rounds like the timed ones once more, after other cases.

        Returns:
            The rounds; ``None`` where other processes ran the first rounds.
        """
        pids = [worker.report.pid for worker in self._workers]
        running = self.suite.pool.find_loaded(self._spec, len(pids))
        if [worker.report.pid for worker in running] != pids:
            return None
        with self._ledger.spend("waiting"):
            return [self._run() for _ in range(rounds)]

    @property
    def leftovers(self) -> tuple[str, ...]:
        """The changes that requests left in the workers, in words."""
        return tuple(self._leftovers)

    def collect(self) -> CaseResult:
        """Score the images of the last round and make the record, untimed."""
        last = self._rounds[-1].pair_with(self._shares())
        self._keep_bare(last)
        fresh = self._draw_fresh() if self.watched else None
        after: tuple[Guard, ...] = ()
        if self._guarded is not None:
            with self._ledger.spend("waiting"):
                after = self.suite.machine.judge_after(self.suite.describe_device().kind)
        with self._ledger.spend("profiled rounds"):
            resources = self._watch() if self.watched else None
            # One image alone would not show the stages of several images together.
            divided = self.watched and count_images_per_call(self.variant.optimisations) == 1
            stages = self.suite.profiles.profile(self.suite, self.variant) if divided else None
            limits = self.suite.profiles.limits(self.suite, self.variant) if divided else None
            imprints = self._take_imprints(last)
        records = record_images(self.suite, last, is_external=self.variant.is_external)
        pngs = {one.sha256: drawn.png for one, (_, drawn) in zip(records, last, strict=True)}
        results = [result for each in self._rounds for result in each.results]
        report = self._workers[0].report
        program = find_program(report.engine)
        measurement = Measurement(
            kind=self.kind,
            workload=self.suite.workload_for(program),
            variant=self.variant,
            environment=self.suite.environment(),
            model_hash=find_model_hash(self.suite.model.model_hash, report.engine),
            subject=self.suite.subject,
            is_the_models=report.is_the_models,
            loras=tuple(each.use for each in self.suite.model.loras),
            sampling_source=None if draws_own_model(program) else self.suite.sampling_source,
            images_per_round=sum(len(result.images) for result in self._rounds[-1].results),
            rounds_s=tuple(each.duration_s for each in self._rounds),
            images=tuple(records),
            image_latencies_s=tuple(each.mean_latency_s for each in self._rounds),
            load_s=self.load_s,
            first_call_s=self.first_call_s,
            warmup_s=tuple(each.duration_s for each in self._warmups),
            repeatable=self._is_repeatable(),
            stages=stages,
            memory=sum_memory(
                [[result.memory for result in each.results] for each in self._rounds],
                self._workers[0].report.weight_bytes,
            ),
            worker_threads=self._threads,
            processes=self._processes,
            stage=self.stage,
            limits=limits,
            resources=resources,
            engine=self._workers[0].report.engine,
            rounds_cpu_s=keep_complete(each.cpu_s for each in self._rounds),
            rounds_own_s=keep_complete(each.own_s for each in self._rounds),
            # In pytest's own process pytest's results grow beside the pipeline.
            rounds_resident_bytes=()
            if self.suite.pool.is_in_process
            else keep_complete(
                sum_known(result.resident_bytes for result in each.results) for each in self._rounds
            ),
            rounds_device_bytes=keep_complete(
                sum_known(result.memory.live_device_bytes for result in each.results)
                for each in self._rounds
            ),
            execution=self._rounds[-1].results[0].execution,
            fresh=fresh,
            imprints=imprints,
            start=self.describe_start(),
            without_effect=tuple(
                dict.fromkeys(text for result in results for text in result.without_effect)
            ),
            guards=make_log(
                self.suite.guards, self._before, self._guarded, after, self.suite.allowed_unknown
            ),
        )
        self.suite.note_memory(self.variant, measurement.memory)
        return CaseResult(measurement, pngs)

    def describe_start(self) -> Start:
        """Describe the processes and caches of the present workers' loading and first call."""
        reports = [worker.report for worker in self._workers]
        pages = {report.page_cache for report in reports}
        engine, compiled = reports[0].engine, reports[0].compile_cache
        if engine is not None:
            compiled = "warm" if engine.was_cached else "cold"
        elif self.suite.subject is None and not self.variant.optimisations:
            compiled = None
        return Start(
            is_fresh=all(worker.is_fresh for worker in self._workers),
            page_cache=pages.pop() if len(pages) == 1 else None,
            compile_cache=compiled,
        )

    @property
    def load_s(self) -> float:
        """Seconds of loading of the slowest present worker."""
        return max(worker.report.load_s for worker in self._workers)

    @property
    def first_call_s(self) -> float | None:
        """Seconds of the slowest first call of the present workers; ``None`` before it."""
        return max(worker.first_call_s or 0.0 for worker in self._workers) or None

    def _draw_fresh(self) -> FreshRounds | None:
        """Run a round of requests that were never made before, once for each pipeline and mode.

        A stage that is measured alone would need a separate image for that; what its pipeline keeps
        is seen in the counted round.
        """
        if self.stage is not None or not self.suite.claims_fresh(self.variant):
            return None
        with self._ledger.spend("profiled rounds"):
            return self.draw_fresh(statistics.median(one.duration_s for one in self._rounds))

    def draw_fresh(self, known_s: float) -> FreshRounds:
        """Run rounds of the case's size with requests that were never made before.

        Args:
            known_s: Median seconds of the timed rounds.
        """
        known = frozenset(sha256 for hashes in self._hashes.values() for sha256 in hashes)
        return draw_fresh(self._shares(), self._run_unkept, known_s, known)

    @property
    def _is_bare(self) -> bool:
        """Whether this is the plain loop of one worker, with whose images others are compared."""
        variant = self.variant
        bare = Variant(variant.precision, engine=variant.engine)
        return self.stage is None and variant == bare

    def _take_imprints(
        self, made: Sequence[tuple[ImageRequest, DeliveredImage]]
    ) -> tuple[PictureImprint, ...]:
        variant = self.variant
        plain = Variant(variant.precision, engine=variant.engine, threads=variant.threads)
        if not self.imprinted or self.stage is not None or variant != plain:
            return ()
        return self.suite.take_imprints(self.variant, [request for request, _ in made])

    def _keep_bare(self, made: Iterable[tuple[ImageRequest, DeliveredImage]]) -> None:
        """Keep the images of the plain loop for later cases that need them."""
        if self._is_bare:
            for request, delivered in made:
                self.suite.images.keep_made(
                    self.variant.precision, self.variant.engine, request, delivered
                )

    @property
    def drawn(self) -> dict[ImageRequest, frozenset[str]]:
        """Content hashes of all images of each request that these workers drew so far."""
        return {request: frozenset(hashes) for request, hashes in self._hashes.items()}

    @property
    def _spec(self) -> WorkerSpec:
        variant = self.variant
        return self.suite.make_spec(variant.precision, variant.optimisations, variant.engine)

    @property
    def _ledger(self) -> Ledger:
        return self.suite.pool.ledger

    @property
    def _threads(self) -> int:
        return self.suite.threads_for(self.variant)

    def _shares(self, start: int = 0) -> list[tuple[ImageRequest, ...]]:
        """Divide a round's images among the workers; every worker gets at least one.

        Args:
            start: Index of the batch's first image in the workload.
        """
        workers = self.variant.workers
        workload = self.suite.workload
        if self.kind != "throughput":
            return [(workload.image(0),)] * workers
        images = tuple(workload.image(start + index) for index in range(self.batch))
        if len(images) < workers:
            raise ConfigurationError(
                "a batch is smaller than the number of workers",
                got=f"{IMAGES} {len(images)} for {workers} workers",
                expected=f"{IMAGES} {workers} or more",
            )
        return [images[worker::workers] for worker in range(workers)]

    def _run(self, shares: list[tuple[ImageRequest, ...]] | None = None) -> PoolRound:
        shares = self._shares() if shares is None else shares
        done = self._run_unkept(shares)
        for request, delivered in done.pair_with(shares):
            self._hashes.setdefault(request, set()).add(compute_png_sha256(delivered.png))
        return done

    def _run_unkept(self, shares: list[tuple[ImageRequest, ...]]) -> PoolRound:
        """Run a round and discard it."""
        requests = [
            self.suite.request(share, self.variant.mode, self._threads, self.stage)
            for share in shares
        ]
        done = self.suite.pool.run_round(requests)
        for result in done.results:
            self._leftovers.update(dict.fromkeys(result.leftovers))
        return done

    def _watch(self) -> ResourceUsage:
        """Watch the whole process tree during separate rounds, which are not timed.

        All workers take part. Of a long batch, each worker draws only enough images to overlap; the
        plain loop draws further images, since the quality suite needs more than a batch has.
        """
        shares = self._shares(self.batch if self._is_bare else 0)
        if self._rounds[-1].duration_s > LONGEST_WHOLE_S:
            overlaps = FEWEST_OVERLAPPING if self.variant.mode == "async" else 1
            least = max(overlaps, count_images_per_call(self.variant.optimisations))
            shares = [share[:least] for share in shares]
        images, passed_s, rounds = 0, 0.0, 0
        apart = self.suite.pool.stock.pids
        if self.variant.is_external:  # this process only passes requests on to the program
            apart |= {worker.report.pid for worker in self._workers}
        with self.suite.machine.watch(apart) as sampler:
            while rounds < MOST_WATCHED_ROUNDS and (rounds == 0 or passed_s < SHORTEST_WATCH_S):
                done = self._run(shares)
                self._keep_bare(done.pair_with(shares))
                images += sum(len(result.images) for result in done.results)
                passed_s += done.duration_s
                rounds += 1
        return sampler.stop(images)

    def _is_repeatable(self) -> bool | None:
        """Tell whether equal requests gave equal bytes; ``None`` when no request was repeated."""
        made = len(self._rounds) + len(self._warmups)
        if self.kind != "throughput":
            made *= self.variant.workers
        if made < 2:
            return None
        return self._was_repeatable and all(len(hashes) == 1 for hashes in self._hashes.values())
