"""What was measured, as frozen values, and their JSON form (`FORMAT_VERSION`)."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from sdperf.errors import RecordError
from sdperf.workload import Mode, Precision, Variant, Workload

FORMAT_VERSION: Final = 1
"""Version of the record under ``extra_info["sdperf"]``; raised when a field changes meaning."""

CaseKind = Literal["latency", "throughput"]
DeviceKind = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Environment:
    """The machine and software of a run. ``None`` is unknown, never zero.

    Attributes:
        chip: Processor or system on a chip, such as ``Apple M4 Max``.
        device_kind: Where the pipeline ran.
        device_name: Name of the GPU, or of the processor for ``cpu``.
        gpu_cores: GPU cores (Apple) or multiprocessors (CUDA).
        ram_bytes: Installed (or allotted, in a container) main memory.
        cpu_cores: Logical processors this process may use.
        performance_cores: Fast cores among them; all of them where there is one kind.
        os_name: ``macOS``, or the Linux distribution's id.
        os_version: Version of the operating system, ``major.minor`` at least where known.
        os_build: Build of the operating system or kernel release.
        machine: Architecture, such as ``arm64``.
        power_source: ``ac``, ``battery`` or unknown.
        power_mode: ``low``, ``normal``, ``high`` or unknown.
        thermal_level: ``nominal``, ``moderate``, ``heavy``, ``trapping``, ``sleeping`` or unknown.
        python: Version of the interpreter.
        packages: Versions of torch, diffusers, transformers and their like.
        variables: Environment variables that change results (``PYTORCH_*``, ``OMP_*``, ...).
        commit: Commit of the code under test, with ``-dirty`` appended where it has changes.
    """

    chip: str
    device_kind: DeviceKind
    device_name: str
    machine: str
    os_name: str
    os_version: str
    python: str
    gpu_cores: int | None = None
    ram_bytes: int | None = None
    cpu_cores: int | None = None
    performance_cores: int | None = None
    os_build: str | None = None
    power_source: str | None = None
    power_mode: str | None = None
    thermal_level: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None

    def fingerprint(self) -> str:
        """Name the kind of machine whose times are comparable; keys baselines.

        Chip, GPU and its cores, memory, OS major.minor, torch major.minor and power mode take
        part; host name and Python version do not. It is readable and safe as a folder name.
        """
        gib = None if self.ram_bytes is None else round(self.ram_bytes / 2**30)
        parts = [
            self.device_kind,
            self.chip,
            None if self.device_kind == "cpu" else self.device_name,
            None if self.gpu_cores is None else f"{self.gpu_cores}gpu",
            None if self.cpu_cores is None else f"{self.cpu_cores}cpu",
            None if gib is None else f"{gib}gib",
            f"{self.os_name}-{_major_minor(self.os_version)}",
            f"torch-{_major_minor(self.packages.get('torch', 'unknown'))}",
            f"power-{self.power_mode or 'unknown'}",
        ]
        unique = list(dict.fromkeys(part for part in parts if part))
        return re.sub(r"[^a-z0-9.]+", "-", "_".join(unique).lower().replace("_", "--")).strip("-")


@dataclass(frozen=True)
class StageTimes:
    """Seconds of each stage in one profiled round of one image; ``None`` is a stage unknown.

    The round was synchronised at every border, so the sum can exceed an unprofiled round.

    Attributes:
        total_s: The whole profiled round.
        tokenise_s: Prompt to token ids, on the CPU.
        encode_prompt_s: Token ids to prompt embeddings.
        denoise_s: All denoising steps.
        decode_latents_s: Latents to pixels.
        deliver_s: Pixels to PNG bytes, on the CPU.
        steps_s: Each denoising step; empty when unknown.
    """

    total_s: float
    tokenise_s: float | None = None
    encode_prompt_s: float | None = None
    denoise_s: float | None = None
    decode_latents_s: float | None = None
    deliver_s: float | None = None
    steps_s: tuple[float, ...] = ()

    def overlappable_share(self) -> float | None:
        """Share of a synchronous image that is not the device's work: the ceiling of async.

        Returns:
            A ratio in [0, 1]: tokenising and delivery over the whole; ``None`` when unknown.
        """
        if self.tokenise_s is None or self.deliver_s is None or self.total_s <= 0:
            return None
        return min(1.0, (self.tokenise_s + self.deliver_s) / self.total_s)


@dataclass(frozen=True)
class MemoryUsage:
    """Peaks over the measured rounds of all workers; ``None`` is unknown.

    Attributes:
        peak_rss_bytes: Sum over workers of the largest resident set since the worker started.
        peak_device_bytes: Sum over workers of the largest device allocation in the rounds.
        peak_device_sampled: True where the device peak was sampled at borders, not tracked.
    """

    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    peak_device_sampled: bool = False


@dataclass(frozen=True)
class ImageScores:
    """One image held against another; a score says nothing about which of the two is better.

    Attributes:
        against: ``fp32-sync`` (same run), ``reference`` (shipped) or ``baseline`` (compared run).
        against_sha256: Content hash of the other image.
        ssim: Mean structural similarity, in [-1, 1].
        psnr_db: Peak signal-to-noise ratio; ``None`` when the images are identical.
        worst_tile_ssim: Mean SSIM of the worst tile.
        worst_tile_box: That tile as (left, top, right, bottom), pixels.
        identical: Whether all pixels are equal.
    """

    against: str
    against_sha256: str
    ssim: float
    psnr_db: float | None
    worst_tile_ssim: float
    worst_tile_box: tuple[int, int, int, int]
    identical: bool


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
class Measurement:
    """One case: a workload run as a variant, with its times and images.

    Attributes:
        kind: ``latency``: a round is one image per worker; ``throughput``: a batch of prompts.
        workload: What was generated.
        variant: How.
        environment: Where.
        model_hash: Hash of the model's weights and configuration.
        images_per_round: Images delivered in one round by all workers together.
        rounds_s: Seconds of each timed round, in order; the same values as ``stats.data``.
        image_latencies_s: Per round, the mean seconds from start to delivery of one image.
        load_s: Seconds to load the pipeline, the slowest worker's.
        first_call_s: Seconds of the first generation of the slowest worker (compiles, cold caches).
        warmup_s: Seconds of each untimed warm-up round.
        images: The images of the last round.
        repeatable: Whether all rounds delivered the same bytes for the same seed.
        stages: Stage times of a profiled round of one image, where taken.
        memory: Peaks.
        worker_threads: CPU threads given to each worker.
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
    image_latencies_s: tuple[float, ...] = ()
    load_s: float | None = None
    first_call_s: float | None = None
    warmup_s: tuple[float, ...] = ()
    repeatable: bool | None = None
    stages: StageTimes | None = None
    memory: MemoryUsage = field(default_factory=MemoryUsage)
    worker_threads: int | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if not self.rounds_s or not all(0 < seconds < math.inf for seconds in self.rounds_s):
            raise RecordError(
                "a measurement needs rounds of more than zero seconds", got=self.rounds_s
            )
        if self.images_per_round < 1:
            raise RecordError("a round delivers images", got=self.images_per_round)

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
    def images_per_second(self) -> float:
        """Inverse of `seconds_per_image`."""
        return 1.0 / self.seconds_per_image


