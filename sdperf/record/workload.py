"""What is generated (`Workload`) and how (`Variant`)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, get_args

from sdperf.errors import ConfigurationError
from sdperf.settings import STEPS, STRENGTH
from sdperf.units import format_quantity, shorten_middle

Precision = Literal["fp32", "fp16", "bf16"]
Mode = Literal["sync", "async"]
Task = Literal["text-to-image", "image-to-image", "inpaint", "edit", "control"]
"""The task of a pipeline: it draws from the prompt alone, or also from a picture."""

PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)
REFERENCE_PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "bf16", "fp16")
"""Precisions of the reference, the widest first. bf16 comes before fp16, since it has the range of
fp32 and so does not overflow where fp32 does not."""

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
TASKS: Final[tuple[Task, ...]] = get_args(Task)
EMBEDDED: Final = "embedded"
"""The name of the small pipeline that ships inside the package."""

TORCH: Final = "torch"
"""The engine that runs diffusers itself."""

EXTERNAL: Final = "external:"
"""The beginning of the name of an engine that is an external program."""

_MAX_PROMPTS_FILE_BYTES: Final = 1 << 20
DEFAULT_PICTURE_SHA256: Final = "98bee11cfa2121ecfcb5c69cd48a9ffc3015c44faf48cb45a144d3b298da05b3"
DEFAULT_MASK_SHA256: Final = "72b7d6d132693722de0b31b4589da821fa840f0593d171a9fd7f29ba48dbaf98"
"""Hashes of the shipped picture and mask; records are recognised by them without decoding."""

_LONGEST_NAME: Final = 60
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class InputPicture:
    """The picture that a generation starts from. The pixels themselves are sent separately.

    Attributes:
        sha256: Hash of its decoded pixels, see `sdperf.images.input_files.compute_pixels_sha256`.
        mask_sha256: Hash of the mask's pixels; ``None`` where the pipeline takes no mask.
        strength: Share of the steps that are drawn, above 0 and at most 1; ``None`` where the
            pipeline takes none.
        task: What the pipeline does with the picture; ``None`` before the pipeline is loaded.
        arguments: Names of the arguments of the pipeline's call that take these; empty before the
            pipeline is loaded.
    """

    sha256: str
    mask_sha256: str | None = None
    strength: float | None = None
    task: Task | None = None
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for digest in (self.sha256, self.mask_sha256):
            if digest is not None and not _SHA256.fullmatch(digest):
                raise ConfigurationError(
                    "the hash of a picture cannot be read",
                    got=digest,
                    expected="64 hexadecimal digits",
                )
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ConfigurationError(
                "the strength is out of range", got=self.strength, expected="above 0, at most 1"
            )

    def describe(self, names: Mapping[str, str] = MappingProxyType({})) -> str:
        """Describe in a few words what the images are drawn from.

        Args:
            names: Names of files by the hash of their pixels, where they are known.
        """
        picture, mask = self.name_picture(names), self.name_mask(names)
        return f"{self.task or 'drawn'} from {picture}{f', {mask}' if mask else ''}"

    def name_picture(self, names: Mapping[str, str] = MappingProxyType({})) -> str:
        """Name the picture by its hash, and its file where that is known."""
        if self.sha256 == DEFAULT_PICTURE_SHA256:
            return "the default picture"
        return _name_pixels("picture", self.sha256, names)

    def name_mask(self, names: Mapping[str, str] = MappingProxyType({})) -> str:
        """Name the mask by its hash, and its file where that is known; empty without a mask."""
        if self.mask_sha256 is None:
            return ""
        if self.mask_sha256 == DEFAULT_MASK_SHA256:
            return "default mask"
        return _name_pixels("mask", self.mask_sha256, names)


@dataclass(frozen=True)
class Workload:
    """The request to a pipeline. Equal workloads give comparable images and times.

    Attributes:
        model: ``embedded``, a path of a local diffusers folder, or a hub id.
        prompts: The prompts in order; image ``i`` of a batch takes prompt ``i`` (cyclically).
        negative_prompt: Shared by all prompts; empty means none.
        seed: Image ``i`` draws its starting noise from ``seed + i``.
        height: Pixels; ``None`` for the pipeline's own size.
        width: Pixels; ``None`` for the pipeline's own size.
        num_inference_steps: Denoising steps per image.
        guidance_scale: Classifier-free guidance; 1.0 or less switches it off. ``None`` leaves it to
            the pipeline, whose call names no single scale.
        scheduler: Class name of a diffusers scheduler; ``None`` for the model's own.
        picture: The picture that images start from; ``None`` draws from the prompt alone.
        lora: LoRAs that are loaded into the model, in the form of the setting ``lora``.
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
    picture: InputPicture | None = None
    lora: str = ""

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
        if self.fewest_drawn_steps < 1:
            raise ConfigurationError(
                "the strength leaves no step to draw",
                got=f"{self.describe_sampling()}",
                expected="steps times strength of 1 or more",
                hint=f"{STEPS} {math.ceil(1 / (self.strength or 1))}, or more of {STRENGTH}",
            )

    @property
    def strength(self) -> float | None:
        """Share of the steps that are drawn; ``None`` without a picture that has a strength."""
        return None if self.picture is None else self.picture.strength

    @property
    def fewest_drawn_steps(self) -> int:
        """The least number of steps that are drawn: the strength leaves out the first ones."""
        return math.floor(self.num_inference_steps * (self.strength or 1.0))

    @property
    def is_guided(self) -> bool:
        """Whether a scale above 1 is asked for; false where it is left to the pipeline."""
        return self.guidance_scale is not None and self.guidance_scale > 1

    def describe_sampling(
        self,
        source: str | None = None,
        names: Mapping[str, str] = MappingProxyType({}),
        program: ProgramFacts | None = None,
    ) -> str:
        """Say steps and guidance, such as ``20 steps, guidance 3``, and what is drawn from.

        Args:
            source: Where steps and guidance come from, which is added to the text.
            names: Names of files by the hash of their pixels, where they are known.
            program: What draws; nothing is said of a guidance that it was not and cannot be told.
        """
        text = format_quantity(self.num_inference_steps, "step")
        if self.guidance_scale is not None:
            text += f", guidance {self.guidance_scale:g}"
        elif program is None or "guidance" in program.accepts:
            text += f", the {'pipeline' if program is None else 'program'}'s own guidance"
        if source is not None:
            text += f" ({source})"
        if self.strength is not None:
            text += f", strength {self.strength:g}"
        return text if self.picture is None else f"{text}, {self.picture.describe(names)}"

    def image(self, index: int) -> ImageRequest:
        """Return the request for image ``index`` of a batch."""
        return ImageRequest(prompt=self.prompts[index % len(self.prompts)], seed=self.seed + index)

    def fingerprint(self) -> str:
        """Hash everything that decides the image, except the place of the model.

        Returns:
            16 hexadecimal digits. The model's own identity is its weights' hash and is kept
            beside this one, so that a moved folder stays the same workload.
        """
        return _hash_fields(self._list_decisive())

    @property
    def task(self) -> Task | None:
        """The task with the picture; ``None`` without a picture, or where the task is unknown."""
        return None if self.picture is None else self.picture.task

    def image_key(self, image: ImageRequest) -> str:
        """Hash everything that decides one image, apart from the model; 16 hexadecimal digits."""
        fields = self._list_decisive() | asdict(image)
        del fields["prompts"]
        return _hash_fields(fields)

    def _list_decisive(self) -> dict[str, object]:
        """Return what decides an image, by field; without a picture the fields of old versions."""
        fields = asdict(self)
        del fields["model"], fields["lora"]
        if self.picture is None:
            del fields["picture"]
        return fields


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
        mode: ``sync`` is the plain diffusers call, ``async`` overlaps the host's work.
        workers: How many processes with a pipeline each.
        optimisations: Names of switched-on optimisations, in order.
        engine: The engine that runs the networks, see `sdperf.engines.catalogue`;
            ``external:NAME=COMMAND`` is an external program that draws.
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
        """Workers, and their threads where they are named, in the form of `id`: ``1w``, ``8t``."""
        workers = f"{self.workers}w"
        return (workers,) if self.threads is None else (workers, f"{self.threads}t")

    @property
    def pipeline(self) -> tuple[str, str, tuple[str, ...]]:
        """The pipeline that one worker loads; variants with equal pipelines share workers."""
        return self.precision, self.engine, self.optimisations

    @property
    def is_external(self) -> bool:
        """Whether an external program draws, in place of a pipeline of diffusers."""
        return is_external(self.engine)

    @property
    def identity(self) -> Variant:
        """The parts that two compared results must share; of a program, its name alone."""
        return replace(self, engine=name_engine(self.engine))

    @property
    def is_plain(self) -> bool:
        """Whether it is the plain pipeline of its precision, one worker, one image at a time."""
        return self == Variant(self.precision)

    @property
    def id(self) -> str:
        """The name of the cell in test ids and tables, such as ``fp32-sync-1w``."""
        engine = () if self.engine == TORCH else (name_engine(self.engine),)
        return "-".join((self.precision, self.mode, *self.team, *engine, *self.optimisations))


