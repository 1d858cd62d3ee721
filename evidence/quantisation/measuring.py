"""Measuring one set of optimisations beside the plain pipeline."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdperf.ab.turns.gain import ROUNDS_PER_BLOCK, GainCase
from sdperf.device import DeviceInfo, DeviceKind
from sdperf.images.png import decode_png
from sdperf.models.loader import ResolvedModel
from sdperf.record.measurement import Gain, ImageRecord, ImageScores, MemoryUsage
from sdperf.record.scores import compute_scores
from sdperf.record.workload import ImageRequest, Precision, Variant, Workload
from sdperf.run.case import Case
from sdperf.run.messages import DeliveredImage, WorkerReport
from sdperf.run.pictures.comparing import record_images
from sdperf.run.pool import WorkerPool
from sdperf.run.quality.bench import measure_components
from sdperf.run.quality.questions import RecordImage, ReplayRecording
from sdperf.run.quality.recorded import Recording
from sdperf.run.suite import Suite


@dataclass(frozen=True)
class Row:
    """What one set of optimisations did.

    Attributes:
        optimisations: As on the command line.
        load_s: Loading and quantising, seconds.
        first_call_s: The first image, compiling and recording included.
        seconds: Median seconds of an image.
        plain_s: The same of the plain pipeline, in turns.
        gain: Plain over this, with its interval.
        memory: Bytes of weights by component, and peaks in the rounds.
        components: Lowest PSNR against fp32 on equal inputs, dB, by component; ``None`` is
            identical. Empty where the calls are compiled: the weights are those of the set without.
        fp32: Scores of the worst picture against plain fp32.
        plain: Scores of the worst picture against the plain pipeline of the same precision.
        pictures: How many were compared.
        entropy_bits: Lowest of the pictures.
        faults: Hard faults of the pictures.
        refused: Why there is nothing else, where there is not.
    """

    optimisations: str
    load_s: float | None = None
    first_call_s: float | None = None
    seconds: float | None = None
    plain_s: float | None = None
    gain: Gain | None = None
    memory: MemoryUsage = field(default_factory=MemoryUsage)
    components: dict[str, float | None] = field(default_factory=dict)
    fp32: ImageScores | None = None
    plain: ImageScores | None = None
    pictures: int = 0
    entropy_bits: float | None = None
    faults: tuple[str, ...] = ()
    refused: str | None = None


@dataclass
class Bench:
    """What all sets are held against.

    Attributes:
        workload: What is generated.
        model: The resolved model.
        precision: Of the plain side and of what is not quantised.
        device: A ``--device`` choice.
        subject: ``module:function`` that builds the pipeline.
        threads: CPU threads of a worker.
        pictures: How many images are compared.
        timeout_s: Limit of one image.
        budget_s: A set's rounds, and then its pictures, end early after this long: at least one
            block, and one picture, are made.
        clock: Measures the budget.
    """

    workload: Workload
    model: ResolvedModel
    precision: Precision
    device: str
    subject: str | None
    threads: int
    pictures: int
    timeout_s: float
    budget_s: float
    clock: Callable[[], float] = time.monotonic
    _reference: dict[ImageRequest, bytes] = field(default_factory=dict)
    _recording: Recording | None = None
    _plain: Suite | None = None
    _plain_images: dict[ImageRequest, bytes] = field(default_factory=dict)

    @property
    def requests(self) -> tuple[ImageRequest, ...]:
        """The pictures."""
        return tuple(self.workload.image(index) for index in range(self.pictures))

    def make_reference(self) -> DeviceKind:
        """Make the fp32 pictures and recording, then load the plain side and make its pictures."""
        suite = self._make_suite()
        try:
            suite.acquire("fp32", 1)
            self._recording = suite.pool.ask(
                RecordImage(self.workload, self.workload.image(0), self.threads)
            )
            self._reference = self._generate(suite)
        finally:
            suite.close()
        self._plain = self._make_suite()
        plain = Case(self._plain, "latency", Variant(self.precision), watched=False)
        plain.prepare()
        self._plain_images = self._generate(self._plain)
        return self._plain.describe_device().kind

    def close(self) -> None:
        """End the plain side's worker."""
        if self._plain is not None:
            self._plain.close()

    def prepare(self, optimisations: Sequence[str]) -> GainCase:
        """Load a set's worker and make its first call."""
        assert self._plain is not None
        suite = self._make_suite()
        for request, png in self._reference.items():
            suite.images.keep_plain(request, png)
        variant = Variant(self.precision, optimisations=tuple(optimisations))
        case = Case(suite, "latency", variant, watched=False)
        plain = Case(self._plain, "latency", Variant(self.precision), watched=False)
        try:
            case.prepare()
        except BaseException:
            suite.close()
            raise
        return GainCase(case, plain)

    def measure(self, paired: GainCase, rounds: int) -> Row:
        """Measure rounds in turns, then the components and the pictures; ends the worker.

        Without rounds nothing is timed: for a machine that is busy.
        """
        suite, names = paired.case.suite, paired.case.variant.optimisations
        try:
            timed = self._time(paired, rounds) if rounds else {"memory": self._weigh(suite, names)}
            components = {}
            if not any("compile" in name for name in names):
                components = self._compare_components(suite)
            records = self._compare_pictures(suite)
        finally:
            suite.close()
        fp32, plain = (_find_worst(records, against) for against in ("fp32-sync", "plain"))
        return Row(
            optimisations="+".join(names) or "none",
            **timed,
            components=components,
            fp32=fp32,
            plain=plain,
            pictures=len(records),
            entropy_bits=min(record.entropy_bits for record in records),
            faults=tuple(fault for record in records for fault in record.faults),
        )

    def _time(self, paired: GainCase, rounds: int) -> dict[str, Any]:
        paired.plain.prepare()
        paired.warm_up()
        ends_s = self.clock() + self.budget_s
        for done in range(rounds):
            if done % ROUNDS_PER_BLOCK == 0 and done and self.clock() > ends_s:
                break
            paired.measure_round()
        measured = paired.collect().measurement
        gain = measured.gain
        assert gain is not None
        return {
            "load_s": measured.load_s,
            "first_call_s": measured.first_call_s,
            "seconds": statistics.median(measured.rounds_s),
            "plain_s": statistics.median(gain.plain_rounds_s),
            "gain": gain,
            "memory": measured.memory,
        }

    def _weigh(self, suite: Suite, names: tuple[str, ...]) -> MemoryUsage:
        (worker,) = suite.acquire(self.precision, 1, names)
        return MemoryUsage(weight_bytes=worker.report.weight_bytes)

    @property
    def plain_weight_bytes(self) -> Mapping[str, int]:
        """Bytes of the plain side's weights, by component."""
        return self._plain_worker().weight_bytes

    def describe_device(self) -> DeviceInfo:
        """Return the device's facts."""
        return self._plain_worker().device

    def _plain_worker(self) -> WorkerReport:
        assert self._plain is not None
        (worker,) = self._plain.acquire(self.precision, 1)
        return worker.report

    def _make_suite(self) -> Suite:
        return Suite(
            workload=self.workload,
            model=self.model,
            pool=WorkerPool(timeout_s=self.timeout_s),
            device=self.device,
            subject=self.subject,
            cpu_threads=self.threads,
            guards="off",
            compares_with_fp32=False,
        )

    def _generate(self, suite: Suite, ends_s: float = math.inf) -> dict[ImageRequest, bytes]:
        made: dict[ImageRequest, bytes] = {}
        for image in self.requests:
            if made and self.clock() > ends_s:
                break
            request = suite.request((image,), "sync", self.threads)
            made[image] = suite.pool.run_round([request]).results[0].images[0].png
        return made

    def _compare_components(self, suite: Suite) -> dict[str, float | None]:
        assert self._recording is not None
        replayed = suite.pool.ask(
            ReplayRecording(self.workload, self.workload.image(0), self.threads, self._recording)
        )
        lowest: dict[str, float | None] = {}
        for one in measure_components(self._recording, replayed):
            known = [value for value in (lowest.get(one.component), one.psnr_db) if value]
            lowest[one.component] = min(known, default=None)
        return lowest

    def _compare_pictures(self, suite: Suite) -> list[ImageRecord]:
        records = []
        for request, png in self._generate(suite, self.clock() + self.budget_s).items():
            delivered = DeliveredImage(png, 0.0, nonfinite=False)
            (record,) = record_images(suite, [(request, delivered)])
            against = decode_png(self._plain_images[request])
            scores = compute_scores("plain", "", against, decode_png(png))
            records.append(dataclasses.replace(record, scores=(*record.scores, scores)))
        return records


def _find_worst(records: Sequence[ImageRecord], against: str) -> ImageScores | None:
    scores = [score for record in records if (score := record.score(against)) is not None]
    return min(scores, key=lambda one: one.ssim, default=None)
