"""The messages between the test process and a worker: plain values that can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from sdperf.device import DeviceInfo
from sdperf.images.input_files import InputFile
from sdperf.models.loader import ResolvedModel
from sdperf.models.tasks.calls import PictureCall
from sdperf.record.execution import Execution
from sdperf.record.measurement import CacheState, EngineUse, MemoryUsage
from sdperf.record.stages import PeakRate, SeparateStage
from sdperf.record.workload import TORCH, ImageRequest, Mode, Precision, ProgramFacts, Workload


@dataclass(frozen=True)
class EngineShape:
    """The parts of a workload that decide which programs an engine needs.

    Attributes:
        height: Pixels; ``None`` for the pipeline's own size.
        width: Pixels; ``None`` for the pipeline's own size.
        guided: Whether the UNet's batch is doubled by classifier-free guidance.
    """

    height: int | None
    width: int | None
    guided: bool

    @classmethod
    def of(cls, workload: Workload) -> EngineShape:
        """Take the shape from a workload."""
        return cls(workload.height, workload.width, workload.is_guided)


@dataclass(frozen=True)
class WorkerSpec:
    """The specification of what a worker loads; workers of equal spec are interchangeable.

    Attributes:
        model: The resolved model.
        precision: Number format of the weights.
        device: A choice of the setting ``device``.
        subject: ``module:function`` that builds the pipeline; ``None`` builds the plain pipeline.
        code: Folders to search first for the subject's module, such as another revision's.
        optimisations: Names of switched-on optimisations.
        limit_s: Time limit of one generation in seconds, for an external program.
        slot: Index of this worker among several, from 0; workers of all slots are interchangeable.
        engine: Name of the engine that runs the networks.
        pictures: Pixels of input pictures that workloads name, beside those that ship.
        shape: The shape that another engine makes its programs for; ``None`` for torch.
    """

    model: ResolvedModel
    precision: Precision
    device: str
    subject: str | None = None
    code: tuple[str, ...] = ()
    optimisations: tuple[str, ...] = ()
    engine: str = TORCH
    shape: EngineShape | None = None
    pictures: tuple[InputFile, ...] = ()
    slot: int = field(default=0, compare=False)
    limit_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class WorkerReport:
    """A worker's report once its pipeline is loaded.

    Attributes:
        pid: Its process id.
        device: The device's facts.
        load_s: Seconds to load the pipeline and move it to the device, imports excluded.
        pipeline: Name of the pipeline's class.
        is_separable: Whether the pipeline divides into stages.
        is_the_models: Whether the pipeline has the class that the model names, or a subclass.
        picture_call: How its call takes pictures; ``None`` where it draws from the prompt alone.
        is_offloaded: Whether networks move to the device only while they are called.
        weight_bytes: Bytes of the stored weights of its networks, by component.
        engine: The engine that runs the networks; ``None`` for torch.
        page_cache: Whether the model's files were in memory when loading began.
        compile_cache: Whether torch's compiler had cached its work on this machine.
    """

    pid: int
    device: DeviceInfo
    load_s: float
    pipeline: str = ""
    is_separable: bool = False
    is_the_models: bool = True
    is_offloaded: bool = False
    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    engine: EngineUse | None = None
    page_cache: CacheState | None = None
    compile_cache: CacheState | None = None
    picture_call: PictureCall | None = None

    @property
    def program(self) -> ProgramFacts | None:
        """The facts that an external program tells about itself; ``None`` where diffusers draws."""
        return None if self.engine is None else self.engine.program


@dataclass(frozen=True)
class RoundRequest:
    """One round of one worker.

    Attributes:
        workload: Settings of all images; its prompts are not read.
        images: The images to generate, in order.
        mode: ``sync`` or ``async``.
        threads: CPU threads for this worker's operators.
        start_at_s: Time of the shared clock at which to start, so that workers start together;
            ``None`` starts at once.
        stage: The stage of the one image that is timed, on fixed inputs; ``None`` times the whole
            image.
        case: Number of the case in its pool, for a program of the user's; ``None`` is no case.
    """

    workload: Workload
    images: tuple[ImageRequest, ...]
    mode: Mode
    threads: int
    start_at_s: float | None = None
    stage: SeparateStage | None = None
    case: int | None = None


@dataclass(frozen=True)
class DeliveredImage:
    """The result of one generation.

    Attributes:
        png: The delivered bytes.
        latency_s: Seconds from the start of its generation to its delivery.
        nonfinite: Whether NaN or infinity was among its pixel values before rounding.
        faults: Differences between what was executed and what was asked, in words with both values.
    """

    png: bytes
    latency_s: float
    nonfinite: bool
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundResult:
    """What a worker measured in one round; times are readings of the shared clock, in seconds.

    Attributes:
        start_s: When the round began.
        end_s: When the device had finished all work.
        images: The delivered images, in order.
        memory: Largest resident set of the process since it started, largest device allocation of
            the round, and the memory of tensors and of torch's cache after it.
        cpu_s: Processor seconds of all threads of the process within the timed borders.
        execution: The work that the worker's first whole round of this workload executed.
        without_effect: Settings and parts without effect, in words; reported once for each prompt.
        resident_bytes: Resident memory of the process alone after the round.
        own_s: Seconds of the round by the program's own figure; ``None`` is unknown.
        leftovers: Changes that the request before left in the process, in words; they were undone
            before this round.
    """

    start_s: float
    end_s: float
    images: tuple[DeliveredImage, ...]
    memory: MemoryUsage = field(default_factory=MemoryUsage)
    cpu_s: float | None = None
    execution: Execution | None = None
    leftovers: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()
    resident_bytes: int | None = None
    own_s: float | None = None

    OLDER_FIELDS: ClassVar = frozenset(item.name for item in fields(MemoryUsage))
    """Fields of memory that workers of older revisions send one by one."""

    @classmethod
    def from_wire(cls, **values: Any) -> RoundResult:
        """Make a result from the message of another interpreter, whose sdperf may be older."""
        older = {name: values.pop(name) for name in cls.OLDER_FIELDS & set(values)}
        if older:
            values["memory"] = MemoryUsage(**older)
        return cls(**values)

    @property
    def duration_s(self) -> float:
        """Seconds between the two timed borders."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class DeviceSpeed:
    """What the device can do in the worker's precision; ``None`` could not be measured."""

    peak: PeakRate | None
    operator_s: float | None
