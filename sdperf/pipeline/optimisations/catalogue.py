"""The optimisations by name: what each does, where it works, what its images are held to.

Plain values and pure functions; nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from sdperf import settings
from sdperf.device import DeviceKind
from sdperf.errors import ConfigurationError

Sort = Literal["exact", "approximate"]
"""``exact`` does all of the arithmetic, rounded in its own way; ``approximate`` leaves some out, or
keeps weights in fewer bits."""

DEFAULT: Final = "default"
"""Stands for what is on by default on a device."""

PLAIN: Final = "none"
"""Stands for the plain pipeline."""

EXACT_SSIM: Final = 0.98
APPROXIMATE_SSIM: Final = 0.90

ALL_DEVICES: Final[tuple[DeviceKind, ...]] = get_args(DeviceKind)
LOOP_SCHEDULERS: Final = (
    "DPMSolverMultistepScheduler",
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers that add no noise in their steps and keep their state on the host: those that
``device_loop`` knows."""

RECORDED_SCHEDULERS: Final = tuple(
    name for name in LOOP_SCHEDULERS if name != "UniPCMultistepScheduler"
)
"""Those that ``loop_graph`` can record. UniPC moves its coefficients to the device in each step and
solves a small system there, whose outcome the host looks at: CUDA refuses both while it records."""

UNET_FAMILIES: Final = ("sd", "sdxl")
SEPARABLE_FAMILIES: Final = ("sd", "sdxl", "sd3", "flux")


@dataclass(frozen=True)
class Optimisation:
    """One optimisation.

    Attributes:
        name: What users type.
        summary: What it does, one line.
        refusals: Device kinds that it is refused on, each with the reason.
        sort: Whether it leaves arithmetic out.
        families: Families of pipelines (`Stages.family`) that it knows how to change; ``None`` is
            any pipeline with a denoiser, whole or in stages.
        group: Of the optimisations of one group, at most one can be on.
        needs: At least one of these has to be on as well; empty needs none.
        needs_recorded: The same, only where calls are recorded.
        capability: The least compute capability of a CUDA device that it runs on.
        images_per_call: Images that go through the pipeline together.
        cache_interval: Steps from one full call of the denoiser to the next.
        default_on: Device kinds on which it is on by default.
        first_call: Whether it makes the first call much longer: it compiles.
        distribution: What has to be installed besides, and the extra of sdperf that brings it.
    """

    name: str
    summary: str
    refusals: dict[DeviceKind, str] = field(default_factory=dict)
    sort: Sort = "exact"
    families: tuple[str, ...] | None = None
    group: str | None = None
    needs: tuple[str, ...] = ()
    needs_recorded: tuple[str, ...] = ()
    capability: tuple[int, int] | None = None
    images_per_call: int = 1
    cache_interval: int | None = None
    default_on: tuple[DeviceKind, ...] = ()
    first_call: bool = False
    distribution: tuple[str, str] | None = None


_ONLY_CUDA: Final[dict[DeviceKind, str]] = {
    "cpu": "it is a feature of CUDA devices",
    "mps": "it is a feature of CUDA devices",
}
_WEIGHTS: Final = "weights"
EXTRA: Final = "quantise"
"""The extra of sdperf that weights in fewer bits need."""

_CHANNELS_LAST_ON_MPS: Final[dict[DeviceKind, str]] = {
    "mps": "convolutions of channels_last slices gave wrong images there (pytorch issue 180984)"
}


def _sdpa(name: str, what: str, refusals: dict[DeviceKind, str]) -> Optimisation:
    return Optimisation(
        f"sdpa_{name}", f"attention by {what}", refusals=refusals, group="attention"
    )


def _batch(images: int) -> Optimisation:
    return Optimisation(
        f"batch{images}",
        f"{images} prompts of a stream go through the pipeline together",
        families=SEPARABLE_FAMILIES,
        group="batch",
        images_per_call=images,
    )


def _step_cache(interval: int) -> Optimisation:
    return Optimisation(
        f"step_cache{interval}",
        f"the UNet's deep features are computed every {interval} steps and reused in between",
        sort="approximate",
        families=UNET_FAMILIES,
        group="step cache",
        cache_interval=interval,
        needs=("device_loop", "loop_graph"),
    )


def _weights(name: str, summary: str, **more: Any) -> Optimisation:
    needed = ("torchao", EXTRA)
    return Optimisation(
        name, summary, sort="approximate", group=_WEIGHTS, distribution=needed, **more
    )


