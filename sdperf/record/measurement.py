"""Measurements as frozen values, and the version of their JSON form (`FORMAT_VERSION`)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from sdperf.errors import RecordError
from sdperf.record.environment import Environment
from sdperf.record.execution import Execution
from sdperf.record.guard import Guard
from sdperf.record.imprint import PictureImprint
from sdperf.record.stages import (
    DeviceLimits,
    SeparateStage,
    StageTimes,
)
from sdperf.record.usage import ResourceUsage
from sdperf.record.workload import LoraUse, ProgramFacts, Variant, Workload

FORMAT_VERSION: Final = 1
"""Version of the record under ``extra_info["sdperf"]``; raised when a field changes meaning."""

CaseKind = Literal["latency", "throughput", "stage"]
CacheState = Literal["cold", "partly", "warm"]
"""How much of the needed data was in a cache at the start: nearly nothing, a part, nearly all."""

GuardPolicy = Literal["strict", "warn", "off"]

LARGEST_FRESH_RATIO: Final = 2.0
"""A fresh request may take this many times as long as a repeated one. Caches of tokens and of
embeddings stay far below it; pictures or network outputs from memory do not."""

LARGEST_FRESH_GROWTH: Final = 1.5
"""A change by this factor against the compared session is not noise of the ratio or of seconds."""

SMALLEST_FRESH_S: Final = 0.002
"""Seconds: a smaller difference between the two can come from the clock and the scheduler."""


@dataclass(frozen=True)
class MemoryUsage:
    """Peaks over the measured rounds of all workers; ``None`` is unknown.

    Attributes:
        peak_rss_bytes: Sum over workers of the largest resident set since the worker started.
        peak_device_bytes: Sum over workers of the largest device allocation in the rounds.
        peak_device_sampled: True where the device peak was sampled at borders, not tracked.
        live_device_bytes: Sum over workers of the bytes of tensors at the end of the last round.
        driver_device_bytes: Sum over workers of the bytes that torch had from the driver then,
            including its cache of free blocks.
        weight_bytes: Bytes of one worker's weights as they are stored, by component: parameters,
            scales and buffers. Empty where they were not counted.
    """

    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    peak_device_sampled: bool = False
    live_device_bytes: int | None = None
    driver_device_bytes: int | None = None
    weight_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """The processes and caches of loading and first call; only equal ones are compared.

    Attributes:
        is_fresh: Whether every worker was a process that had loaded nothing before.
        page_cache: Whether the model's files were in memory when loading began; ``None`` unknown.
        compile_cache: Whether the work of the first call had been compiled before; ``None`` where
            it is not known to compile anything.
    """

    is_fresh: bool
    page_cache: CacheState | None = None
    compile_cache: CacheState | None = None


@dataclass(frozen=True)
class FreshRepeats:
    """The repeats of a suspect, measured in fresh processes before it was judged.

    Attributes:
        load_s: Seconds of loading with the same caches, where loading was suspect; empty where no
            such process was possible. ``None`` where it was not measured again.
        first_call_s: Seconds of the first call with the same caches, where it was suspect.
        rounds_s: Seconds of the rounds of each process, where the tail was suspect.
    """

    load_s: tuple[float, ...] | None = None
    first_call_s: tuple[float, ...] | None = None
    rounds_s: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class FreshRounds:
    """Rounds whose prompts and seeds were never asked for before; they are not timed rounds.

    Attributes:
        rounds_s: Seconds of each round; more than one only where the first took far too long.
        repeated: How many of their pictures had been drawn before, byte for byte.
        known_again_s: Seconds of the slowest round of known requests, one of which was made after
            each fresh one that took too long: on a machine that has become busy they take long
            too. ``None`` without one.
    """

    rounds_s: tuple[float, ...]
    repeated: int = 0
    known_again_s: float | None = None

    def is_doubtful(self, known_s: float) -> bool:
        """Tell whether even the quickest round took so long that more rounds are needed.

        Args:
            known_s: Median seconds of rounds of known requests.
        """
        return self._exceeds(known_s, LARGEST_FRESH_GROWTH)

    def is_remembered(self, known_s: float) -> bool:
        """Tell whether even the quickest round took so long that known requests must be cached.

        Args:
            known_s: Median seconds of rounds of known requests.
        """
        return self._exceeds(max(known_s, self.known_again_s or 0.0), LARGEST_FRESH_RATIO)

    def _exceeds(self, known_s: float, ratio: float) -> bool:
        quickest_s = min(self.rounds_s)
        return quickest_s > ratio * known_s and quickest_s - known_s > SMALLEST_FRESH_S


@dataclass(frozen=True)
class ExcludedRound:
    """A round that was measured and does not count.

    Attributes:
        duration_s: Seconds that it took.
        reason: What happened to the machine meanwhile.
    """

    duration_s: float
    reason: str


@dataclass(frozen=True)
class GuardLog:
    """Whether the machine was fit to be measured on, and stayed so.

    Attributes:
        policy: A choice of the setting ``guards``.
        before: All guards right before the first round; those that need a machine at rest (load,
            other users of the GPU) from before the session's first worker.
        during: The guards that changed for the worse in rounds that count.
        after: The guards that are meaningful after work, right after the last round.
        excluded: The rounds that do not count.
        allowed: Guards that ``strict`` allows to be unknown, as they are typed.
    """

    policy: GuardPolicy
    before: tuple[Guard, ...] = ()
    during: tuple[Guard, ...] = ()
    after: tuple[Guard, ...] = ()
    excluded: tuple[ExcludedRound, ...] = ()
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageScores:
    """One image compared with another; a score says nothing about which of the two is better.

    Attributes:
        against: ``fp32-sync`` (same run; ``bf16-sync`` or ``fp16-sync`` where the memory does not
            hold fp32), ``plain`` (same run: the plain side of a gain), ``reference`` (shipped) or
            ``baseline`` (compared run).
        against_sha256: Content hash of the other image.
        ssim: Mean structural similarity, in [-1, 1].
        psnr_db: Peak signal-to-noise ratio; ``None`` when the images are identical.
        worst_tile_ssim: Mean SSIM of the worst tile.
        worst_tile_box: That tile as (left, top, right, bottom), pixels.
        identical: Whether all pixels are equal.
        worst_tile_psnr_db: PSNR of that tile; ``None`` when it is identical or was not scored.
        ciede2000: Mean colour difference (CIEDE2000); ``None`` when it was not scored.
        worst_tile_ciede2000: The largest mean colour difference of any tile; ``None`` when it was
            not scored.
    """

    against: str
    against_sha256: str
    ssim: float
    psnr_db: float | None
    worst_tile_ssim: float
    worst_tile_box: tuple[int, int, int, int]
    identical: bool
    worst_tile_psnr_db: float | None = None
    ciede2000: float | None = None
    worst_tile_ciede2000: float | None = None


@dataclass(frozen=True)
class ImageRecord:
    """One delivered image.

    Attributes:
        prompt: Its prompt.
        seed: Seed of its starting noise.
        sha256: Content hash of the PNG, which is stored under this name.
        width: Pixels.
        height: Pixels.
        entropy_bits: Shannon entropy of the grey levels, in [0, 8]; 0 is a flat frame.
        faults: Hard faults (flat frame, non-finite latents, ...); empty when sound.
        scores: Comparisons with other images.
    """

    prompt: str
    seed: int
    sha256: str
    width: int
    height: int
    entropy_bits: float
    faults: tuple[str, ...] = ()
    scores: tuple[ImageScores, ...] = ()

    def score(self, against: str) -> ImageScores | None:
        """Return the comparison with ``against``, if it was made."""
        return next((score for score in self.scores if score.against == against), None)


@dataclass(frozen=True)
class Gain:
    """How many times as fast as the plain pipeline a case is; both are measured in turns.

    Rounds come in blocks of four, ABBA and BAAB in turn, so that drift cancels within a block. Each
    side ran in one process: the result holds for these two processes on this machine on this day.

    Attributes:
        against: What it was measured against: the plain, synchronous pipeline of one worker.
        ratio: Seconds per image of the plain pipeline over the case's: median of the blocks.
        lower: Lower end of its interval.
        upper: Upper end of its interval.
        coverage: Coverage of the interval, from order statistics; few blocks cover less.
        plain_rounds_s: Seconds of each of the plain pipeline's rounds, in order.
        plain_images_per_round: Images in each of these rounds.
    """

    against: Variant
    ratio: float
    lower: float
    upper: float
    coverage: float
    plain_rounds_s: tuple[float, ...]
    plain_images_per_round: int

    @property
    def plain_s_per_image(self) -> float:
        """Median seconds of an image of the plain pipeline in these turns."""
        return statistics.median(self.plain_rounds_s) / self.plain_images_per_round


@dataclass(frozen=True)
class EngineUse:
    """Another engine than torch, and how it holds the pipeline.

    Attributes:
        name: Its name in the variant.
        version: Version of the engine's own package.
        provider: What it ran on, in its own words, such as ``CPUExecutionProvider``.
        model_bytes: Weights and programs of all parts as the engine holds them; ``None`` unknown.
        conversion_s: Seconds of the conversion when it was made; ``None`` where none is needed.
        was_cached: Whether all conversions were found in the cache.
        program: The facts that an external program tells about itself; ``None`` for other engines.
        own_load_s: Seconds of loading by the program's own figure; ``None`` unknown.
    """

    name: str
    version: str
    provider: str
    model_bytes: int | None = None
    conversion_s: float | None = None
    was_cached: bool = False
    program: ProgramFacts | None = None
    own_load_s: float | None = None


@dataclass(frozen=True)
class Measurement:
    """One case: a workload run as a variant, with its times and images.

    Attributes:
        kind: ``latency``: a round is one image per worker; ``throughput``: a batch of prompts;
            ``stage``: one stage of one image.
        workload: What was generated.
        variant: How it was run.
        environment: The machine and software.
        model_hash: Hash of the model's weights and configuration.
        subject: ``module:function`` that made the pipeline; ``None`` is the model's own.
        is_the_models: Whether the pipeline has the class that the model names; the model's own
            floors do not hold for another class, which a subject may return.
        loras: LoRAs that were loaded into the model, in order.
        sampling_source: Where steps and guidance come from that the user left open; ``None`` where
            the user gave both, or where it is unknown.
        images_per_round: Images delivered in one round by all workers together.
        rounds_s: Seconds of each timed round, in order; the same values as ``stats.data``.
        image_latencies_s: Per round, the mean seconds from start to delivery of one image.
        load_s: Seconds to load the pipeline, of the slowest worker.
        first_call_s: Seconds of the first generation of the slowest worker (compiles, cold caches).
        warmup_s: Seconds of each untimed warm-up: one image per worker.
        images: The images of the last round.
        repeatable: Whether all rounds delivered the same bytes for the same seed.
        stages: Stage times of a profiled round of one image, where taken.
        memory: Peaks of memory.
        worker_threads: CPU threads given to each worker.
        processes: How many fresh sets of workers the rounds were divided among, evenly and in
            order.
        stage: The stage that a ``stage`` case measured.
        limits: The stages compared with the device's limits, where counted.
        resources: The resources that watched rounds took; they are not the timed rounds.
        guards: Whether the machine was fit to be measured on.
        gain: How much faster it is than the plain pipeline, where that was asked.
        engine: The engine that ran the networks; ``None`` for torch.
        rounds_cpu_s: Processor seconds of all workers in each timed round; empty is unknown.
        rounds_own_s: Seconds of each timed round by a program's own figure, of the slowest worker;
            empty where unknown, and for engines that are not external.
        rounds_resident_bytes: Sum over workers of the resident memory of each process alone after
            each timed round; empty where unknown, or where the pipeline shares its process.
        rounds_device_bytes: Sum over workers of the bytes of tensors on the device after each timed
            round; empty where unknown.
        execution: What the first worker executed, counted in its first call.
        fresh: Rounds of requests that were never made before; once a session for each pipeline and
            mode, ``None`` for its other cases.
        without_effect: Settings and parts that changed nothing, in words.
        imprints: Imprints of the values between the components of its images, drawn once more by
            the plain loop; empty for other variants, and fewer where drawing takes long.
        start: The processes and caches of `load_s` and `first_call_s`; ``None`` where unknown.
        repeats: The repeats of suspects; ``None`` where nothing was suspect.
        format_version: Version of this record.
    """

    kind: CaseKind
    workload: Workload
    variant: Variant
    environment: Environment
    model_hash: str
    images_per_round: int
    rounds_s: tuple[float, ...]
    images: tuple[ImageRecord, ...]
    subject: str | None = None
    is_the_models: bool = True
    loras: tuple[LoraUse, ...] = ()
    sampling_source: str | None = None
    image_latencies_s: tuple[float, ...] = ()
    load_s: float | None = None
    first_call_s: float | None = None
    warmup_s: tuple[float, ...] = ()
    repeatable: bool | None = None
    stages: StageTimes | None = None
    memory: MemoryUsage = field(default_factory=MemoryUsage)
    worker_threads: int | None = None
    processes: int = 1
    stage: SeparateStage | None = None
    limits: DeviceLimits | None = None
    resources: ResourceUsage | None = None
    guards: GuardLog | None = None
    gain: Gain | None = None
    engine: EngineUse | None = None
    rounds_cpu_s: tuple[float, ...] = ()
    rounds_own_s: tuple[float, ...] = ()
    rounds_resident_bytes: tuple[int, ...] = ()
    rounds_device_bytes: tuple[int, ...] = ()
    execution: Execution | None = None
    fresh: FreshRounds | None = None
    start: Start | None = None
    without_effect: tuple[str, ...] = ()
    repeats: FreshRepeats | None = None
    imprints: tuple[PictureImprint, ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.rounds_s or not all(0 < seconds < math.inf for seconds in self.rounds_s):
            raise RecordError(
                "a measurement needs rounds of more than zero seconds", got=self.rounds_s
            )
        if self.processes < 1 or len(self.rounds_s) % self.processes:
            raise RecordError(
                "rounds are divided evenly among processes",
                got=f"{len(self.rounds_s)} of them, number of processes {self.processes}",
            )
        for seconds in (self.rounds_cpu_s, self.rounds_own_s):
            if seconds and len(seconds) != len(self.rounds_s):
                raise RecordError(
                    "every round has its processor seconds and its own figure, or none has",
                    got=f"{len(seconds)} of {len(self.rounds_s)} rounds",
                )
        for after in (self.rounds_resident_bytes, self.rounds_device_bytes):
            if after and len(after) != len(self.rounds_s):
                raise RecordError(
                    "memory is known after every round, or after none",
                    got=f"{len(after)} of {len(self.rounds_s)} rounds",
                )
        if self.images_per_round < 1:
            raise RecordError("a round delivers images", got=self.images_per_round)

    @property
    def entropy_bits(self) -> float | None:
        """Lowest entropy of its images, bits; ``None`` where the record names no image."""
        return min((image.entropy_bits for image in self.images), default=None)

    @property
    def seconds_per_image(self) -> float:
        """Median round divided by the images of a round."""
        ordered = sorted(self.rounds_s)
        middle = len(ordered) // 2
        median = (
            ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
        )
        return median / self.images_per_round

    @property
    def process_medians_s(self) -> tuple[float, ...]:
        """Median round of each fresh set of workers, in seconds."""
        rounds = len(self.rounds_s) // self.processes
        return tuple(
            statistics.median(self.rounds_s[start : start + rounds])
            for start in range(0, len(self.rounds_s), rounds)
        )

    @property
    def cores_busy(self) -> float | None:
        """Processor seconds per second of all workers, the median round; ``None`` is unknown."""
        if not self.rounds_cpu_s:
            return None
        pairs = zip(self.rounds_cpu_s, self.rounds_s, strict=True)
        return statistics.median(cpu_s / seconds for cpu_s, seconds in pairs)

    @property
    def images_per_second(self) -> float:
        """Inverse of `seconds_per_image`."""
        return 1.0 / self.seconds_per_image
