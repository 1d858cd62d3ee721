"""All optimisations as plain values; this module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from sdperf.device import DeviceKind

Sort = Literal["exact", "approximate"]
"""The sort of an optimisation: ``exact`` does all arithmetic, maybe with other rounding;
``approximate`` leaves some arithmetic out, or keeps weights in fewer bits."""

LOOP_SCHEDULERS: Final = (
    "DPMSolverMultistepScheduler",
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Schedulers that ``device_loop`` supports: they add no noise in their steps and keep their state
on the host."""

RECORDED_SCHEDULERS: Final = tuple(
    name for name in LOOP_SCHEDULERS if name != "UniPCMultistepScheduler"
)
"""Schedulers that ``loop_graph`` can record. UniPC moves its coefficients to the device in each
step and solves a small system there, whose result the host reads: CUDA refuses both while it
records."""

UNET_FAMILIES: Final = ("sd", "sdxl")
UNET_CLASSES: Final = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
"""The diffusers classes of these families; a test compares the two."""

WITH_PROMPTS: Final = ("sd", "sdxl", "sd3", "flux", "whole")
"""Families whose pipelines take the prompts of a batch, including those without stages."""


@dataclass(frozen=True)
class Optimisation:
    """One optimisation.

    Attributes:
        name: The name that users type.
        summary: What it does, one line.
        refusals: Device kinds that it is refused on, each with the reason.
        sort: Whether it leaves arithmetic out.
        families: Families of pipelines (`Stages.family`) that it can change; ``None`` for any
            pipeline with a denoiser, whole or in stages.
        group: Name of its group; at most one optimisation of a group can be on.
        needs: Optimisations of which at least one has to be on too; empty needs none.
        needs_recorded: The same as ``needs``, but only where calls are recorded.
        excludes: Optimisations that cannot be on beside it, each with the reason.
        recorded: Whether it can be on where calls are recorded: it reads no result on the host and
            counts no steps there.
        capability: The least compute capability of a CUDA device that it runs on.
        images_per_call: How many images go through the pipeline together.
        cache_interval: Number of steps from one full call of the denoiser to the next.
        default_on: Device kinds on which it is on by default for the pipelines of `UNET_CLASSES`.
        default_elsewhere: Device kinds on which it is on by default for all other pipelines.
        first_call: Whether it makes the first call much longer: it compiles.
        distribution: The package that it needs, and the extra of sdperf that installs it.
        library: The C library that it is a feature of; ``None`` is any.
        beside_engines: Whether it can be on beside another engine than torch: it changes none of
            torch's networks.
        transformers_only: Whether it finds nothing to change in a UNet.
        denoisers: Classes of the networks that it is for; ``None`` where more may suit.
    """

    name: str
    summary: str
    refusals: dict[DeviceKind, str] = field(default_factory=dict)
    sort: Sort = "exact"
    families: tuple[str, ...] | None = None
    group: str | None = None
    needs: tuple[str, ...] = ()
    needs_recorded: tuple[str, ...] = ()
    excludes: dict[str, str] = field(default_factory=dict)
    recorded: bool = True
    capability: tuple[int, int] | None = None
    images_per_call: int = 1
    cache_interval: int | None = None
    default_on: tuple[DeviceKind, ...] = ()
    default_elsewhere: tuple[DeviceKind, ...] = ()
    first_call: bool = False
    distribution: tuple[str, str] | None = None
    library: str | None = None
    beside_engines: bool = False
    transformers_only: bool = False
    denoisers: tuple[str, ...] | None = None

    def may_suit(self, denoiser: str) -> bool:
        """Tell whether a network of this class can have it, as far as the name of a class tells.

        >>> Optimisation("x", "", transformers_only=True).may_suit("UNet2DConditionModel")
        False
        """
        if self.denoisers is not None:
            return denoiser in self.denoisers
        return not (self.transformers_only and "UNet" in denoiser)


_ONLY_CUDA: Final[dict[DeviceKind, str]] = {
    "cpu": "it is a feature of CUDA devices",
    "mps": "it is a feature of CUDA devices",
}
_NO_FLOAT8: Final[dict[DeviceKind, str]] = {
    "cpu": "torchao multiplies in float8 on CUDA devices only",
    "mps": "torchao multiplies in float8 on CUDA devices only",
}
_NO_TENSORS_IN_GLIBC: Final[dict[DeviceKind, str]] = {
    "cuda": "the device's tensors lie in memory that torch manages itself",
    "mps": "a Mac's C library is another one than glibc, whose allocator it sets",
}
_COMPILED: Final = ("compile", "compile_blocks", "compile_blocks_dynamic")
WEIGHTS: Final = "weights"
EXTRA: Final = "quantise"
"""The extra of sdperf that weights in fewer bits need."""

FASTER_CACHE_DENOISERS: Final = (
    "SD3Transformer2DModel",
    "PixArtTransformer2DModel",
    "SanaTransformer2DModel",
)
"""Classes that diffusers' FasterCache was tried with."""

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
        families=WITH_PROMPTS,
        group="batch",
        images_per_call=images,
        beside_engines=True,
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


