"""Every class that diffusers maps to text-to-image: how it was tried, or why it was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from diffusers import PixArtAlphaPipeline, PixArtSigmaPipeline

from evidence.mapped_pipelines import early, families, newest, recent
from evidence.mapped_pipelines.newest import with_perturbed_attention

NEEDS_A_PICTURE: Final = "needs a picture beside the prompt"
_TORCHVISION: Final = "its processor needs torchvision"
_COMBINED: Final = "made of two pipelines; its parts have to be found by hand"
_VIDEO: Final = "makes a video; its first frame would be the picture"


@dataclass(frozen=True)
class Try:
    """A tiny pipeline and what it is asked for.

    Attributes:
        build: Makes the pipeline.
        settings: Fields of the workload that differ from two steps at 32 x 32 pixels.
    """

    build: Callable[[], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def _sized(build: Callable[[], Any], size_px: int) -> Try:
    return Try(build, {"height": size_px, "width": size_px})


def _perturbed(build: Callable[[], Any], name: str, layers: str) -> Callable[[], Any]:
    return partial(with_perturbed_attention, build, name, layers)


CLASSES: Final[dict[str, Try | str]] = {
    "StableDiffusionPipeline": Try(families.build_sd),
    "StableDiffusionXLPipeline": Try(families.build_sdxl),
    "StableDiffusion3Pipeline": Try(families.build_sd3),
    "FluxPipeline": Try(families.build_flux),
    "ZImagePipeline": Try(recent.build_z_image),
    "Flux2KleinPipeline": Try(recent.build_flux2_klein, {"guidance_scale": 1.0}),
    "QwenImagePipeline": Try(recent.build_qwen_image),
    "ChromaPipeline": Try(recent.build_chroma),
    "Lumina2Pipeline": Try(recent.build_lumina2),
    "Flux2Pipeline": Try(newest.build_flux2),
    "Krea2Pipeline": Try(newest.build_krea2),
    "Ideogram4Pipeline": Try(newest.build_ideogram4),
    "CogView4Pipeline": Try(newest.build_cogview4),
    "OvisImagePipeline": Try(newest.build_ovis),
    "PRXPipeline": "cleans prompts by ftfy, which has to be installed besides",
    "SanaPipeline": _sized(early.build_sana, 512),
    "PixArtAlphaPipeline": _sized(partial(early.build_pixart, PixArtAlphaPipeline), 256),
    "PixArtSigmaPipeline": _sized(partial(early.build_pixart, PixArtSigmaPipeline), 256),
    "HunyuanDiTPipeline": _sized(early.build_hunyuan, 1024),
    "AuraFlowPipeline": Try(early.build_aura_flow),
    "LuminaPipeline": Try(early.build_lumina),
    "CogView3PlusPipeline": Try(early.build_cogview3),
    "LatentConsistencyModelPipeline": Try(early.build_lcm),
    "IFPipeline": Try(early.build_if),
    "Kandinsky3Pipeline": Try(early.build_kandinsky3),
    "StableDiffusionPAGPipeline": Try(
        _perturbed(families.build_sd, "StableDiffusionPAGPipeline", "mid")
    ),
    "StableDiffusionXLPAGPipeline": Try(
        _perturbed(families.build_sdxl, "StableDiffusionXLPAGPipeline", "mid")
    ),
    "StableDiffusion3PAGPipeline": Try(
        _perturbed(partial(families.build_sd3, layers=2), "StableDiffusion3PAGPipeline", "blocks.1")
    ),
    "PixArtSigmaPAGPipeline": _sized(
        _perturbed(
            partial(early.build_pixart, PixArtSigmaPipeline), "PixArtSigmaPAGPipeline", "blocks.1"
        ),
        256,
    ),
    "SanaPAGPipeline": _sized(
        _perturbed(early.build_sana, "SanaPAGPipeline", "transformer_blocks.0"), 512
    ),
    "HunyuanDiTPAGPipeline": "takes minutes: as HunyuanDiTPipeline, with a third more work",
    "FluxKontextPipeline": "draws a million pixels whatever size is asked for",
    "QwenImage21Pipeline": _TORCHVISION,
    "NucleusMoEImagePipeline": _TORCHVISION,
    "GlmImagePipeline": _TORCHVISION,
    "ZImageOmniPipeline": _TORCHVISION,
    "KandinskyCombinedPipeline": _COMBINED,
    "KandinskyV22CombinedPipeline": _COMBINED,
    "WuerstchenCombinedPipeline": _COMBINED,
    "StableCascadeCombinedPipeline": _COMBINED,
    "HeliosPipeline": _VIDEO,
    "HeliosPyramidPipeline": _VIDEO,
    **dict.fromkeys(
        (
            "StableDiffusionControlNetPipeline",
            "StableDiffusionXLControlNetPipeline",
            "StableDiffusionXLControlNetUnionPipeline",
            "StableDiffusion3ControlNetPipeline",
            "StableDiffusionControlNetPAGPipeline",
            "StableDiffusionXLControlNetPAGPipeline",
            "FluxControlPipeline",
            "FluxControlNetPipeline",
            "CogView4ControlPipeline",
            "QwenImageControlNetPipeline",
            "ZImageControlNetPipeline",
            "ZImageControlNetInpaintPipeline",
        ),
        NEEDS_A_PICTURE,
    ),
}
"""By class name; a reason where it was not tried."""


def list_mapped() -> list[str]:
    """List the classes that the installed diffusers maps to text-to-image, in its order."""
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    return [kind.__name__ for kind in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()]