_ALL: Final = (
    Optimisation(
        "channels_last",
        "the denoiser's convolutions in NHWC order",
        refusals=_CHANNELS_LAST_ON_MPS,
        default_on=("cuda",),
    ),
    Optimisation(
        "channels_last_vae",
        "the VAE's convolutions in NHWC order",
        refusals=_CHANNELS_LAST_ON_MPS,
    ),
    Optimisation(
        "cudnn_benchmark",
        "cuDNN times its convolution kernels at the first call and keeps the fastest",
        refusals=_ONLY_CUDA,
    ),
    _sdpa("flash", "the FlashAttention kernel", {"mps": "Metal has one attention of its own"}),
    _sdpa("efficient", "the memory-efficient kernel", _ONLY_CUDA),
    _sdpa("cudnn", "cuDNN's kernel", _ONLY_CUDA),
    _sdpa("math", "separate matrix products and softmax", {}),
    Optimisation(
        "fused_projections",
        "one matrix product for query, key and value",
        families=("sd", "sdxl", "sd3", "flux"),
    ),
    _weights(
        "int8_weights", "weights of all networks in int8, arithmetic as before; no VAE encoder"
    ),
    _weights(
        "int8_dynamic",
        "the denoiser's blocks multiply in int8, all weights in int8; no VAE encoder",
        refusals={"mps": "torch has an integer matrix product there since August 2026, not tried"},
        needs_recorded=("compile", "compile_blocks"),
    ),
    _weights(
        "int4_weights",
        "weights of the denoiser's blocks in int4, all others in int8; no VAE encoder",
        refusals={"mps": "torchao has no int4 kernel there"},
        capability=(8, 0),
    ),
    _weights(
        "float8",
        "the denoiser's blocks multiply in float8, other weights in int8; no VAE encoder",
        refusals={
            "cpu": "torchao multiplies in float8 on CUDA devices only",
            "mps": "torchao multiplies in float8 on CUDA devices only",
        },
        capability=(8, 9),
    ),
    Optimisation(
        "compile_blocks",
        "torch.compile of the denoiser's repeated blocks (regional)",
        group="compile",
        first_call=True,
    ),
    Optimisation(
        "compile",
        "torch.compile of the whole denoiser",
        group="compile",
        first_call=True,
    ),
    Optimisation("compile_vae", "torch.compile of the VAE's decoder", first_call=True),
    Optimisation(
        "cuda_graphs",
        "the calls of denoiser, VAE decoder and text encoders recorded once and replayed",
        refusals=_ONLY_CUDA,
        default_on=("cuda",),
    ),
    Optimisation(
        "device_loop",
        "a denoising loop that reads nothing back from the device",
        families=UNET_FAMILIES,
        group="loop",
    ),
    Optimisation(
        "loop_graph",
        "all denoising steps recorded as one CUDA graph",
        refusals=_ONLY_CUDA,
        families=UNET_FAMILIES,
        group="loop",
        default_on=("cuda",),
    ),
    Optimisation(
        "embed_cache",
        "embeddings of prompts that come again are kept",
        families=SEPARABLE_FAMILIES,
    ),
    Optimisation(
        "resident_vae",
        "a VAE that decodes in float32 stays in float32 instead of being cast for each image",
        families=("sdxl",),
    ),
    Optimisation(
        "stored_png",
        "PNG files whose pixels are stored and not compressed: the same pixels in more bytes",
    ),
    *(_batch(images) for images in (2, 4, 8, 16)),
    *(_step_cache(interval) for interval in (2, 3, 5)),
)

OPTIMISATIONS: Final[dict[str, Optimisation]] = {one.name: one for one in _ALL}
"""All optimisations by name, in the order in which they are applied."""

QUANTISATIONS: Final = tuple(one.name for one in _ALL if one.group == _WEIGHTS)
"""Those that store weights in fewer bits."""


def parse_optimisations(text: str) -> tuple[str, ...]:
    """Parse ``channels_last+compile``; ``none`` is the plain pipeline.

    Returns:
        Names in the order in which they are applied, or ``("default",)``.

    Raises:
        ValueError: A name is unknown or comes twice, or two exclude each other.
    """
    names = tuple(name.strip() for name in text.split("+"))
    if names == (PLAIN,):
        return ()
    if names == (DEFAULT,):
        return names
    unknown = [name for name in names if name not in OPTIMISATIONS]
    if unknown:
        known = ", ".join((PLAIN, DEFAULT, *OPTIMISATIONS))
        raise ValueError(f"{unknown[0] or 'an empty name'!r} is none of {known}")
    if len(set(names)) < len(names):
        raise ValueError("each name once")
    complaint = find_conflict(names)
    if complaint is not None:
        raise ValueError(complaint)
    return sort_names(names)