def _cache(name: str, summary: str, denoisers: tuple[str, ...] | None = None) -> Optimisation:
    """Make the entry of one of diffusers' caches, which decide in each step."""
    reason = "it decides in each step, between blocks that compile_blocks compiles one by one"
    return Optimisation(
        name,
        summary,
        sort="approximate",
        group="step cache",
        recorded=False,
        excludes={"compile": reason},
        transformers_only=True,
        denoisers=denoisers,
    )


def _weights(name: str, summary: str, **more: Any) -> Optimisation:
    needed = ("torchao", EXTRA)
    return Optimisation(
        name, summary, sort="approximate", group=WEIGHTS, distribution=needed, **more
    )


ALL: Final = (
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
        "flash_attention3",
        "attention by FlashAttention 3, which has to be built from its source",
        refusals=_ONLY_CUDA,
        group="attention",
        capability=(9, 0),
    ),
    Optimisation(
        "sage_attention",
        "attention by SageAttention 2, whose products are of 8 bits",
        refusals=_ONLY_CUDA,
        sort="approximate",
        group="attention",
        capability=(8, 0),
    ),
    Optimisation(
        "fused_projections",
        "one matrix product for query, key and value",
    ),
    Optimisation(
        "real_rotary",
        "positions turn queries and keys in real numbers, which compiled code fuses",
        transformers_only=True,
        denoisers=("ZImageTransformer2DModel", "QwenImageTransformer2DModel"),
    ),
    Optimisation(
        "fused_gelu",
        "GELU is taken in the kernel of the product before it",
        transformers_only=True,
        refusals=_ONLY_CUDA,
        excludes=dict.fromkeys(
            ("int8_weights", "int8_dynamic", "int4_weights", "float8", "float8_blocks"),
            "the kernel takes weights as they are",
        ),
    ),
    _weights(
        "int8_weights", "weights of all networks in int8, arithmetic as before; no VAE encoder"
    ),
    _weights(
        "int8_dynamic",
        "the denoiser's blocks multiply in int8, all weights in int8; no VAE encoder",
        refusals={"mps": "torch has an integer matrix product there since August 2026, not tried"},
        needs_recorded=_COMPILED,
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
        refusals=_NO_FLOAT8,
        capability=(8, 9),
    ),
    _weights(
        "float8_blocks",
        "the denoiser's blocks multiply in float8, a scale for each row; all else is as it was",
        refusals=_NO_FLOAT8,
        capability=(8, 9),
        needs=_COMPILED,
    ),
    Optimisation(
        "compile_blocks",
        "torch.compile of the denoiser's repeated blocks (regional)",
        group="compile",
        first_call=True,
    ),
    Optimisation(
        "compile_blocks_dynamic",
        "the same for prompts and pictures of any length: compiled once, not for each",
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
        "tuned_kernels",
        "the compiler tries tile sizes for each of its kernels, 1 x 1 convolutions as products",
        needs=(*_COMPILED, "compile_vae"),
        first_call=True,
    ),
    Optimisation(
        "kept_code",
        "compiled code is kept in sdperf's cache folder, where the next session finds it",
        needs=(*_COMPILED, "compile_vae"),
    ),
    Optimisation(
        "cuda_graphs",
        "the calls of denoiser, VAE decoder and text encoders recorded once and replayed",
        refusals=_ONLY_CUDA,
        group="graphs",
        default_on=("cuda",),
    ),
    Optimisation(
        "text_graphs",
        "the calls of the text encoders recorded once and replayed, those of no other network",
        refusals=_ONLY_CUDA,
        group="graphs",
        default_elsewhere=("cuda",),
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
        families=WITH_PROMPTS,
        beside_engines=True,
    ),
    Optimisation(
        "keep_freed_memory",
        "memory that is freed is kept for the next tensors and not given back to the system",
        refusals=_NO_TENSORS_IN_GLIBC,
        library="glibc",
        beside_engines=True,
    ),
    Optimisation(
        "resident_vae",
        "a VAE that decodes in float32 stays in float32 instead of being cast for each image",
        families=("sdxl",),
    ),
    Optimisation(
        "stored_png",
        "PNG files whose pixels are stored and not compressed: the same pixels in more bytes",
        group="png",
        default_elsewhere=("cuda",),
        beside_engines=True,
    ),
    Optimisation(
        "fast_png",
        "PNG files compressed in strips beside each other: the same pixels",
        group="png",
        beside_engines=True,
    ),
    *(_batch(images) for images in (2, 4, 8, 16)),
    *(_step_cache(interval) for interval in (2, 3, 5)),
    _cache(
        "first_block_cache",
        "a step whose first block changed little takes the rest of the last one",
    ),
    _cache(
        "taylorseer_cache",
        "every third step is computed, attention of the two after it extrapolated",
    ),
    _cache(
        "mag_cache", "steps whose blocks change little, by ratios of a first picture, are left out"
    ),
    _cache("pyramid_attention", "attention of every second step is that of the step before"),
    _cache(
        "faster_cache",
        "most late steps take the side without a prompt from an earlier step",
        FASTER_CACHE_DENOISERS,
    ),
)
