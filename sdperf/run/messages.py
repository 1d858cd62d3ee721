"""What crosses the border between the test process and a worker: plain, picklable values."""

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
    """What of a workload decides the programs of an engine.

    Attributes:
        height: Pixels; ``None`` is the pipeline's own size.
        width: Pixels; ``None`` is the pipeline's own size.
        guided: Whether the UNet's batch is doubled by classifier-free guidance.
    """

    height: int | None
    width: int | None
    guided: bool

    @classmethod
    def of(cls, workload: Workload) -> EngineShape:
        """Pick it from a workload."""
        return cls(workload.height, workload.width, workload.is_guided)


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker loads: two workers of equal spec are interchangeable.

    Attributes:
        model: The resolved model.
        precision: Number format of the weights.
        device: A choice of the setting ``device``.
        subject: ``module:function`` that builds the pipeline; ``None`` is the plain one.
        code: Folders to search for the subject's module before all others: another revision's.
        optimisations: Names of switched-on optimisations.
        limit_s: Time limit of one generation, which a program of the user's is held to.
        slot: Which worker of several this is, from 0; workers of all slots are interchangeable.
        engine: What runs the networks.
        pictures: Pixels that workloads name, beside those that ship.
        shape: What another engine than torch makes its programs for; ``None`` for torch.
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
    """What a worker says once its pipeline is loaded.

    Attributes:
        pid: Its process id.
        device: The device's facts.
        load_s: Seconds to load the pipeline and move it to the device, imports excluded.
        pipeline: Name of the pipeline's class.
        is_separable: Whether the pipeline divides into stages.
        is_the_models: Whether it is of the class that the model names, or of a subclass.
        picture_call: How its call takes pictures; ``None`` where it draws from the prompt alone.
        weight_bytes: What its networks' weights take as they are stored, by component.
        engine: What runs the networks; ``None`` for torch.
        page_cache: Whether the model's files were in memory when loading began.
        compile_cache: Whether torch's compiler had left anything on this machine.
    """

    pid: int
    device: DeviceInfo
    load_s: float
    pipeline: str = ""
    is_separable: bool = False
    is_the_models: bool = True
    weight_bytes: Mapping[str, int] = field(default_factory=dict)
    engine: EngineUse | None = None
    page_cache: CacheState | None = None
    compile_cache: CacheState | None = None
    picture_call: PictureCall | None = None

    @property
    def program(self) -> ProgramFacts | None:
        """What a program of the user's says of itself; ``None`` where diffusers draws."""
        return None if self.engine is None else self.engine.program


@dataclass(frozen=True)
class RoundRequest:
    """One round of one worker.

    Attributes:
        workload: Settings of all images; its prompts are not read.
        images: What to generate, in order.
        mode: How.
        threads: CPU threads for this worker's operators.
        start_at_s: Instant of the shared clock at which to start, so that workers start together;
            ``None`` starts at once.
        stage: Only this stage of the one image is timed, on fixed inputs; ``None`` is all of it.
    """

    workload: Workload
    images: tuple[ImageRequest, ...]
    mode: Mode
    threads: int
    start_at_s: float | None = None
    stage: SeparateStage | None = None


@dataclass(frozen=True)
class DeliveredImage:
    """One generation's product.

    Attributes:
        png: The delivered bytes.
        latency_s: Seconds from the start of its generation to its delivery.
        nonfinite: Whether NaN or infinity was met among its pixel values before rounding.
        faults: Where something else was executed than was asked for, in words with both values.
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
        end_s: When the device had nothing more to do.
        images: What was delivered, in order.
        memory: Largest resident set of the process since it started, largest device allocation of
            the round, and what tensors and torch's cache hold after it.
        cpu_s: Processor seconds of the process within the borders, of all its threads.
        execution: What the worker's first whole round of this workload executed.
        without_effect: What was asked for and changed nothing, in words; said once of each prompt.
        resident_bytes: Memory that is resident for the process alone after the round.
        own_s: Seconds of the round by a program's own figure; ``None`` unknown.
        leftovers: What the request before left changed in the process, in words; put back before
            this round.
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
    """What a worker of an older revision says of its memory one by one."""

    @classmethod
    def from_wire(cls, **values: Any) -> RoundResult:
        """Make it of what came from another interpreter, whose sdperf may be older."""
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