def parse_named_optimisations(text: str) -> tuple[str, ...]:
    """Parse optimisations where ``default`` cannot be meant: it is another set on each device.

    Raises:
        ValueError: As for `parse_optimisations`, or the default is asked for.
    """
    names = parse_optimisations(text)
    if names == (DEFAULT,):
        raise ValueError("optimisations by name; the default is another one on each device")
    return names


def sort_names(names: Sequence[str]) -> tuple[str, ...]:
    """Put names in the order in which they are applied: one set has one spelling."""
    return tuple(name for name in OPTIMISATIONS if name in names)


def default_for(device: DeviceKind) -> tuple[str, ...]:
    """Return what is on by default: measured to help there, images within their floor."""
    return tuple(one.name for one in OPTIMISATIONS.values() if device in one.default_on)


def find_conflict(names: Sequence[str]) -> str | None:
    """Say why optimisations cannot be on together; ``None`` where they can."""
    chosen = [OPTIMISATIONS[name] for name in names]
    groups: dict[str, str] = {}
    for one in chosen:
        if one.group is not None and one.group in groups:
            return f"{groups[one.group]} or {one.name}, not both"
        if one.group is not None:
            groups[one.group] = one.name
        if one.needs and not set(one.needs) & set(names):
            return f"{one.name} only with {' or '.join(one.needs)}"
        if one.needs_recorded and is_recorded(names) and not set(one.needs_recorded) & set(names):
            return (
                f"{one.name} is recorded only with {' or '.join(one.needs_recorded)}: torchao "
                "reads values back from the device in calls that are not compiled"
            )
    return None


def check_supported(
    names: Sequence[str],
    device: DeviceKind,
    family: str,
    pipeline: str,
    capability: tuple[int, int] | None = None,
) -> None:
    """Check that optimisations can be used on a device and with a pipeline.

    Args:
        names: Their names.
        device: The kind of device.
        family: The pipeline's family, ``whole`` where it cannot be divided.
        pipeline: The pipeline's class, for the message.
        capability: Compute capability of a CUDA device; ``None`` is unknown and refuses nothing.

    Raises:
        ConfigurationError: One cannot; the message says why and where it can.
    """
    for one in (OPTIMISATIONS[name] for name in names):
        if device in one.refusals:
            others = ", ".join(kind for kind in ALL_DEVICES if kind not in one.refusals)
            raise ConfigurationError(
                f"{one.name} cannot be used on {device}: {one.refusals[device]}",
                got=f"{settings.OPTIMISATIONS} {'+'.join(names)}",
                expected=f"one of {others}",
                hint=f"leave {one.name} out",
            )
        least = one.capability
        if least is not None and capability is not None and capability < least:
            raise ConfigurationError(
                f"{one.name} cannot be used on this GPU: it has no instructions for it",
                got=f"compute capability {_format_capability(capability)}",
                expected=f"{_format_capability(least)} or newer",
                hint=f"leave {one.name} out, or use int8_weights",
            )
        if one.families is not None and family not in one.families:
            raise ConfigurationError(
                f"{one.name} cannot be used with {pipeline}: it is written for other pipelines",
                got=f"{settings.OPTIMISATIONS} {'+'.join(names)}",
                expected=f"a pipeline of the families {', '.join(one.families)}",
                hint=f"leave {one.name} out",
            )


def _format_capability(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def count_images_per_call(names: Sequence[str]) -> int:
    """Return how many images go through the pipeline together."""
    return max((OPTIMISATIONS[name].images_per_call for name in names), default=1)


def find_cache_interval(names: Sequence[str]) -> int | None:
    """Return the interval of step caching; ``None`` where it is not on."""
    intervals = (OPTIMISATIONS[name].cache_interval for name in names)
    return next((interval for interval in intervals if interval is not None), None)


def choose_ssim_floor(names: Sequence[str]) -> float:
    """Return the floors of images beside the plain pipeline's of the same precision."""
    approximate = any(OPTIMISATIONS[name].sort == "approximate" for name in names)
    return APPROXIMATE_SSIM if approximate else EXACT_SSIM


def is_recorded(names: Sequence[str]) -> bool:
    """Tell whether the host replays a recording instead of calling operators."""
    return bool({"cuda_graphs", "loop_graph"} & set(names))
