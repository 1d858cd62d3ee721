"""Runs settings: workers draw the requested images and report the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from sdperf.device import DeviceInfo, DeviceKind
from sdperf.engines.catalogue import ENGINES, FAMILIES, explain_skip
from sdperf.errors import GenerationError
from sdperf.images.input_files import InputFile
from sdperf.models.loader import ResolvedModel, find_denoiser_name
from sdperf.record.workload import TORCH, ImageRequest, Workload
from sdperf.run.memory import WEIGHT_BYTES, find_room
from sdperf.run.messages import (
    DeliveredImage,
    EngineShape,
    RoundRequest,
    RoundResult,
    WorkerSpec,
)
from sdperf.run.pool import Worker, WorkerPool
from sdperf.run.suite import has_converted
from sdperf.tune.question.making_space import Abilities
from sdperf.tune.question.setting import TrialSetting, take_guidance

if TYPE_CHECKING:
    from sdperf.pipeline.stages import Stages


@dataclass(frozen=True)
class TrialRound:
    """The result of one round.

    Attributes:
        seconds_per_image: Wall seconds of the round over its images.
        images: The images, in the order of the requests.
        memory_bytes: Peak of the device's memory where it has its own, else of the processes'
            resident memory, summed over workers; ``None`` where neither is known.
    """

    seconds_per_image: float
    images: tuple[DeliveredImage, ...]
    memory_bytes: int | None


@dataclass(frozen=True)
class TrialStart:
    """What it costs to start a setting.

    Attributes:
        seconds: Seconds from the beginning of loading to the first images, of the slowest worker,
            without ``conversion_s``; workers that another trial started were asked for its steps.
            ``None`` is unknown.
        conversion_s: Seconds in which the engine converted the model when it did, once for all
            sessions of the machine; ``None`` where it converts nothing.
    """

    seconds: float | None = None
    conversion_s: float | None = None


class Rig(Protocol):
    """The parts of a machine that a study needs."""

    @property
    def pictures(self) -> tuple[InputFile, ...]:
        """Pixels that workloads name, beside those that ship."""

    def load(self, workload: Workload, setting: TrialSetting) -> TrialStart:
        """Prepare workers that have made their first call; no round is timed.

        Raises:
            SdperfError: The setting cannot be loaded here.
        """

    def draw(
        self, workload: Workload, setting: TrialSetting, images: Sequence[ImageRequest]
    ) -> TrialRound:
        """Draw images in one timed round of loaded workers.

        Raises:
            SdperfError: A generation failed, or a worker died or hung.
        """

    def close(self) -> None:
        """End all workers."""


@dataclass(frozen=True)
class DescribePipeline:
    """Asks a worker what its pipeline is.

    Attributes:
        workload: What is generated, as `sdperf.run.quality.questions.Question` has it.
        images: The images that the pipeline would draw.
        threads: CPU threads of the worker.
    """

    workload: Workload
    images: tuple[ImageRequest, ...]
    threads: int

    def answer(self, stages: Stages) -> tuple[str, tuple[str, ...]]:
        """Return the pipeline's family and the schedulers that suit it, its own first."""
        from sdperf.pipeline.scheduling import find_schedulers

        return stages.family, tuple(find_schedulers(stages.pipeline))


