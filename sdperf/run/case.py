"""The life of one case: prepare, warm up, rounds, and the measurement that comes of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sdperf.errors import ConfigurationError
from sdperf.measurement import CaseKind, ImageRecord, Measurement, MemoryUsage
from sdperf.png import compute_png_sha256, decode_png
from sdperf.quality import compute_entropy_bits, describe_image
from sdperf.run.messages import DeliveredImage
from sdperf.run.pool import PoolRound, Worker
from sdperf.run.suite import Suite
from sdperf.workload import ImageRequest, Variant


@dataclass(frozen=True)
class CaseResult:
    """What a case leaves behind: the record, and the images it names, by content hash."""

    measurement: Measurement
    pngs: dict[str, bytes]


@dataclass
class Case:
    """One cell of the matrix under measurement.

    A latency round is one image per worker, the same image, all at once: with several workers it
    shows what company costs an image. A throughput round is a batch divided among the workers.

    Attributes:
        suite: What the session shares.
        kind: ``latency`` or ``throughput``.
        variant: How to run.
        batch: Images of a throughput round.
    """

    suite: Suite
    kind: CaseKind
    variant: Variant
    batch: int = 1
    _workers: list[Worker] = field(default_factory=list)
    _rounds: list[PoolRound] = field(default_factory=list)
    _warmups: list[PoolRound] = field(default_factory=list)
    _hashes: dict[ImageRequest, set[str]] = field(default_factory=dict)

    def prepare(self) -> None:
        """Load what is missing and make each fresh worker's first call, untimed.

        Raises:
            ModelError: The pipeline cannot be loaded.
            WorkerError: A worker died or hung.
            GenerationError: The first generation failed.
        """
        if self.variant != Variant():
            for image in dict.fromkeys(image for share in self._shares() for image in share):
                self.suite.fetch_plain(image)
        self._workers = self.suite.acquire(self.variant.precision, self.variant.workers)
        if any(worker.first_call_s is None for worker in self._workers):
            first = (self.suite.workload.image(0),)
            request = self.suite.request(first, "sync", self._threads)
            results = self.suite.pool.run_round([request] * len(self._workers)).results
            for worker, result in zip(self._workers, results, strict=True):
                if worker.first_call_s is None:
                    worker.first_call_s = result.duration_s

    def warm_up(self) -> float:
        """Run one untimed round of the same shape; return its seconds all the same."""
        self._warmups.append(self._run())
        return self._warmups[-1].duration_s

    def measure_round(self) -> float:
        """Run one timed round and return its seconds, the worker's own figure."""
        self._rounds.append(self._run())
        return self._rounds[-1].duration_s

    def collect(self) -> CaseResult:
        """Score the last round's images and make the record; nothing of this is timed."""
        last = self._delivered(self._rounds[-1])
        is_plain = self.variant == Variant()
        stages = self.suite.profile(self.variant)
        pngs: dict[str, bytes] = {}
        records = []
        if is_plain:
            for request, delivered in last:
                self.suite.keep_plain(request, delivered.png)
        for request, delivered in last:
            record = self._record_image(request, delivered)
            pngs[record.sha256] = delivered.png
            records.append(record)
        results = [result for each in self._rounds for result in each.results]
        measurement = Measurement(
            kind=self.kind,
            workload=self.suite.workload,
            variant=self.variant,
            environment=self.suite.environment(),
            model_hash=self.suite.model.model_hash,
            images_per_round=sum(len(result.images) for result in self._rounds[-1].results),
            rounds_s=tuple(each.duration_s for each in self._rounds),
            images=tuple(records),
            image_latencies_s=tuple(_mean_latency(each) for each in self._rounds),
            load_s=max(worker.report.load_s for worker in self._workers),
            first_call_s=max(worker.first_call_s or 0.0 for worker in self._workers) or None,
            warmup_s=tuple(each.duration_s for each in self._warmups),
            repeatable=self._is_repeatable(),
            stages=stages,
            memory=MemoryUsage(
                peak_rss_bytes=_sum_of_peaks(
                    [result.peak_rss_bytes for result in each.results] for each in self._rounds
                ),
                peak_device_bytes=_sum_of_peaks(
                    [result.peak_device_bytes for result in each.results] for each in self._rounds
                ),
                peak_device_sampled=any(result.peak_device_sampled for result in results),
            ),
            worker_threads=self._threads,
        )
        return CaseResult(measurement, pngs)

    @property
    def _threads(self) -> int:
        return self.suite.threads_per_worker(self.variant.workers)

    def _shares(self) -> list[tuple[ImageRequest, ...]]:
        """Divide a round's images among the workers; every worker gets at least one."""
        workers = self.variant.workers
        workload = self.suite.workload
        if self.kind == "latency":
            return [(workload.image(0),)] * workers
        images = tuple(workload.image(index) for index in range(self.batch))
        if len(images) < workers:
            raise ConfigurationError(
                "a batch is smaller than the number of workers",
                got=f"--sd-images {len(images)} for {workers} workers",
                expected=f"--sd-images {workers} or more",
            )
        return [images[worker::workers] for worker in range(workers)]

    def _run(self) -> PoolRound:
        requests = [
            self.suite.request(share, self.variant.mode, self._threads) for share in self._shares()
        ]
        done = self.suite.pool.run_round(requests)
        for request, delivered in self._delivered(done):
            self._hashes.setdefault(request, set()).add(compute_png_sha256(delivered.png))
        return done

    def _delivered(self, done: PoolRound) -> list[tuple[ImageRequest, DeliveredImage]]:
        """Pair what was asked for with what came, in batch order, each request once."""
        pairs = {
            request: delivered
            for share, result in zip(self._shares(), done.results, strict=True)
            for request, delivered in zip(share, result.images, strict=True)
        }
        return sorted(pairs.items(), key=lambda pair: pair[0].seed)

    def _is_repeatable(self) -> bool | None:
        """Tell whether equal requests gave equal bytes; ``None`` when none was made twice."""
        made = len(self._rounds) + len(self._warmups)
        if self.kind == "latency":
            made *= self.variant.workers
        return None if made < 2 else all(len(hashes) == 1 for hashes in self._hashes.values())

    def _record_image(self, request: ImageRequest, delivered: DeliveredImage) -> ImageRecord:
        pixels = decode_png(delivered.png)
        faults = list(describe_image(pixels).faults)
        if delivered.nonfinite:
            faults.insert(0, "NaN or infinity among the pixel values")
        plain = self.suite.fetch_plain(request)
        return ImageRecord(
            prompt=request.prompt,
            seed=request.seed,
            sha256=compute_png_sha256(delivered.png),
            width=pixels.shape[1],
            height=pixels.shape[0],
            entropy_bits=compute_entropy_bits(pixels),
            faults=tuple(faults),
            scores=self.suite.score_image(request, pixels, plain),
        )


def _mean_latency(done: PoolRound) -> float:
    latencies_s = [image.latency_s for result in done.results for image in result.images]
    return statistics.fmean(latencies_s)


def _sum_of_peaks(rounds: Iterable[Sequence[int | None]]) -> int | None:
    """Sum over workers of each one's peak over the rounds; ``None`` when one is unknown."""
    total = 0
    for peaks in zip(*rounds, strict=True):
        known = [peak for peak in peaks if peak is not None]
        if not known:
            return None
        total += max(known)
    return total