T = TypeVar("T")


def format_record(value: Any) -> dict[str, Any]:
    """Turn a dataclass of this module into plain JSON values (dict, list, str, int, float, bool).

    Raises:
        RecordError: A number is NaN or infinite, or a value has no JSON form.
    """
    plain = _plain(value, type(value).__name__)
    if isinstance(value, Measurement):
        plain["seconds_per_image"] = value.seconds_per_image
        plain["images_per_second"] = value.images_per_second
    return dict(plain)


def parse_record(kind: type[T], document: object) -> T:
    """Turn plain JSON values into a dataclass of this module, checking every field.

    Unknown keys are ignored, so that a newer writer of the same format version can be read.

    Raises:
        RecordError: A field is missing, of the wrong type, NaN or infinite, or the record's
            format version is newer than this one.
    """
    if kind is Measurement and isinstance(document, dict):
        version = document.get("format_version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise RecordError("the record has no format version", got=version)
        if version > FORMAT_VERSION:
            raise RecordError(
                "the record was written by a newer sdperf",
                got=f"format version {version}",
                expected=f"at most {FORMAT_VERSION}",
                hint="pip install --upgrade sdperf",
            )
    return typing.cast("T", _parsed(kind, document, kind.__name__))


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RecordError(f"{where} cannot be stored", got=value, expected="a finite number")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: _plain(getattr(value, item.name), f"{where}.{item.name}")
            for item in dataclasses.fields(value)
        }
    if isinstance(value, tuple | list):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise RecordError(f"{where} cannot be stored", got=type(value).__name__)


def _parsed(kind: Any, value: object, where: str) -> object:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _parsed(inner, value, where)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parsed_dataclass(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _mismatch(where, value, "a list")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            raise _mismatch(where, value, f"a list of {len(kinds)}")
        return tuple(
            _parsed(inner, item, f"{where}[{index}]")
            for index, (inner, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _mismatch(where, value, "an object")
        return {key: _parsed(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        if value not in arguments:
            raise _mismatch(where, value, " or ".join(map(repr, arguments)))
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        number = _finite(value)
        if number is None:
            raise _mismatch(where, value, "a finite number")
        return number
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return value
    raise _mismatch(where, value, kind.__name__)


def _parsed_dataclass(kind: type, value: object, where: str) -> object:
    if not isinstance(value, dict):
        raise _mismatch(where, value, "an object")
    hints = typing.get_type_hints(kind)
    arguments = {}
    for item in dataclasses.fields(kind):
        if item.name in value:
            arguments[item.name] = _parsed(
                hints[item.name], value[item.name], f"{where}.{item.name}"
            )
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise RecordError(f"{where}.{item.name} is missing")
    try:
        return kind(**arguments)
    except RecordError:
        raise
    except Exception as error:
        raise RecordError(f"{where} cannot be used", got=str(error)) from error


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _mismatch(where: str, value: object, expected: str) -> RecordError:
    shown = repr(value)
    return RecordError(
        f"{where} cannot be read",
        got=shown if len(shown) <= 60 else f"{shown[:57]}...",
        expected=expected,
    )


def _major_minor(version: str) -> str:
    found = re.match(r"\d+(\.\d+)?", version)
    return found.group(0) if found else "unknown"


__all__ = [
    "FORMAT_VERSION",
    "CaseKind",
    "DeviceKind",
    "Environment",
    "ImageRecord",
    "ImageScores",
    "Measurement",
    "MemoryUsage",
    "Mode",
    "Precision",
    "StageTimes",
    "format_record",
    "parse_record",
]
