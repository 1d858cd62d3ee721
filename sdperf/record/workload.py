"""What is generated (`Workload`) and how (`Variant`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, get_args

from sdperf.errors import ConfigurationError
from sdperf.units import format_quantity

Precision = Literal["fp32", "fp16", "bf16"]
Mode = Literal["sync", "async"]

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
REFERENCE_PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "bf16", "fp16")
"""What others are compared with, the widest first: bf16 has the range of fp32, so that nothing
overflows in it that does not there."""

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
EMBEDDED: Final = "embedded"
"""The name of the small pipeline that ships inside the package."""

TORCH: Final = "torch"
"""The engine that is diffusers as it comes."""

EXTERNAL: Final = "external:"
"""What the name of an engine begins with that is a program of the user's."""

_MAX_PROMPTS_FILE_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Workload:
    """What one generation is asked for. Equal workloads give comparable images and times.

    Attributes:
        model: ``embedded``, a path of a local diffusers folder, or a hub id.
        prompts: The prompts in order; image ``i`` of a batch takes prompt ``i`` (cyclically).
        negative_prompt: Shared by all prompts; empty means none.
        seed: Image ``i`` draws its starting noise from ``seed + i``.
        height: Pixels; ``None`` is the pipeline's own size.
        width: Pixels; ``None`` is the pipeline's own size.
        num_inference_steps: Denoising steps per image.
        guidance_scale: Classifier-free guidance; 1.0 or less switches it off. ``None`` leaves it to
            the pipeline, whose call names no single scale.
        scheduler: Class name of a diffusers scheduler; ``None`` is the model's own.
    """

    model: str
    prompts: tuple[str, ...]
    num_inference_steps: int
    guidance_scale: float | None
    negative_prompt: str = ""
    seed: int = 0
    height: int | None = None
    width: int | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if not self.prompts or not all(prompt.strip() for prompt in self.prompts):
            raise ConfigurationError(
                "a workload needs prompts, none of them empty", got=list(self.prompts)
            )
        if self.num_inference_steps < 1:
            raise ConfigurationError(
                "the number of steps is too small",
                got=self.num_inference_steps,
                expected="1 or more",
            )
        if not 0 <= self.seed < 2**63 - 2**16:
            raise ConfigurationError(
                "the seed is out of range", got=self.seed, expected="0 or more, below 2**63 - 2**16"
            )
        for name in ("height", "width"):
            size = getattr(self, name)
            if size is not None and (size < 8 or size % 8):
                raise ConfigurationError(
                    f"the {name} cannot be generated",
                    got=size,
                    expected="8 pixels or more, a multiple of 8",
                )

    @property
    def is_guided(self) -> bool:
        """Whether a scale above 1 is asked for; not so where it is left to the pipeline."""
        return self.guidance_scale is not None and self.guidance_scale > 1

    def describe_sampling(self) -> str:
        """Say steps and guidance, such as ``20 steps, guidance 3``."""
        own = self.guidance_scale is None
        guidance = "the pipeline's own guidance" if own else f"guidance {self.guidance_scale:g}"
        return f"{format_quantity(self.num_inference_steps, 'step')}, {guidance}"

    def image(self, index: int) -> ImageRequest:
        """Return the request for image ``index`` of a batch."""
        return ImageRequest(prompt=self.prompts[index % len(self.prompts)], seed=self.seed + index)

    def fingerprint(self) -> str:
        """Hash everything that decides the image, apart from where the model lies.

        Returns:
            16 hexadecimal digits. The model's own identity is its weights' hash and is kept
            beside this one, so that a moved folder stays the same workload.
        """
        fields = asdict(self)
        del fields["model"]
        return _hash_fields(fields)

    def image_key(self, image: ImageRequest) -> str:
        """Hash everything that decides one image, apart from the model; 16 hexadecimal digits."""
        fields = asdict(self) | asdict(image)
        del fields["model"], fields["prompts"]
        return _hash_fields(fields)


@dataclass(frozen=True)
class ImageRequest:
    """One image: its prompt and the seed of its starting noise."""

    prompt: str
    seed: int