def name_sync(precision: Precision) -> str:
    """Return the name of the plain synchronous image of a precision as a reference."""
    return f"{precision}-sync"


SYNC_REFERENCES: Final = tuple(map(name_sync, REFERENCE_PRECISIONS))
"""Names of the references of this run's images; a run has one of them."""


@dataclass(frozen=True)
class LoraUse:
    """A LoRA that was loaded into the model.

    Attributes:
        name: Name of its file.
        sha256: Hash of its content.
        scale: Strength of its effect.
        is_fused: Whether it was merged into the weights, so that a step needs no separate layers
            for it.
    """

    name: str
    sha256: str
    scale: float
    is_fused: bool

    @property
    def key(self) -> tuple[str, float, bool]:
        """The parts that make two LoRAs equal: content, scale, and whether it is fused."""
        return self.sha256, self.scale, self.is_fused

    def describe(self) -> str:
        """Describe it, such as ``style.safetensors (3f2a90c1) at 0.8, fused``."""
        fused = ", fused" if self.is_fused else ""
        text = f"{self.name} ({self.sha256[:8]}) at {self.scale:g}{fused}"
        return "".join(
            one if one.isprintable() else "?" for one in text
        )  # a saved run may bring it


@dataclass(frozen=True)
class ProgramFacts:
    """An external program's answer to the request to describe itself.

    Attributes:
        name: Its name, such as ``mflux``.
        version: Its version.
        model: The model that it draws with, in its own words.
        device: ``cpu``, ``cuda`` or ``mps``.
        device_name: The device in its own words; empty is unknown.
        precision: Number format that it uses by default, such as ``q8``.
        precisions: Precisions of sdperf that it accepts; empty where it accepts none.
        accepts: Settings that it accepts beside prompt and seed; see `docs/external.md`.
        queue: How many requests it takes before it has answered the first one.
        largest_seed: The largest seed that it distinguishes from others.
        versions: Versions of its packages.
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
    """Tell whether an engine is an external program, which runs no pipeline of diffusers."""
    return engine.startswith(EXTERNAL)


def name_engine(engine: str) -> str:
    """Return the short name of an engine: ``external-NAME`` of ``external:NAME=COMMAND``.

    The command is not part of it, so that a program keeps its cases when its environment moves.
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


def _name_pixels(what: str, digest: str, names: Mapping[str, str]) -> str:
    name = names.get(digest)
    if not name:
        return f"{what} {digest[:8]}"
    clean = "".join(one if one.isprintable() else "?" for one in name)
    return f"{what} {shorten_middle(clean, _LONGEST_NAME)} ({digest[:8]})"


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