@dataclass
class LiveRig:
    """Workers of this machine.

    Attributes:
        model: The resolved model.
        device: A choice of the setting ``device``.
        subject: ``module:function`` that makes the pipeline, or ``None``.
        cpu_threads: Threads that the workers of a setting share.
        pool: The workers.
        pictures: Pixels that workloads name, beside those that ship.
    """

    model: ResolvedModel
    device: str
    subject: str | None
    cpu_threads: int
    pool: WorkerPool = field(default_factory=WorkerPool)
    pictures: tuple[InputFile, ...] = ()

    def examine(self, workload: Workload) -> Abilities:
        """Load the plain pipeline and learn which settings it can run.

        On CUDA, processes are kept from setting to setting from then on. On other devices each
        pipeline gets fresh processes: on the CPU the peak is that of resident memory, which never
        falls, and on MPS only one thread of a process may use the GPU.

        Raises:
            SdperfError: The pipeline cannot be loaded.
        """
        plain = TrialSetting(workload.num_inference_steps, take_guidance(workload))
        (worker,) = self.pool.acquire(self._spec(workload, plain), 1)
        question = DescribePipeline(workload, (workload.image(0),), self._threads(plain))
        family, schedulers = self.pool.ask(question)
        device = worker.report.device
        self.pool.keeps_processes = device.kind == "cuda"
        weight_bytes = sum(worker.report.weight_bytes.values())
        weights = weight_bytes // WEIGHT_BYTES[plain.precision] if weight_bytes else None
        room = find_room(device, self.pool.collect_environment(device).ram_bytes)
        bound_to_torch = self.explain_bond(workload, family)
        return Abilities(
            device,
            family,
            schedulers,
            self.cpu_threads,
            weights,
            room,
            list_automatic(device.kind) if bound_to_torch is None else (TORCH,),
            bound_to_torch,
            None if self.subject is not None else find_denoiser_name(self.model),
        )

    def describe_device(self) -> DeviceInfo:
        """Look at the device; loads nothing.

        Raises:
            ConfigurationError: torch sees no such device.
            WorkerError: The process that looks died or hung.
        """
        return self.pool.describe_device(self.device)

    def load(self, workload: Workload, setting: TrialSetting) -> TrialStart:
        """Start or fill the workers of a setting; fresh ones make their first call.

        Engines compile for each number of images in a call, so that a batch that does not divide a
        worker's share makes a second call for the rest.
        """
        spec = self._spec(workload, setting)
        workers = self.pool.acquire(spec, setting.workers)
        if any(map(has_converted, workers)):  # exporters do not free all memory
            self.pool.start_afresh()
            workers = self.pool.acquire(spec, setting.workers)
        if any(worker.first_call_s is None for worker in workers):
            results = self._draw_untimed(workload, setting, setting.batch, len(workers))
            for worker, result in zip(workers, results, strict=True):
                worker.first_call_s = result.duration_s
            images = len(workload.prompts)
            shares = {images // len(workers), -(-images // len(workers))}
            for rest in sorted({share % setting.batch for share in shares} - {0}):
                self._draw_untimed(workload, setting, rest, len(workers))
        return _describe_start(workers)

    def _draw_untimed(
        self, workload: Workload, setting: TrialSetting, images: int, workers: int
    ) -> tuple[RoundResult, ...]:
        drawn = tuple(workload.image(index) for index in range(images))
        request = self._request(workload, setting, drawn)
        return self.pool.run_round([request] * workers).results

    def draw(
        self, workload: Workload, setting: TrialSetting, images: Sequence[ImageRequest]
    ) -> TrialRound:
        """Draw images, divided among the setting's workers."""
        workers = min(setting.workers, len(images))
        shares = [tuple(images[worker::workers]) for worker in range(workers)]
        done = self.pool.run_round([self._request(workload, setting, share) for share in shares])
        found = {
            image: delivered
            for share, result in zip(shares, done.results, strict=True)
            for image, delivered in zip(share, result.images, strict=True)
        }
        if len(found) != len(set(images)):
            raise GenerationError(
                "a round lacks images", got=f"{len(found)}", expected=f"{len(set(images))}"
            )
        return TrialRound(
            done.duration_s / len(images),
            tuple(found[image] for image in images),
            _sum_known([result.memory.peak_device_bytes for result in done.results])
            or _sum_known([result.memory.peak_rss_bytes for result in done.results]),
        )

    def close(self) -> None:
        """End all workers."""
        self.pool.close()

    def explain_bond(self, workload: Workload, family: str) -> str | None:
        """Say why no other engine than torch can run the pipeline; ``None`` where one may."""
        if self.subject is not None:
            return "it takes the model's own pipeline and no code"
        if not self.model.is_as_stored:
            return "it converts models that are folders, as they are stored"
        if workload.picture is not None:
            return f"it draws from the prompt alone, this is {workload.picture.describe()}"
        if family not in FAMILIES:
            return f"it cannot run a {self.model.pipeline_class}"
        return None

    def _spec(self, workload: Workload, setting: TrialSetting) -> WorkerSpec:
        variant = setting.variant
        shape = None
        if setting.engine != TORCH:
            shape = EngineShape.of(setting.apply_to(workload))
        return WorkerSpec(
            self.model,
            variant.precision,
            self.device,
            self.subject,
            optimisations=variant.optimisations,
            engine=setting.engine,
            shape=shape,
            pictures=self.pictures,
        )

    def _request(
        self, workload: Workload, setting: TrialSetting, images: tuple[ImageRequest, ...]
    ) -> RoundRequest:
        return RoundRequest(
            setting.apply_to(workload), images, setting.mode, self._threads(setting)
        )

    def _threads(self, setting: TrialSetting) -> int:
        return max(1, self.cpu_threads // setting.workers)


def list_automatic(device: DeviceKind) -> tuple[str, ...]:
    """List the engines that ``auto`` takes on a device: installed and native, torch first."""
    return tuple(
        name for name, one in ENGINES.items() if one.in_auto and explain_skip(one, device) is None
    )


def _describe_start(workers: Sequence[Worker]) -> TrialStart:
    starts = [
        worker.report.load_s + worker.first_call_s
        for worker in workers
        if worker.first_call_s is not None
    ]
    uses = [worker.report.engine for worker in workers]
    conversions = [use.conversion_s for use in uses if use is not None and use.conversion_s]
    return TrialStart(max(starts, default=None), max(conversions, default=None))


def _sum_known(peaks: Sequence[int | None]) -> int | None:
    known = [peak for peak in peaks if peak is not None]
    return sum(known) if len(known) == len(peaks) else None
