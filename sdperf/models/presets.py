"""Settings that published models are run with, each with its source.

`PRESETS` lists models by their hub id, `KINDS` recognises a folder by its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sdperf.record.workload import EMBEDDED, Precision


@dataclass(frozen=True)
class Preset:
    """The usual settings of a model, with their sources.

    Attributes:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance, or the number that its pipeline takes instead;
            ``None`` leaves it to the pipeline.
        source: Where steps and guidance come from.
        size: Side of the pipeline's default square image, pixels; ``None`` is unknown.
        size_source: Source of the size.
        scheduler: The model's own scheduler, where its published configuration was read; it is only
            reported, since the model has it already.
        scheduler_source: The file of the published model that names it.
        precision: The precision to measure first on a GPU.
        precision_source: Source of the precision.
        weights: How many weights the pipeline has, without a safety checker; ``None`` is unknown.
    """

    num_inference_steps: int
    guidance_scale: float | None
    source: str
    size: int | None = None
    size_source: str = ""
    scheduler: str | None = None
    scheduler_source: str = ""
    precision: Precision = "fp16"
    precision_source: str = ""
    weights: int | None = None

    def weight_bytes(self, precision: Precision) -> int | None:
        """Bytes of all weights in a precision."""
        return None if self.weights is None else self.weights * (4 if precision == "fp32" else 2)


@dataclass(frozen=True)
class ModelKind:
    """A kind of models: one pipeline class with a configuration that tells how it is sampled.

    Attributes:
        pipeline_class: Class name in diffusers.
        file: The configuration file to check, relative to the model's folder.
        fields: The fields that it must have; a tuple lists several values of this kind.
        preset: How such a model is sampled; ``None`` where equal configurations are sampled
            differently, so that the user has to say.
        name: Its name for users.
    """

    pipeline_class: str
    file: str
    fields: Mapping[str, object]
    preset: Preset | None
    name: str

    def matches(self, pipeline_class: str, configuration: Mapping[str, Any]) -> bool:
        """Tell whether a model is of this kind.

        Args:
            pipeline_class: Class name of its pipeline.
            configuration: The content of its file named `file`.
        """
        return pipeline_class == self.pipeline_class and all(
            configuration.get(field) in (wanted if isinstance(wanted, tuple) else (wanted,))
            for field, wanted in self.fields.items()
        )


def _defaults(pipeline_class: str, steps: int, guidance: float | None, **more: Any) -> Preset:
    source = f"defaults of diffusers' {pipeline_class}.__call__ (0.42)"
    return Preset(steps, guidance, source, **more)


def _example(pipeline_class: str, steps: int, guidance: float | None, **more: Any) -> Preset:
    source = f"example in diffusers' documentation of {pipeline_class} (0.42)"
    return Preset(steps, guidance, source, **more)


EMBEDDED_PRESET: Final = Preset(20, 3.0, "docs/embedded-model.md")
_SDXL_WEIGHTS: Final = 3_468_837_867
_SD_TURBO: Final = Preset(
    1,
    0.0,
    "model card: one step without guidance",
    size=512,
    size_source="model card: preferably 512x512",
    scheduler="EulerDiscreteScheduler",
    scheduler_source="scheduler/scheduler_config.json, revision b335f73: trailing timesteps",
    precision_source="the example of the model card",
    weights=1_289_952_427,
)
_SDXL_TURBO: Final = Preset(
    1,
    0.0,
    "model card: one step without guidance",
    size=512,
    scheduler="EulerAncestralDiscreteScheduler",
    scheduler_source="scheduler/scheduler_config.json, revision 647e47a: trailing timesteps",
    weights=_SDXL_WEIGHTS,
)
_SD35_LARGE_TURBO: Final = Preset(
    4, 0.0, "app.py of Stability AI's demonstration of the model", precision="bf16"
)
_LCM: Final = Preset(4, 1.0, "diffusers' guide to latent consistency models: 4 steps, no guidance")
_FLUX_DEV: Final = _defaults("FluxPipeline", 28, 3.5, precision="bf16")
_FLUX_SCHNELL: Final = _example("FluxPipeline", 4, 0.0, precision="bf16")
_KLEIN: Final = Preset(
    4,
    1.0,
    "model_index.json: is_distilled, which has no guidance; 4 steps as its hosts' guides say",
    precision="bf16",
)
_KLEIN_BASE: Final = _example("Flux2KleinPipeline", 50, 4.0, precision="bf16")
_Z_IMAGE: Final = _defaults("ZImagePipeline", 50, 5.0, precision="bf16")
_Z_IMAGE_TURBO: Final = _example("ZImagePipeline", 8, 0.0, precision="bf16")
_KREA2: Final = _example("Krea2Pipeline", 28, 4.5, precision="bf16")
_KREA2_DISTILLED: Final = _example("Krea2Pipeline", 8, 0.0, precision="bf16")

PRESETS: Final[dict[str, Preset]] = {
    EMBEDDED: EMBEDDED_PRESET,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": Preset(
        50,
        7.5,
        "model card: 50 steps in the sampling figures, guidance 7.5 by default",
        size=512,
        size_source="model card: trained at 512x512",
        scheduler="PNDMScheduler",
        scheduler_source="scheduler/scheduler_config.json, as copies of the repository have it",
        precision_source="the example of the model card",
        weights=1_066_235_307,
    ),
    "stabilityai/stable-diffusion-xl-base-1.0": _defaults(
        "StableDiffusionXLPipeline",
        50,
        5.0,
        size=1024,
        size_source="unet/config.json: 128 latents of 8 pixels",
        scheduler="EulerDiscreteScheduler",
        scheduler_source="model_index.json, revision cd44add",
        precision_source="the example of the model card",
        weights=_SDXL_WEIGHTS,
    ),
    "stabilityai/sd-turbo": _SD_TURBO,
    "stabilityai/sdxl-turbo": _SDXL_TURBO,
    "stabilityai/stable-diffusion-3-medium-diffusers": _defaults(
        "StableDiffusion3Pipeline", 28, 7.0
    ),
    "stabilityai/stable-diffusion-3.5-medium": _defaults("StableDiffusion3Pipeline", 28, 7.0),
    "stabilityai/stable-diffusion-3.5-large": _defaults("StableDiffusion3Pipeline", 28, 7.0),
    "stabilityai/stable-diffusion-3.5-large-turbo": _SD35_LARGE_TURBO,
    "black-forest-labs/FLUX.1-dev": _FLUX_DEV,
    "black-forest-labs/FLUX.1-schnell": _FLUX_SCHNELL,
    "black-forest-labs/FLUX.2-dev": _example("Flux2Pipeline", 50, 2.5, precision="bf16"),
    "black-forest-labs/FLUX.2-klein-4B": _KLEIN,
    "black-forest-labs/FLUX.2-klein-9B": _KLEIN,
    "black-forest-labs/FLUX.2-klein-base-4B": _KLEIN_BASE,
    "black-forest-labs/FLUX.2-klein-base-9B": _KLEIN_BASE,
    "Tongyi-MAI/Z-Image": _Z_IMAGE,
    "Tongyi-MAI/Z-Image-Turbo": _Z_IMAGE_TURBO,
    "Qwen/Qwen-Image": _defaults("QwenImagePipeline", 50, 4.0, precision="bf16"),
    "Qwen/Qwen-Image-2.1": _defaults("QwenImage21Pipeline", 40, 1.0, precision="bf16"),
    "lodestones/Chroma1-HD": _defaults("ChromaPipeline", 35, 5.0, precision="bf16"),
    "Alpha-VLLM/Lumina-Image-2.0": _defaults("Lumina2Pipeline", 30, 4.0, precision="bf16"),
    "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": _defaults(
        "SanaPipeline", 20, 4.5, precision="bf16"
    ),
    "SimianLuo/LCM_Dreamshaper_v7": _example("LatentConsistencyModelPipeline", 4, 8.0),
}

_SCHEDULER: Final = "scheduler/scheduler_config.json"
_TRANSFORMER: Final = "transformer/config.json"
_INDEX: Final = "model_index.json"
_TRAILING: Final = {"timestep_spacing": "trailing"}

KINDS: Final[Sequence[ModelKind]] = (
    *(
        ModelKind(name, _SCHEDULER, {"_class_name": "LCMScheduler"}, _LCM, "LCM")
        for name in ("StableDiffusionPipeline", "StableDiffusionXLPipeline")
    ),
    ModelKind(
        "StableDiffusionPipeline",
        _SCHEDULER,
        {"_class_name": "EulerDiscreteScheduler", **_TRAILING},
        _SD_TURBO,
        "SD-Turbo",
    ),
    ModelKind(
        "StableDiffusionXLPipeline",
        _SCHEDULER,
        {"_class_name": "EulerAncestralDiscreteScheduler", **_TRAILING},
        _SDXL_TURBO,
        "SDXL-Turbo",
    ),
    ModelKind(
        "StableDiffusionXLPipeline",
        _SCHEDULER,
        {"_class_name": "EulerDiscreteScheduler", **_TRAILING},
        None,
        "SDXL with trailing timesteps, such as Lightning of 1, 2, 4 or 8 steps",
    ),
    ModelKind(
        "StableDiffusion3Pipeline",
        _TRANSFORMER,
        {"num_layers": 38},
        None,
        "Stable Diffusion 3.5 large (28 steps, guidance 7) or its turbo version (4 steps, 0)",
    ),
    ModelKind("FluxPipeline", _TRANSFORMER, {"guidance_embeds": True}, _FLUX_DEV, "FLUX.1 dev"),
    ModelKind(
        "FluxPipeline",
        _TRANSFORMER,
        {"guidance_embeds": (False, None)},
        _FLUX_SCHNELL,
        "FLUX.1 schnell",
    ),
    ModelKind("Flux2KleinPipeline", _INDEX, {"is_distilled": True}, _KLEIN, "FLUX.2 klein"),
    ModelKind(
        "Flux2KleinPipeline",
        _INDEX,
        {"is_distilled": (False, None)},
        _KLEIN_BASE,
        "FLUX.2 klein base",
    ),
    ModelKind("ZImagePipeline", _SCHEDULER, {"shift": 3.0}, _Z_IMAGE_TURBO, "Z-Image-Turbo"),
    ModelKind("ZImagePipeline", _SCHEDULER, {"shift": 6.0}, _Z_IMAGE, "Z-Image"),
    ModelKind(
        "ZImagePipeline",
        _SCHEDULER,
        {},
        None,
        "Z-Image (50 steps, guidance 5) or Z-Image-Turbo (8 steps, 0)",
    ),
    ModelKind(
        "Krea2Pipeline", _INDEX, {"is_distilled": True}, _KREA2_DISTILLED, "Krea 2, distilled"
    ),
    ModelKind("Krea2Pipeline", _INDEX, {"is_distilled": (False, None)}, _KREA2, "Krea 2"),
)
"""Kinds in the order in which they are tried: the first that matches a model is its kind."""


def find_kind(
    pipeline_class: str, configurations: Mapping[str, Mapping[str, Any]]
) -> ModelKind | None:
    """Return the kind of a model; ``None`` where its class alone is known.

    Args:
        pipeline_class: Class name in diffusers.
        configurations: The content of the model's configuration files, by `Kind.file`; missing
            files are left out.
    """
    return next(
        (
            kind
            for kind in KINDS
            if kind.file in configurations
            and kind.matches(pipeline_class, configurations[kind.file])
        ),
        None,
    )