@dataclass(frozen=True)
class Variant:
    """How a workload is run: one cell of the benchmark matrix.

    Attributes:
        precision: Number format of the weights and activations.
        mode: ``sync`` is the plain diffusers call, ``async`` overlaps what is not the device's.
        workers: Processes with a pipeline of their own.
        optimisations: Names of switched-on optimisations, in order.
        engine: What runs the networks, see `sdperf.engines.catalogue`; ``external:NAME=COMMAND`` is
            a program of the user's that draws.
        threads: CPU threads of each worker; ``None`` divides the performance cores among them.
    """

    precision: Precision = "fp32"
    mode: Mode = "sync"
    workers: int = 1
    optimisations: tuple[str, ...] = ()
    engine: str = TORCH
    threads: int | None = None

    @property
    def team(self) -> tuple[str, ...]:
        """Workers, and their threads where they are named, as in `id`: ``1w``, ``8t``."""
        workers = f"{self.workers}w"
        return (workers,) if self.threads is None else (workers, f"{self.threads}t")

    @property
    def pipeline(self) -> tuple[str, str, tuple[str, ...]]:
        """What one worker loads; variants with equal ones share workers."""
        return self.precision, self.engine, self.optimisations

    @property
    def is_external(self) -> bool:
        """Whether a program of the user's draws, and no pipeline of diffusers."""
        return is_external(self.engine)

    @property
    def identity(self) -> Variant:
        """What has to be equal for two results to be compared: a program by its name alone."""
        return replace(self, engine=name_engine(self.engine))

    @property
    def id(self) -> str:
        """The name of the cell in test ids and tables, such as ``fp32-sync-1w``."""
        engine = () if self.engine == TORCH else (name_engine(self.engine),)
        return "-".join((self.precision, self.mode, *self.team, *engine, *self.optimisations))


def name_sync(precision: Precision) -> str:
    """Name the plain synchronous image of a precision as what another is compared with."""
    return f"{precision}-sync"


SYNC_REFERENCES: Final = tuple(map(name_sync, REFERENCE_PRECISIONS))
"""What images of this run can be compared with; a run has one of them."""


@dataclass(frozen=True)
class ProgramFacts:
    """What a program answered when it was asked to describe itself.

    Attributes:
        name: Its name, such as ``mflux``.
        version: Its version.
        model: What it draws with, in its own words.
        device: ``cpu``, ``cuda`` or ``mps``.
        device_name: The device in its own words; empty is unknown.
        precision: Number format that it runs where it is told none, such as ``q8``.
        precisions: Number formats of ours that it can be told; empty is none.
        accepts: What it can be told beside prompt and seed; see `docs/external.md`.
        queue: Requests that it takes before it has answered the first of them.
        largest_seed: The largest seed that it tells from others.
        versions: Versions of the packages that it is made of.
    """

    name: str
    version: str
    model: str
    device: str
    device_name: str = ""
    precision: str = "unknown"
    precisions: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()
    queue: int = 1
    largest_seed: int = 2**63 - 1
    versions: Mapping[str, str] = field(default_factory=dict)


def is_external(engine: str) -> bool:
    """Tell whether an engine is a program of the user's and runs no pipeline of diffusers."""
    return engine.startswith(EXTERNAL)


def name_engine(engine: str) -> str:
    """Return the short name of an engine: ``external-NAME`` of ``external:NAME=COMMAND``.

    The command stays out of it, so that a program keeps its cases when its environment moves.
    """
    if not is_external(engine):
        return engine
    return "external-" + engine.removeprefix(EXTERNAL).partition("=")[0]


DEFAULT_PROMPTS: Final[tuple[str, ...]] = (
    "red apple",
    "smiling face with sunglasses",
    "a blue car",
    "cat face",
    "pizza",
    "umbrella",
    "penguin on a yellow background",
    "house",
)
"""Prompts of the default workload: single things, a recoloured one, one on a background."""


def _hash_fields(fields: dict[str, object]) -> str:
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def read_prompts(path: Path, asked_by: str = "--prompts") -> tuple[str, ...]:
    """Read a prompts file: UTF-8, one prompt a line; blank lines and ``#`` comments are skipped.

    Args:
        path: The file.
        asked_by: The option that named it, for messages.

    Raises:
        ConfigurationError: The file is missing, not UTF-8, over 1 MiB, or holds no prompt.
    """
    hint = f"give {asked_by} a text file with one prompt a line"
    try:
        size_bytes = path.stat().st_size
        if size_bytes > _MAX_PROMPTS_FILE_BYTES:
            raise ConfigurationError(
                f"the prompts file {path} is too large",
                got=f"{size_bytes} bytes",
                expected=f"at most {_MAX_PROMPTS_FILE_BYTES}",
                hint=hint,
            )
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(
            f"the prompts file {path} cannot be read", got=error.strerror, hint=hint
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"the prompts file {path} is not text",
            got=f"byte {error.start} is not UTF-8",
            hint=hint,
        ) from error
    stripped = (line.strip() for line in text.splitlines())
    prompts = tuple(line for line in stripped if line and not line.startswith("#"))
    if not prompts:
        raise ConfigurationError(f"the prompts file {path} holds no prompt", hint=hint)
    return prompts
